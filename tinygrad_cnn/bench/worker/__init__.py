"""The worker process: one side of a comparison.

It may run under another interpreter, where PyTorch is installed and tinygrad_cnn is not. So this
folder imports only NumPy and, on request, its framework.
"""

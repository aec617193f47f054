"""One side of a comparison, in a process of its own.

The interpreter that runs it may be another one, where PyTorch is installed and tinygrad_cnn is not.
So this folder imports nothing outside itself but NumPy and, when asked for, its framework.
"""

"""Functions of the engine by compiled kernels, one call at a time; a compiled step runs tapes.

Each file has the name of that of its kernels. `engine.fast.kernels` imports it when it is needed.
"""

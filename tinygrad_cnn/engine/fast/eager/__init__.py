"""Functions of the engine by compiled kernels, one call at a time; a compiled step runs tapes.

Each file except `running` is named after the file of its kernels. `engine.fast.kernels` imports a
file when it is first needed.
"""

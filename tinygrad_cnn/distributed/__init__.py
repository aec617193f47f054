"""Data-parallel training on several processes and machines, by MPI."""

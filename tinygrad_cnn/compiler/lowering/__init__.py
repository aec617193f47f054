"""Lowerings: how the calls of a program become rows of a tape, one function an op."""

"""Explanations of a trained network's computation on one picture, forward and backward.

Every explanation is read from a trace of the computation: it knows ops and their windows, but no
models. Networks are only read, so that many threads can explain one.
"""

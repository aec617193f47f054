"""Experiments that answer questions by measuring: the runner, and a `gallery` of questions."""

"""Trainings: a process of their own, its supervisor, and what they tell each other.

The database is the only thing that server and trainer share: what is wanted of a run stands in its
row, and what has come of it in its points. Either may die at any moment; the other, or the next,
goes on from what is written.
"""

"""Scaling of data-parallel training over ranks: measured here, and planned by a cost model."""

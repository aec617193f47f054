"""The step-through page: one HTML file that plays the forward and the sweep, node by node."""

from tinygrad_cnn.drawing.page.assembly import page

__all__ = ["page"]

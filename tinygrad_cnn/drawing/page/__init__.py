"""The step-through page: one HTML file that plays forward and backward, node by node."""

from tinygrad_cnn.drawing.page.assembly import page

__all__ = ["page"]

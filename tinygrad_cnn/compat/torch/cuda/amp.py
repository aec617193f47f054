"""``torch.cuda.amp``: as `torch.amp`."""

from tinygrad_cnn.compat.torch.amp import GradScaler, autocast

__all__ = ["GradScaler", "autocast"]

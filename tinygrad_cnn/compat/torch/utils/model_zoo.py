"""``torch.utils.model_zoo``: weights are not downloaded."""

from tinygrad_cnn.compat.torch.hub import load_state_dict_from_url as load_url

__all__ = ["load_url"]

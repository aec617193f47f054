"""How each op is exported, in the families of `tinygrad_cnn.ops`."""

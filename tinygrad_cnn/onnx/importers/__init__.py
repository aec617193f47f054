"""How each operator of ONNX is computed, in families."""

"""How arrays are computed: ndarrays in, ndarrays out; nothing here knows a Tensor."""

"""The framework: variables, the graph, recording, declarations, ops, tensors and calculus."""

"""The framework: variables, the graph, recording, declarations, ops, tensors and calculus.

A module imports those before it in this order: declaration, dtypes, recording, observer,
step_observer, hidden, effects, variable, compiled, promotion, composition, pullback, hooks, graph,
op, ops (the package), numpy_dispatch, operators, tensor, calculus. Only these imports go the other
way:

- `pullback` sums and converts gradients with `ops`, which are declared through it, so it imports
  them when it runs.
- The rest are of types: a `Variable` has a `Node` and hooks, and names the class `Tensor`;
  observers get a `Variable`, a `Node` and an `Op`; `pullback` steps over a `Node`; a `Node` has
  hooks and an `Op`; `grad`, an `Op` and the operators return a `Tensor`.
"""

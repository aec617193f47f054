"""`compile`: a function's step, captured once and replayed from the declarations of its ops."""

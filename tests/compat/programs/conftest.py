"""Programs for PyTorch are no tests: `tests/compat/test_compat_programs.py` runs them."""

collect_ignore_glob = ["*.py"]

"""Files for type checkers alone: pytest does not import them."""

collect_ignore = ["mistakes.py", "user_code.py"]

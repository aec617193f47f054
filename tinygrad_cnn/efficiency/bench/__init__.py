"""The benchmark: ours and other frameworks by turns, from what is measured to tables and figure."""

"""Questions answered by measuring: the runner, and one file a question in `gallery`."""

"""The HTTP API, one router per file."""

"""Shared helpers: argument checks, text, atomic file writes and imports."""

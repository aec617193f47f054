"""Shared helpers: argument checks and atomic file writes."""

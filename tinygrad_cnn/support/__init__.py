"""Helpers without a home in one package: argument checks and atomic files."""

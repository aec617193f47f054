"""The version of the package, read by the build and written to runs and models."""

__version__ = "0.1.0"

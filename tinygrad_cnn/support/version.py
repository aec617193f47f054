"""The version of the package, read by the build and written to runs and models."""

__version__ = "0.2.0"

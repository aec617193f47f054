"""Other frameworks' names for this package's functions and layers."""

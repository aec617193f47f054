"""The HTTP interface, a router in each file."""

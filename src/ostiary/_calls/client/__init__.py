"""The client of an HTTP domain, but for its methods."""

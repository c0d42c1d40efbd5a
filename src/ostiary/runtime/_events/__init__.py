"""The runtime's events as they happen."""

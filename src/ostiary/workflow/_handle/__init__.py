"""A workflow that was submitted."""

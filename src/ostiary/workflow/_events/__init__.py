"""A workflow's events as they happen, taken up again where a connection was lost."""

"""Iteration over what comes in pages."""

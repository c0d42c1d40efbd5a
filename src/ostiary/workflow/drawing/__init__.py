"""Workflows, and how their tasks ended, as pictures."""

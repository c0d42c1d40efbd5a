"""Runs workflows: one task after the other, or several at once, with every step on file."""

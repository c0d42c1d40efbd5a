"""Bytes on their way out. Compiled code alone touches them."""

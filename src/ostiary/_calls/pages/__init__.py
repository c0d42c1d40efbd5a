"""Listings that come in pages, one item after the other."""

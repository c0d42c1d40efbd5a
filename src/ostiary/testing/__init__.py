"""Aids for testing programs that use this library; `plugin` is loaded by pytest itself."""

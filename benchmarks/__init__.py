"""Figures beside their floors and their peers, measured in one run: `python -m benchmarks`.

It judges them by gates.toml when asked to (`--gate`). README.md says how it measures. No test
depends on what it finds; the library never imports it.
"""

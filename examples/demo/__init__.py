"""200 agents against everything that is open, then one table: `python -m examples.demo`."""

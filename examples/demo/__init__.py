"""500 agents against everything that is open, then the figures: `python -m examples.demo`."""

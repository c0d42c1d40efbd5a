"""Results as they come, written once for both colours; `port` beside this does the waiting."""

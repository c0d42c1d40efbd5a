"""How many requests may be under way to an endpoint, learned from how it answers."""

"""May this be done: permissions, tiers of risk, and the people who are asked."""

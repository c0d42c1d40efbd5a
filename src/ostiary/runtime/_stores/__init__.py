"""The client's methods about what a runtime keeps: secrets and knowledge."""

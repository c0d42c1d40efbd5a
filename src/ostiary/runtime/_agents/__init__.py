"""The client's methods about agents, what they run, what they are told, and workflows."""

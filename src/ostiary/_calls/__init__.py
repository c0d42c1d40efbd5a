"""What the calls of the HTTP domains have in common: waiting, pages, and the types of both."""

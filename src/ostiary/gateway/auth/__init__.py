"""Proof of who is asking and of what a run may do: JWT-SVID and Transaction Token."""

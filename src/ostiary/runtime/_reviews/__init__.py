"""The client's methods about the review of tools: submit, follow, decide, sign."""

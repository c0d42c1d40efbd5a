"""`client.schedules` and `client.channels`."""

"""Waiting for a state: `pace` says when to ask again, `_async` asks."""

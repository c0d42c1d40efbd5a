"""The stream of one chat, in both colours: `_async.py` is written, `_sync.py` generated."""

"""Between a pool and one attempt: retries, credentials, hooks, refusals.

`_async.py` is the source; `_sync.py` is generated from it.
"""

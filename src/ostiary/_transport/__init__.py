"""Between the domains and the sockets: open, log in, call, retry, translate errors.

`_async.py` is the source; `_sync.py` is generated from it.
"""

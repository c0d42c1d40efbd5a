"""The only room that knows sockets, TLS and event loops.

`blocking` and `aio` are twins: same names, same meaning, hand-written. What both need stands
in `sockets` and `tls`. Nothing here knows a domain.
"""

"""HTTP inputs: listeners of their own, on which requests from outside reach agents.

`configuration` says what one is, `authorization` who may call it, `listener` serves it,
`endpoints` are the paths by which it is set up. Bound to loopback, whatever is asked.
"""

"""The HTTP side of the embedded control plane: sockets of ours, uvicorn's protocol, one front.

Every HTTP domain is served by these parts, so that the rules about hosts, origins, bodies
and tokens are written once. Needs the extra `dev`; imported by the domains when they start.
"""

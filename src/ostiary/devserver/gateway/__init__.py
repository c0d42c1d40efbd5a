"""The embedded gateway: models behind proof of identity, and the sidecar that hands it out.

Neighbour: `ostiary.devserver.server` starts it beside the vault. Needs the extra `dev`.
"""

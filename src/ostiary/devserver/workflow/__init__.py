"""The embedded workflow service: engine, gates, policy, approvals, telemetry.

Neighbour: `ostiary.devserver.server` starts it beside the vault.
"""

"""The agent runtime: agents, workflows, tool review, secrets, MCP, knowledge, DSL, metrics.

Speaks to Symbiont-compatible servers (docs/runtime.md); the names of their guide work here.
"""

"""The embedded agent runtime: agents, workflows, tool review, secrets, MCP, knowledge, DSL.

Neighbours: `ostiary.devserver.http` carries it; each of its groups is a class that `server`
lists.
"""

"""The runtime's MCP servers, which its callers add and connect; extra `mcp`.

`configuration` says what may be started, `servers` runs it, `endpoints` are the paths. Whoever
may add a server may run commands here: that is what the key is for.
"""

"""MCP servers as child processes, for every domain that runs some; extra `mcp`.

`process` is one process and its pipes, `child` starts it when it is needed. Nothing here knows
who may call what.
"""

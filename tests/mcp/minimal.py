"""An MCP server in a few lines, without the library, so that a test says what is wrong with it.

What a test adds to the text calls `serve`, with what answers a tool's call.
"""

from __future__ import annotations

SERVER = """
import json, os, signal, subprocess, sys, time

def say(id, **more):
    print(json.dumps({"jsonrpc": "2.0", "id": id, **more}), flush=True)

def serve(call=lambda name: None):
    for line in sys.stdin:
        asked = json.loads(line)
        method, id = asked["method"], asked.get("id")
        if method == "initialize":
            say(id, result={
                "protocolVersion": asked["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "bad", "version": "1"},
            })
        elif method == "tools/list":
            say(id, result={"tools": [{"name": "t", "inputSchema": {"type": "object"}}]})
        elif method == "tools/call":
            text = call(asked["params"]["name"])
            say(id, result={"content": [{"type": "text", "text": str(text)}]})
        elif id is not None:
            say(id, error={"code": -32601, "message": "Method not found"})
"""

"""`python -m benchmarks.embedded SOCKET [workflow]`: an embedded server as a case's server.

It is the runtime, or the workflow server. It has what the cases ask for, prints "ready PORT", and
ends when its standard input does. It listens on a port and on SOCKET, which is a link to where it
really listens.
"""

from __future__ import annotations

import os
import sys

from ostiary.devserver import RuntimeOptions, WorkflowKey, WorkflowOptions, running
from ostiary.runtime import RuntimeClient
from ostiary.secret import Secret

from .cases.exchange import KEY
from .recording import fill, steps


def _workflow() -> None:
    key = WorkflowKey(name="bench", roles=frozenset({"admin"}), token=Secret(KEY))
    options = WorkflowOptions(port=0, keys=(key,), tools=steps())
    with running(workflow=options) as server:
        os.symlink(server.workflow_socket, sys.argv[1])
        print("ready", server.workflow_url.rpartition(":")[2], flush=True)
        sys.stdin.read()


def main() -> int:
    if sys.argv[2:] == ["workflow"]:
        _workflow()
        return 0
    with running(runtime=RuntimeOptions(port=0, token=Secret(KEY))) as server:
        os.symlink(server.runtime_socket, sys.argv[1])
        with RuntimeClient(KEY, server.runtime_unix_url) as client:
            fill(client)
        print("ready", server.runtime_url.rpartition(":")[2].partition("/")[0], flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())

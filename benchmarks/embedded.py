"""`python -m benchmarks.embedded SOCKET`: the embedded runtime as a case's server.

It has what the cases ask for, prints "ready PORT", and ends when its standard input does. It
listens on a port and on SOCKET, which is a link to where it really listens.
"""

from __future__ import annotations

import os
import sys

from ostiary.devserver import RuntimeOptions, running
from ostiary.runtime import RuntimeClient
from ostiary.secret import Secret

from .cases.exchange import KEY
from .recording import fill


def main() -> int:
    with running(runtime=RuntimeOptions(port=0, token=Secret(KEY))) as server:
        os.symlink(server.runtime_socket, sys.argv[1])
        with RuntimeClient(KEY, server.runtime_unix_url) as client:
            fill(client)
        print("ready", server.runtime_url.rpartition(":")[2].partition("/")[0], flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())

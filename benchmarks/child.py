"""One run of one case, in the process that `rounds` started for it.

The order comes as one JSON argument, the sample leaves as one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import cast

from .sample import Sample, Unavailable, Work


def main() -> int:
    order = json.loads(sys.argv[1])
    if order["core"] is not None:
        os.sched_setaffinity(0, {order["core"]})
    module, _, name = order["function"].partition(":")
    found = getattr(importlib.import_module(f"{__package__}.cases.{module}"), name)
    run = cast("Callable[[Work], Sample]", found)
    try:
        print(json.dumps(asdict(run(Work(**order["work"])))))
    except Unavailable as reason:
        print(json.dumps({"unavailable": str(reason)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

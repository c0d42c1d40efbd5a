"""`ostiary env`: the variables of the running server's agent, for `eval` in a shell."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from .._decoders import decode_as
from ..errors import ConnectError, ProtocolError
from .session import Home, Json, home_directory, reporting

__all__ = ["env"]

_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
# They would lead an agent past the gateway, or to another one.
_UNSET: Final = ("SAGE_SANCTUM_ALLOW_DIRECT", "GATEWAY_SOCKET")
_SECONDS: Final = 5.0
_NEXT: Final = "start one with `ostiary dev`, or say with --home where it runs"

WorkDir = Annotated[
    Path | None,
    typer.Option(
        "--work-dir",
        metavar="DIR",
        help="What WORK_DIR is. Default: a directory in the home.",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="DIR",
        help="What OUTPUT_PATH is. Default: a directory in the home.",
        show_default=False,
    ),
]


def env(
    home: Home = None, work_dir: WorkDir = None, output: Output = None, json: Json = False
) -> None:
    """Print what an agent's environment needs, as `export` lines: eval "$(ostiary env)".

    Asks the auth sidecar of the `ostiary dev` that runs on this home. Nothing that is printed
    is secret: tokens are named by their files.

    Exit codes: 0 printed; 1 the answer makes no sense; 3 no gateway runs here.
    """
    with reporting(json) as screen:
        directory = home_directory(home)
        try:
            found = _asked(directory) | _beside(directory)
        except ConnectError as error:
            raise typer.Exit(screen.refuse(error, advice=_NEXT)) from None
        if work_dir is not None:
            found["WORK_DIR"] = str(work_dir.expanduser().absolute())
        if output is not None:
            found["OUTPUT_PATH"] = str(output.expanduser().absolute())
        if json:
            screen.document(found)
            return
        lines = [f"unset {name}" for name in _UNSET]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in found.items()]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        if screen.out.is_terminal:
            screen.note('a shell takes these with: eval "$(ostiary env)"')


def _asked(directory: Path) -> dict[str, str]:
    # Here, because --help and completion need none of it.
    from ..http import Pool

    path = directory / "sidecar.sock"
    with Pool(f"unix://{path}", timeout=_SECONDS, expected_uid=os.geteuid()) as pool:
        body = pool.request("GET", "/environment").read()
    try:
        found = decode_as(body, dict[str, str])
    except msgspec.DecodeError:
        found = {}
    if not found or not all(_NAME.fullmatch(name) for name in found):
        raise ProtocolError(f"what listens on {path} is no sidecar of `ostiary dev`; stop it")
    return found


def _beside(directory: Path) -> dict[str, str]:
    """Return how the other services on this home are found."""
    found = {"SANCTUM_VAULT_PATH": str(directory)}
    agents = [path.stem for path in (directory / "keys").glob("*.key")]
    if len(agents) == 1:  # who of several is meant nobody knows
        found["OSTIARY_VAULT_AGENT"] = agents[0]
    for domain in ("governance", "runtime", "workflow"):
        if (directory / f"{domain}.sock").exists():
            found[f"OSTIARY_{domain.upper()}_URL"] = f"unix://{directory / domain}.sock"
            if (directory / f"{domain}.token").exists():
                found[f"OSTIARY_{domain.upper()}_API_KEY_FILE"] = f"{directory / domain}.token"
    return found

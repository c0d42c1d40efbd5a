"""`ostiary config`: what a client would be made from, who says so, and how the domains are.

Shows no secret. Neighbour: `ostiary.client`, which decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ...errors import OstiaryError
from ..finding import Finding, ok
from ..screen import EXIT_FAILED, Screen
from ..session import Json, reporting

if TYPE_CHECKING:
    from ...client import Health, OstiaryConfig

__all__ = ["checks", "commands"]

commands = typer.Typer(
    name="config",
    help="What a client of all domains would be made from, and how they are.",
    no_args_is_help=True,
)

Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        "-p",
        metavar="NAME",
        help="A profile of the configuration file. Default: $OSTIARY_PROFILE, else `default`.",
        show_default=False,
    ),
]
File = Annotated[
    Path | None,
    typer.Option(
        "--config-file",
        metavar="FILE",
        help="The configuration file. Default: $OSTIARY_CONFIG, else "
        "~/.config/ostiary/config.toml.",
        show_default=False,
    ),
]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="For each domain.")
]

_DEFAULTS: Final = "(defaults)"


@commands.command("show")
def show(profile: Profile = None, config_file: File = None, json: Json = False) -> None:
    """Show every setting that is not a default, and where it is said.

    Keys are hidden; a reference to one, as `vault:path`, is shown. Nothing is connected.
    """
    with reporting(json) as screen:
        config = _config(profile, config_file)
        from ...client.config import config_path

        file = config_path(config_file)[0]
        found = config.below
        rows = list(_rows(config))
        if json:
            screen.document(
                {
                    "file": file if found is not None else None,
                    "profile": found.profile if found is not None else None,
                    "settings": [
                        dict(zip(("domain", "setting", "value", "source"), row, strict=True))
                        for row in rows
                    ],
                }
            )
            return
        screen.table(
            ["domain", "setting", "value", "said by"],
            rows,
            empty="nothing is configured; for a running `ostiary dev` this does it: "
            'eval "$(ostiary env)"',
            firm=("domain", "setting"),
        )
        if found is None or found.profile is None:
            screen.note(f"no profile is used; the file would be {file}")
        else:
            screen.note(f"profile {found.profile} of {found.file}")


@commands.command("check")
def check(
    profile: Profile = None,
    config_file: File = None,
    timeout: Timeout = 5.0,
    json: Json = False,
) -> None:
    """Ask every configured domain how it is, all at once.

    Exit codes: 0 all are well; 1 one is not, or none is configured.
    """
    with reporting(json) as screen:
        config = _config(profile, config_file)
        from ...client import Ostiary

        with Ostiary.from_config(config) as client:
            answers = client.check(timeout=timeout)
        if json:
            screen.document({name: _document(one) for name, one in answers.items()})
        else:
            _table(screen, answers)
    if not answers or not all(one.ok for one in answers.values()):
        raise typer.Exit(EXIT_FAILED)


def checks(home: Path, socket_path: Path) -> Iterator[Finding]:
    """Look at the configuration file; one that cannot be used raises `ConfigError`."""
    from ...client.config import config_path

    below = _config(None, None).below
    if below is None:
        yield ok("file", f"no profile is used; it would be in {config_path()[0]}")
    else:
        yield ok("file", f"{below.file}, profile {below.profile}")


def _config(profile: str | None, config_file: Path | None) -> OstiaryConfig:
    # Here, because --help and completion need none of it.
    from ...client import OstiaryConfig

    return OstiaryConfig.load(profile, config_file)


def _rows(config: OstiaryConfig) -> list[tuple[str, str, str, str]]:
    from ...client._layers import settings_of
    from ...client.sections import DOMAINS

    rows: list[tuple[str, str, str, str]] = []
    for domain in DOMAINS:
        try:
            said = settings_of(config, domain)
        except OstiaryError as error:
            rows.append((domain, "", error.message, ""))
            continue
        if said is None:
            continue
        if not said:
            rows.append((domain, _DEFAULTS, "", ""))
        rows += [(domain, name, said[name].shown(name), said[name].source) for name in sorted(said)]
    return rows


def _document(one: Health) -> dict[str, Any]:
    error = None
    if one.error is not None:
        error = {"type": type(one.error).__name__, "message": one.error.message}
    return {"ok": one.ok, "seconds": round(one.seconds, 6), "said": one.said, "error": error}


def _table(screen: Screen, answers: dict[str, Health]) -> None:
    screen.table(
        ["domain", "is", "ms", "says"],
        [
            (
                one.domain,
                "well" if one.error is None else "not well",
                f"{one.seconds * 1000:.1f}",
                one.said if one.error is None else one.error.message or type(one.error).__name__,
            )
            for one in answers.values()
        ],
        empty="nothing is configured; `ostiary config show` says where that is looked for",
        firm=("domain", "is", "ms"),
        right=("ms",),
    )

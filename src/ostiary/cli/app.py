"""The command tree: what belongs to no domain, and each domain's group below its name.

A command costs what is imported for it, so that the tree can be had with one branch alone.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Final

import typer

from .domains import DOMAINS, Domain
from .options import Version
from .screen import Screen
from .session import Json

__all__ = ["tree"]


def tree(branch: str | None = None) -> typer.Typer:
    """Return the commands, or of them only `branch`, when there is one of that name."""
    app = typer.Typer(
        name="ostiary",
        help="The doorkeeper: run a local control plane and look after what it keeps.",
        epilog="Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 no server reachable "
        "(governance: with `--exit-codes`); 130 interrupted.",
        no_args_is_help=True,
        # Paragraphs are filled, and what stands in backquotes is set apart.
        rich_markup_mode="markdown",
        # A traceback with locals would print secrets.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    growing = {branch: _BRANCHES[branch]} if branch in _BRANCHES else _BRANCHES
    for grow in growing.values():
        grow(app)
    return app


def _root(version: Version = False) -> None:
    pass


def show_version(json: Json = False) -> None:
    """Show the versions of ostiary and Python, and the platform."""
    from .. import __version__ as package_version

    if json:
        Screen(json=True).document(
            {
                "ostiary": package_version,
                "python": platform.python_version(),
                "platform": platform.platform(),
            }
        )
    else:
        print(f"ostiary {package_version}")
        print(f"Python {platform.python_version()} on {platform.platform()}")


def _dev(app: typer.Typer) -> None:
    from .dev import dev

    app.command("dev")(dev)


def _env(app: typer.Typer) -> None:
    from .env import env

    app.command("env")(env)


def _doctor(app: typer.Typer) -> None:
    from .doctor import doctor

    app.command("doctor")(doctor)


def _version(app: typer.Typer) -> None:
    app.command("version")(show_version)


def _fleet(app: typer.Typer) -> None:
    from . import fleet

    app.add_typer(fleet.commands, name="fleet")


def _of(domain: Domain) -> Callable[[typer.Typer], None]:
    return lambda app: app.add_typer(domain.commands, name=domain.name)


_BRANCHES: Final[dict[str, Callable[[typer.Typer], None]]] = {
    "dev": _dev,
    "env": _env,
    "doctor": _doctor,
    "version": _version,
    "fleet": _fleet,
    **{domain.name: _of(domain) for domain in DOMAINS},
}

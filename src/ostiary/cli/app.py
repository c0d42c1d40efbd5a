"""The command tree: what belongs to no domain, and each domain's group below its name.

A command costs what is imported for it, so that the tree can be had with one branch alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

import typer

from .domains import DOMAINS
from .options import Version

__all__ = ["tree"]

# Each is a module beside this one, with a function of the same name or with `commands`.
_COMMANDS: Final = ("dev", "env", "doctor", "version")
_GROUPS: Final = ("fleet", *(domain.name for domain in DOMAINS))


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
    names = (*_COMMANDS, *_GROUPS)
    for name in (branch,) if branch in names else names:
        module = import_module(f".{name}", __package__)
        if name in _COMMANDS:
            app.command(name)(getattr(module, name))
        else:
            app.add_typer(module.commands, name=name)
    return app


def _root(version: Version = False) -> None:
    pass

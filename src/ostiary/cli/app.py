"""The command tree: what belongs to no domain, and each domain's group below its name."""

from __future__ import annotations

import platform

import typer

from . import fleet
from .dev import dev
from .doctor import doctor
from .domains import DOMAINS
from .env import env
from .options import Version
from .screen import Screen
from .session import Json

__all__ = ["app"]

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


@app.callback()
def _root(version: Version = False) -> None:  # pyright: ignore[reportUnusedFunction]
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


app.command("dev")(dev)
app.command("env")(env)
app.command("doctor")(doctor)
app.command("version")(show_version)
app.add_typer(fleet.commands, name="fleet")
for domain in DOMAINS:
    app.add_typer(domain.commands, name=domain.name)

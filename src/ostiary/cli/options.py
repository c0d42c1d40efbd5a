"""Options that a group of commands shares, and that stand before or behind the command.

What stands behind wins. A domain says which options there are and what becomes of them; here
is how typer is told. Neighbours: the `session` of each domain that has such options.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, Concatenate, Final, Generic, ParamSpec, TypeVar, cast

import typer

from ..secret import Secret

__all__ = ["Version", "SharedOptions", "option", "server_options"]

P = ParamSpec("P")
S = TypeVar("S")


def _show(shown: bool) -> None:
    if shown:
        from .. import __version__

        print(f"ostiary {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_show, is_eager=True, help="Show the version."),
]
"""An option that shows the version and ends the command."""

_PANEL: Final = "Server and output"


def server_options(
    *, server: str, key: str, timeout: str, json: str, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the options of a client of an HTTP domain, for `SharedOptions`.

    `server`, `key` and `timeout` say what each is and its default, `json` what becomes of the
    output; `more` are others, by name.
    """
    return {
        "base_url": Annotated[str | None, option("--base-url", "-u", metavar="URL", help=server)],
        "api_key_file": Annotated[
            str | None,
            option(
                "--api-key-file",
                metavar="FILE",
                help=f"Read the API key from a file; - is stdin. Default: {key}.",
            ),
        ],
        "timeout": Annotated[
            float | None, option("--timeout", metavar="SECONDS", min=0.001, help=timeout)
        ],
        "json": Annotated[bool, option("--json", "-j", help=json)],
        **(more or {}),
    }


def option(*names: str, **about: Any) -> Any:
    """Return one of the options that stand together in the help, as typer describes it."""
    return typer.Option(*names, show_default=False, rich_help_panel=_PANEL, **about)


class SharedOptions(Generic[S]):
    """The options of one domain's commands.

    `annotations` are typer's, by name; those in `flags` are False unless given, the others
    None. `hidden` are kept as `Secret`. `session` makes of what was given what the command
    works on.
    """

    def __init__(
        self,
        annotations: Mapping[str, Any],
        session: Callable[[Mapping[str, Any]], AbstractContextManager[S]],
        *,
        flags: frozenset[str],
        hidden: frozenset[str],
    ) -> None:
        self._annotations = annotations
        self._session = session
        self._flags = flags
        self._hidden = hidden

    def add(self, group: typer.Typer, name: str, work: Callable[Concatenate[S, P], None]) -> None:
        """Add `work` to a group as a command that takes the shared options besides its own.

        Its first parameter is the session they describe; its docstring is the command's help.
        """
        own = list(inspect.signature(work, eval_str=True).parameters.values())[1:]

        def command(ctx: typer.Context, **given: Any) -> None:
            with self._session(self._keep(ctx, given)) as on:
                cast("Callable[..., None]", work)(on, **given)

        self._describe(command, own)
        command.__doc__ = work.__doc__
        group.command(name)(command)

    def take(self, group: typer.Typer, *, version: bool = False) -> None:
        """Let a group take the shared options, for the command that follows them."""

        def options(ctx: typer.Context, **given: Any) -> None:
            given.pop("version", None)
            self._keep(ctx, given)

        more = [_parameter("version", Version, False)] if version else []
        self._describe(options, more)
        group.callback()(options)

    def _describe(self, function: Callable[..., None], own: list[inspect.Parameter]) -> None:
        """Tell typer the parameters of a function that takes them by name, whatever they are."""
        shared = [
            _parameter(name, kind, False if name in self._flags else None)
            for name, kind in self._annotations.items()
        ]
        context = inspect.Parameter(
            "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        )
        parameters = [context, *own, *shared]
        function.__annotations__ = {one.name: one.annotation for one in parameters}
        cast(Any, function).__signature__ = inspect.Signature(
            [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
        )

    def _keep(self, ctx: typer.Context, given: dict[str, Any]) -> dict[str, Any]:
        """Move the shared options that were given into the context, over those given before."""
        kept = cast("dict[str, Any]", ctx.ensure_object(dict))
        for name in self._annotations:
            value = given.pop(name, None)
            if value is not None and value is not False:
                # A key is hidden before anything can go wrong beside it.
                kept[name] = Secret(value) if name in self._hidden else value
        return kept


def _parameter(name: str, annotation: Any, default: object) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )

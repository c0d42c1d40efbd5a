"""`health` and `token`: whether the gateway answers, and what the tokens claim."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

import msgspec
import typer
from rich.text import Text

from ..screen import EXIT_UNREACHABLE, Screen, ago
from .session import ExitCodes, Json, session

if TYPE_CHECKING:
    from ...gateway.auth.trat import TransactionToken

__all__ = ["register"]

_HEALTH_SECONDS: Final = 5.0
# Of an SVID these are shown; whatever else an issuer put into it stays there.
_SHOWN: Final = ("sub", "aud", "iss", "iat", "exp")


def register(commands: typer.Typer) -> None:
    """Add these commands to the domain's group."""
    commands.command("health")(health)
    commands.command("token")(token)


def health(
    timeout: Annotated[
        float,
        typer.Option("--timeout", metavar="SECONDS", min=0.001, help="How long to wait."),
    ] = _HEALTH_SECONDS,
    json: Json = False,
    exit_codes: ExitCodes = False,
) -> None:
    """Ask the gateway whether it serves; needs no valid token. Exits 3 when it does not."""
    with session(json, exit_codes) as on:
        from ...gateway import ConfigurationError, GatewayClient

        if not on.access.is_gateway_mode:
            raise ConfigurationError(
                "models are called directly here, and no gateway is named; unset "
                "SAGE_SANCTUM_ALLOW_DIRECT"
            )
        endpoint = on.access.get_endpoint("openai")
        began = time.perf_counter()
        with GatewayClient(on.access, timeout=timeout, max_retries=0) as client:
            healthy = client.health()
        milliseconds = (time.perf_counter() - began) * 1000
        if json:
            on.screen.document(
                {
                    "healthy": healthy,
                    "endpoint": endpoint,
                    "latency_ms": round(milliseconds, 1) if healthy else None,
                }
            )
        elif healthy:
            print(f"{endpoint} serves ({milliseconds:.0f} ms)")
        else:
            on.screen.note(f"{endpoint} does not serve; start it, or correct LLM_GATEWAY_SOCKET")
    if not healthy:
        raise typer.Exit(EXIT_UNREACHABLE)


def token(
    which: Annotated[
        Literal["trat", "svid"] | None,
        typer.Argument(
            metavar="TOKEN",
            help="`trat`, the Transaction Token alone, or `svid`.",
            show_default=False,
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="Print the token itself, by default the Transaction Token. Whoever has it can "
            "act as this run until it expires.",
        ),
    ] = False,
    json: Json = False,
    exit_codes: ExitCodes = False,
) -> None:
    """Show what the tokens of this environment claim, and until when; never the tokens.

    Nothing is verified: that is the gateway's part.
    """
    with session(json, exit_codes) as on:
        if raw:
            from ...gateway import ConfigurationError

            credentials = on.access.get_credentials()
            if not credentials.trat:
                raise ConfigurationError("there are no tokens in direct mode")
            sys.stdout.write(f"{credentials.spiffe_jwt if which == 'svid' else credentials.trat}\n")
            return
        found: dict[str, Any] = {}
        if which != "trat":
            found["svid"] = _svid(on.access.get_credentials().spiffe_jwt)
        if which != "svid":
            trat = on.access.get_trat()
            found["trat"] = None if trat is None else _trat(trat)
        if json:
            on.screen.document(found)
            return
        for name, claims in found.items():
            _show(on.screen, name, claims)


def _svid(text: str) -> dict[str, Any] | None:
    """Return an SVID's claims; it was read by the access object, so it can be read here."""
    import base64

    if not text:
        return None
    payload = text.split(".")[1]
    claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {name: claims.get(name) for name in _SHOWN if name in claims}


def _trat(trat: TransactionToken) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.to_builtins(
        {name: getattr(trat, name) for name in trat.__struct_fields__ if name != "token"}
    )
    return members


def _show(screen: Screen, name: str, claims: Mapping[str, Any] | None) -> None:
    title = {"svid": "JWT-SVID, who is asking", "trat": "Transaction Token, what it may do"}[name]
    screen.out.print(Text(title, "bold"))
    if claims is None:
        screen.out.print("  none, as in direct mode")
        return
    rows: dict[str, object] = {}
    for key, value in claims.items():
        _flatten(rows, key, value)
    screen.facts({f"  {key}": value for key, value in rows.items()})


def _flatten(rows: dict[str, object], key: str, value: object) -> None:
    if isinstance(value, Mapping):
        for inner, more in cast("Mapping[str, object]", value).items():
            _flatten(rows, f"{key}.{inner}", more)
    elif key in {"iat", "exp"} and isinstance(value, (int, float)):
        moment = datetime.fromtimestamp(value, UTC)
        rows[key] = f"{moment:%Y-%m-%d %H:%M:%S} UTC, {ago(moment)}"
    elif isinstance(value, (list, tuple)):
        if value:
            rows[key] = ", ".join(str(one) for one in cast("list[object]", value))
    elif value not in ("", None):
        rows[key] = value

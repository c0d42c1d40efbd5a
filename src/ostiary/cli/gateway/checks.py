"""The gateway part of `ostiary doctor`: what the environment asks for, its tokens, its answer.

Only looks, and shows no token.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...errors import OstiaryError
from ..finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from ...gateway import GatewayAccess

__all__ = ["checks"]

_VARIABLES: Final = (
    "SPIFFE_JWT_PATH",
    "TRAT_FILE",
    "AUTH_SIDECAR_SOCKET",
    "LLM_GATEWAY_SOCKET",
    "SAGE_SANCTUM_ALLOW_DIRECT",
)
_SECONDS: Final = 2.0
_ENVIRONMENT: Final = '`eval "$(ostiary env)"` sets what a running `ostiary dev` has'


def checks(home: Path, socket_path: Path) -> Iterator[Finding]:
    """Look at what an agent started here would find."""
    if not any(os.environ.get(name) for name in _VARIABLES):
        socket = home / "gateway.sock"
        found = "not set up in this environment"
        if socket.exists():
            found += f"; there is one at {socket}, and {_ENVIRONMENT}"
        yield ok("gateway", found)
        return
    from ...gateway import access_from_environment

    try:
        access = access_from_environment()
        endpoint = access.get_endpoint("openai")
    except OstiaryError as error:
        yield fail("gateway", error.message, _ENVIRONMENT)
        return
    if not access.is_gateway_mode:
        yield warn(
            "gateway",
            "models are called directly, with API keys and no token",
            "unset SAGE_SANCTUM_ALLOW_DIRECT where agents run in production",
        )
        return
    yield _tokens(access)
    yield _answer(access, endpoint)


def _tokens(access: GatewayAccess) -> Finding:
    from ..screen import ago

    try:
        access.get_credentials()
        trat = access.get_trat()
    except OstiaryError as error:
        return fail("tokens", error.message, _ENVIRONMENT)
    if trat is None:
        return ok("tokens", "the SVID can be sent; nothing limits this run")
    from datetime import UTC, datetime

    until = ago(datetime.fromtimestamp(trat.exp, UTC))
    return ok("tokens", f"both can be sent; the Transaction Token expires {until}")


def _answer(access: GatewayAccess, endpoint: str) -> Finding:
    from ...gateway import GatewayClient

    with GatewayClient(access, timeout=_SECONDS, max_retries=0) as client:
        if client.health():
            return ok("its answer", f"{endpoint} serves")
    return fail(
        "its answer", f"{endpoint} does not serve", "start it, or correct LLM_GATEWAY_SOCKET"
    )

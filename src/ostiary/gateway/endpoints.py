"""Where tokens and keys may be sent: Unix sockets, TLS, and this machine.

Decides by the name alone and opens nothing. What it refuses it does not repeat: a URL may hold
a password.
"""

from __future__ import annotations

import os

from ..config import BaseUrl, UnixAddress, parse_address, parse_base_url
from ..errors import InvalidArgumentError
from .errors import ConfigurationError

__all__ = ["safe_endpoint", "socket_url", "unsafe"]


def unsafe(what: str, url: str) -> str | None:
    """Return what is wrong with sending proofs to `url`, or None; `what` names it.

    Wrong is a URL that cannot be read, and plain http to another machine.
    """
    try:
        base = parse_base_url(url)
    except InvalidArgumentError as error:
        return f"{what} cannot be used: {error}"
    if not base.in_clear:
        return None
    return (
        f"{what} cannot be used: plain http to {base.host} would show tokens and keys to whoever "
        "listens on the way; use https://, or a socket"
    )


def safe_endpoint(what: str, url: str) -> str:
    """Return `url` without slashes at its end; raise `ConfigurationError` when it is `unsafe`."""
    if problem := unsafe(what, url):
        del url
        raise ConfigurationError(problem)
    return url.rstrip("/")


def socket_url(path: str | os.PathLike[str]) -> str:
    """Return the URL of a Unix socket; raise `ConfigurationError` for what cannot be one."""
    text = os.fspath(path)
    try:
        if text.startswith(("unix://", "http+unix://")):
            address = parse_base_url(text).address
        else:
            address = parse_address(os.path.expanduser(text) if text[:1] in "/~." else f"./{text}")
    except InvalidArgumentError as error:
        problem = str(error)
    else:
        assert isinstance(address, UnixAddress)
        plain = f"unix://{address.path}"
        # A path with a mark that URLs give a meaning to travels percent-encoded.
        return plain if not set("?#") & set(plain) else str(BaseUrl(address, "localhost"))
    raise ConfigurationError(f"the gateway's socket cannot be used: {problem}")

"""Which groups of operations a server has, told by how it refuses what it has not.

A server that lacks a group answers 404, 405 or 501 to its paths, and so does one that has no
thing of the id that was asked for. The body tells them apart: a path that nobody serves has
no code of its own. Sends nothing; `supports` of the client asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

import msgspec

from .._decoders import decoder_of
from .._route import FailedReply, Route
from ..errors import OstiaryError
from .errors import FeatureNotAvailableError, refusal, refusal_without_echo

__all__ = ["FEATURES", "Feature", "lacking", "says_no_such_path"]


class Feature(NamedTuple):
    """A group, and how to find out whether a server has it."""

    probe: Route[None]
    query: Mapping[str, int] | None = None
    served_if_405: bool = True
    """Whether a wrong verb there shows that the group is served."""


def _probe(path: str, *, served_if_405: bool = True, paged: bool = False) -> Feature:
    query = {"page": 1, "limit": 1} if paged else None
    return Feature(Route("GET", path, None, fail=refusal), query, served_if_405)


# Behind `served_if_405=False`: a server without that group reads the path as something's id.
FEATURES: Final[Mapping[str, Feature]] = MappingProxyType(
    {
        "approvals": _probe("/approvals"),
        "channels": _probe("/channels"),
        "deployments": _probe("/agents/deployments", served_if_405=False),
        "dsl": _probe("/dsl/compile"),
        "executions": _probe("/workflows/executions", served_if_405=False, paged=True),
        "http_input": _probe("/http-input/servers"),
        "knowledge": _probe("/knowledge", paged=True),
        "mcp": _probe("/mcp/servers"),
        "prometheus": _probe("/metrics/prometheus", served_if_405=False),
        "reviews": _probe("/tool-review/sessions", paged=True),
        "schedules": _probe("/schedules"),
        "secrets": _probe("/secrets/config"),
    }
)
"""By the names that `supports` takes."""


class _Spoken(msgspec.Struct):
    code: Any = None
    error: Any = None


_spoken: Final = decoder_of(_Spoken).decode

# What servers say of a path that they do not know, where they say anything.
_NO_PATH: Final = frozenset({"NOT_FOUND", "ROUTE_NOT_FOUND", "PATH_NOT_FOUND", "NO_SUCH_PATH"})


def says_no_such_path(reply: FailedReply, *, ids: bool) -> bool:
    """Whether a refusal says that nobody serves the path; with `ids`, the path has some."""
    if reply.status in {405, 501}:
        return True
    if reply.status != 404:
        return False
    try:
        said = _spoken(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True  # nothing, plain text, a page for people
    code, error = said.code, said.error
    if code is None and isinstance(error, dict):
        code = cast("dict[str, Any]", error).get("code")
    if code is None:
        return error is None
    # The bare word fits both, so that it counts only where nothing was named.
    return not ids and code in _NO_PATH


def lacking(
    title: str, *, ids: bool, quotes_secrets: bool = False
) -> Callable[[FailedReply], OstiaryError]:
    """Return the `fail` of a route whose group a server may not have.

    `quotes_secrets` keeps nothing of what a server says to a request that carried a secret.
    """
    plain = refusal_without_echo if quotes_secrets else refusal

    def fail(reply: FailedReply) -> OstiaryError:
        if not says_no_such_path(reply, ids=ids):
            return plain(reply)
        error = FeatureNotAvailableError(
            f"{reply.endpoint}: this server has no {title}, it says {reply.status}; check the "
            "base URL, or use a server that has"
        )
        error.__dict__.update(plain(reply).__dict__)
        error.feature = title
        return error

    return fail

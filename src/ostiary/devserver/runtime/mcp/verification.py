"""Whether a server's tool is one that was reviewed here and signed.

Its name, description and schema must be those of a signed tool, and the signature over that
tool must hold under the key that this runtime keeps. Neighbour: the tool review's `sessions`.
"""

from __future__ import annotations

from typing import Any, final

from ....errors import OstiaryError
from ....runtime.signatures import verify_tool
from ...http.refusals import HttpRefusal
from ..context import Context
from ..review.endpoints import Reviews
from ..review.tools import normal_tool

__all__ = ["Verification"]

_COMPARED = ("name", "description", "schema")


@final
class Verification:
    """Asks the tool review of the same runtime."""

    def __init__(self, context: Context) -> None:
        self._reviews = context.group(Reviews)

    def mark(self, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the tools with `verified` as it is now: a review may have ended since."""
        signed: dict[str, list[str]] = {}
        for review in self._reviews.sessions.newest("signed"):
            signed.setdefault(review.tool["name"], []).append(review.review_id)
        return [
            {**tool, "verified": any(self._is(tool, one) for one in signed.get(tool["name"], ()))}
            for tool in tools
        ]

    def _is(self, tool: dict[str, Any], review_id: str) -> bool:
        provider = {"name": tool["server_name"]}  # who offers it is no part of what it is
        try:
            found = self._reviews.sessions.signed(review_id)
            offered = normal_tool(
                {**{name: tool[name] for name in _COMPARED}, "provider": provider}
            )
            if any(offered[name] != found["tool"][name] for name in _COMPARED):
                return False
            key = self._reviews.keys.require(found["signer_id"])
            verify_tool(found, key.view()["public_key"])
        except (HttpRefusal, OstiaryError):
            return False
        return True

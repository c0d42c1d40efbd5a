"""What `--demo` brings: the guide's review, analysed and approved, and its signing key.

Neighbour: `endpoints` loads it once into a home.
"""

from __future__ import annotations

from typing import Any, Final

from .keys import SigningKeys
from .sessions import Sessions

__all__ = ["load"]

_REVIEW: Final = "review-123"
_KEY: Final = "key-456"
# A tool that is worth reading about: useful, and with an address that anybody may choose.
_TOOL: Final[dict[str, Any]] = {
    "name": "page-reader",
    "description": "Fetches a web page and returns its text.",
    "schema": {
        "type": "object",
        "properties": {
            "url": {"type": "string", "format": "uri", "description": "The page to fetch."},
            "max_characters": {"type": "integer", "minimum": 1, "maximum": 20_000},
            "headings": {"type": "array", "items": {"type": "string", "maxLength": 200}},
        },
        "required": ["url"],
        "additionalProperties": False,
    },
    "provider": {
        "name": "example-provider",
        "public_key_url": "https://example.com/pubkey.pem",
    },
}


def load(sessions: Sessions, keys: SigningKeys) -> None:
    """Put in what is not there yet."""
    if keys.usable and not any(one.key_id == _KEY for one in keys.all()):
        keys.create(_KEY)
    if _REVIEW not in sessions:
        review = sessions.submit(_TOOL, "developer@example.com", review_id=_REVIEW)
        sessions.analyse_now(review)
        sessions.decide(
            _REVIEW, "approve", "reviewer@example.com", "Tool looks safe after manual review"
        )

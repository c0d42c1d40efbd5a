"""Where the governance server is and how its client behaves: argument, environment, default.

Reads the file of an API key when it is asked to, and opens no connection.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from .. import _api_key
from .._api_key import Hidden, Reference
from .._settings import HttpSettings
from ..config import IDLE_TIMEOUT, MAX_CONNECTIONS, MAX_RETRIES, TIMEOUT
from ..secret import Secret
from .errors import FAMILY, HestiaArgumentError

__all__ = [
    "API_KEY",
    "API_KEY_FILE",
    "DEFAULT_URL",
    "IDLE_TIMEOUT",
    "MAX_CONNECTIONS",
    "MAX_RETRIES",
    "TIMEOUT",
    "URL",
    "VARIABLES",
    "GovernanceSettings",
    "read_key_file",
]

DEFAULT_URL: Final = "http://localhost:8000"

URL: Final = "OSTIARY_GOVERNANCE_URL"
API_KEY: Final = "OSTIARY_GOVERNANCE_API_KEY"
API_KEY_FILE: Final = "OSTIARY_GOVERNANCE_API_KEY_FILE"

VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "base_url": (URL,),
    "api_key": (API_KEY, API_KEY_FILE),
}
"""Which variables say what an argument leaves out, the first that is set."""


class GovernanceSettings(HttpSettings, frozen=True, kw_only=True):
    """Everything a governance client is made from. Times are seconds, None is no limit."""

    strict: bool

    family: ClassVar[Mapping[Any, Any]] = FAMILY

    @staticmethod
    def user_agent() -> str:
        """Name this client as the protocol has it; asked for with the first request."""
        import ostiary

        return f"hestiaos-sdk/{ostiary.__version__}"

    @classmethod
    def resolve(
        cls, base_url: str | None, api_key: Hidden, *, strict: bool, **more: Any
    ) -> GovernanceSettings:
        """Fill in what was not given; raise `HestiaArgumentError` for what cannot be meant.

        An empty `api_key` stands for none at all. `more` are the other members; a pool checks
        them.
        """
        if api_key is None:
            api_key = cls.key_of_environment()
        api_key = _api_key.usable(api_key, HestiaArgumentError)
        return cls(
            base_url=base_url if base_url is not None else os.environ.get(URL) or DEFAULT_URL,
            api_key=api_key or None,
            strict=bool(strict),
            **more,
        )

    @staticmethod
    def key_of_environment() -> Secret | Reference | None:
        """Return the API key that the environment has; None when it has none."""
        return _api_key.read_key(API_KEY, API_KEY_FILE, HestiaArgumentError)


def read_key_file(path: str | os.PathLike[str]) -> Secret:
    """Read an API key from a file of one line.

    Raises `HestiaArgumentError` for a file that is not there, is no regular file, holds
    anything but one line of printable ASCII, or belongs to this user and lets others read it.
    """
    return _api_key.read_key_file(path, HestiaArgumentError)

"""Where the workflow server is and how its client behaves: argument, environment, default.

Reads the file of an API key when it is asked to, and opens no connection.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from .. import _api_key
from .._api_key import Hidden, Reference
from .._settings import HttpSettings
from ..config import IDLE_TIMEOUT, MAX_CONNECTIONS, MAX_RETRIES
from ..secret import Secret
from .errors import FAMILY, InvalidArgumentError

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
    "WorkflowSettings",
    "read_key_file",
]

DEFAULT_URL: Final = "http://localhost:3000"
TIMEOUT: Final = 30.0
"""Seconds that the guide gives a call."""

URL: Final = "OSTIARY_WORKFLOW_URL"
API_KEY: Final = "OSTIARY_WORKFLOW_API_KEY"
API_KEY_FILE: Final = "OSTIARY_WORKFLOW_API_KEY_FILE"

VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "base_url": (URL,),
    "api_key": (API_KEY, API_KEY_FILE),
}
"""Which variables say what an argument leaves out, the first that is set."""


class WorkflowSettings(HttpSettings, frozen=True, kw_only=True):
    """Everything a workflow client is made from. Times are seconds, None is no limit.

    With `validate`, a workflow's graph is checked before it is sent.
    """

    timeout: float | None = TIMEOUT
    validate: bool = True

    family: ClassVar[Mapping[Any, Any]] = FAMILY

    @classmethod
    def resolve(cls, base_url: str | None, api_key: Hidden, **more: Any) -> WorkflowSettings:
        """Fill in what was not given; raise `InvalidArgumentError` for what cannot be meant.

        An empty `api_key` stands for none at all. `more` are the other members; a pool checks
        them.
        """
        if api_key is None:
            api_key = cls.key_of_environment()
        api_key = _api_key.usable(api_key, InvalidArgumentError)
        return cls(
            base_url=base_url if base_url is not None else os.environ.get(URL) or DEFAULT_URL,
            api_key=api_key or None,
            **more,
        )

    @staticmethod
    def key_of_environment() -> Secret | Reference | None:
        """Return the API key that the environment has; None when it has none."""
        return _api_key.read_key(API_KEY, API_KEY_FILE, InvalidArgumentError)


def read_key_file(path: str | os.PathLike[str]) -> Secret:
    """Read an API key from a file of one line.

    Raises `InvalidArgumentError` for a file that is not there, is no regular file, holds
    anything but one line of printable ASCII, or belongs to this user and lets others read it.
    """
    return _api_key.read_key_file(path, InvalidArgumentError)

"""Where the governance server is and how its client behaves: argument, environment, default.

Reads the file of an API key when it is asked to, and opens no connection.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..config import IDLE_TIMEOUT, MAX_CONNECTIONS, MAX_RETRIES, TIMEOUT, Limits
from ..secret import Secret
from .errors import FAMILY, HestiaArgumentError

if TYPE_CHECKING:
    import ssl

    from ..http.hooks import RequestInfo, ResponseInfo, RetryInfo
    from ..http.settings import Parser

__all__ = [
    "API_KEY",
    "API_KEY_FILE",
    "DEFAULT_URL",
    "IDLE_TIMEOUT",
    "MAX_CONNECTIONS",
    "MAX_RETRIES",
    "TIMEOUT",
    "URL",
    "GovernanceSettings",
    "hidden",
    "read_key_file",
]

DEFAULT_URL: Final = "http://localhost:8000"

URL: Final = "OSTIARY_GOVERNANCE_URL"
API_KEY: Final = "OSTIARY_GOVERNANCE_API_KEY"
API_KEY_FILE: Final = "OSTIARY_GOVERNANCE_API_KEY_FILE"

_LONGEST_KEY: Final = 16 * 1024


class GovernanceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a governance client is made from. Times are seconds, None is no limit."""

    base_url: str
    api_key: Secret | None
    strict: bool
    timeout: float | None = TIMEOUT
    max_retries: int = MAX_RETRIES
    idle_timeout: float | None = IDLE_TIMEOUT
    max_connections: int = MAX_CONNECTIONS
    limits: Limits | None = None
    parser: Parser | None = None
    expected_uid: int | None = None
    ssl_context: ssl.SSLContext | None = None
    on_request: Callable[[RequestInfo], object] | None = None
    on_response: Callable[[ResponseInfo], object] | None = None
    on_retry: Callable[[RetryInfo], object] | None = None

    @classmethod
    def resolve(
        cls, base_url: str | None, api_key: Secret | None, *, strict: bool, **more: Any
    ) -> GovernanceSettings:
        """Fill in what was not given; raise `HestiaArgumentError` for what cannot be meant.

        An empty `api_key` stands for none at all. `more` are the other members; a pool checks
        them.
        """
        if api_key is None:
            api_key = _key_of_environment()
        elif api_key and (problem := _problem(api_key)):
            raise HestiaArgumentError(f"api_key {problem}")
        return cls(
            base_url=base_url if base_url is not None else os.environ.get(URL) or DEFAULT_URL,
            api_key=api_key or None,
            strict=bool(strict),
            **more,
        )

    def pool_arguments(self) -> dict[str, Any]:
        """Return what a pool is made with, beside the base URL; the key is hidden in it."""
        key = self.api_key
        return {
            "headers": None
            if key is None
            else {"Authorization": Secret(b"Bearer " + key.reveal_bytes())},
            "user_agent": user_agent,
            "timeout": self.timeout,
            "idle_timeout": self.idle_timeout,
            "max_retries": self.max_retries,
            "max_connections": self.max_connections,
            "limits": self.limits,
            "parser": self.parser,
            "ssl_context": self.ssl_context,
            "expected_uid": self.expected_uid,
            "on_request": self.on_request,
            "on_response": self.on_response,
            "on_retry": self.on_retry,
            "family": FAMILY,
        }

    def portable(self) -> GovernanceSettings:
        """Return a copy that may be pickled: without key, TLS context and hooks."""
        return msgspec.structs.replace(
            self, api_key=None, ssl_context=None, on_request=None, on_response=None, on_retry=None
        )

    def arrived(self) -> GovernanceSettings:
        """Return a copy for where it was unpickled: with the API key of the environment there."""
        return msgspec.structs.replace(self, api_key=_key_of_environment())


def user_agent() -> str:
    """Name this client as the protocol has it."""
    # Asked for with the first request: the version costs 40 ms in a process that has it not.
    import ostiary

    return f"hestiaos-sdk/{ostiary.__version__}"


def read_key_file(path: str | os.PathLike[str]) -> Secret:
    """Read an API key from a file of one line.

    Raises `HestiaArgumentError` for a file that is not there, is no regular file, holds
    anything but one line of printable ASCII, or belongs to this user and lets others read it.
    """
    name = os.fspath(path)
    key: Secret | None = None
    problem: str | None
    try:
        name = os.path.expanduser(name)
        with open(name, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                problem = "is not a regular file"
            elif found.st_uid == os.geteuid() and found.st_mode & 0o077:
                # Files of another owner are mounted so, and not ours to change.
                problem = f"can be read by others; run: chmod 600 {name}"
            else:
                key = Secret(file.read(_LONGEST_KEY + 1).strip())
                problem = _problem(key)
    except OSError as error:
        problem = f"cannot be read: {error.strerror or type(error).__name__}"
    except ValueError:
        problem = "is no path of this system"
    if problem is None and key is not None:
        return key
    raise HestiaArgumentError(f"the API key file {name} {problem}")


def hidden(value: object) -> Secret | None:
    """Return an API key as a Secret; the first thing a constructor does with it.

    A traceback records the locals of every frame that raises.
    """
    if value is None or isinstance(value, Secret):
        return value
    if isinstance(value, str):
        # What cannot be encoded is refused where it can no longer be seen.
        return Secret(value.encode("utf-8", "surrogatepass"))
    kind = type(value).__name__
    del value
    raise HestiaArgumentError(f"api_key is a str or a Secret, not {kind}")


def _key_of_environment() -> Secret | None:
    if os.environ.get(API_KEY):
        key = Secret(os.environ[API_KEY].strip())
        if problem := _problem(key):
            raise HestiaArgumentError(f"environment variable {API_KEY} {problem}")
        return key
    path = os.environ.get(API_KEY_FILE)
    return read_key_file(path) if path else None


def _problem(key: Secret) -> str | None:
    """Say what keeps a key out of a header, without saying what it is."""
    content = key.reveal_bytes()
    if not content:
        return "is empty"
    if len(content) > _LONGEST_KEY:
        return f"is longer than {_LONGEST_KEY} bytes"
    if not all(0x21 <= byte <= 0x7E for byte in content):
        return "is not one line of printable ASCII without blanks"
    return None

"""What the client of an HTTP domain is made from, and how its API key is handled.

A key is hidden before anything else is done with it, judged without being shown, and read
from a file that nobody else can read. Opens no connection.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from .config import IDLE_TIMEOUT, MAX_CONNECTIONS, MAX_RETRIES, TIMEOUT, Limits
from .errors import OstiaryError
from .secret import Secret

if TYPE_CHECKING:
    import ssl
    from typing import Self

    from .http.hooks import RequestInfo, ResponseInfo, RetryInfo
    from .http.settings import Parser

__all__ = ["HttpSettings", "Refuse", "hidden", "key_problem", "read_key", "read_key_file"]

Refuse = Callable[[str], OstiaryError]
"""Makes the domain's error for a setting that cannot be meant."""

_LONGEST_KEY: Final = 16 * 1024


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that all of them have. Times are seconds, None is no limit."""

    base_url: str
    api_key: Secret | None
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

    family: ClassVar[Mapping[Any, Any]] = {}
    """The domain's class for each shared error."""

    @staticmethod
    def key_of_environment() -> Secret | None:
        """Return the API key that the environment has; None when it has none."""
        return None

    @staticmethod
    def user_agent() -> str:
        """Return what the client calls itself; asked for with the first request."""
        import ostiary

        return f"ostiary/{ostiary.__version__}"

    def pool_arguments(self) -> dict[str, Any]:
        """Return what a pool is made with, beside the base URL; the key is hidden in it."""
        key = self.api_key
        return {
            "headers": None
            if key is None
            else {"Authorization": Secret(b"Bearer " + key.reveal_bytes())},
            "user_agent": self.user_agent,
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
            "family": self.family,
        }

    def portable(self) -> Self:
        """Return a copy that may be pickled: without key, TLS context and hooks."""
        return msgspec.structs.replace(
            self, api_key=None, ssl_context=None, on_request=None, on_response=None, on_retry=None
        )

    def arrived(self) -> Self:
        """Return a copy for where it was unpickled: with the API key of the environment there."""
        return msgspec.structs.replace(self, api_key=self.key_of_environment())


def hidden(value: object, refuse: Refuse) -> Secret | None:
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
    raise refuse(f"api_key is a str or a Secret, not {kind}")


def key_problem(key: Secret) -> str | None:
    """Say what keeps a key out of a header, without saying what it is; None: nothing does."""
    content = key.reveal_bytes()
    if not content:
        return "is empty"
    if len(content) > _LONGEST_KEY:
        return f"is longer than {_LONGEST_KEY} bytes"
    if not all(0x21 <= byte <= 0x7E for byte in content):
        return "is not one line of printable ASCII without blanks"
    return None


def read_key(name: str, file_name: str, refuse: Refuse) -> Secret | None:
    """Return the key that the environment has under `name`, or in the file it names; or None."""
    if os.environ.get(name):
        key = Secret(os.environ[name].encode("utf-8", "surrogateescape").strip())
        if problem := key_problem(key):
            raise refuse(f"environment variable {name} {problem}")
        return key
    path = os.environ.get(file_name)
    return read_key_file(path, refuse) if path else None


def read_key_file(path: str | os.PathLike[str], refuse: Refuse) -> Secret:
    """Read an API key from a file of one line.

    Refuses a file that is not there, is no regular file, holds anything but one line of
    printable ASCII, or belongs to this user and lets others read it.
    """
    name = os.fspath(path)
    key: Secret | None = None
    problem: str | None
    try:
        name = os.path.expanduser(name)
        # A pipe that nobody writes to is not waited for.
        with open(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                problem = "is not a regular file"
            elif found.st_uid == os.geteuid() and found.st_mode & 0o077:
                # Files of another owner are mounted so, and not ours to change.
                problem = f"can be read by others; run: chmod 600 {name}"
            else:
                key = Secret(file.read(_LONGEST_KEY + 1).strip())
                problem = key_problem(key)
    except OSError as error:
        problem = f"cannot be read: {error.strerror or type(error).__name__}"
    except ValueError:
        problem = "is no path of this system"
    if problem is None and key is not None:
        return key
    raise refuse(f"the API key file {name} {problem}")

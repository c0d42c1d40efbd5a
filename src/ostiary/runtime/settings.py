"""Where the runtime is and how its client behaves: argument, environment, `.env`, default.

Reads a `.env` file and the file of an API key when a client is made, and opens no connection.
"""

from __future__ import annotations

import math
import os
import stat
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from ..config import (
    IDLE_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_RETRIES,
    TIMEOUT,
    BaseUrl,
    Limits,
    TcpAddress,
    parse_base_url,
)
from ..errors import InvalidArgumentError as SharedInvalidArgumentError
from ..secret import Secret
from . import _dotenv
from .errors import FAMILY, ConfigurationError

if TYPE_CHECKING:
    import ssl

    from ..http.hooks import RequestInfo, ResponseInfo, RetryInfo
    from ..http.settings import Parser

__all__ = [
    "DEFAULT_URL",
    "IDLE_TIMEOUT",
    "MAX_CONNECTIONS",
    "MAX_RETRIES",
    "TIMEOUT",
    "RuntimeSettings",
    "Source",
    "hidden",
    "read_key_file",
]

T = TypeVar("T")

Source = Literal["argument", "environment", "file", "default"]
"""Where a setting was found; `file` is a `.env`."""

DEFAULT_URL: Final = "http://localhost:8080/api/v1"
PREFIX: Final = "/api/v1"
"""What a base URL without a path gets."""

# What `ostiary env` sets names a server and its key together, and goes first for both: the
# key of one server never goes to another because half of the variables were set elsewhere.
URL_NAMES: Final = ("OSTIARY_RUNTIME_URL", "SYMBIONT_BASE_URL")
KEY_NAMES: Final = ("OSTIARY_RUNTIME_API_KEY", "SYMBIONT_API_KEY", "SYMBIONT_API_TOKEN")
KEY_FILE_NAME: Final = "OSTIARY_RUNTIME_API_KEY_FILE"
TIMEOUT_NAME: Final = "SYMBIONT_TIMEOUT"
RETRIES_NAME: Final = "SYMBIONT_MAX_RETRIES"

# What a .env may say. No file's name: it could be any file of the user's.
_OF_FILE: Final = frozenset(
    {"SYMBIONT_API_KEY", "SYMBIONT_API_TOKEN", "SYMBIONT_BASE_URL", TIMEOUT_NAME, RETRIES_NAME}
)

_LONGEST_KEY: Final = 16 * 1024
_MOST_RETRIES: Final = 100


class RuntimeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a runtime client is made from. Times are seconds, None is no limit.

    `url_source` and `key_source` say where the address and the key were found.
    """

    base_url: str
    api_key: Secret | None
    url_source: Source = "argument"
    key_source: Source = "argument"
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
        cls,
        api_key: Secret | None = None,
        base_url: str | None = None,
        *,
        timeout: float | UnsetType | None = UNSET,
        max_retries: int | UnsetType = UNSET,
        **more: Any,
    ) -> RuntimeSettings:
        """Fill in what was not given; raise `ConfigurationError` for what cannot be meant.

        An empty key or address counts as not given. `more` are the other members; a pool
        checks them. The `.env` file is looked for from the working directory upwards; an
        address in it is used only with a key from the same file.
        """
        if base_url is not None and not isinstance(base_url, str):
            raise ConfigurationError(
                f"base_url is text, not {type(base_url).__name__}", config_key="base_url"
            )
        # What comes first is the key in both of the library's clients; a URL there is a mistake.
        key, key_source = (api_key, "argument") if api_key else (None, "default")
        url, url_source = (base_url, "argument") if base_url else (None, "default")
        if key is not None and (problem := _problem(key)):
            raise ConfigurationError(f"api_key {problem}", config_key="api_key")
        if key is None:
            key = _key_of_environment()
            key_source = "environment" if key is not None else "default"
        if url is None:
            url = next((os.environ[name] for name in URL_NAMES if os.environ.get(name)), None)
            url_source = "environment" if url is not None else "default"
        file = _File.nearest()
        if key is None:
            key = file.key()
            key_source = "file" if key is not None else "default"
        if url is None and (found := file.url(trusted=key_source == "file")) is not None:
            url, url_source = found, "file"
        base = _base(url or DEFAULT_URL, url_source)
        if key is not None:
            _warn_of_clear_text(base)
        return cls(
            base_url=str(base),
            api_key=key,
            url_source=url_source,  # type: ignore[arg-type]
            key_source=key_source,  # type: ignore[arg-type]
            timeout=_chosen("timeout", timeout, TIMEOUT_NAME, file, TIMEOUT, _seconds),
            max_retries=_chosen(
                "max_retries", max_retries, RETRIES_NAME, file, MAX_RETRIES, _retries
            ),
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
            "max_idle": self.max_connections,
            "limits": self.limits,
            "parser": self.parser,
            "ssl_context": self.ssl_context,
            "expected_uid": self.expected_uid,
            "on_request": self.on_request,
            "on_response": self.on_response,
            "on_retry": self.on_retry,
            "family": FAMILY,
        }

    def portable(self) -> RuntimeSettings:
        """Return a copy that may be pickled: without key, TLS context and hooks."""
        return msgspec.structs.replace(
            self, api_key=None, ssl_context=None, on_request=None, on_response=None, on_retry=None
        )

    def arrived(self) -> RuntimeSettings:
        """Return a copy for where it was unpickled: with the API key of the environment there."""
        return msgspec.structs.replace(self, api_key=_key_of_environment())


def user_agent() -> str:
    """Name this client as the protocol has it."""
    # Asked for with the first request: the version costs 40 ms in a process that has it not.
    import ostiary

    return f"symbiont-sdk-python/ostiary-{ostiary.__version__}"


def read_key_file(path: str | os.PathLike[str]) -> Secret:
    """Read an API key from a file of one line.

    Raises `ConfigurationError` for a file that is not there, is no regular file, holds
    anything but one line of printable ASCII, or belongs to this user and lets others read it.
    """
    name = os.fspath(path)
    key: Secret | None = None
    problem: str | None
    try:
        name = os.path.expanduser(name)
        with open(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
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
    raise ConfigurationError(f"the API key file {name} {problem}", config_key=KEY_FILE_NAME)


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
    raise ConfigurationError(f"api_key is a str or a Secret, not {kind}", config_key="api_key")


class _File:
    """What a `.env` says of us."""

    __slots__ = ("_values", "path")

    def __init__(self, path: str, values: dict[str, Secret]) -> None:
        self.path = path
        self._values = values

    @classmethod
    def nearest(cls) -> _File:
        path = _dotenv.find()
        return cls("", {}) if path is None else cls(str(path), _dotenv.read(path, _OF_FILE))

    def get(self, name: str) -> Secret | None:
        return self._values.get(name)

    def key(self) -> Secret | None:
        for name in KEY_NAMES:
            if (key := self._values.get(name)) is not None:
                if problem := _problem(key):
                    raise ConfigurationError(f"{name} in {self.path} {problem}", config_key=name)
                return key
        return None

    def url(self, *, trusted: bool) -> str | None:
        url = self._values.get("SYMBIONT_BASE_URL")
        if url is None:
            return None
        if trusted:
            return url.reveal()
        # The file may be that of a repository somebody sent us, and the key is not from it.
        warnings.warn(
            f"SYMBIONT_BASE_URL in {self.path} is not used, since the API key is not from that "
            "file; set SYMBIONT_BASE_URL in the environment, or give base_url",
            RuntimeWarning,
            stacklevel=5,
        )
        return None


def _key_of_environment() -> Secret | None:
    # The file belongs to the variables that go first.
    for name in (KEY_NAMES[0], KEY_FILE_NAME, *KEY_NAMES[1:]):
        if not os.environ.get(name):
            continue
        if name == KEY_FILE_NAME:
            return read_key_file(os.environ[name])
        key = Secret(os.environ[name].encode("utf-8", "surrogateescape").strip())
        if problem := _problem(key):
            raise ConfigurationError(f"environment variable {name} {problem}", config_key=name)
        return key
    return None


def _base(url: str, source: str) -> BaseUrl:
    problem = None
    try:
        base = parse_base_url(url)
    except SharedInvalidArgumentError as error:
        problem = error.message
    else:
        return base if base.prefix else msgspec.structs.replace(base, prefix=PREFIX)
    name = {"argument": "base_url", "file": "SYMBIONT_BASE_URL of the .env"}.get(
        source, " or ".join(URL_NAMES)
    )
    raise ConfigurationError(f"{name}: {problem}", config_key=name)


def _warn_of_clear_text(base: BaseUrl) -> None:
    address = base.address
    if not isinstance(address, TcpAddress) or address.tls or _is_loopback(address.host):
        return
    warnings.warn(
        f"the API key is sent to {base.origin} unencrypted, and anyone on the way can read it; "
        "use https://",
        RuntimeWarning,
        stacklevel=4,
    )


def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost" or host.lower().endswith(".localhost"):
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _chosen(
    argument: str,
    given: T | UnsetType,
    name: str,
    file: _File,
    default: T,
    read: Callable[[Any], T],
) -> T:
    value: Any
    if given is not UNSET:
        value, told = given, argument
    elif os.environ.get(name):
        value, told = os.environ[name], f"environment variable {name}"
    elif (found := file.get(name)) is not None:
        value, told = found.reveal(), f"{name} in {file.path}"
    else:
        return default
    try:
        return read(value)
    except (TypeError, ValueError, OverflowError):
        pass  # raised below: this error may quote what was given
    del value, given
    raise ConfigurationError(f"{told} is {_MEANT[argument]}", config_key=told.split()[-1])


_MEANT: Final[Mapping[str, str]] = {
    "timeout": "a positive number of seconds",
    "max_retries": f"a whole number from 0 to {_MOST_RETRIES}",
}


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    seconds = float(value)
    if not seconds > 0:
        raise ValueError
    return None if math.isinf(seconds) else seconds


def _retries(value: object) -> int:
    if isinstance(value, str):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    if not 0 <= value <= _MOST_RETRIES:
        raise ValueError
    return value


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

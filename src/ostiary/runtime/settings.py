"""Where the runtime is and how its client behaves: argument, environment, `.env`, default.

Reads a `.env` file and the file of an API key when a client is made, and opens no connection.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from .. import _api_key
from .._api_key import Hidden, Reference
from .._settings import HttpSettings
from ..config import (
    IDLE_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_RETRIES,
    TIMEOUT,
    BaseUrl,
    parse_base_url,
)
from ..errors import InvalidArgumentError as SharedInvalidArgumentError
from ..secret import Secret
from .errors import FAMILY, ConfigurationError

__all__ = [
    "DEFAULT_URL",
    "IDLE_TIMEOUT",
    "MAX_CONNECTIONS",
    "MAX_RETRIES",
    "TIMEOUT",
    "VARIABLES",
    "RuntimeSettings",
    "Source",
    "read_key_file",
    "said_by_file",
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

VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "base_url": URL_NAMES,
    "api_key": (*KEY_NAMES, KEY_FILE_NAME),
    "timeout": (TIMEOUT_NAME,),
    "max_retries": (RETRIES_NAME,),
}
"""Which variables say what an argument leaves out, the first that is set."""

# What a .env may say. No file's name: it could be any file of the user's.
_OF_FILE: Final = frozenset(
    {"SYMBIONT_API_KEY", "SYMBIONT_API_TOKEN", "SYMBIONT_BASE_URL", TIMEOUT_NAME, RETRIES_NAME}
)

_MOST_RETRIES: Final = 100


class RuntimeSettings(HttpSettings, frozen=True, kw_only=True):
    """Everything a runtime client is made from. Times are seconds, None is no limit.

    `url_source` and `key_source` say where the address and the key were found.
    """

    url_source: Source = "argument"
    key_source: Source = "argument"

    family: ClassVar[Mapping[Any, Any]] = FAMILY

    @classmethod
    def resolve(
        cls,
        api_key: Hidden = None,
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
        api_key = _api_key.usable(api_key, _refuse_argument)
        file = _File.nearest()
        key, key_source = _key(api_key, file)
        url, url_source = _url(base_url, file, trusted=key_source == "file")
        base = _base(url, url_source)
        return cls(
            base_url=str(base),
            api_key=key,
            url_source=url_source,
            key_source=key_source,
            timeout=_chosen("timeout", timeout, TIMEOUT_NAME, file, TIMEOUT, _seconds),
            max_retries=_chosen(
                "max_retries", max_retries, RETRIES_NAME, file, MAX_RETRIES, _retries
            ),
            **more,
        )

    @staticmethod
    def user_agent() -> str:
        """Name this client as the protocol has it; asked for with the first request."""
        import ostiary

        return f"symbiont-sdk-python/ostiary-{ostiary.__version__}"

    def arrived(self) -> RuntimeSettings:
        """Return a copy for where it was unpickled: with the API key that is found there."""
        if self.api_key is not None:
            return self
        key = _key_of_environment()
        if key is None and self.key_source == "file":
            key = _File.nearest().key()
        return msgspec.structs.replace(self, api_key=key)


def read_key_file(path: str | os.PathLike[str]) -> Secret:
    """Read an API key from a file of one line.

    Raises `ConfigurationError` for a file that is not there, is no regular file, holds
    anything but one line of printable ASCII, or belongs to this user and lets others read it.
    """
    return _api_key.read_key_file(path, _refuse_file)


def _refuse_file(message: str) -> ConfigurationError:
    return ConfigurationError(message, config_key=KEY_FILE_NAME)


def _refuse_argument(message: str) -> ConfigurationError:
    return ConfigurationError(message, config_key="api_key")


def said_by_file(*, trusted: bool) -> frozenset[str]:
    """Return the arguments that the nearest `.env` has a say in.

    Its address counts only when it is `trusted`: when the key is to be its own.
    """
    file = _File.nearest()
    found = {
        argument
        for argument, names in VARIABLES.items()
        if any(file.get(name) is not None for name in names)
    }
    if not (trusted and "api_key" in found):
        found.discard("base_url")
    return frozenset(found)


class _File:
    """What a `.env` says of us."""

    __slots__ = ("_values", "path")

    def __init__(self, path: str, values: dict[str, Secret]) -> None:
        self.path = path
        self._values = values

    @classmethod
    def nearest(cls) -> _File:
        # Its patterns are not paid for by who only imports the package.
        from . import _dotenv

        path = _dotenv.find()
        return cls("", {}) if path is None else cls(str(path), _dotenv.read(path, _OF_FILE))

    def get(self, name: str) -> Secret | None:
        return self._values.get(name)

    def key(self) -> Secret | None:
        for name in KEY_NAMES:
            if (key := self._values.get(name)) is not None:
                if isinstance(_api_key.referred(key), Reference):
                    # It comes with an address of the file's choice, and names what is ours.
                    raise ConfigurationError(
                        f"{name} in {self.path} refers to the vault, which a file of a working "
                        "directory may not; write it into the environment or a profile",
                        config_key=name,
                    )
                if problem := _api_key.key_problem(key):
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


def _key(given: Secret | Reference | None, file: _File) -> tuple[Secret | Reference | None, Source]:
    if given:
        return given, "argument"
    if (key := _key_of_environment()) is not None:
        return key, "environment"
    if (key := file.key()) is not None:
        return key, "file"
    return None, "default"


def _url(given: str | None, file: _File, *, trusted: bool) -> tuple[str, Source]:
    if given:
        return given, "argument"
    for name in URL_NAMES:
        if os.environ.get(name):
            return os.environ[name], "environment"
    if (url := file.url(trusted=trusted)) is not None:
        return url, "file"
    return DEFAULT_URL, "default"


def _key_of_environment() -> Secret | Reference | None:
    # The file belongs to the variable that goes first.
    for name, file_name in zip(KEY_NAMES, (KEY_FILE_NAME, "", ""), strict=True):
        key = _api_key.read_key(name, file_name, partial(_refuse_variable, name))
        if key is not None:
            return key
    return None


def _refuse_variable(name: str, message: str) -> ConfigurationError:
    return ConfigurationError(message, config_key=name)


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

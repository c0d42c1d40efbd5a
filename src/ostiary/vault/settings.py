"""Where the vault is and how its client behaves: argument, then environment, then default.

No I/O: whether the socket or the key exists is found out by `connect`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Literal, cast

import msgspec

from .._api_key import Unusable, hidden_text
from ..config import (
    DEFAULT_LIMITS,
    Address,
    AddressLike,
    Limits,
    parse_address,
    setting,
    timeout_seconds,
)
from ..errors import InvalidArgumentError
from ..secret import Secret
from .errors import VaultArgumentError
from .keys import passphrase_of

__all__ = ["DEFAULT_PORT", "VARIABLES", "Dialect", "VaultSettings", "key_file"]

DEFAULT_PORT: Final = 7600
_TIMEOUT: Final = 30.0
_MAX_RETRIES: Final = 2
_MAX_CONNECTIONS: Final = 8  # of a blocking client; an async one multiplexes one

Dialect = Literal["flat", "dotted"]

ADDRESS: Final = "OSTIARY_VAULT_ADDRESS"
DIRECTORY: Final = "SANCTUM_VAULT_PATH"
KEY_PATH: Final = "OSTIARY_VAULT_KEY_PATH"
PASSPHRASE: Final = "OSTIARY_VAULT_PASSPHRASE"
TIMEOUT: Final = "OSTIARY_VAULT_TIMEOUT"

VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "socket_path": (ADDRESS, DIRECTORY),
    "key_path": (KEY_PATH,),
    "passphrase": (PASSPHRASE,),
    "timeout": (TIMEOUT,),
}
"""Which variables say what an argument leaves out, the first that is set."""


class VaultSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a vault client is made from, save an `ssl_context`."""

    agent_name: str
    address: Address
    key_path: str | None
    key_directory: str
    passphrase: Secret | None
    timeout: float
    max_retries: int
    max_connections: int
    dialect: Dialect
    expected_uid: int | None
    limits: Limits

    @classmethod
    def resolve(
        cls,
        agent_name: str,
        *,
        socket_path: str | os.PathLike[str] | None = None,
        host: str | None = None,
        port: int | None = None,
        key_path: str | os.PathLike[str] | Unusable | None = None,
        passphrase: str | Secret | Unusable | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        max_connections: int | None = None,
        dialect: str = "flat",
        expected_uid: int | None = None,
        limits: Limits | None = None,
    ) -> VaultSettings:
        """Fill in what was not given; raise `VaultArgumentError` for what cannot be meant."""
        # Hidden first: a traceback records the locals of every frame that raises.
        kept, file = hidden_text(passphrase), key_file(key_path)
        del passphrase, key_path
        secret = passphrase_of(kept)
        if not isinstance(agent_name, str) or not agent_name:
            raise VaultArgumentError("agent_name must be the agent's registered name")
        if dialect not in {"flat", "dotted"}:
            raise VaultArgumentError(f"dialect {dialect!r} is neither 'flat' nor 'dotted'")
        if limits is not None and not isinstance(limits, Limits):
            raise VaultArgumentError("limits must be an ostiary.config.Limits")
        if expected_uid is not None:
            _count("expected_uid", expected_uid, 0, least=0)
        directory = os.path.expanduser(os.environ.get(DIRECTORY) or "~/.sanctum")
        try:
            return cls(
                agent_name=agent_name,
                address=_address(socket_path, host, port, directory),
                key_path=_key_path(file),
                key_directory=os.path.join(directory, "keys"),
                passphrase=setting(secret, VARIABLES["passphrase"], None, read=Secret),
                timeout=timeout_seconds(
                    setting(timeout, VARIABLES["timeout"], _TIMEOUT, read=timeout_seconds)
                ),
                max_retries=_count("max_retries", max_retries, _MAX_RETRIES, least=0),
                max_connections=_count("max_connections", max_connections, _MAX_CONNECTIONS),
                dialect="dotted" if dialect == "dotted" else "flat",
                expected_uid=expected_uid,
                limits=limits or DEFAULT_LIMITS,
            )
        except InvalidArgumentError as error:
            if isinstance(error, VaultArgumentError):
                raise
            message = error.message
        raise VaultArgumentError(message)

    def aimed_at(self, target: AddressLike) -> VaultSettings:
        """Return the same settings for another address."""
        try:
            return msgspec.structs.replace(
                self, address=parse_address(target, default_port=DEFAULT_PORT)
            )
        except InvalidArgumentError as error:
            message = error.message
        raise VaultArgumentError(message)

    def without_secrets(self) -> VaultSettings:
        """Return a copy that may be pickled."""
        return msgspec.structs.replace(self, passphrase=None)


def _address(
    socket_path: str | os.PathLike[str] | None,
    host: str | None,
    port: int | None,
    directory: str,
) -> Address:
    if socket_path is not None and host is not None:
        raise VaultArgumentError("give socket_path or host, not both")
    if port is not None and host is None:
        raise VaultArgumentError("port needs a host; leave both out for the Unix socket")
    if host is not None:
        return parse_address({"host": host, "port": port}, default_port=DEFAULT_PORT)
    if socket_path is not None:
        text = os.fspath(socket_path) if isinstance(socket_path, (str, os.PathLike)) else None
        if not isinstance(text, str) or not text:
            raise VaultArgumentError("socket_path must be the path of the vault's socket")
        # A bare relative name is a path here, and not a host.
        return parse_address(text if "://" in text else "unix://" + text)
    if named := os.environ.get(ADDRESS):
        return parse_address(named, default_port=DEFAULT_PORT)
    return parse_address("unix://" + os.path.join(directory, "vault.sock"))


def key_file(given: object) -> str | Unusable | None:
    """Return a key file's path; what is none, and may be the key itself, is hidden."""
    if given is None or isinstance(given, Unusable):
        return given
    if isinstance(given, (str, os.PathLike)):
        path: object = os.fspath(cast("str | os.PathLike[str]", given))
        if isinstance(path, str) and path:
            return os.path.expanduser(path)
    return Unusable("must be the path of a key file")


def _key_path(given: str | Unusable | None) -> str | None:
    if isinstance(given, Unusable):
        raise VaultArgumentError(f"key_path {given.problem}")
    return given or os.path.expanduser(os.environ.get(KEY_PATH, "")) or None


def _count(name: str, value: int | None, default: int, *, least: int = 1) -> int:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise VaultArgumentError(f"{name} must be a whole number of at least {least}")
    return value

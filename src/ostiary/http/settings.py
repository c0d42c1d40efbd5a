"""How a pool behaves: argument, then environment, then default. No I/O, no secret."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from .._retry import FIRST_CEILING
from ..config import (
    DEFAULT_LIMITS,
    IDLE_EXPIRY,
    IDLE_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_IDLE,
    MAX_RETRIES,
    TIMEOUT,
    Address,
    AddressLike,
    BaseUrl,
    Limits,
    TcpAddress,
    parse_address,
    parse_base_url,
    setting,
    timeout_seconds,
)
from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    from .._io.gate import Way

__all__ = ["Parser", "PoolSettings"]

Parser = Literal["strict", "h11"]
PARSER_VARIABLE: Final = "OSTIARY_HTTP_PARSER"


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a pool is made from, save headers, credentials, hooks and `ssl_context`.

    Times are seconds; infinity is no limit.
    """

    base: BaseUrl
    user_agent: str | Callable[[], str] | None = None
    timeout: float = TIMEOUT
    idle_timeout: float = IDLE_TIMEOUT
    total_timeout: float = math.inf
    pool_timeout: float | None = None
    max_retries: int = MAX_RETRIES
    backoff: float = FIRST_CEILING
    max_connections: int = MAX_CONNECTIONS
    max_idle: int = MAX_IDLE
    idle_expiry: float = IDLE_EXPIRY
    limits: Limits = DEFAULT_LIMITS
    parser: Parser = "strict"
    expected_uid: int | None = None
    compression: bool = False
    connect_to: TcpAddress | None = None
    adaptive: bool = False

    @property
    def address(self) -> Address:
        """What is dialled."""
        return self.connect_to or self.base.address

    def way(self) -> Way | None:
        """Return a way through the limit that the process learns for this address, if any."""
        if not self.adaptive:
            return None
        from .._io.gate import way_to

        patience = math.inf if self.pool_timeout is None else self.pool_timeout
        return way_to(self.address, self.max_connections, patience)

    @classmethod
    def resolve(
        cls,
        base_url: str,
        *,
        user_agent: str | Callable[[], str] | None,
        timeout: float | None,
        idle_timeout: float | None,
        total_timeout: float | None,
        pool_timeout: float | None,
        max_retries: int,
        backoff: float,
        max_connections: int,
        max_idle: int,
        idle_expiry: float,
        limits: Limits | None,
        parser: Parser | None,
        expected_uid: int | None,
        compression: bool | None,
        connect_to: AddressLike | None,
        adaptive: bool,
    ) -> PoolSettings:
        """Check every setting; raise `InvalidArgumentError` for what cannot be meant."""
        base = parse_base_url(base_url)
        if limits is not None and not isinstance(limits, Limits):
            raise InvalidArgumentError("limits must be an ostiary.config.Limits")
        if user_agent is not None and not isinstance(user_agent, str) and not callable(user_agent):
            raise InvalidArgumentError("user_agent must be text")
        if expected_uid is not None:
            _count("expected_uid", expected_uid, least=0)
        return cls(
            base=base,
            user_agent=user_agent,
            timeout=timeout_seconds(timeout),
            idle_timeout=timeout_seconds(idle_timeout),
            total_timeout=timeout_seconds(total_timeout),
            pool_timeout=None if pool_timeout is None else timeout_seconds(pool_timeout),
            max_retries=_count("max_retries", max_retries, least=0),
            backoff=_backoff(backoff),
            max_connections=_count("max_connections", max_connections),
            max_idle=_count("max_idle", max_idle, least=0),
            idle_expiry=timeout_seconds(idle_expiry),
            limits=limits or DEFAULT_LIMITS,
            parser=setting(
                None if parser is None else _parser(parser),
                (PARSER_VARIABLE,),
                "strict",
                read=_parser,
            ),
            expected_uid=expected_uid,
            # Over a Unix socket nothing is gained: both ends pay on one machine.
            compression=isinstance(base.address, TcpAddress)
            if compression is None
            else bool(compression),
            connect_to=None if connect_to is None else _elsewhere(base, connect_to),
            adaptive=bool(adaptive),
        )


def _parser(text: str) -> Parser:
    if text == "strict":
        return "strict"
    if text == "h11":
        return "h11"
    raise InvalidArgumentError("parser is neither 'strict' nor 'h11'")


def _elsewhere(base: BaseUrl, connect_to: AddressLike) -> TcpAddress:
    """Return the address to dial in place of the base URL's, which goes on naming the server."""
    named = base.address
    if not isinstance(named, TcpAddress):
        raise InvalidArgumentError(
            "connect_to is given, but the base URL names a Unix socket and no host"
        )
    found = parse_address(connect_to, default_port=named.port)
    if not isinstance(found, TcpAddress) or found.tls:
        raise InvalidArgumentError("connect_to is a host, or host:port")
    return TcpAddress(found.host, found.port, named.tls, named.host)


def _backoff(value: float) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 3600:
        raise InvalidArgumentError("backoff must be a number of seconds from 0 to 3600")
    return float(value)


def _count(name: str, value: int, *, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidArgumentError(f"{name} must be a whole number of at least {least}")
    return value

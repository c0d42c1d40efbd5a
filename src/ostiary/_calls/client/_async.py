"""What the clients of the HTTP domains are: settings, a pool, an end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from ..._settings import HttpSettings, warn_of_clear_text
from ...errors import InvalidArgumentError, adopt
from ...http._async import AsyncPool

__all__ = ["AsyncDomainClient"]

S = TypeVar("S", bound=HttpSettings)


class AsyncDomainClient(Generic[S]):
    """A client of settings and a pool; a domain adds its constructor and its methods."""

    _settings: S
    _pool: AsyncPool

    def _configure(self, settings: S) -> None:
        self._settings = settings
        self._pool = _pool_of(settings)

    @classmethod
    def made_from(cls, settings: S) -> Self:
        """Make a client of settings that were resolved before."""
        client = cls.__new__(cls)
        client._configure(settings)
        return client

    @property
    def base_url(self) -> str:
        """Where the server is; without slashes at its end."""
        return self._pool.base_url

    @property
    def pool(self) -> AsyncPool:
        """The pool beneath, for requests that have no method here and for raw replies."""
        return self._pool

    def __repr__(self) -> str:
        if not hasattr(self, "_pool"):  # its constructor refused
            return f"<{type(self).__name__}, not configured>"
        return f"{type(self).__name__}(base_url={self.base_url!r})"

    # A client travels as its settings, without API key, TLS context and hooks. If it had a key,
    # it takes the one of the environment where it arrives; a reference stays what it is.
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[object, ...]]:
        settings = self._settings
        return _restore, (type(self), settings.portable(), settings.api_key is not None)

    async def aclose(self) -> None:
        """Close every connection; calls and streams under way end with an error. Final."""
        await self._pool.close()

    # unasync: skip
    async def close(self) -> None:
        """Do what `aclose` does, under the name that the guides have for it."""
        await self.aclose()

    # unasync: end

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def _pool_of(settings: HttpSettings) -> AsyncPool:
    try:
        pool = AsyncPool(settings.base_url, **settings.pool_arguments())
    except InvalidArgumentError as error:
        refused = adopt(error, settings.family)
    else:
        if settings.api_key is not None:
            warn_of_clear_text(pool.settings.base)
        return pool
    raise refused


def _restore(
    cls: type[AsyncDomainClient[Any]], settings: HttpSettings, had_key: bool
) -> AsyncDomainClient[Any]:
    return cls.made_from(settings.arrived() if had_key else settings)

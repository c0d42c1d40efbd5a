"""A command's client: what it warns of is told to people, keys in the vault are fetched for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

__all__ = ["client_of"]

C = TypeVar("C")


@contextmanager
def client_of(
    kind: Callable[..., C], note: Callable[[str], object] | None, *arguments: Any, **more: Any
) -> Generator[C, None, None]:
    """Make a client of a domain and close it; `note`, if it is not None, is told each warning.

    An API key that is a reference is fetched by the vault client of the configuration, which
    is read when a key is needed.
    """
    from ..client import Ostiary, VaultKeys

    with ExitStack() as stack:
        ours: list[Ostiary] = []

        def vault() -> Any:
            if not ours:
                ours.append(stack.enter_context(Ostiary()))
            return ours[0].vault

        keys = stack.enter_context(VaultKeys(vault))
        with warnings.catch_warnings(record=True) as told:
            # Of a key in clear, of an address in a .env: for people, and not for a log.
            warnings.simplefilter("always", RuntimeWarning)
            client: Any = kind(*arguments, keys=keys, **more)
        if note is not None:
            for warning in told:
                note(f"warning: {warning.message}")
        yield stack.enter_context(client)

"""What a fleet does to each input, in a form that every executor can run.

A function, a coroutine function or an agent class. What goes to another process is sealed here,
so that what cannot be sent is an error that says so, and none of the executor's.
Neighbour: `worker`, which opens it there.
"""

from __future__ import annotations

import importlib
import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..errors import InvalidArgumentError
from .errors import NotPortableError, RemoteError, told
from .item import Item, Outcome

if TYPE_CHECKING:
    from ..client import OstiaryConfig

__all__ = [
    "Kind",
    "Sealed",
    "Work",
    "describe",
    "seal",
    "seal_item",
    "seal_outcome",
    "unseal_outcome",
]

Kind: TypeAlias = Literal["coroutine", "function", "agent"]
Client: TypeAlias = Literal["none", "named", "second"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(slots=True)
class Work:
    """What is done, how often, and for how long an attempt may take.

    `client` says how the work is given one, if it is.
    """

    call: Callable[..., Any]
    kind: Kind
    client: Client
    name: str
    config: OstiaryConfig | None
    retries: int
    timeout: float | None
    concurrency: int
    run_id: str
    trace: str | None = None
    """The `traceparent` of the block that the run was begun in."""
    given: Any = field(default=None, compare=False)
    """A client to use as it is; stays in this process."""

    def __getstate__(self) -> list[Any]:
        return [getattr(self, name) for name in _SENT]

    def __setstate__(self, state: list[Any]) -> None:
        for name, value in zip(_SENT, state, strict=True):
            setattr(self, name, value)
        self.given = None


_SENT = (
    *("call", "kind", "client", "name", "config"),
    *("retries", "timeout", "concurrency", "run_id", "trace"),
)


def describe(call: object) -> tuple[Kind, Client, str]:
    """Return what kind of work it is, how it is given a client, and what to call it.

    Raises `InvalidArgumentError` for what is no work.
    """
    name = getattr(call, "__qualname__", None) or type(call).__qualname__
    if isinstance(call, type):
        from ..gateway.agent import SageSanctumAgent

        if issubclass(call, SageSanctumAgent) and not call.__abstractmethods__:
            return "agent", "none", name
        raise InvalidArgumentError(
            f"{name} is a class, but no agent; give a function, or a subclass of "
            "ostiary.gateway.SageSanctumAgent that has a name, a version and run()"
        )
    if not callable(call):
        raise InvalidArgumentError(
            f"a fleet's work is a function or an agent class, not a {type(call).__name__}"
        )
    method = getattr(call, "__call__", None)  # noqa: B004 - an object whose call is a coroutine
    coroutine = inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(method)
    return "coroutine" if coroutine else "function", _client_of(call), name


def _client_of(call: Callable[..., Any]) -> Client:
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        return "none"  # a builtin that does not say
    if any(one.name == "client" for one in parameters):
        return "named"
    required = [one for one in parameters if one.kind in _POSITIONAL and one.default is one.empty]
    return "second" if len(required) > 1 else "none"


# --- on the way


@dataclass(frozen=True, slots=True)
class Sealed:
    """A batch as it travels: bytes, and the module whose `dumps` is used on the way back."""

    work: bytes
    items: tuple[tuple[bytes, int], ...]
    """Each with the number of workers that have died with it."""
    pickler: str

    def open(self) -> tuple[Work, list[Item]]:
        """Return work and items; of work that was here before, the same object."""
        items: list[Item] = []
        for raw, lost in self.items:
            item = Item(*_load(raw))
            item.lost = lost
            items.append(item)
        return _opened(self.work), items


def _load(raw: bytes) -> Any:
    # What is read was written by this run, and came over the executor's own connections, which
    # run code by their nature.
    return pickle.loads(raw)  # nosec B301 # the reason stands above


@lru_cache(maxsize=8)
def _opened(work: bytes) -> Work:
    return _load(work)  # type: ignore[no-any-return]


def seal(what: str, content: object, pickler: str) -> bytes:
    """Return something's bytes; raise `NotPortableError` where it has none.

    `pickler` is the module whose `dumps` makes them: `pickle`, or one that takes what is
    defined in a script or a notebook along.
    """
    try:
        return importlib.import_module(pickler).dumps(content, protocol=5)  # type: ignore[no-any-return]
    except Exception as error:  # noqa: BLE001 - anybody's __reduce__
        reason = told(error)
    advice = (
        "define it at the top of a module and give it plain data"
        if pickler == "pickle"
        else "have it hold nothing that is bound to this process"
    )
    raise NotPortableError(f"{what} cannot be sent to another process ({reason}); {advice}")


def seal_item(item: Item, pickler: str) -> bytes:
    """Return an item's bytes; raise `NotPortableError` for an input that has none."""
    content = (item.index, item.id, item.key, item.input)
    return seal(f"input {item.id}", content, pickler)


def seal_outcome(outcome: Outcome, pickler: str) -> bytes:
    """Return an outcome's bytes; what cannot travel is replaced by an error that says so."""
    if outcome.error is not None:
        outcome.error = _portable(outcome.error, pickler)
    try:
        return seal("the value of an input", outcome, pickler)
    except NotPortableError as error:
        outcome.value, outcome.error = None, error.with_traceback(None)
        outcome.error.__context__ = None
    return seal("an error", outcome, pickler)


def _portable(error: Exception, pickler: str) -> Exception:
    """Return an error that arrives: the same, or its text."""
    try:
        # Many an exception pickles, and cannot be made again from what was pickled.
        arrived: object = _load(importlib.import_module(pickler).dumps(error))
    except Exception:  # noqa: BLE001 - anybody's exception
        arrived = None
    if type(arrived) is type(error):
        return error
    found = RemoteError(told(error))
    for note in getattr(error, "__notes__", ()):
        found.add_note(note)
    return found


def unseal_outcome(raw: bytes, item: Item) -> Outcome:
    """Read an outcome; one that cannot be read here is its item's failure."""
    try:
        return _load(raw)  # type: ignore[no-any-return]
    except Exception as error:  # noqa: BLE001 - anybody's __setstate__
        reason = told(error)
    problem = NotPortableError(
        f"the result of input {item.id} cannot be read in this process ({reason}); its class has "
        "to be importable here as well"
    )
    return Outcome(item.index, None, problem, item.lost + 1, 0.0)

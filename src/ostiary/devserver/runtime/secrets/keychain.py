"""Secrets in the keychain of this machine's user, through the keyring package.

What keyring falls back to where there is no keychain (nothing, or a file anybody can read) is
refused. Keychains cannot list: the names lie in an entry of their own. Neighbour: `backend`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

import msgspec

from ...._decoders import decoder_of
from ....secret import Secret
from ...clock import Clock
from ...http.refusals import HttpRefusal
from .backend import Stored, refused, too_slow, unavailable

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

__all__ = ["Keychain", "find_keyring", "unfit"]

T = TypeVar("T")

_INDEX: Final = "index"
_PROBE: Final = "probe"
# A locked keychain may ask its user, who may be away.
_SECONDS: Final = 30.0


class _Item(msgspec.Struct):
    value: bytes
    created_at: float
    updated_at: float | None = None
    description: str | None = None

    def __repr__(self) -> str:
        return f"<_Item of {self.created_at}>"


_ITEM: Final = decoder_of(_Item)
_NAMES: Final = decoder_of(dict[str, list[str]])


def unfit(keyring: object) -> str | None:
    """Return why a keyring keeps no secrets, or None when it does."""
    for kind in type(keyring).__mro__:
        where = f"{kind.__module__}.{kind.__qualname__}"
        if where.startswith("keyring.backends.fail."):
            return "no keychain was found on this machine"
        if where.startswith("keyring.backends.null."):
            return "the configured keyring forgets what it is given"
        # keyrings.alt has wrappers too, which keep things wherever what they wrap does.
        if "plaintext" in where.lower() or (
            where.startswith("keyrings.alt.") and not _encrypted(keyring)
        ):
            return "the configured keyring keeps what it is given unencrypted"
    return None


def _encrypted(keyring: object) -> bool:
    return any(kind.__qualname__ == "EncryptedKeyring" for kind in type(keyring).__mro__)


def find_keyring() -> KeyringBackend:
    """Return the keyring to use; refuse with the reason where there is none fit for secrets."""
    if importlib.util.find_spec("keyring") is None:
        raise refused(
            "SECRET_KEYCHAIN_REFUSED",
            "the keychain needs the package keyring: `pip install keyring`",
            field="backend_type",
        )
    import keyring
    from keyring.backends.chainer import ChainerBackend

    found: Any = None
    problem = "the configured keyring cannot be loaded"
    try:
        found = keyring.get_keyring()
    except Exception as error:  # noqa: BLE001 - a plugin's, whatever it is
        problem += f" ({type(error).__name__})"
    if found is not None:
        # A chain may end at one that is not fit, so the first that is takes its place.
        choices: list[Any] = list(found.backends) if isinstance(found, ChainerBackend) else [found]
        problem = "no keychain was found on this machine"
        for choice in choices:
            reason = unfit(choice)
            if reason is None:
                return choice  # type: ignore[no-any-return]
            problem = reason
    raise refused(
        "SECRET_KEYCHAIN_REFUSED", f"{problem}; choose another backend", field="backend_type"
    )


@final
class Keychain:
    """The user's keychain as a place for secrets; every entry is of one `service`."""

    kind = "os_keychain"

    def __init__(
        self, service: str, clock: Clock, workers: ThreadPoolExecutor, *, timeout: float = _SECONDS
    ) -> None:
        self._service = service
        self._clock = clock
        self._workers = workers
        self._timeout = timeout
        self._turn = asyncio.Lock()
        self._keyring: KeyringBackend | None = None
        self._count = 0

    async def check(self) -> None:
        def probe() -> None:
            word = secrets.token_urlsafe(12)
            self._write(_PROBE, word)
            ring = self._ring()
            kept = ring.get_password(self._service, _PROBE) == word
            ring.delete_password(self._service, _PROBE)
            if not kept:
                raise refused(
                    "SECRET_KEYCHAIN_REFUSED", "the keychain does not give back what it was given"
                )
            self._names()

        await self._do(probe)

    async def put(self, agent_id: str, name: str, value: Secret, description: str | None) -> Stored:
        now = self._clock.wall()

        def change() -> Stored:
            old = self._item(agent_id, name)
            made = _Item(
                value.reveal_bytes(),
                now if old is None else old.created_at,
                None if old is None else now,
                old.description if description is None and old is not None else description,
            )
            known = self._names()
            if name not in known.get(agent_id, ()):
                # Named first: a name without an entry is passed over, an entry without is lost.
                known[agent_id] = sorted([*known.get(agent_id, []), name])
                self._write(_INDEX, msgspec.json.encode(known).decode())
            self._write(f"{agent_id}/{name}", msgspec.json.encode(made).decode())
            self._count = sum(map(len, known.values()))
            return Stored(made.created_at, made.updated_at)

        return await self._do(change)

    async def get(self, agent_id: str, name: str) -> Secret | None:
        def look() -> Secret | None:
            found = self._item(agent_id, name)
            return None if found is None else Secret(found.value)

        return await self._do(look)

    async def names(self, agent_id: str) -> list[str]:
        def look() -> list[str]:
            listed = self._names().get(agent_id, [])
            return [name for name in listed if self._item(agent_id, name) is not None]

        return await self._do(look)

    async def delete(self, agent_id: str, name: str) -> bool:
        def change() -> bool:
            there = self._item(agent_id, name) is not None
            if there:
                self._ring().delete_password(self._service, f"{agent_id}/{name}")
            known = self._names()
            if name in known.get(agent_id, ()):
                known[agent_id].remove(name)
                if not known[agent_id]:
                    del known[agent_id]
                self._write(_INDEX, msgspec.json.encode(known).decode())
            self._count = sum(map(len, known.values()))
            return there

        return await self._do(change)

    @property
    def count(self) -> int:
        return self._count

    def about(self) -> dict[str, object]:
        return {"service": self._service}

    async def close(self) -> None:
        self._keyring = None

    # -- in a thread, one at a time -------------------------------------------

    async def _do(self, work: Callable[[], T]) -> T:
        def run() -> T:
            problem: str
            try:
                return work()
            except HttpRefusal:
                raise
            except Exception as error:  # noqa: BLE001 - a keychain's, which may quote the value
                problem = type(error).__name__
            raise unavailable(f"the keychain failed ({problem}); unlock it, and try again")

        async with self._turn:
            running = asyncio.get_running_loop().run_in_executor(self._workers, run)
            done, _ = await asyncio.wait([running], timeout=self._timeout)
            if done:
                return running.result()
            # Its thread cannot be stopped; what it returns is looked at by nobody.
            running.add_done_callback(lambda late: late.cancelled() or late.exception())
        raise too_slow("the keychain did not answer; see whether it asks you something")

    def _ring(self) -> KeyringBackend:
        if self._keyring is None:
            self._keyring = find_keyring()
        return self._keyring

    def _item(self, agent_id: str, name: str) -> _Item | None:
        text = self._ring().get_password(self._service, f"{agent_id}/{name}")
        return None if text is None else _ITEM.decode(text)

    def _names(self) -> dict[str, list[str]]:
        text = self._ring().get_password(self._service, _INDEX)
        found = {} if text is None else _NAMES.decode(text)
        self._count = sum(map(len, found.values()))
        return found

    def _write(self, entry: str, text: str) -> None:
        ring: Any = self._ring()  # keyring wraps this one method, and its types with it
        ring.set_password(self._service, entry, text)

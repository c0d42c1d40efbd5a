"""Secrets in one encrypted file below the home, which can be copied to another.

XSalsa20-Poly1305 under a key that Argon2id makes of the passphrase; the file is 0600 and is
replaced as a whole. It follows no link and leaves the home by no spelling. Neighbour: `backend`.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar, final

import msgspec
from nacl import pwhash
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from nacl.utils import random

from ...._decoders import decoder_of, learn
from ....secret import Secret
from ...clock import Clock
from .backend import Stored, broken, refused

__all__ = ["EncryptedFile", "secret_file"]

T = TypeVar("T")

_FORMAT: Final = "ostiary-secrets"
_DEFAULT: Final = "secrets.enc"
# About a third of a second and 64 MiB here: once for each configuration and each start.
_OPS: Final = 3
_MEMORY_BYTES: Final = 64 * 1024 * 1024
# A file says itself what its key costs, and may have come from anywhere.
_MOST_OPS: Final = 10
_MOST_MEMORY: Final = 1024 * 1024 * 1024
_MOST_BYTES: Final = 64 * 1024 * 1024
# What the control plane keeps under such names is not to be created by a caller.
_NOT_OURS: Final = frozenset(
    {".db", ".key", ".lock", ".log", ".pem", ".sock", ".token", ".db-shm", ".db-wal"}
)


class _Item(msgspec.Struct):
    value: bytes
    created_at: float
    updated_at: float | None = None
    description: str | None = None

    def __repr__(self) -> str:
        return f"<_Item of {self.created_at}>"


class _Sealed(msgspec.Struct, kw_only=True):
    """The file as it lies there, JSON with binary members in base64."""

    format: str
    version: int
    ops: int
    memory_bytes: int
    salt: bytes
    sealed: bytes


_Items = dict[str, dict[str, _Item]]
_FILE: Final = decoder_of(_Sealed)
learn(_Items)
_ITEMS: Final = msgspec.msgpack.Decoder(_Items)


def secret_file(home: Path, text: str | None) -> Path:
    """Return the path that a configuration means; refuse one that is not below the home.

    Relative paths, and None, lie in `runtime/secrets`.
    """
    own = home / "runtime" / "secrets"
    given = text or _DEFAULT
    if "\0" in given or ".." in given.split("/"):
        raise refused(
            "SECRET_PATH_REFUSED",
            "file_path has a part that leads out of the home",
            field="file_path",
        )
    path = own
    try:
        # A relative path lands below the first; an absolute one replaces it.
        path = own / Path(given).expanduser()
        inside = path.parent.resolve().is_relative_to(home.resolve())
        link = path.is_symlink()
    except (OSError, RuntimeError):
        inside = link = False
    if not inside or link:
        raise refused(
            "SECRET_PATH_REFUSED",
            "file_path does not lie below the home of this server, or is a link; give a path "
            "relative to its runtime/secrets directory",
            field="file_path",
        )
    if path.suffix in _NOT_OURS or path.parent.name == "keys":
        raise refused(
            "SECRET_PATH_REFUSED",
            "file_path is named as the server's own files are; let it end in .enc",
            field="file_path",
        )
    return path


@final
class EncryptedFile:
    """One file as a place for secrets. `path` comes from `secret_file`."""

    kind = "encrypted_file"

    def __init__(
        self, path: Path, passphrase: Secret, clock: Clock, workers: ThreadPoolExecutor
    ) -> None:
        self._path = path
        self._passphrase = passphrase
        self._clock = clock
        self._workers = workers
        self._turn = asyncio.Lock()
        self._key: Secret | None = None
        self._header: _Sealed | None = None
        self._count = 0

    async def check(self) -> None:
        # An empty file is written where there is none: then it is certain that one can be.
        await self._do(lambda items: None, always=not self._path.exists())

    async def put(self, agent_id: str, name: str, value: Secret, description: str | None) -> Stored:
        now = self._clock.wall()

        def change(items: _Items) -> Stored:
            old = items.get(agent_id, {}).get(name)
            made = _Item(
                value.reveal_bytes(),
                now if old is None else old.created_at,
                None if old is None else now,
                old.description if description is None and old is not None else description,
            )
            items.setdefault(agent_id, {})[name] = made
            return Stored(made.created_at, made.updated_at)

        return await self._do(change, always=True)

    async def get(self, agent_id: str, name: str) -> Secret | None:
        def look(items: _Items) -> Secret | None:
            found = items.get(agent_id, {}).get(name)
            return None if found is None else Secret(found.value)

        return await self._do(look)

    async def names(self, agent_id: str) -> list[str]:
        return await self._do(lambda items: sorted(items.get(agent_id, {})))

    async def delete(self, agent_id: str, name: str) -> bool:
        def change(items: _Items) -> bool:
            return items.get(agent_id, {}).pop(name, None) is not None

        return await self._do(change, when=bool)

    @property
    def count(self) -> int:
        return self._count

    def about(self) -> dict[str, object]:
        return {"file_path": str(self._path)}

    async def close(self) -> None:
        async with self._turn:
            self._key = None

    # -- in a thread, one at a time -------------------------------------------

    async def _do(
        self,
        work: Callable[[_Items], T],
        *,
        always: bool = False,
        when: Callable[[T], bool] | None = None,
    ) -> T:
        """Run `work` on what the file holds; write it back `always`, or `when` the result says."""

        def run() -> T:
            items = self._load()
            result = work(items)
            if always or (when is not None and when(result)):
                self._save(items)
            self._count = sum(len(named) for named in items.values())
            return result

        async with self._turn:
            # Shielded: the thread goes on when the caller has gone, and the next one must wait.
            running = asyncio.get_running_loop().run_in_executor(self._workers, run)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait([running])
                raise

    def _load(self) -> _Items:
        problem = ""
        try:
            raw = _read(self._path)
        except FileNotFoundError:
            return {}
        except OSError as error:
            problem = error.strerror or "it cannot be opened"
        else:
            return self._opened(raw)
        raise broken(f"the secrets file cannot be read: {problem}")

    def _opened(self, raw: bytes) -> _Items:
        try:
            found = _FILE.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = None
        if found is None or found.format != _FORMAT:
            raise refused(
                "SECRET_FILE_REFUSED",
                "the file at file_path holds something else; give another path",
                field="file_path",
            )
        if (
            found.version != 1
            or not 1 <= found.ops <= _MOST_OPS
            or not 8192 <= found.memory_bytes <= _MOST_MEMORY
            or len(found.salt) != pwhash.argon2id.SALTBYTES
        ):
            raise refused(
                "SECRET_FILE_REFUSED",
                "the secrets file is not one that this version writes",
                field="file_path",
            )
        key = self._key_for(found)
        try:
            return _ITEMS.decode(SecretBox(key.reveal_bytes()).decrypt(found.sealed))
        except (CryptoError, msgspec.DecodeError, ValueError):
            pass
        self._key = None
        raise refused(
            "SECRET_KEY_REFUSED",
            "the secrets file does not open: the key is another one, or the file was altered",
            field="encryption_key",
        )

    def _key_for(self, header: _Sealed) -> Secret:
        known = self._header
        if (
            self._key is None
            or known is None
            or (known.salt, known.ops, known.memory_bytes)
            != (header.salt, header.ops, header.memory_bytes)
        ):
            self._key = Secret(
                pwhash.argon2id.kdf(
                    SecretBox.KEY_SIZE,
                    self._passphrase.reveal_bytes(),
                    header.salt,
                    opslimit=header.ops,
                    memlimit=header.memory_bytes,
                )
            )
            self._header = header
        return self._key

    def _save(self, items: _Items) -> None:
        header = self._header
        if header is None:
            header = _Sealed(
                format=_FORMAT,
                version=1,
                ops=_OPS,
                memory_bytes=_MEMORY_BYTES,
                salt=random(pwhash.argon2id.SALTBYTES),
                sealed=b"",
            )
        key = self._key_for(header)
        sealed = bytes(SecretBox(key.reveal_bytes()).encrypt(msgspec.msgpack.encode(items)))
        content = msgspec.json.encode(msgspec.structs.replace(header, sealed=sealed))
        problem = ""
        try:
            _replace(self._path, content)
        except OSError as error:
            problem = error.strerror or "it cannot be created"
        if problem:
            raise broken(f"the secrets file cannot be written: {problem}")


def _read(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
            raise refused(
                "SECRET_FILE_REFUSED",
                "file_path is no file, or one that is too large",
                field="file_path",
            )
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise refused(
                "SECRET_FILE_REFUSED",
                "the secrets file can be read by others; run `chmod 600` on it",
                field="file_path",
            )
        return file.read()


def _replace(path: Path, content: bytes) -> None:
    """Put a new file in place of the old one, whole or not at all, and on the disk."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    handle = os.open(
        fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
    )
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

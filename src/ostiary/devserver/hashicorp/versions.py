"""One KV mount, version 2: every write is a version, and versions are deleted before they go.

Values are what the caller gave, as decoded JSON. Knows no HTTP and no tokens. Neighbour:
`endpoints` puts it on the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast, final

import msgspec

__all__ = ["CasError", "Key", "Mount", "Version"]

_MAX_VERSIONS: Final = 10


class CasError(Exception):
    """The version that a write was to replace is not the present one."""


class Version(msgspec.Struct):
    """One version of one secret; `data` is None once it is destroyed."""

    created_time: float
    data: dict[str, Any] | None
    deletion_time: float | None = None

    def __repr__(self) -> str:
        return f"<Version of {self.created_time}>"

    @property
    def destroyed(self) -> bool:
        return self.data is None

    @property
    def readable(self) -> bool:
        return self.data is not None and self.deletion_time is None


class Key(msgspec.Struct, kw_only=True):
    """One secret: its versions by number, and what is said about it."""

    created_time: float
    updated_time: float
    current: int = 0
    max_versions: int = 0
    cas_required: bool = False
    custom_metadata: dict[str, str] | None = None
    versions: dict[int, Version] = {}

    @property
    def oldest(self) -> int:
        # The real server says 0 until the first version has been pushed out.
        first = min(self.versions, default=0)
        return 0 if first == 1 else first


@final
class Mount:
    """The secrets below one mount path."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._keys: dict[str, Key] = {}

    def key(self, path: str) -> Key | None:
        return self._keys.get(path)

    def below(self, path: str) -> list[str]:
        """Return what lies directly below a path; folders end with a slash."""
        prefix = f"{path.strip('/')}/" if path.strip("/") else ""
        found: set[str] = set()
        for name in self._keys:
            if name.startswith(prefix):
                head, slash, _ = name[len(prefix) :].partition("/")
                found.add(head + slash)
        return sorted(found)

    def put(self, path: str, data: dict[str, Any], cas: int | None = None) -> Version:
        """Write a version; `cas` is the number it must replace, 0 for none."""
        key = self._keys.get(path)
        self._check_cas(key, cas)
        now = self._clock()
        if key is None:
            key = self._keys[path] = Key(created_time=now, updated_time=now, versions={})
        key.current += 1
        key.updated_time = now
        made = key.versions[key.current] = Version(now, data)
        while len(key.versions) > (key.max_versions or _MAX_VERSIONS):
            del key.versions[min(key.versions)]
        return made

    def patch(self, path: str, changes: dict[str, Any], cas: int | None = None) -> Version | None:
        """Write a version that differs from the present one; None when there is none."""
        key = self._keys.get(path)
        present = None if key is None else key.versions.get(key.current)
        if present is None or present.data is None or not present.readable:
            return None
        return self.put(path, _merged(present.data, changes), cas)

    def _check_cas(self, key: Key | None, cas: int | None) -> None:
        present = 0 if key is None else key.current
        if cas is None:
            if key is not None and key.cas_required:
                raise CasError("check-and-set parameter required for this call")
        elif cas != present:
            raise CasError("check-and-set parameter did not match the current version")

    def read(self, path: str, number: int = 0) -> tuple[int, Version] | None:
        """Return a version and its number; 0 is the present one."""
        key = self._keys.get(path)
        if key is None:
            return None
        number = number or key.current
        version = key.versions.get(number)
        return None if version is None else (number, version)

    def delete(self, path: str, numbers: list[int] | None = None) -> None:
        """Mark versions as deleted, the present one if none is named."""
        key = self._keys.get(path)
        if key is None:
            return
        for number in [key.current] if numbers is None else numbers:
            version = key.versions.get(number)
            if version is not None and version.readable:
                version.deletion_time = self._clock()

    def undelete(self, path: str, numbers: list[int]) -> None:
        for version in self._named(path, numbers):
            if not version.destroyed:
                version.deletion_time = None

    def destroy(self, path: str, numbers: list[int]) -> None:
        """Forget the values of versions for good."""
        for version in self._named(path, numbers):
            version.data = None

    def _named(self, path: str, numbers: list[int]) -> list[Version]:
        key = self._keys.get(path)
        if key is None:
            return []
        return [key.versions[number] for number in numbers if number in key.versions]

    def describe(
        self,
        path: str,
        *,
        max_versions: int | None,
        cas_required: bool | None,
        custom_metadata: dict[str, str] | None,
    ) -> None:
        """Set what is said about a secret, which need not have a version yet."""
        now = self._clock()
        key = self._keys.setdefault(path, Key(created_time=now, updated_time=now, versions={}))
        key.updated_time = now
        if max_versions is not None:
            key.max_versions = max_versions
        if cas_required is not None:
            key.cas_required = cas_required
        if custom_metadata is not None:
            key.custom_metadata = custom_metadata

    def forget(self, path: str) -> None:
        """Remove a secret with all its versions."""
        self._keys.pop(path, None)


def _merged(present: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return RFC 7396's merge of changes into a document."""
    merged = dict(present)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            below = merged.get(name)
            document = cast("dict[str, Any]", below) if isinstance(below, dict) else {}
            merged[name] = _merged(document, cast("dict[str, Any]", value))
        else:
            merged[name] = value
    return merged

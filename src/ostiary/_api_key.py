"""An API key as settings hold it: hidden, judged without being shown, or only referred to.

It is hidden before anything else is done with it, and read from a file that nobody else can
read. What a reference stands for is fetched elsewhere; nothing is opened here but that file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from .errors import OstiaryError
from .secret import Secret

__all__ = [
    "Hidden",
    "KeySource",
    "Reference",
    "Refuse",
    "Unusable",
    "hidden",
    "hidden_text",
    "key_problem",
    "read_key",
    "read_key_file",
    "referred",
    "usable",
]

Refuse = Callable[[str], OstiaryError]
"""Makes the domain's error for a setting that cannot be meant."""

_LONGEST_KEY: Final = 16 * 1024
_SCHEME: Final = "vault:"


class Reference(msgspec.Struct, frozen=True):
    """Where an API key is kept, in place of the key: `vault:path` or `vault:path#field`.

    With `field`, what lies there is a JSON object and the key that member of it.
    """

    path: str
    field: str | None = None

    @classmethod
    def read(cls, text: str) -> Reference | None:
        """Return what a setting refers to; None when it is no reference."""
        if not text.startswith(_SCHEME):
            return None
        path, mark, field = text.removeprefix(_SCHEME).partition("#")
        return cls(path, field if mark else None)

    def __str__(self) -> str:
        return _SCHEME + self.path + ("" if self.field is None else f"#{self.field}")


class KeySource(Protocol):
    """Fetches what references stand for; `ostiary.client` has those of the vault."""

    def header(self, reference: Reference, name: str, prefix: str = "") -> Any:
        """Return a pool's `credentials`: the header of that name, `prefix` before the key."""
        ...


class Unusable(msgspec.Struct, frozen=True):
    """Stands for what was given and cannot be meant, which may be a secret all the same."""

    problem: str


Hidden = Secret | Reference | Unusable | None
"""An API key as `hidden` leaves it; `usable` refuses those that cannot be sent."""


def hidden(value: object) -> Hidden:
    """Return an API key so that it does not show; the first thing a constructor does with it.

    Text that begins with `vault:` is a reference; a `Secret` is a key, whatever it says. Never
    raises: a traceback records the locals of every frame, those of the constructor too.
    """
    if isinstance(value, Reference):
        return value
    return (Reference.read(value) if isinstance(value, str) else None) or hidden_text(value)


def hidden_text(value: object) -> Secret | Unusable | None:
    """Return a secret that is no reference, whatever it says, so that it does not show.

    Never raises, for the same reason.
    """
    if value is None or isinstance(value, (Secret, Unusable)):
        return value
    if isinstance(value, str):
        # What cannot be encoded is refused where it can no longer be seen.
        return Secret(value.encode("utf-8", "surrogatepass"))
    return Unusable(f"is a str or a Secret, not {type(value).__name__}")


def referred(key: Secret) -> Secret | Reference:
    """Return what was read as a key, or what it refers to."""
    if key.reveal_bytes().startswith(_SCHEME.encode()):
        return Reference.read(key.reveal()) or key
    return key


def usable(key: Hidden, refuse: Refuse) -> Secret | Reference | None:
    """Return a key that may be sent, empty when it was given so; raise for any other."""
    problem = key_problem(key) if key else None
    if problem is None and not isinstance(key, Unusable):
        return key
    raise refuse(f"api_key {problem}")


def key_problem(key: Secret | Reference | Unusable) -> str | None:
    """Say what keeps a key out of a header, without saying what it is; None: nothing does."""
    if isinstance(key, Unusable):
        return key.problem
    if isinstance(key, Reference):
        if not key.path or not key.path.isprintable() or key.path != key.path.strip():
            return "refers to the vault without saying where: vault:path, or vault:path#field"
        return "refers to a field that has no name" if key.field == "" else None
    content = key.reveal_bytes()
    if not content:
        return "is empty"
    if len(content) > _LONGEST_KEY:
        return f"is longer than {_LONGEST_KEY} bytes"
    if not all(0x21 <= byte <= 0x7E for byte in content):
        return "is not one line of printable ASCII without blanks"
    return None


def read_key(name: str, file_name: str, refuse: Refuse) -> Secret | Reference | None:
    """Return the key that the environment has under `name`, or in the file it names; or None."""
    if os.environ.get(name):
        key = hidden(os.environ[name].strip())
        assert isinstance(key, (Secret, Reference))
        if problem := key_problem(key):
            raise refuse(f"environment variable {name} {problem}")
        return key
    path = os.environ.get(file_name)
    return referred(read_key_file(path, refuse)) if path else None


def read_key_file(path: str | os.PathLike[str], refuse: Refuse) -> Secret:
    """Read an API key from a file of one line.

    Refuses a file that is not there, is no regular file, holds anything but one line of
    printable ASCII, or belongs to this user and lets others read it.
    """
    name = os.fspath(path)
    key: Secret | None = None
    problem: str | None
    try:
        name = os.path.expanduser(name)
        # A pipe that nobody writes to is not waited for.
        with open(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                problem = "is not a regular file"
            elif found.st_uid == os.geteuid() and found.st_mode & 0o077:
                # Files of another owner are mounted so, and not ours to change.
                problem = f"can be read by others; run: chmod 600 {name}"
            else:
                key = Secret(file.read(_LONGEST_KEY + 1).strip())
                problem = key_problem(key)
    except OSError as error:
        problem = f"cannot be read: {error.strerror or type(error).__name__}"
    except ValueError:
        problem = "is no path of this system"
    if problem is None and key is not None:
        return key
    raise refuse(f"the API key file {name} {problem}")

"""One configuration for all domains: what code gives, and below it a profile of a file.

Reads the file when it is asked to, and nothing else; the environment, which lies between the
two, is read when a client is made. Neighbours: `sections`, `_layers`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, Self, cast

import msgspec
from msgspec import UNSET, UnsetType

from .. import _decoders
from .._api_key import Unusable, hidden
from ..config import Limits
from ..errors import InvalidArgumentError, OstiaryError
from ..secret import Secret
from .sections import (
    DOMAINS,
    HIDE,
    IN_CODE,
    KEYS,
    SECTIONS,
    Count,
    GatewaySection,
    GovernanceSection,
    RuntimeSection,
    Seconds,
    Section,
    Switch,
    VaultSection,
    WorkflowSection,
    nearest,
    section_of,
)

__all__ = ["CONFIG", "DEFAULT", "PROFILE", "ConfigError", "OstiaryConfig", "config_path"]

CONFIG: Final = "OSTIARY_CONFIG"
PROFILE: Final = "OSTIARY_PROFILE"
DEFAULT: Final = "default"
"""The profile that is used when none is named; it may be missing."""

_LARGEST: Final = 1024 * 1024


class ConfigError(InvalidArgumentError):
    """The configuration cannot be used, or says nothing of the domain that was asked for."""


class OstiaryConfig(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """What an `Ostiary` is made from. Times are seconds, None is no limit.

    A section, or a mapping of its members, for each domain; what stands beside them holds for
    every domain that does not say otherwise. `trace` gives each call the same trace id: text is
    that id, True makes one. `below` is a profile's configuration, which the environment
    goes before. Pickled, it leaves secrets, TLS contexts and hooks behind; a profile's secrets
    are read again where it arrives, if the same profile is there.
    """

    vault: VaultSection | None = None
    gateway: GatewaySection | None = None
    runtime: RuntimeSection | None = None
    workflow: WorkflowSection | None = None
    governance: GovernanceSection | None = None
    timeout: Seconds = UNSET
    max_retries: Count = UNSET
    max_connections: Count = UNSET
    limits: Limits | UnsetType | None = UNSET
    adaptive: Switch = UNSET
    trace: bool | str | UnsetType | None = UNSET
    below: OstiaryConfig | None = None
    profile: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        given = {domain: getattr(self, domain) for domain in DOMAINS}
        try:
            # A traceback records the locals, and this object is one: with no plain key in it.
            for domain in DOMAINS:
                msgspec.structs.force_setattr(self, domain, None)
            for domain in DOMAINS:
                made = section_of(domain, given.pop(domain))
                msgspec.structs.force_setattr(self, domain, made)
        finally:
            del given

    @classmethod
    def load(
        cls,
        profile: str | None = None,
        config_file: str | os.PathLike[str] | None = None,
        **given: Any,
    ) -> Self:
        """Return what is given, above a profile of the configuration file.

        `profile` left out is `OSTIARY_PROFILE`, then `default`; `config_file` left out is
        `OSTIARY_CONFIG`, then `config.toml` in `$XDG_CONFIG_HOME/ostiary` or
        `~/.config/ostiary`. Only a profile or file that was named has to be there.

        Raises `ConfigError` for what cannot be read or understood, naming file, table and key,
        and for a file with a secret in it that others can read.
        """
        try:
            return cls(below=_profile(profile, config_file), **given)
        finally:
            del given  # a traceback records the locals

    def section(self, domain: str) -> Section | None:
        """Return a domain's section; None when nothing is said of it."""
        found: Section | None = getattr(self, domain)
        return found

    def shared(self) -> dict[str, Any]:
        """Return what is said for every domain."""
        said = {name: getattr(self, name) for name in SHARED}
        return {
            name: value
            for name, value in said.items()
            if value is not UNSET and (value is not None or name == "timeout")
        }

    def portable(self) -> OstiaryConfig:
        """Return a copy that may be pickled: without secrets, TLS contexts and hooks."""
        sections: dict[str, Any] = {
            domain: found.portable() for domain in DOMAINS if (found := self.section(domain))
        }
        below = None if self.below is None else self.below.portable()
        return msgspec.structs.replace(self, **sections, below=below)

    def __reduce__(self) -> tuple[Any, ...]:
        # What lies below sees to itself, and knows whether it lacks something then.
        bare = msgspec.structs.replace(self.portable(), below=self.below)
        said = zip(self.__struct_fields__, self.__struct_defaults__, strict=True)
        members = {
            name: value for name, default in said if (value := getattr(bare, name)) is not default
        }
        lacks = any(
            found.secrets() for domain in DOMAINS if (found := self.section(domain)) is not None
        )
        return _arrived, (members, lacks and self.file is not None)


SHARED: Final = ("timeout", "max_retries", "max_connections", "limits", "adaptive")


def config_path(given: str | os.PathLike[str] | None = None) -> tuple[str | None, bool]:
    """Return where the configuration file is looked for, and whether somebody named it.

    None when there is no home directory.
    """
    named = os.fspath(given) if given is not None else os.environ.get(CONFIG)
    if named:
        return os.path.abspath(os.path.expanduser(named)), True
    home = os.environ.get("XDG_CONFIG_HOME") or ""
    # What is not absolute is to be ignored, says the specification.
    home = home if os.path.isabs(home) else os.path.expanduser("~/.config")
    return (os.path.join(home, "ostiary", "config.toml") if os.path.isabs(home) else None), False


def _profile(
    profile: str | None, config_file: str | os.PathLike[str] | None
) -> OstiaryConfig | None:
    named = profile or os.environ.get(PROFILE) or None
    path, wanted = config_path(config_file)
    document = None if path is None else _document(path, must=wanted or named is not None)
    if path is None or document is None:
        if named is not None:
            raise ConfigError(f"there is no home directory to look for profile {named!r} in")
        return None
    name = named or DEFAULT
    profiles = _profiles(path, document)
    table = profiles.get(name)
    if table is None:
        if named is None:
            return OstiaryConfig(file=path)  # it says nothing, and yet where it would be said
        raise ConfigError(f"{path} has no profile {name!r}{_like(name, profiles)}")
    return _of_table(path, f"profile.{name}" if name != DEFAULT else DEFAULT, name, table)


def _document(path: str, *, must: bool) -> dict[str, Any] | None:
    """Read a file, keys hidden; None when it is not there and does not have to be."""
    problem = text = found = None
    try:
        # A pipe that nobody writes to is not waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode):
                text = file.read(_LARGEST + 1)
            else:
                problem = "is not a regular file"
    except FileNotFoundError:
        if not must:
            return None
        problem = "is not there; write it, or name neither it nor a profile"
    except (OSError, ValueError) as error:
        problem = f"cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}"
    if text is not None and len(text) > _LARGEST:
        problem = f"is longer than {_LARGEST} bytes"
    if problem is None and text is not None and found is not None:
        document, problem = _parsed(text)
        del text
        if document is not None:
            loose = found.st_uid == os.geteuid() and found.st_mode & 0o077
            if not loose or not _holds_secret(document):
                return document
            # Files of another owner are mounted so, and not ours to change.
            problem = (
                "holds a key and can be read by others; write vault:path in place of the key, "
                f"or run: chmod 600 {path}"
            )
            del document
    raise ConfigError(f"configuration file {path} {problem}")


def _parsed(text: bytes) -> tuple[dict[str, Any] | None, str]:
    import tomllib

    try:
        return _hide(tomllib.loads(text.decode("utf-8-sig"))), ""
    except UnicodeDecodeError:
        return None, "is not UTF-8"
    except tomllib.TOMLDecodeError as error:
        # Of the message alone: the error itself may hold the document.
        return None, f"is not TOML: {error.args[0]}"
    finally:
        del text


def _hide(table: dict[str, Any]) -> dict[str, Any]:
    """Hide the keys of all profiles, before anything else is looked at."""
    for name in table:
        if name in KEYS and not isinstance(table[name], dict):
            table[name] = HIDE[name](table[name])
        elif isinstance(table[name], dict):
            inner = table[name]
            table[name] = {each: hidden(inner[each]) for each in inner} if name in KEYS else inner
            _hide(inner)
            del inner
    return table


def _holds_secret(table: Mapping[str, Any]) -> bool:
    """Whether there is a key in the document, in whatever profile."""
    return any(
        _holds_secret(cast("Mapping[str, Any]", value))
        if isinstance(value, Mapping)
        else isinstance(value, (Secret, Unusable)) and bool(value)
        for value in table.values()
    )


def _profiles(path: str, document: Mapping[str, Any]) -> dict[str, Any]:
    known = {DEFAULT: None, "profile": None}
    for name in document:
        if name not in known:
            raise ConfigError(f"{path}: unknown table [{name}]{nearest(name, known)}")
    named = document.get("profile", {})
    if not isinstance(named, Mapping):
        raise ConfigError(f"{path}: write profiles as tables: [profile.NAME]")
    if DEFAULT in named:
        raise ConfigError(f"{path}: write [{DEFAULT}] in place of [profile.{DEFAULT}]")
    return {**({DEFAULT: document[DEFAULT]} if DEFAULT in document else {}), **named}


def _of_table(path: str, where: str, name: str, table: Any) -> OstiaryConfig:
    """Read one profile; errors name the table and the key."""
    _check_table(path, where, table, dict.fromkeys((*DOMAINS, *SHARED, "trace")))
    sections: dict[str, Any] = {}
    for domain, kind in SECTIONS.items():
        if domain in table:
            place = f"{where}.{domain}"
            allowed = dict.fromkeys(each for each in kind.__struct_fields__ if each not in IN_CODE)
            _check_table(path, place, table[domain], allowed)
            sections[domain] = _converted(path, place, table[domain], kind)
    shared = {key: value for key, value in table.items() if key not in SECTIONS}
    read: OstiaryConfig = _converted(path, where, shared, OstiaryConfig)
    return msgspec.structs.replace(read, **sections, profile=name, file=path)


def _check_table(path: str, where: str, table: Any, known: Mapping[str, None]) -> None:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{path}: [{where}] is a table, not {type(table).__name__}")
    for key in cast("Mapping[str, Any]", table):
        if key not in known:
            raise ConfigError(f"{path}: [{where}]: unknown key {key!r}{nearest(key, known)}")
    if "limits" in table:
        sizes = dict.fromkeys(Limits.__struct_fields__)
        _check_table(path, f"{where}.limits", table["limits"], sizes)


def _converted(path: str, where: str, table: Mapping[str, Any], kind: Any) -> Any:
    keys = {name: table[name] for name in KEYS if name in table}
    problem = next((f"{k} {v.problem}" for k, v in keys.items() if isinstance(v, Unusable)), None)
    if problem is None:
        try:
            plain = {name: value for name, value in table.items() if name not in keys}
            return msgspec.structs.replace(_decoders.convert(plain, kind), **keys)
        except (msgspec.ValidationError, OstiaryError) as error:
            problem = str(error)
    raise ConfigError(f"{path}: [{where}]: {problem}")


def _like(name: str, profiles: Mapping[str, object]) -> str:
    found = get_close_matches(name, list(profiles), 1)
    if found:
        return f"; did you mean {found[0]!r}?"
    return f"; it has {', '.join(sorted(profiles))}" if profiles else "; it has none at all"


def _arrived(members: dict[str, Any], lacks: bool) -> OstiaryConfig:
    """Make a configuration where it was unpickled, with its profile's secrets if they are here."""
    config = OstiaryConfig(**members)
    if not lacks:
        return config
    try:
        here = _profile(config.profile, config.file)
    except OstiaryError:
        return config  # of another machine: keys come by reference or from the environment
    # A key is for the server it stands beside: a profile that was changed is another one.
    return here if here is not None and here.portable() == config else config

"""Who offers models: the one table that a new provider is added to, once.

Detection by a model's name, LiteLLM's spelling, direct endpoints, keys and the form of
structured output all come from here. It holds no key and opens no connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from .errors import ConfigurationError

__all__ = [
    "DEFAULT",
    "PREFIXES",
    "Dialect",
    "Provider",
    "Structured",
    "detect",
    "known",
    "provider",
    "providers",
    "register",
]

Dialect = Literal["openai", "anthropic", "google"]
"""What a provider speaks when it is called without a gateway."""

Structured = Literal["json_schema", "tool", "json_object"]
"""How a provider is made to answer in a given shape."""

# An HTTP token (RFC 9110, 5.6.2) without upper case: it travels in X-Provider.
_NAME: Final = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}")


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One provider, as gateway and direct mode need it.

    `prefixes` are what the names of its models begin with, in lower case. `base_url` is where
    direct mode finds it, empty when only a gateway has it; `base_url_env` and `key_env` name
    the variables that replace it and that hold the key. `key_header` and `key_prefix` say how
    the key travels. `litellm_prefix` is what LiteLLM wants before a model's name, slash
    included.
    """

    name: str
    prefixes: tuple[str, ...] = ()
    dialect: Dialect = "openai"
    base_url: str = ""
    base_url_env: str = ""
    key_env: str = ""
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    litellm_prefix: str = ""
    structured: Structured = "tool"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"provider name {self.name[:80]!r} is not a word in lower case; it is sent as a "
                "header"
            )
        if any(not each or each != each.lower() for each in self.prefixes):
            raise ConfigurationError(f"a prefix of provider {self.name} is empty or upper case")


_table: dict[str, Provider] = {
    each.name: each
    for each in (
        Provider(
            name="openai",
            dialect="openai",
            base_url="https://api.openai.com/v1",
            base_url_env="OPENAI_BASE_URL",
            key_env="OPENAI_API_KEY",
            structured="json_schema",
        ),
        Provider(
            name="anthropic",
            prefixes=("claude", "anthropic/"),
            dialect="anthropic",
            base_url="https://api.anthropic.com",
            base_url_env="ANTHROPIC_BASE_URL",
            key_env="ANTHROPIC_API_KEY",
            key_header="x-api-key",
            key_prefix="",
            litellm_prefix="anthropic/",
            structured="tool",
        ),
        Provider(
            name="google",
            prefixes=("gemini", "google/"),
            dialect="google",
            base_url="https://generativelanguage.googleapis.com",
            base_url_env="GOOGLE_BASE_URL",
            key_env="GOOGLE_API_KEY",
            key_header="x-goog-api-key",
            key_prefix="",
            litellm_prefix="gemini/",
            structured="tool",
        ),
        # The model that is built into the embedded gateway; there is nothing behind it.
        Provider(name="ostiary", structured="json_schema"),
    )
}

DEFAULT: Final = "openai"
"""Whose a model is that names no provider and begins like nobody's."""


def provider(name: str) -> Provider:
    """Return a provider by its name; raise `ConfigurationError` for one that is not known."""
    found = _table.get(name.strip().lower())
    if found is None:
        raise ConfigurationError(
            f"provider {name[:80]!r} is not known here, so that its endpoint and key are not "
            f"either; known are {', '.join(sorted(_table))}. Add one by "
            "ostiary.gateway.providers.register(Provider(...))"
        )
    return found


def known(name: str) -> Provider | None:
    """Return a provider by its name, or None: a gateway may have others than this table."""
    return _table.get(name.strip().lower())


def providers() -> tuple[Provider, ...]:
    """Return every provider, in the order they were added."""
    return tuple(_table.values())


def register(new: Provider, *, replace: bool = False) -> Provider:
    """Add a provider for this process and return it.

    Raises `ConfigurationError` when the name is taken, unless `replace`, or when a prefix is
    that of another provider: detection must not depend on the order of the table.
    """
    global _table
    if new.name in _table and not replace and _table[new.name] != new:
        raise ConfigurationError(
            f"provider {new.name} is known already; give replace=True to change it"
        )
    for other in _table.values():
        if other.name != new.name and (shared := set(other.prefixes) & set(new.prefixes)):
            raise ConfigurationError(
                f"models that begin with {min(shared)!r} are those of provider {other.name}"
            )
    # A new table each time: whoever walks the old one on another thread is not disturbed.
    _table = {**_table, new.name: new}
    return new


def detect(model: str) -> str:
    """Return the name of the provider whose model this is, by how it begins.

    The longest prefix wins; what begins like nobody's is `DEFAULT`'s.
    """
    lowered = model.lower()
    best, longest = DEFAULT, 0
    for each in _table.values():
        for prefix in each.prefixes:
            if len(prefix) > longest and lowered.startswith(prefix):
                best, longest = each.name, len(prefix)
    return best


class _Prefixes(Mapping[str, tuple[str, ...]]):
    """The table's prefixes by provider, as they are now."""

    def __getitem__(self, name: str) -> tuple[str, ...]:
        found = _table[name].prefixes
        if not found:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in _table.values() if each.prefixes)

    def __len__(self) -> int:
        return sum(1 for each in _table.values() if each.prefixes)

    def __repr__(self) -> str:
        return repr(dict(self))


PREFIXES: Final[Mapping[str, tuple[str, ...]]] = _Prefixes()
"""What models' names begin with, by provider: a view of the table, not a second one."""

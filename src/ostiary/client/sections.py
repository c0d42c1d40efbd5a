"""What a configuration says of each domain: the arguments of its client's constructor, by name.

A member that is UNSET is left to the layer below. Checks no value: the domain does, when its
client is made. Neighbour: `config`, which holds one section per domain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import msgspec
from msgspec import UNSET, UnsetType

from .._api_key import Hidden, Unusable, hidden, hidden_text
from ..config import Limits
from ..errors import InvalidArgumentError
from ..secret import Secret

if TYPE_CHECKING:
    import os
    import ssl

    from ..gateway.client import GatewayAccess
    from ..gateway.llm.model_selector import ModelSelector
    from ..http.hooks import RequestInfo, ResponseInfo, RetryInfo

    Access: TypeAlias = GatewayAccess | UnsetType | None
    Context = ssl.SSLContext | UnsetType | None
    Key = str | Hidden | UnsetType
    Keys = Mapping[str, str | Hidden] | UnsetType | None
    Models: TypeAlias = ModelSelector | UnsetType | None
    Path = str | os.PathLike[str] | UnsetType | None
    RequestHook = Callable[[RequestInfo], object] | UnsetType | None
    ResponseHook = Callable[[ResponseInfo], object] | UnsetType | None
    RetryHook = Callable[[RetryInfo], object] | UnsetType | None
else:
    # msgspec reads files into these: what only code can give is not told apart there.
    Access = Context = Models = RequestHook = ResponseHook = RetryHook = Any
    Key = Path = str | UnsetType | None
    Keys = Mapping[str, str] | UnsetType | None

__all__ = [
    "DOMAINS",
    "HIDE",
    "IN_CODE",
    "KEYS",
    "SECTIONS",
    "GatewaySection",
    "GovernanceSection",
    "HttpSection",
    "RuntimeSection",
    "Section",
    "VaultSection",
    "WorkflowSection",
    "nearest",
    "section_of",
]

Text = str | UnsetType | None
Count = int | UnsetType | None
Seconds = float | UnsetType | None
Switch = bool | UnsetType

IN_CODE: Final = frozenset(
    {"access", "models", "on_request", "on_response", "on_retry", "ssl_context"}
)
"""Members that no file can hold and no pickle takes along, but for `access` and `models`."""

_TIMES: Final = frozenset({"timeout", "idle_timeout", "total_timeout"})
# What has to unlock the vault cannot lie in it.
HIDE: Final[Mapping[str, Callable[[object], Hidden]]] = {
    "api_key": hidden,
    "api_keys": hidden,
    "passphrase": hidden_text,
}
KEYS: Final = tuple(HIDE)


class Section(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """What every domain's section has. Keys are hidden when it is made."""

    timeout: Seconds = UNSET
    max_retries: Count = UNSET
    max_connections: Count = UNSET
    limits: Limits | UnsetType | None = UNSET
    expected_uid: Count = UNSET
    ssl_context: Context = UNSET

    def __post_init__(self) -> None:
        for name in KEYS:
            found: Any = getattr(self, name, UNSET)
            kept: Any = found
            if name == "api_keys" and isinstance(found, Mapping):
                kept = _each_hidden(cast("Mapping[str, object]", found))
            elif found is not UNSET:
                kept = HIDE[name](found)
            if kept is not found:
                msgspec.structs.force_setattr(self, name, kept)
            del found, kept  # a traceback records the locals

    def given(self) -> dict[str, Any]:
        """Return the members that say something; None does so of times alone."""
        return {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(self, name)) is not UNSET and (value is not None or name in _TIMES)
        }

    def secrets(self) -> frozenset[str]:
        """Return the names of the members that hold a secret, and not where one lies."""
        return frozenset(name for name in KEYS if _is_secret(getattr(self, name, UNSET)))

    def portable(self) -> Section:
        """Return a copy that may be pickled: without secrets, TLS context and hooks."""
        left_out = self.secrets() | (IN_CODE - {"access", "models"})
        return msgspec.structs.replace(
            self, **{name: UNSET for name in left_out if name in self.__struct_fields__}
        )


class VaultSection(Section, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The vault's; `agent_name` has to be said somewhere."""

    agent_name: Text = UNSET
    socket_path: Path = UNSET
    host: Text = UNSET
    port: Count = UNSET
    key_path: Path = UNSET
    passphrase: Key = UNSET
    dialect: Text = UNSET


class HttpSection(Section, frozen=True, kw_only=True, repr_omit_defaults=True):
    """What the sections of the HTTP domains have."""

    adaptive: Switch = UNSET
    parser: Text = UNSET
    on_request: RequestHook = UNSET
    on_response: ResponseHook = UNSET
    on_retry: RetryHook = UNSET


class GatewaySection(HttpSection, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The gateway's: beside its client's arguments, what `GatewaySettings` reads elsewhere.

    `access`, or where the tokens and the gateway are, or with `direct` the providers'
    `api_keys` and `base_urls`. `model` is for work that no Transaction Token limits.
    """

    idle_timeout: Seconds = UNSET
    total_timeout: Seconds = UNSET
    token_budget: Count = UNSET
    access: Access = UNSET
    models: Models = UNSET
    model: Text = UNSET
    direct: Switch = UNSET
    spiffe_jwt_path: Text = UNSET
    workload_socket: Text = UNSET
    audience: Text = UNSET
    trat_file: Text = UNSET
    sidecar_socket: Text = UNSET
    gateway: Text = UNSET
    run_id: Text = UNSET
    org_id: Text = UNSET
    api_keys: Keys = UNSET
    base_urls: Mapping[str, str] | UnsetType | None = UNSET


class RuntimeSection(HttpSection, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The runtime's."""

    base_url: Text = UNSET
    api_key: Key = UNSET


class WorkflowSection(HttpSection, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The workflow server's."""

    base_url: Text = UNSET
    api_key: Key = UNSET
    idle_timeout: Seconds = UNSET
    validate: Switch = UNSET


class GovernanceSection(HttpSection, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The governance server's; `max_retries` is what its constructor calls `retries`."""

    base_url: Text = UNSET
    api_key: Key = UNSET
    idle_timeout: Seconds = UNSET
    strict: Switch = UNSET


SECTIONS: Final[Mapping[str, type[Section]]] = {
    "vault": VaultSection,
    "gateway": GatewaySection,
    "runtime": RuntimeSection,
    "workflow": WorkflowSection,
    "governance": GovernanceSection,
}
DOMAINS: Final = tuple(SECTIONS)


def section_of(domain: str, given: object) -> Any:
    """Return what was given for a domain, a section or a mapping, as its section; None for none.

    Raises `InvalidArgumentError` for what is neither, and for an argument that does not exist.
    """
    kind = SECTIONS[domain]
    if given is None or isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        problem = (
            f"{domain} is a mapping of arguments or a {kind.__name__}, not {type(given).__name__}"
        )
    else:
        members = cast("Mapping[str, Any]", given)
        unknown = [name for name in members if name not in kind.__struct_fields__]
        if not unknown:
            return kind(**members)
        problem = f"{domain} has no argument {unknown[0]!r}{nearest(unknown[0], kind)}"
        del members
    del given  # it may hold a key, and a traceback records the locals
    raise InvalidArgumentError(problem)


def nearest(name: object, kind: type[msgspec.Struct] | Mapping[str, object]) -> str:
    """Return the hint at what was meant by an unknown name; empty when nothing is like it."""
    known = kind if isinstance(kind, Mapping) else kind.__struct_fields__
    found = get_close_matches(str(name), list(known), 1)
    return f"; did you mean {found[0]!r}?" if found else f"; it knows {', '.join(sorted(known))}"


def _each_hidden(keys: Mapping[str, object]) -> dict[str, Hidden]:
    return {name: hidden(keys[name]) for name in keys}


def _is_secret(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(map(_is_secret, cast("Mapping[str, object]", value).values()))
    return isinstance(value, (Secret, Unusable))

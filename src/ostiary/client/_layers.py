"""What holds for one domain, and who says so: argument, environment, `.env`, profile.

Knows which variables speak for which argument, and leaves reading them to the domain. A
profile's key goes to the address it stands beside and to no other. Neighbour: `config`.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, cast

import msgspec
from msgspec import UNSET

from .._api_key import Reference
from ..config import DEFAULT_LIMITS, Limits
from .config import DEFAULT, ConfigError, OstiaryConfig, config_path
from .sections import KEYS, SECTIONS

__all__ = ["Setting", "arguments_of", "loading", "not_configured", "settings_of"]

loading: Final = threading.RLock()
"""Held while a domain is loaded, which is when it is first asked for."""

# A child made meanwhile would have modules half loaded, and wait for ever for who loads them. To
# load one learns types: `_decoders` was registered before, and so its lock is taken after this.
os.register_at_fork(
    before=loading.acquire,
    after_in_parent=loading.release,
    after_in_child=loading.release,
)

ARGUMENT: Final = "argument"
DOTENV: Final = ".env"
AGENT: Final = "OSTIARY_VAULT_AGENT"

_MASK: Final = "**********"

# What together says where a server is: of one layer, never a part of two.
_ADDRESS: Final[Mapping[str, tuple[str, ...]]] = {
    "vault": ("socket_path", "host", "port"),
    "gateway": (
        *("access", "direct", "spiffe_jwt_path", "workload_socket", "audience", "trat_file"),
        *("sidecar_socket", "gateway", "run_id", "org_id", "api_keys", "base_urls"),
    ),
}
_HTTP_ADDRESS: Final = ("base_url",)
# What shows a server who asks.
_PROOFS: Final = ("api_key", "key_path", "passphrase")


class Setting(NamedTuple):
    """An argument's value, and where it is said; UNSET when a variable or a `.env` holds it."""

    value: Any
    source: str
    """`argument`, `$NAME`, `.env`, or the profile's table."""

    def shown(self, name: str) -> str:
        """Return what may be seen of the value; a key is hidden, a reference to one is not."""
        value: object = self.value
        if value is not UNSET:
            if isinstance(value, Mapping):
                pairs = cast("Mapping[str, object]", value).items()
                return ", ".join(f"{key}: {_plain(each)}" for key, each in pairs)
            return _plain(value)
        if name not in KEYS:
            return "" if self.source == DOTENV else _plain(os.environ.get(self.source[1:]))
        named = "" if self.source == DOTENV else os.environ.get(self.source[1:], "")
        if self.source.endswith("_FILE") or Reference.read(named) is not None:
            return named
        return _MASK


def _plain(value: object) -> str:
    if isinstance(value, Limits):
        default = msgspec.structs.asdict(DEFAULT_LIMITS)
        sizes = msgspec.structs.asdict(value).items()
        return ", ".join(f"{name}={size}" for name, size in sizes if size != default[name])
    text = "no limit" if value is None else str(value)
    # A password in an address is refused, but not before it is shown.
    return _MASK if "://" in text and "@" in text else text


def settings_of(config: OstiaryConfig, domain: str) -> dict[str, Setting] | None:
    """Return what is said of a domain, by argument; None when it is not configured."""
    above = _said(config, domain, ARGUMENT, ARGUMENT)
    around = _around(domain, above)
    below, table = {}, ""
    if config.below is not None:
        table = _table(config.below, domain)
        below = _said(config.below, domain, table, _table(config.below))
    address = _ADDRESS.get(domain, _HTTP_ADDRESS)
    said = {**below, **around, **above}
    if any(name in above for name in address):
        _keep(said, address, lambda source: source == ARGUMENT)
    elif any(name in around for name in address):
        _keep(said, address, lambda source: source != table)
    _part_from_proofs(said, below, address, table)
    if domain == "vault":
        return said if "agent_name" in said else None
    named = config.section(domain) is not None or (
        config.below is not None and config.below.section(domain) is not None
    )
    return said if named or any(name in said for name in address) else None


def arguments_of(domain: str, said: Mapping[str, Setting]) -> dict[str, Any]:
    """Return the arguments of a domain's constructor; what variables say is left to it."""
    found = {name: one.value for name, one in said.items() if one.value is not UNSET}
    if domain == "vault" and found.get("timeout", 0) is None:
        found["timeout"] = float("inf")  # its None is "not given"
    if domain == "governance" and "max_retries" in found:
        found["retries"] = found.pop("max_retries")
    return found if domain != "gateway" else _gateway(found, said)


def not_configured(config: OstiaryConfig, domain: str) -> ConfigError:
    """Make the error for a domain of which nothing is said."""
    argument, variable = {
        "vault": ("agent_name", AGENT),
        "gateway": ("gateway", "LLM_GATEWAY_SOCKET and the variables of docs/identity.md"),
    }.get(domain, ("base_url", f"OSTIARY_{domain.upper()}_URL"))
    below = config.below or OstiaryConfig()
    where = below.file or config_path()[0] or "a configuration file"
    return ConfigError(
        f"{domain} is not configured; give {domain}={{{argument!r}: ...}}, set {variable}, or "
        f"write {argument} into {_table(below, domain)} of {where}"
    )


def _said(config: OstiaryConfig, domain: str, own: str, shared: str) -> dict[str, Setting]:
    section = config.section(domain)
    known = SECTIONS[domain].__struct_fields__
    found = {name: Setting(value, shared) for name, value in config.shared().items()}
    found = {name: one for name, one in found.items() if name in known}
    if section is not None:
        found |= {name: Setting(value, own) for name, value in section.given().items()}
    return found


def _table(config: OstiaryConfig, domain: str = "") -> str:
    profile = config.profile or DEFAULT
    table = profile if profile == DEFAULT else f"profile.{profile}"
    return f"[{table}.{domain}]" if domain else f"[{table}]"


def _keep(said: dict[str, Setting], names: tuple[str, ...], fits: Callable[[str], bool]) -> None:
    for name in names:
        if name in said and not fits(said[name].source):
            del said[name]


def _part_from_proofs(
    said: dict[str, Setting],
    below: Mapping[str, Setting],
    address: tuple[str, ...],
    table: str,
) -> None:
    """Take out a profile's proofs when the address is another than the profile's."""
    proofs = [name for name in _PROOFS if name in said and said[name].source == table]
    if not proofs:
        return
    found = {name: _text(said[name]) for name in address if name in said}
    if found == {name: _text(below[name]) for name in address if name in below}:
        return
    source = next(said[name].source for name in address if name in said)
    for name in proofs:
        del said[name]
    warnings.warn(
        f"{' and '.join(proofs)} of {table} is not used: the address is from {source}, and a "
        "profile's key goes to the profile's own address alone; give or set both together",
        RuntimeWarning,
        stacklevel=5,
    )


def _text(one: Setting) -> object:
    if one.value is UNSET:
        return os.environ.get(one.source.removeprefix("$"))
    value: object = one.value
    return str(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else value


# --- what lies between arguments and profile


def _around(domain: str, above: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return what the environment says, and a `.env` where the domain reads one."""
    found: dict[str, Setting] = {}
    for name, variables in _variables(domain).items():
        for variable in variables:
            if os.environ.get(variable):
                found[name] = Setting(UNSET, f"${variable}")
                break
    if domain == "gateway" and "direct" in found:
        from ..gateway.settings import Environment, direct_allowed

        if not direct_allowed(Environment()):
            del found["direct"]
    if domain == "vault" and "agent_name" in found:
        found["agent_name"] = Setting(os.environ[AGENT], f"${AGENT}")
    if domain == "runtime":
        from ..runtime.settings import said_by_file

        ahead = {*found, *above}
        for name in said_by_file(trusted="api_key" not in ahead):
            found.setdefault(name, Setting(UNSET, DOTENV))
    return found


def _variables(domain: str) -> Mapping[str, tuple[str, ...]]:
    if domain == "vault":
        from ..vault.settings import VARIABLES as vault

        return {"agent_name": (AGENT,), **vault}
    if domain == "gateway":
        from ..gateway.settings import VARIABLES as gateway

        return gateway
    if domain == "runtime":
        from ..runtime.settings import VARIABLES as runtime

        return runtime
    if domain == "workflow":
        from ..workflow.settings import VARIABLES as workflow

        return workflow
    from ..governance.settings import VARIABLES as governance

    return governance


# --- the gateway, whose client takes an access object


def _gateway(found: dict[str, Any], said: Mapping[str, Setting]) -> dict[str, Any]:
    from ..gateway.client import DirectProviderClient
    from ..gateway.options import models_of
    from ..gateway.settings import (
        ALLOW_DIRECT,
        VARIABLES,
        Environment,
        GatewaySettings,
        direct_allowed,
    )

    identity = {name: found.pop(name) for name in _ADDRESS["gateway"] if name in found}
    model = found.pop("model", None)
    if not identity:
        # The client finds out for itself who is asking and where.
        if model is not None and direct_allowed(Environment()):
            found.setdefault("models", models_of(model))
        return found
    # A client that is given an access object asks the environment for nothing.
    ahead = {ALLOW_DIRECT, *(VARIABLES["gateway"] if "gateway" in identity else ())}
    around = GatewaySettings.from_environment(
        Environment({name: os.environ[name] for name in os.environ.keys() - ahead})
    )
    for name in ("timeout", "max_retries"):
        if name in said and said[name].value is UNSET:
            found[name] = getattr(around, name)
    direct = identity.pop("direct", False)
    given = any(said[name].source == ARGUMENT for name in identity)
    try:
        if "access" in identity:
            found["access"] = identity["access"]
        elif direct:
            ours = {name: identity.get(name) for name in ("api_keys", "base_urls")}
            found["access"] = DirectProviderClient(allow=True, **ours)
            found.setdefault("models", models_of(model or around.model))
        elif "api_keys" in identity or "base_urls" in identity:
            raise ConfigError("gateway: api_keys and base_urls are for direct mode; set direct")
        else:
            # What code leaves out the environment may add, as for every client; a profile is
            # whole, so that its gateway sees no token of another.
            rest = around if given else GatewaySettings()
            found["access"] = msgspec.structs.replace(rest, **identity).access()
    finally:
        del identity  # a traceback records the locals
    return found

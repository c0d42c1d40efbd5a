"""What an HTTP input is configured as: checked, shown without its secret, kept with it sealed.

The members of the original client and of the newer server are both read. Neighbours:
`listener` acts on it, `authorization` on its credentials.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, cast

import msgspec

from ...._decoders import convert, decode_as
from ...http.reading import invalid
from ...options import ORIGIN
from ..context import Context
from ..sealed import seal, unseal

__all__ = [
    "HIDDEN",
    "InputConfig",
    "Kept",
    "ResponseControl",
    "Rule",
    "completed",
    "hidden",
    "keep",
    "restore",
    "revealed",
    "view",
]

HIDDEN: Final = "[redacted]"

ConditionType = Literal["path_prefix", "header_equals", "json_field_equals"]

_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+|/")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_LONGEST_BODY: Final = 16 * 1024 * 1024
_MOST_AT_ONCE: Final = 1024
_MOST_RULES: Final = 256
_MOST_HEADERS: Final = 64
_LONGEST: Final = 4096
# What proves who is calling is for the listener, and for nobody behind it.
_NEVER_FORWARDED: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_CONDITIONS: Final[Mapping[str, ConditionType]] = {
    "PathPrefix": "path_prefix",
    "HeaderEquals": "header_equals",
    "JsonFieldEquals": "json_field_equals",
}


class Rule(msgspec.Struct, kw_only=True):
    """Which agent gets a request. The target is a header's or a member's name, as it fits."""

    condition_type: ConditionType | None = None
    condition_value: str = ""
    condition_target: str | None = None
    agent_id: str = ""
    agent: str | None = None
    condition: dict[str, Any] | None = None


class ResponseControl(msgspec.Struct, kw_only=True):
    """How an agent's outcome becomes a response."""

    default_status: int = 200
    agent_output_to_json: bool = True
    error_status: int = 500
    echo_input_on_error: bool = False


class WebhookVerify(msgspec.Struct, kw_only=True):
    """A webhook's signature as proof of who sent it; `secret` is what both sides know."""

    provider: Literal["github", "stripe", "slack", "generic", "custom"]
    secret: str

    def __repr__(self) -> str:
        return f"WebhookVerify({self.provider!r})"


class InputConfig(msgspec.Struct, kw_only=True):
    """One HTTP input. `agent`, `cors_origins` and `webhook_verify` are the newer server's words."""

    agent_id: str = ""
    agent: str | None = None
    bind_address: str = "0.0.0.0"
    port: int = 8081
    path: str = "/webhook"
    auth_header: str | None = None
    jwt_public_key_path: str | None = None
    webhook_verify: WebhookVerify | None = None
    max_body_bytes: int = 65536
    concurrency: int = 10
    routing_rules: list[Rule] = []
    response_control: ResponseControl = msgspec.field(default_factory=ResponseControl)
    forward_headers: list[str] = []
    cors_enabled: bool = False
    cors_origins: list[str] = []
    audit_enabled: bool = True

    def __repr__(self) -> str:
        return f"InputConfig(agent_id={self.agent_id!r}, port={self.port}, path={self.path!r})"


class Kept(msgspec.Struct, kw_only=True):
    """The same on file: its secrets are sealed apart from it, and hidden in it."""

    server_id: str
    config: InputConfig
    secrets: bytes = b""


class _Secrets(msgspec.Struct, kw_only=True):
    auth_header: str | None = None
    webhook_secret: str | None = None

    def __repr__(self) -> str:
        return "_Secrets()"


def completed(config: InputConfig, *, host: str) -> InputConfig:
    """Check a configuration and return it in the one form that is used; it binds `host`."""
    if config.agent is not None and not config.agent_id:
        config.agent_id = config.agent
    config.agent = None
    if not config.agent_id:
        raise invalid("config.agent_id", "agent_id names the agent that gets the requests")
    config.bind_address = host
    if config.cors_origins:
        config.cors_enabled = True
    config.path = config.path.rstrip("/") or "/"
    control = config.response_control
    for fits, field, why in (
        (0 <= config.port <= 65535, "port", "port is from 0, for any free one, to 65535"),
        (
            len(config.path) <= 256
            and _PATH.fullmatch(config.path)
            and not {".", ".."} & set(config.path.split("/")),
            "path",
            "path begins with a slash and has letters, digits and . _ ~ - between slashes",
        ),
        (
            1 <= config.max_body_bytes <= _LONGEST_BODY,
            "max_body_bytes",
            f"max_body_bytes is from 1 to {_LONGEST_BODY}",
        ),
        (
            1 <= config.concurrency <= _MOST_AT_ONCE,
            "concurrency",
            f"concurrency is from 1 to {_MOST_AT_ONCE} requests",
        ),
        (
            _is_header_value(config.auth_header),
            "auth_header",
            f"auth_header is one line of at most {_LONGEST} printable ASCII characters, as "
            "'Bearer ...'; leave it out for none",
        ),
        (
            config.webhook_verify is None or 0 < len(config.webhook_verify.secret) <= _LONGEST,
            "webhook_verify.secret",
            f"the secret of a webhook has 1 to {_LONGEST} characters",
        ),
        (
            200 <= control.default_status <= 299 and control.default_status != 204,
            "response_control.default_status",
            "default_status is from 200 to 299, and not 204: there is a body",
        ),
        (
            400 <= control.error_status <= 599,
            "response_control.error_status",
            "error_status is from 400 to 599",
        ),
        (
            len(config.forward_headers) <= _MOST_HEADERS
            and all(map(_HEADER.fullmatch, config.forward_headers)),
            "forward_headers",
            f"forward_headers names at most {_MOST_HEADERS} headers",
        ),
        (
            _NEVER_FORWARDED.isdisjoint(name.lower() for name in config.forward_headers),
            "forward_headers",
            "what proves who is calling is not forwarded: " + ", ".join(sorted(_NEVER_FORWARDED)),
        ),
        (
            all(map(ORIGIN.fullmatch, config.cors_origins)),
            "cors_origins",
            "an origin is scheme, host and port as a browser sends them: http://localhost:3000",
        ),
        (
            len(config.routing_rules) <= _MOST_RULES,
            "routing_rules",
            f"there are at most {_MOST_RULES} routing rules",
        ),
    ):
        if not fits:
            raise invalid(f"config.{field}", why)
    config.routing_rules = [
        _rule(rule, f"config.routing_rules[{place}]")
        for place, rule in enumerate(config.routing_rules)
    ]
    return config


def _rule(rule: Rule, field: str) -> Rule:
    if rule.condition is not None:
        rule = _flat(rule, field)
    agent_id = rule.agent_id or rule.agent or ""
    if not agent_id:
        raise invalid(f"{field}.agent_id", "a rule names the agent that gets what fits it")
    if rule.condition_type is None:
        raise invalid(
            f"{field}.condition_type",
            "condition_type is path_prefix, header_equals or json_field_equals",
        )
    target = rule.condition_target
    if rule.condition_type == "path_prefix":
        target = None
        if not rule.condition_value.startswith("/"):
            raise invalid(f"{field}.condition_value", "a path begins with a slash")
    elif not target or len(target) > _LONGEST:
        raise invalid(
            f"{field}.condition_target", "condition_target names the header or the member"
        )
    elif rule.condition_type == "header_equals" and target.lower() in _NEVER_FORWARDED:
        raise invalid(f"{field}.condition_target", "no rule looks at what proves who is calling")
    return Rule(
        condition_type=rule.condition_type,
        condition_value=rule.condition_value,
        condition_target=target,
        agent_id=agent_id,
    )


def _flat(rule: Rule, field: str) -> Rule:
    """Return a rule of the newer server, `{"condition": {"HeaderEquals": [name, value]}}`."""
    given = next(iter((rule.condition or {}).items()), ("", None))
    kind, value = _CONDITIONS.get(given[0]), given[1]
    flat = Rule(agent_id=rule.agent_id, agent=rule.agent)
    if kind == "path_prefix" and isinstance(value, str):
        flat.condition_type, flat.condition_value = "path_prefix", value
        return flat
    if kind in {"header_equals", "json_field_equals"}:
        try:
            pair = convert(value, tuple[str, str])
        except msgspec.ValidationError:
            pass
        else:
            flat.condition_type = kind
            flat.condition_target, flat.condition_value = pair
            return flat
    raise invalid(
        f"{field}.condition",
        "a condition is one of PathPrefix with a path, HeaderEquals and JsonFieldEquals with a "
        "name and a value",
    )


def _is_header_value(text: str | None) -> bool:
    if text is None:
        return True
    return (
        0 < len(text) <= _LONGEST and text.isascii() and text.isprintable() and text == text.strip()
    )


def view(config: InputConfig, *, port: int | None = None) -> dict[str, Any]:
    """Return a configuration as it is shown, with the port that is really bound, if one is."""
    shown = cast("dict[str, Any]", msgspec.to_builtins(config))
    del shown["agent"]
    for rule in shown["routing_rules"]:
        del rule["agent"], rule["condition"]
    if port is not None:
        shown["port"] = port
    return shown


def hidden(config: InputConfig) -> InputConfig:
    """Return a configuration that may be shown."""
    verify = config.webhook_verify
    return msgspec.structs.replace(
        config,
        auth_header=None if config.auth_header is None else HIDDEN,
        webhook_verify=verify and msgspec.structs.replace(verify, secret=HIDDEN),
    )


def revealed(config: InputConfig, known: InputConfig | None) -> InputConfig:
    """Put what is known in place of what was shown, and is sent back; 422 if nothing is."""
    verify = config.webhook_verify
    if config.auth_header == HIDDEN:
        header = None if known is None else known.auth_header
        if header is None:
            raise invalid("config.auth_header", f"{HIDDEN} stands for a value that is known here")
        config = msgspec.structs.replace(config, auth_header=header)
    if verify is not None and verify.secret == HIDDEN:
        before = None if known is None else known.webhook_verify
        if before is None:
            raise invalid(
                "config.webhook_verify.secret", f"{HIDDEN} stands for a value that is known here"
            )
        verify = msgspec.structs.replace(verify, secret=before.secret)
        config = msgspec.structs.replace(config, webhook_verify=verify)
    return config


def keep(server_id: str, config: InputConfig, context: Context) -> Kept:
    """Return a configuration as it may lie on a disk."""
    verify = config.webhook_verify
    if config.auth_header is None and verify is None:
        return Kept(server_id=server_id, config=config)
    secrets = _Secrets(
        auth_header=config.auth_header, webhook_secret=None if verify is None else verify.secret
    )
    return Kept(
        server_id=server_id,
        config=hidden(config),
        secrets=seal(context, _path(server_id), msgspec.json.encode(secrets)),
    )


def restore(kept: Kept, context: Context) -> InputConfig:
    """Return a configuration whole; needs the vault open when it has secrets."""
    if not kept.secrets:
        return kept.config
    raw = unseal(context, _path(kept.server_id), kept.secrets)
    secrets = decode_as(raw, _Secrets)
    verify = kept.config.webhook_verify
    if verify is not None:
        verify = msgspec.structs.replace(verify, secret=secrets.webhook_secret or "")
    return msgspec.structs.replace(
        kept.config, auth_header=secrets.auth_header, webhook_verify=verify
    )


def _path(server_id: str) -> str:
    return f"runtime/http_input/{server_id}"

"""How one embedded vault is set up; frozen, nothing is read from the environment but `home`.

Neighbour: `server` acts on it, the command line fills it in.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from ..config import parse_base_url
from ..errors import InvalidArgumentError
from ..secret import Secret
from .clock import Clock
from .maps import parse_map

__all__ = [
    "CATEGORIES",
    "ForwardOptions",
    "GatewayOptions",
    "GovernanceOptions",
    "Options",
    "RuntimeOptions",
    "WORKFLOW_ROLES",
    "WorkflowKey",
    "WorkflowOptions",
    "default_home",
]

PORT: Final = 7600
DEMO_PORT: Final = 8200
FRAME_LIMIT: Final = 4 * 1024 * 1024  # both ways: the originals refuse more
GOVERNANCE_PORT: Final = 8000
RUNTIME_PORT: Final = 8080
WORKFLOW_PORT: Final = 3000
ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[\w.-]+(?::[0-9]{1,5})?", re.ASCII)
VALUE_LIMIT: Final = 1024 * 1024  # a secret goes out in hex, inside one frame
CATEGORIES: Final = ("triage", "analysis", "reasoning", "embeddings")
WORKFLOW_ROLES: Final = ("execute", "read", "approve", "telemetry", "admin")
# What a name may be that stands in a SPIFFE ID, a path or a header.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")


def default_home() -> Path:
    """Return SANCTUM_VAULT_PATH, or `~/.sanctum`: where the original clients look."""
    return Path(os.environ.get("SANCTUM_VAULT_PATH") or "~/.sanctum").expanduser().absolute()


class GovernanceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the governance service. Times are seconds.

    `port` is a TCP port on the vault's `host`, 0 any free one, None none at all. `meaning`
    says what `result` and `mode` of a run hold: in the guide's meaning ("seed") the text and
    the decision, in that of the published client ("sdk") the decision and the system's mode.
    """

    port: int | None = GOVERNANCE_PORT
    meaning: Literal["seed", "sdk"] = "seed"
    heartbeat: float = 10.0
    """Longest silence of a stream before a comment is sent."""
    pace: float = 0.0
    """Time that each word of an answer takes."""
    throttled_every: float = 0.25
    """How far apart the throttled commands of one agent begin."""

    def __post_init__(self) -> None:
        _check_port(self.port)
        if self.meaning not in {"seed", "sdk"}:
            raise InvalidArgumentError(f"meaning {self.meaning!r} is neither 'seed' nor 'sdk'")
        if not 0 < self.heartbeat <= 15:
            raise InvalidArgumentError("heartbeat is more than 0 and at most 15 seconds")
        for seconds in (self.pace, self.throttled_every):
            if not 0 <= seconds < float("inf"):
                raise InvalidArgumentError(
                    "pace and throttled_every are numbers of seconds, 0 for none"
                )


class ForwardOptions(msgspec.Struct, frozen=True, kw_only=True):
    """An OpenAI-style server that plays one provider behind the gateway.

    `base_url` holds the prefix before `/chat/completions`, such as `http://localhost:4000/v1`.
    The provider's key is `key`, else what the vault has at the path `credential`; where there
    is neither, the upstream is asked without one. `timeout` bounds a call, and a stream up to
    its head. What is not on this machine is reached by https alone.
    """

    base_url: str
    key: Secret | None = None
    credential: str | None = None
    timeout: float = 120.0

    def __post_init__(self) -> None:
        base = parse_base_url(self.base_url)
        if base.in_clear:
            raise InvalidArgumentError(
                f"{base.origin} would be sent keys and prompts in clear; use https"
            )


class GatewayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the gateway, its auth sidecar and its trust domain. Times are seconds.

    It listens on Unix sockets; `port` is a TCP port on the vault's `host` for the gateway
    besides, 0 any free one. `run_id`, `org_id`, `agent` and the `allowed_` members go into
    the tokens of the default run. Model lists are by category: triage, analysis, reasoning,
    embeddings.
    """

    port: int | None = None
    trust_domain: str = "ostiary.local"
    audience: str = "llm-gateway"
    run_id: str = "run_local"
    org_id: str = "local"
    agent: str = "agent"
    scope: str = "scan.execute scan.upload"
    required_scope: str = "scan.execute"
    allowed_models: Mapping[str, tuple[str, ...]] | None = None
    """None is every model the gateway plays itself or forwards by that name."""
    allowed_providers: tuple[str, ...] | None = None
    """None is every provider of `allowed_models`."""
    allowed_tools: Mapping[str, tuple[str, ...]] = {}
    svid_ttl: float = 1800.0
    trat_ttl: float = 300.0
    rotate: bool = True
    """Write new tokens into the files before half of their life is over."""
    leeway: float = 5.0
    """How long past its expiry a token is still taken, for clocks that differ."""
    stand_ins: tuple[str, ...] | None = None
    """Providers played by the built-in model; None: with `demo` the three known ones."""
    forward: Mapping[str, ForwardOptions] = {}
    mcp: Mapping[str, tuple[str, ...]] = {}
    """MCP servers by name, each as the command that runs it."""
    quota: int | None = None
    """Calls allowed to each run in `quota_window`; None is no limit."""
    quota_window: float = 60.0
    pace: float = 0.0
    """Time before each piece of a streamed answer."""
    request_limit: int = 16 * 1024 * 1024
    """Bytes of one request's body."""
    compatibility: Literal["auto", "always", "never"] = "auto"
    """Who is answered as the original client needs it; auto: clients without a User-Agent."""

    def __post_init__(self) -> None:
        _check_port(self.port)
        if not _TRUST_DOMAIN.fullmatch(self.trust_domain):
            raise InvalidArgumentError(
                f"trust_domain {self.trust_domain!r} is not made of lower-case letters, digits, "
                "dots, dashes and underscores"
            )
        for what, name in (
            ("run_id", self.run_id),
            ("org_id", self.org_id),
            ("agent", self.agent),
            *(("a provider", name) for name in (*self.forward, *(self.stand_ins or ()))),
            *(("an MCP server", name) for name in self.mcp),
        ):
            if not _NAME.fullmatch(name):
                raise InvalidArgumentError(
                    f"{what} is named {name!r}; use letters, digits, dots, dashes and underscores"
                )
        unknown = set(self.allowed_models or ()) - set(CATEGORIES)
        if unknown:
            raise InvalidArgumentError(
                f"allowed_models has no category {sorted(unknown)[0]!r}; the categories are "
                + ", ".join(CATEGORIES)
            )
        for name, command in self.mcp.items():
            if not command:
                raise InvalidArgumentError(f"the MCP server {name} has no command")
        for what, seconds in (("svid_ttl", self.svid_ttl), ("trat_ttl", self.trat_ttl)):
            if not 1 <= seconds < float("inf"):
                raise InvalidArgumentError(f"{what} is at least 1 second")
        for seconds in (self.leeway, self.pace):
            if not 0 <= seconds < float("inf"):
                raise InvalidArgumentError("leeway and pace are numbers of seconds, 0 for none")
        if self.quota is not None and self.quota < 1:
            raise InvalidArgumentError("quota is at least 1 call; None is no limit")
        if not 0 < self.quota_window < float("inf") or self.request_limit < 1:
            raise InvalidArgumentError("quota_window and request_limit are more than 0")
        if self.compatibility not in {"auto", "always", "never"}:
            raise InvalidArgumentError(
                f"compatibility {self.compatibility!r} is not 'auto', 'always' or 'never'"
            )


class RuntimeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the agent runtime. Times are seconds.

    `port` is a TCP port on the vault's `host`, 0 any free one, None none at all. `token` is
    accepted as well as the one in `runtime.token`, and asked for with `demo` too.

    `workflows` are handlers by name, functions or coroutine functions: each is called with
    the parameters, and with an agent's id as `agent_id` if it has such a parameter; what it
    returns is the result, as JSON. `tools` are functions by name that compiled agents may
    call.
    """

    port: int | None = RUNTIME_PORT
    token: Secret | None = None
    request_limit: int = 2 * 1024 * 1024
    """Bytes of one request's body."""
    requests_per_minute: int | None = None
    """Allowed to all callers together, health aside; None is no limit."""
    heartbeat: float = 10.0
    """Longest silence of an event stream before a comment is sent."""
    workflows: Mapping[str, Callable[..., Any]] = {}
    tools: Mapping[str, Callable[..., Any]] = {}
    workflow_timeout: float = 300.0
    """How long a workflow, or a task of an agent, may take."""
    approval_ttl: float = 3600.0
    """How long an action waits for somebody's approval."""
    idempotency_ttl: float = 86400.0
    """How long the answer to a POST with an Idempotency-Key is kept."""
    mcp_allow: tuple[tuple[str, ...], ...] = ()
    """Commands of MCP servers that may start where no key is asked; `demo` adds the guide's."""
    maps: tuple[str, ...] = ()
    """Names of vaults for secrets that are dialled elsewhere: `NAME=HOST` or `NAME=HOST:PORT`."""
    service_account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    """The token that is shown to a vault by the login method kubernetes."""
    knowledge_model: str | None = None
    """An embedding model behind the gateway, `PROVIDER:MODEL`; None is the built-in embedding."""

    def __post_init__(self) -> None:
        _check_port(self.port)
        if self.request_limit < 1:
            raise InvalidArgumentError("request_limit is at least 1 byte")
        if self.knowledge_model is not None and ":" not in self.knowledge_model.strip(":"):
            raise InvalidArgumentError(
                "knowledge_model names a provider and a model: openai:text-embedding-3-small"
            )
        if self.requests_per_minute is not None and self.requests_per_minute < 1:
            raise InvalidArgumentError("requests_per_minute is at least 1; None is no limit")
        if not 0 < self.heartbeat <= 15:
            raise InvalidArgumentError("heartbeat is more than 0 and at most 15 seconds")
        for what, seconds in (
            ("workflow_timeout", self.workflow_timeout),
            ("approval_ttl", self.approval_ttl),
            ("idempotency_ttl", self.idempotency_ttl),
        ):
            if not 0 < seconds < float("inf"):
                raise InvalidArgumentError(f"{what} is a number of seconds, more than 0")
        for text in self.maps:
            parse_map(text)


class WorkflowKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the workflow server, and who shows it.

    `roles` are some of execute, read, approve, telemetry and admin, which is all of them.
    `permissions` are what the principal `name` was granted, each with the members of
    `ostiary.workflow.Permission`. With `token` None it is kept in `workflow-NAME.token`.
    """

    name: str
    roles: frozenset[str]
    token: Secret | None = None
    type: Literal["agent", "human", "service"] = "service"
    permissions: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidArgumentError(
                f"a key is named {self.name!r}; use letters, digits, dots, dashes and underscores"
            )
        unknown = self.roles - set(WORKFLOW_ROLES)
        if unknown or not self.roles:
            what = f"role {sorted(unknown)[0]!r} is not known" if unknown else "it has no roles"
            raise InvalidArgumentError(
                f"key {self.name}: {what}; the roles are {', '.join(WORKFLOW_ROLES)}"
            )


class WorkflowOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the workflow server. Times are seconds.

    `port` is a TCP port on the vault's `host`, 0 any free one, None none at all. The key in
    `workflow.token` has every role, and the one in `workflow-approver.token` may read and
    answer questions to people; `keys` are more.

    `tools` are functions by name, as `tool_modules` and installed packages bring them;
    `validators` functions that registered validators of type custom can name.
    """

    port: int | None = WORKFLOW_PORT
    keys: tuple[WorkflowKey, ...] = ()
    tools: Mapping[str, Callable[..., Any]] = {}
    tool_modules: tuple[str, ...] = ()
    allow_hosts: frozenset[str] = frozenset()
    """Hosts that the tool http_get may ask, `host` or `host:port`."""
    validators: Mapping[str, Callable[..., Any]] = {}
    request_limit: int = 8 * 1024 * 1024
    """Bytes of one request's body."""
    requests_per_minute: int | None = None
    """Allowed to each key, health aside; None is no limit."""
    heartbeat: float = 15.0
    """Longest silence of an event stream before a comment is sent."""
    approval_ttl: float = 3600.0
    """How long a question can be answered, and then the answer used."""
    idempotency_ttl: float = 86400.0
    """How long the answer to a POST with an Idempotency-Key is kept."""
    telemetry_limit: int = 1_000_000
    """Events, metrics and spans that are kept, of each the newest."""
    telemetry_ttl: float = 30 * 86400.0
    """How long each of them is kept."""

    def __post_init__(self) -> None:
        _check_port(self.port)
        names = [one.name for one in self.keys]
        if len(set(names)) != len(names) or {"owner", "anonymous"} & set(names):
            raise InvalidArgumentError(
                "each workflow key has a name of its own, and 'owner' and 'anonymous' are taken"
            )
        if self.request_limit < 1 or self.telemetry_limit < 1:
            raise InvalidArgumentError("request_limit and telemetry_limit are at least 1")
        if self.requests_per_minute is not None and self.requests_per_minute < 1:
            raise InvalidArgumentError("requests_per_minute is at least 1; None is no limit")
        if not 0 < self.heartbeat <= 15:
            raise InvalidArgumentError("heartbeat is more than 0 and at most 15 seconds")
        for what, seconds in (
            ("approval_ttl", self.approval_ttl),
            ("idempotency_ttl", self.idempotency_ttl),
            ("telemetry_ttl", self.telemetry_ttl),
        ):
            if not 0 < seconds < float("inf"):
                raise InvalidArgumentError(f"{what} is a number of seconds, more than 0")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one embedded vault. Times are seconds.

    `ports` are TCP ports on `host`, which must be a loopback address; 0 picks a free one,
    None means 7600, and also 8200 when `demo` is set. Without `passphrase` the vault is
    sealed under a generated `master.key` file.
    """

    home: Path | None = None
    host: str = "127.0.0.1"
    ports: tuple[int, ...] | None = None
    demo: bool = False
    passphrase: Secret | None = None
    raw_retrieval: bool = True
    legacy_errors: bool = False
    """Send errors as bare strings, as the oldest daemons did; for testing clients."""
    leases_outlive_connection: bool = False
    session_ttl: float = 3600.0
    challenge_ttl: float = 30.0
    handshake_timeout: float = 30.0
    """How long a connection may stay open without authenticating."""
    max_connections: int = 1024
    calls_per_second: float | None = None
    """Allowed to each agent, with a burst of two seconds' worth; None is no limit."""
    auth_failures_per_minute: int = 30
    """Allowed for each agent name before `authenticate` answers RATE_LIMITED."""
    max_leases: int = 100_000
    """Alive at once for each agent."""
    http_timeout: float = 30.0
    http_body_limit: int = 1024 * 1024
    http_allow: frozenset[str] = frozenset()
    """`host` or `host:port`, as written in the URL, exempt from the private-address guard."""
    http_tls: ssl.SSLContext | None = None
    """Trust for `http_request`; None is the system's."""
    stop_grace: float = 5.0
    """How long a stopping server waits for operations in hand."""
    governance: GovernanceOptions | None = None
    """Serve governance as well; None does not. Needs the extra `dev`."""
    gateway: GatewayOptions | None = None
    """Serve the gateway and its sidecar as well; None does not. Needs the extra `dev`."""
    runtime: RuntimeOptions | None = None
    """Serve the agent runtime as well; None does not. Needs the extra `dev`."""
    workflow: WorkflowOptions | None = None
    """Serve workflows as well; None does not. Needs the extra `dev`."""
    allow_origins: frozenset[str] = frozenset()
    """Web pages that may call the HTTP services, as browsers name them: http://localhost:3000."""
    request_limit: int = 1024 * 1024
    """Bytes of one HTTP request's body."""
    clock: Clock = msgspec.field(default_factory=Clock)

    def __post_init__(self) -> None:
        if self.host not in {"127.0.0.1", "::1"}:
            raise InvalidArgumentError(
                f"the embedded vault listens on loopback only, and {self.host!r} is not "
                "127.0.0.1 or ::1"
            )
        for port in self.ports or ():
            _check_port(port)
        for origin in self.allow_origins:
            if not ORIGIN.fullmatch(origin):
                raise InvalidArgumentError(
                    f"{origin!r} is no origin; write scheme, host and port as a browser sends "
                    "them: http://localhost:3000"
                )
        if self.request_limit < 1:
            raise InvalidArgumentError("request_limit is at least 1 byte")

    @property
    def listen_ports(self) -> tuple[int, ...]:
        """The ports to bind, defaults filled in."""
        if self.ports is not None:
            return self.ports
        return (PORT, DEMO_PORT) if self.demo else (PORT,)


def _check_port(port: int | None) -> None:
    if port is not None and not 0 <= port <= 65535:
        raise InvalidArgumentError(f"port {port} is not between 0 and 65535")

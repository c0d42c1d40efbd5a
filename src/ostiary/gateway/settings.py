"""What the environment of an agent says: which mode, where the tokens are, which run it is.

The names are the guide's; what is ours alone begins with `OSTIARY_`. Nothing is read at import,
no token is read here at all, and no `.env` file: one may lie in a hostile repository.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Literal, final

import msgspec

from ..config import IDLE_TIMEOUT, MAX_CONNECTIONS, MAX_RETRIES, setting, timeout_seconds
from ..errors import InvalidArgumentError
from . import providers
from .endpoints import unsafe
from .errors import ConfigurationError

if TYPE_CHECKING:
    from .client import GatewayAccess
    from .llm.model_selector import StaticModelSelector

__all__ = [
    "ALLOW_DIRECT",
    "DEFAULT_MODEL",
    "IDLE_TIMEOUT",
    "MAX_CONNECTIONS",
    "MAX_RETRIES",
    "TIMEOUT",
    "VARIABLES",
    "Environment",
    "GatewaySettings",
    "LogFormat",
    "check_direct",
    "default_selector",
    "direct_allowed",
    "gateway_socket",
]

LogFormat = Literal["text", "json"]

TIMEOUT: Final = 120.0
"""A whole call, retries included; a stream up to its head."""

ALLOW_DIRECT: Final = "SAGE_SANCTUM_ALLOW_DIRECT"
RUN_ID: Final = "RUN_ID"
ORG_ID: Final = "ORG_ID"
WORK_DIR: Final = "WORK_DIR"
OUTPUT_PATH: Final = "OUTPUT_PATH"
SPIFFE_JWT_PATH: Final = "SPIFFE_JWT_PATH"
WORKLOAD_SOCKET: Final = "SPIFFE_ENDPOINT_SOCKET"
TRAT_FILE: Final = "TRAT_FILE"
SIDECAR_SOCKET: Final = "AUTH_SIDECAR_SOCKET"
GATEWAY_SOCKET: Final = "LLM_GATEWAY_SOCKET"
OLD_GATEWAY_SOCKET: Final = "GATEWAY_SOCKET"  # its name before 0.2.0
GATEWAY_URL: Final = "OSTIARY_GATEWAY_URL"
AUDIENCE: Final = "OSTIARY_GATEWAY_AUDIENCE"
MODELS: Final = ("SAGE_MODEL", "OPENAI_MODEL")
DEFAULT_MODEL: Final = "gpt-4o"

# Each under our own prefix first, then under the guide's.
_PREFIXES: Final = ("OSTIARY_GATEWAY_", "SAGE_SANCTUM_")
_TIMEOUTS: Final = tuple(prefix + "TIMEOUT_SECONDS" for prefix in _PREFIXES)
_RETRIES: Final = tuple(prefix + "MAX_RETRIES" for prefix in _PREFIXES)
_LOG_FORMATS: Final = ("OSTIARY_LOG_FORMAT", "SAGE_SANCTUM_LOG_FORMAT")

VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "direct": (ALLOW_DIRECT,),
    "spiffe_jwt_path": (SPIFFE_JWT_PATH,),
    "trat_file": (TRAT_FILE,),
    "sidecar_socket": (SIDECAR_SOCKET,),
    "gateway": (GATEWAY_SOCKET, OLD_GATEWAY_SOCKET, GATEWAY_URL),
    "model": MODELS,
    "timeout": _TIMEOUTS,
    "max_retries": _RETRIES,
}
"""Which variables say what, the first that is set; those that many programs have are left out."""

_OF_A_GATEWAY: Final = (SPIFFE_JWT_PATH, GATEWAY_SOCKET, OLD_GATEWAY_SOCKET, GATEWAY_URL)


@final
class Environment(Mapping[str, str]):
    """The environment, or what stands in for it, without its content in a repr.

    A traceback records the locals of every frame that raises, and it holds API keys.
    """

    __slots__ = ("_source",)

    def __init__(self, source: Mapping[str, str] | None = None) -> None:
        """Look at `source`; None is this process's own environment, as it is at each look."""
        self._source = os.environ if source is None else source

    def __getitem__(self, name: str) -> str:
        return self._source[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._source)

    def __len__(self) -> int:
        return len(self._source)

    def __repr__(self) -> str:
        return "<environment>"


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent's environment says, checked. Paths are as given, times are seconds.

    `direct` chooses the mode. `gateway` is a socket's path or, from `OSTIARY_GATEWAY_URL`
    alone, a URL. `model` is for work that no Transaction Token limits. `log_format` is None
    when the environment does not choose one.
    """

    direct: bool = False
    spiffe_jwt_path: str | None = None
    workload_socket: str | None = None
    audience: str | None = None
    trat_file: str | None = None
    sidecar_socket: str | None = None
    gateway: str | None = None
    model: str | None = None
    run_id: str = ""
    org_id: str = ""
    work_dir: str = "/work"
    output_dir: str = "/output"
    timeout: float = TIMEOUT
    max_retries: int = MAX_RETRIES
    log_format: LogFormat | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> GatewaySettings:
        """Read the environment; raise `ConfigurationError` for what contradicts itself.

        What is missing is not looked at here: `check` and `check_run` do.
        """
        source = Environment(environ)
        del environ
        direct = direct_allowed(source)
        if direct:
            check_direct(source)
        try:
            timeout = setting(None, _TIMEOUTS, TIMEOUT, read=timeout_seconds, environ=source)
            retries = setting(None, _RETRIES, MAX_RETRIES, read=_retries, environ=source)
            log_format = setting(None, _LOG_FORMATS, None, read=_log_format, environ=source)
        except InvalidArgumentError as error:
            problem = str(error)
        else:
            return cls(
                direct=direct,
                spiffe_jwt_path=_of(source, SPIFFE_JWT_PATH),
                workload_socket=_of(source, WORKLOAD_SOCKET),
                audience=_of(source, AUDIENCE),
                trat_file=_of(source, TRAT_FILE),
                sidecar_socket=_of(source, SIDECAR_SOCKET),
                gateway=None if direct else _gateway(source),
                model=_of(source, *MODELS),
                run_id=_of(source, RUN_ID) or "",
                org_id=_of(source, ORG_ID) or "",
                work_dir=_of(source, WORK_DIR) or "/work",
                output_dir=_of(source, OUTPUT_PATH) or "/output",
                timeout=timeout,
                max_retries=retries,
                log_format=log_format,
            )
        raise ConfigurationError(problem)

    def check_run(self) -> None:
        """Raise `ConfigurationError` unless run and organisation are named."""
        for name, value in ((RUN_ID, self.run_id), (ORG_ID, self.org_id)):
            if not value:
                raise ConfigurationError(
                    f"environment variable {name} is not set; it is given to each run by "
                    "whatever creates it"
                )

    def check(self) -> None:
        """Raise `ConfigurationError` unless the mode has all it needs; names what is missing."""
        if self.direct:
            return
        hint = f"; for work on a laptop without a gateway set {ALLOW_DIRECT}=1"
        if self.spiffe_jwt_path is None:
            if self.workload_socket is None:
                raise ConfigurationError(
                    f"gateway mode needs a JWT-SVID; set {SPIFFE_JWT_PATH} to its file, or "
                    f"{WORKLOAD_SOCKET} and {AUDIENCE}{hint}"
                )
            if self.audience is None:
                raise ConfigurationError(
                    f"{WORKLOAD_SOCKET} is set; set {AUDIENCE} to the audience that the "
                    f"gateway expects in a JWT-SVID, or {SPIFFE_JWT_PATH} to a file"
                )
        if self.trat_file is None and self.sidecar_socket is None:
            raise ConfigurationError(
                f"gateway mode needs a Transaction Token; set {TRAT_FILE} to its file, or "
                f"{SIDECAR_SOCKET} to the auth sidecar's socket"
            )
        if self.gateway is None:
            raise ConfigurationError(
                f"gateway mode needs the gateway's Unix socket; set {GATEWAY_SOCKET}{hint}"
            )

    def access(self, environ: Mapping[str, str] | None = None) -> GatewayAccess:
        """Return how the models are reached; errors are those of `check`."""
        from .auth.spiffe import JWTSource, SvidSource, WorkloadJWTSource
        from .auth.trat import TransactionTokenClient
        from .client import DirectProviderClient, SpiffeGatewayClient

        source = Environment(environ)
        del environ
        self.check()
        if self.direct:
            return DirectProviderClient(allow=True, environ=source)
        svid: SvidSource
        if self.spiffe_jwt_path is not None:
            svid = JWTSource(self.spiffe_jwt_path)
        else:
            svid = WorkloadJWTSource(self.audience or "", socket=self.workload_socket)
        trat = TransactionTokenClient(self.trat_file, self.sidecar_socket)
        where = self.gateway or ""
        run = {"run_id": self.run_id or None, "org_id": self.org_id or None}
        if "://" in where:
            return SpiffeGatewayClient(svid, trat, gateway_url=where, **run)
        return SpiffeGatewayClient(svid, trat, where, **run)


def direct_allowed(environ: Mapping[str, str]) -> bool:
    """Whether `SAGE_SANCTUM_ALLOW_DIRECT` asks for direct mode; only `1` and `true` do.

    `0`, `false` and nothing do not. Anything else is a `ConfigurationError`: a mode that gives
    up every proof is not guessed at.
    """
    text = environ.get(ALLOW_DIRECT, "").strip().lower()
    del environ
    if text in {"1", "true"}:
        return True
    if text in {"", "0", "false"}:
        return False
    raise ConfigurationError(f"{ALLOW_DIRECT} is neither 1 nor 0; set it to 1, or unset it")


def check_direct(environ: Mapping[str, str]) -> None:
    """Raise `ConfigurationError` unless direct mode is asked for, and a gateway is not."""
    environ = Environment(environ)
    if not direct_allowed(environ):
        raise ConfigurationError(
            f"direct mode sends requests past the gateway; set {ALLOW_DIRECT}=1 if that is meant"
        )
    for name in _OF_A_GATEWAY:
        if _of(environ, name) is not None:
            raise ConfigurationError(
                f"{ALLOW_DIRECT} asks for direct mode and {name} for a gateway; unset one of them"
            )


def gateway_socket(environ: Mapping[str, str]) -> str | None:
    """Return the path of the gateway's socket, or a `unix://` URL of it; None for none.

    `LLM_GATEWAY_SOCKET`, its old name `GATEWAY_SOCKET`, or the `unix://` URL that all
    `*_BASE_URL` variables of the known providers agree on.
    """
    environ = Environment(environ)
    found = _of(environ, GATEWAY_SOCKET, OLD_GATEWAY_SOCKET)
    if found is not None:
        return found
    urls = {
        text
        for each in providers.providers()
        if each.base_url_env and (text := environ.get(each.base_url_env, "")).startswith("unix://")
    }
    if len(urls) > 1:
        raise ConfigurationError(
            f"the providers' base URLs name {len(urls)} different sockets; set {GATEWAY_SOCKET}"
        )
    return urls.pop() if urls else None


def default_selector(environ: Mapping[str, str] | None = None) -> StaticModelSelector:
    """Return the one model for work that no Transaction Token limits.

    That is `SAGE_MODEL`, then `OPENAI_MODEL`, then `gpt-4o`. For direct mode alone: where a
    token should limit a run and is missing, nothing falls back to this.
    """
    from .llm.model_selector import StaticModelSelector

    return StaticModelSelector(_of(Environment(environ), *MODELS) or DEFAULT_MODEL)


def _gateway(environ: Mapping[str, str]) -> str | None:
    url, socket = _of(environ, GATEWAY_URL), _of(environ, GATEWAY_SOCKET, OLD_GATEWAY_SOCKET)
    if url is not None and socket is not None:
        raise ConfigurationError(
            f"{GATEWAY_URL} and {GATEWAY_SOCKET} both say where the gateway is; unset one of them"
        )
    if url is None:
        return gateway_socket(environ)
    if problem := unsafe(f"environment variable {GATEWAY_URL}", url):
        del url  # it may hold a password, and a traceback records the locals
        raise ConfigurationError(problem)
    return url


def _of(environ: Mapping[str, str], *names: str) -> str | None:
    """Return the first of these variables that holds more than blanks."""
    for name in names:
        if environ.get(name, "").strip():
            return environ[name]
    return None


def _retries(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 100:
        raise ValueError
    return number


def _log_format(text: str) -> LogFormat | None:
    match text.strip().lower():
        case "json":
            return "json"
        case "text":
            return "text"
        case _:
            raise ValueError

"""Secrets in a HashiCorp Vault, through its HTTP API: KV version 2, logged in as configured.

A secret is `MOUNT/data/PREFIX/AGENT/NAME`, its value the member `value`. Tokens are kept in
memory and renewed by who notices; what the server says is never repeated. Neighbours:
`settings` says which server, `maps` where its name is dialled.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar, final

import msgspec

from ...._decoders import decode_as
from ....config import BaseUrl, Limits, TcpAddress, is_this_machine
from ....errors import (
    APIError,
    ConnectError,
    DeadlineError,
    GatewayTimeoutError,
    OstiaryError,
    RateLimitError,
    UnavailableError,
)
from ....http import AsyncPool
from ....secret import Secret
from ...clock import Clock
from ...http.refusals import HttpRefusal
from ...maps import Maps
from .backend import Stored, Unusable, broken, refused, too_slow, unavailable
from .settings import VaultConfig

__all__ = ["Hashicorp"]

T = TypeVar("T")

_SECONDS: Final = 30.0
_RETRIES: Final = 2
_LIMITS: Final = Limits(body=4 * 1024 * 1024, decompressed_body=4 * 1024 * 1024)
_MOST_JWT: Final = 64 * 1024
# A login is renewed before its end, for the sake of the calls that are under way by then.
_FRESH: Final = 2 / 3
_NEEDED: Final = frozenset({"create", "read", "update"})


class _Health(msgspec.Struct):
    initialized: bool
    sealed: bool


class _Auth(msgspec.Struct):
    client_token: str = ""
    lease_duration: float = 0.0

    def __repr__(self) -> str:
        return "_Auth()"


class _LoggedIn(msgspec.Struct):
    auth: _Auth


class _About(msgspec.Struct):
    ttl: float = 0.0
    renewable: bool = False


class _Lookup(msgspec.Struct):
    data: _About


class _MountInfo(msgspec.Struct):
    type: str = ""
    options: dict[str, str | None] | None = None


class _MountAnswer(msgspec.Struct):
    data: _MountInfo


class _Capabilities(msgspec.Struct):
    data: dict[str, list[str]]


class _Written(msgspec.Struct):
    version: int
    created_time: str


class _WriteAnswer(msgspec.Struct):
    data: _Written


class _Value(msgspec.Struct):
    data: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return "_Value()"


class _ReadAnswer(msgspec.Struct):
    data: _Value

    def __repr__(self) -> str:
        return "_ReadAnswer()"


class _Times(msgspec.Struct):
    created_time: str


class _TimesAnswer(msgspec.Struct):
    data: _Times


class _Keys(msgspec.Struct):
    keys: list[str] = []


class _KeysAnswer(msgspec.Struct):
    data: _Keys


class _Login(msgspec.Struct):
    """A token, and when to see to it again on the steady clock; None is never."""

    token: Secret
    renew_at: float | None = None
    renewable: bool = False


@final
class Hashicorp:
    """One HashiCorp Vault as a place for secrets.

    `only_mapped` refuses every server but those of this machine and those that were mapped.
    `service_account` is the file with the token that kubernetes gives to a pod.
    """

    kind = "vault"

    def __init__(
        self,
        config: VaultConfig,
        maps: Maps,
        clock: Clock,
        *,
        service_account: Path,
        only_mapped: bool = False,
    ) -> None:
        base = config.checked()
        assert isinstance(base.address, TcpAddress)  # `checked` has seen to it
        mapped = maps.find(base.address.host)
        here = is_this_machine(base.address.host if mapped is None else mapped.host)
        if only_mapped and mapped is None and not here:
            raise refused(
                "SECRET_ADDRESS_REFUSED",
                "this server asks nobody for a key, so it calls no vault but those of this "
                "machine; start it with --map NAME=ADDRESS to allow this one",
                field="vault_config.url",
            )
        if not base.tls and not here:
            raise refused(
                "SECRET_ADDRESS_UNENCRYPTED",
                "the url sends the token unencrypted to another machine; use https://",
                field="vault_config.url",
            )
        self._config = config
        self._clock = clock
        self._service_account_path = service_account
        self._at = _place(base)
        self._mount = config.mount_path.strip("/")
        self._prefix = config.path_prefix.strip("/")
        self._turn = asyncio.Lock()
        self._login: _Login | None = None
        self._known: dict[str, set[str]] = {}
        self._headers: dict[str, str | Secret] = {}
        if config.namespace:
            self._headers["X-Vault-Namespace"] = config.namespace.strip("/")
        connect_to = None
        if mapped is not None:
            connect_to = (mapped.host, mapped.port or base.address.port)
        self._pool = AsyncPool(
            str(base),
            headers={"X-Vault-Request": "true"},
            timeout=_SECONDS,
            max_retries=_RETRIES,
            limits=_LIMITS,
            ssl_context=_trust(base, config.ca_cert, None if mapped is None else mapped.authority),
            connect_to=connect_to,
        )

    # -- the backend ----------------------------------------------------------

    async def check(self) -> None:
        await self._check_health()
        await self._token()
        await self._check_mount()
        await self._check_capabilities()
        await self._count_all()

    async def put(self, agent_id: str, name: str, value: Secret, description: str | None) -> Stored:
        kept: dict[str, str] = {"value": value.reveal()}
        if description is not None:
            kept["description"] = description
        answer = await self._ask(
            "POST", self._path("data", agent_id, name), _WriteAnswer, {"data": kept}
        )
        if answer is None:
            raise broken(f"{self._at} has no such path; see mount_path")
        self._known.setdefault(agent_id, set()).add(name)
        written = answer.data
        if written.version == 1:
            return Stored(_moment(written.created_time), None)
        created = written.created_time
        try:
            path = self._path("metadata", agent_id, name)
            times = await self._ask("GET", path, _TimesAnswer)
            created = created if times is None else times.data.created_time
        except HttpRefusal:
            pass  # stored it is; a policy may hide since when there is something
        return Stored(_moment(created), _moment(written.created_time))

    async def get(self, agent_id: str, name: str) -> Secret | None:
        answer = await self._ask("GET", self._path("data", agent_id, name), _ReadAnswer)
        value = (
            None if answer is None or answer.data.data is None else answer.data.data.get("value")
        )
        if value is None:
            return None
        if not isinstance(value, str):
            raise broken(f"{self._at} holds something at this name that no agent stored")
        return Secret(value)

    async def names(self, agent_id: str) -> list[str]:
        listed = await self._keys(f"{self._prefix}/{agent_id}")
        found = sorted(name for name in listed if not name.endswith("/"))
        self._known[agent_id] = set(found)
        return found

    async def delete(self, agent_id: str, name: str) -> bool:
        if await self.get(agent_id, name) is None:
            self._known.get(agent_id, set()).discard(name)
            return False
        # The metadata too: a deleted version could be brought back.
        await self._ask("DELETE", self._path("metadata", agent_id, name), None)
        self._known.get(agent_id, set()).discard(name)
        return True

    @property
    def count(self) -> int:
        return sum(map(len, self._known.values()))

    def about(self) -> dict[str, object]:
        return {}

    async def close(self) -> None:
        await self._pool.close()
        self._login = None

    # -- checking -------------------------------------------------------------

    async def _check_health(self) -> None:
        # Every state is asked to be told by 200: a 503 would be tried again, and a seal stays.
        query = "standbyok=true&perfstandbyok=true&sealedcode=200&uninitcode=200"
        status, body = await self._send(
            "GET", f"/v1/sys/health?{query}", msgspec.UNSET, None, check=False, of_server=True
        )
        if status not in {200, 429, 472, 473}:
            raise broken(f"{self._at} does not answer as a HashiCorp Vault does (status {status})")
        health = self._decoded(body, _Health)
        if not health.initialized:
            raise unavailable(f"{self._at} is not initialized; set it up")
        if health.sealed:
            raise unavailable(f"{self._at} is sealed; unseal it")

    async def _check_mount(self) -> None:
        path = f"/v1/sys/internal/ui/mounts/{self._mount}"
        info: _MountInfo | None = None
        try:
            answer = await self._ask("GET", path, _MountAnswer)
            info = None if answer is None else answer.data
        except Unusable:
            pass  # it is told like a mount that is there and not for this login
        version = None if info is None or info.options is None else info.options.get("version")
        if info is None or info.type != "kv" or version != "2":
            raise refused(
                "SECRET_MOUNT_NOT_FOUND",
                f"{self._at} has no KV engine of version 2 at this mount_path, or none that this "
                "login may use",
                field="vault_config.mount_path",
            )

    async def _check_capabilities(self) -> None:
        path = self._path("data", "agent", "name").removeprefix("/v1/")
        answer = await self._ask(
            "POST", "/v1/sys/capabilities-self", _Capabilities, {"paths": [path]}
        )
        allowed = set[str]() if answer is None else set(answer.data.get(path, ()))
        if "root" not in allowed and (missing := _NEEDED - allowed):
            raise refused(
                "SECRET_PERMISSION_MISSING",
                f"{self._at} does not let this login {' and '.join(sorted(missing))} secrets "
                f"below {self._mount}/data/{self._prefix}; extend its policy",
            )

    async def _count_all(self) -> None:
        """Count what is there already; who may not list begins at nothing."""
        self._known.clear()
        try:
            agents = await self._keys(self._prefix)
            for agent in agents:
                if agent.endswith("/"):
                    await self.names(agent.rstrip("/"))
        except Unusable:
            pass

    # -- asking ---------------------------------------------------------------

    def _path(self, kind: str, agent_id: str, name: str) -> str:
        # Ids and names are letters, digits, dots, dashes and underscores by now.
        return f"/v1/{self._mount}/{kind}/{self._prefix}/{agent_id}/{name}"

    async def _keys(self, below: str) -> list[str]:
        answer = await self._ask(
            "GET", f"/v1/{self._mount}/metadata/{below}?list=true", _KeysAnswer
        )
        return [] if answer is None else answer.data.keys

    async def _ask(
        self, method: str, path: str, kind: type[T] | None, document: object = msgspec.UNSET
    ) -> T | None:
        """Send a request with the token, once more with a new one; None is for 404."""
        status, body = await self._send(method, path, document, await self._token(), check=True)
        if status == 403 and self._login is not None:
            # An expired token is told like a missing permission.
            token = await self._token(instead_of=self._login.token)
            if token is not None:
                status, body = await self._send(method, path, document, token, check=True)
        if status == 403:
            raise refused(
                "SECRET_PERMISSION_MISSING",
                f"{self._at} does not accept this login, or its policy forbids this path",
            )
        if status == 404 or kind is None:
            return None
        return self._decoded(body, kind)

    def _decoded(self, body: bytes, kind: type[T]) -> T:
        try:
            return decode_as(body, kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        raise broken(f"{self._at} gave an answer that a HashiCorp Vault would not give")

    async def _send(
        self,
        method: str,
        path: str,
        document: object,
        token: Secret | None,
        *,
        check: bool,
        of_server: bool = False,
    ) -> tuple[int, bytes]:
        """Send one request; return its status and body, raise for what `check` does not allow.

        `of_server` asks the server itself and no namespace of it.
        """
        headers = {} if of_server else dict(self._headers)
        if token is not None:
            headers["X-Vault-Token"] = token
        problem: Exception
        try:
            response = await self._pool.request(
                method,
                path,
                json=document,
                headers=headers,
                check=False,
            )
            body = response.read()
        except OstiaryError as error:
            problem = self._failure(error)
        else:
            if not check or response.status < 300 or response.status in {403, 404}:
                return response.status, body
            problem = self._said_no(response.status)
        # Outside the handler: what was sent, and what was said, stand in the error.
        raise problem

    def _failure(self, error: OstiaryError) -> Exception:
        if isinstance(error, DeadlineError | GatewayTimeoutError):
            return too_slow(f"{self._at} did not answer in time")
        if isinstance(error, ConnectError):
            # Names the address, and what is wrong with a certificate.
            return unavailable(f"{self._at} cannot be reached: {error}")
        if isinstance(error, UnavailableError | RateLimitError):
            return unavailable(f"{self._at} is not available; try again later")
        if isinstance(error, APIError):
            return self._said_no(error.status or 500)
        return broken(f"the connection to {self._at} broke; try again")

    def _said_no(self, status: int) -> Exception:
        if status == 503:
            return unavailable(f"{self._at} is sealed or not available; unseal it")
        if status == 429:
            return unavailable(f"{self._at} allows no more requests for now; try again later")
        if 300 <= status < 400:
            return broken(f"{self._at} redirects to another node; give that one's url")
        return broken(f"{self._at} refused with status {status}")

    # -- logging in -----------------------------------------------------------

    async def _token(self, *, instead_of: Secret | None = None) -> Secret | None:
        """Return a token that serves, one caller logging in for all.

        `instead_of` is one that was refused; None is returned when there is no other.
        """
        async with self._turn:
            login = self._login
            if instead_of is not None:
                if login is not None and login.token is not instead_of:
                    return login.token  # somebody else has seen to it
                if self._config.auth_method == "token":
                    return None
                login = None
            now = self._clock.steady()
            if login is None:
                login = await self._log_in(now)
            elif login.renew_at is not None and now >= login.renew_at:
                login = await self._renewed(login, now)
            self._login = login
            return login.token

    async def _log_in(self, now: float) -> _Login:
        config = self._config
        mount = (config.auth_mount or config.auth_method).strip("/")
        if config.auth_method == "token":
            token = Secret(config.token or "")
            status, body = await self._send(
                "GET", "/v1/auth/token/lookup-self", msgspec.UNSET, token, check=True
            )
            if status != 200:
                raise self._no_login("token")
            about = self._decoded(body, _Lookup).data
            return _Login(token, _renew_at(now, about.ttl), about.renewable)
        if config.auth_method == "approle":
            document = {"role_id": config.role_id, "secret_id": config.secret_id}
        else:
            document = {"role": config.kubernetes_role, "jwt": await self._service_account()}
        status, body = await self._send(
            "POST", f"/v1/auth/{mount}/login", document, None, check=False
        )
        if status in {400, 401, 403, 404}:
            raise self._no_login(config.auth_method)
        if status != 200:
            raise self._said_no(status)
        auth = self._decoded(body, _LoggedIn).auth
        if not auth.client_token:
            raise broken(f"{self._at} logged in and gave no token")
        return _Login(Secret(auth.client_token), _renew_at(now, auth.lease_duration))

    async def _renewed(self, login: _Login, now: float) -> _Login:
        if self._config.auth_method != "token":
            return await self._log_in(now)
        if login.renewable:
            status, body = await self._send(
                "POST", "/v1/auth/token/renew-self", {}, login.token, check=False
            )
            if status == 200:
                left = self._decoded(body, _LoggedIn).auth.lease_duration
                return _Login(login.token, _renew_at(now, left), True)
        # It serves until its end, whenever that is.
        return _Login(login.token)

    def _no_login(self, method: str) -> Exception:
        return refused(
            "SECRET_LOGIN_REFUSED",
            f"{self._at} does not accept this {method} login",
            field=f"vault_config.{'token' if method == 'token' else 'auth_method'}",
        )

    async def _service_account(self) -> str:
        def read() -> str:
            with self._service_account_path.open("rb") as file:
                return file.read(_MOST_JWT).decode("ascii").strip()

        text = ""
        try:
            text = await asyncio.get_running_loop().run_in_executor(None, read)
        except (OSError, UnicodeDecodeError, ValueError):
            pass
        if not text or not text.isprintable():
            raise refused(
                "SECRET_LOGIN_REFUSED",
                "the service account's token cannot be read; outside of a cluster use token or "
                "approle",
                field="vault_config.auth_method",
            )
        return text


def _place(base: BaseUrl) -> str:
    return f"the vault at {base.origin}"


def _trust(base: BaseUrl, *authorities: str | None) -> ssl.SSLContext | None:
    """Return the context for servers of these authorities too, or None for the usual one."""
    found = [pem for pem in authorities if pem]
    if not base.tls or not found:
        return None
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for pem in found:
        context.load_verify_locations(cadata=pem)
    return context


def _renew_at(now: float, seconds: float) -> float | None:
    return now + seconds * _FRESH if seconds > 0 else None


def _moment(text: str) -> float:
    """Return RFC 3339 with any number of digits as Unix seconds."""
    head, dot, rest = text.partition(".")
    digits = ""
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        head += rest[len(digits) :]
    try:
        whole = datetime.fromisoformat(head.replace("Z", "+00:00"))
    except ValueError:
        raise broken("the vault wrote a time that cannot be read") from None
    if whole.tzinfo is None:
        whole = whole.replace(tzinfo=UTC)
    return whole.timestamp() + float(f"0.{digits or 0}")

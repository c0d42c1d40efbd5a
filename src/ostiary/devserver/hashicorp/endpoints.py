"""The HTTP API of HashiCorp's Vault, as far as KV version 2 and logging in take it.

Statuses, envelopes and error texts are the real server's. Neighbours: `versions` keeps the
secrets, `tokens` says who may.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, final

import msgspec
from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from ..._decoders import decoder_of
from ...secret import Secret
from ..http.front import Json, read_json
from ..http.refusals import HttpRefusal
from .tokens import Token, Tokens
from .versions import CasError, Key, Mount, Version

__all__ = ["Endpoints", "Vaults", "error_body"]

T = TypeVar("T")

_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE", "LIST"]
_KV: Final = ("data", "metadata", "delete", "undelete", "destroy")


class _Options(msgspec.Struct):
    cas: int | None = None


class _Write(msgspec.Struct):
    data: dict[str, Any] | None = None
    options: _Options | None = None

    def __repr__(self) -> str:
        return "_Write()"


class _Versions(msgspec.Struct):
    versions: list[int] = []


class _Metadata(msgspec.Struct):
    max_versions: int | None = None
    cas_required: bool | None = None
    custom_metadata: dict[str, str] | None = None


class _AppRole(msgspec.Struct):
    role_id: str = ""
    secret_id: str = ""

    def __repr__(self) -> str:
        return "_AppRole()"


class _Kubernetes(msgspec.Struct):
    role: str = ""
    jwt: str = ""

    def __repr__(self) -> str:
        return "_Kubernetes()"


class _Paths(msgspec.Struct):
    paths: list[str] = []
    path: list[str] = []


_WRITE: Final = decoder_of(_Write)
_VERSIONS: Final = decoder_of(_Versions)
_METADATA: Final = decoder_of(_Metadata)
_APPROLE: Final = decoder_of(_AppRole)
_KUBERNETES: Final = decoder_of(_Kubernetes)
_PATHS: Final = decoder_of(_Paths)


def error_body(refusal: HttpRefusal) -> bytes:
    """Return an error as the real server writes one: a list of texts, often empty."""
    return msgspec.json.encode({"errors": [refusal.message] if refusal.message else []})


def _refused(status: int, message: str = "") -> HttpRefusal:
    return HttpRefusal(status, "", message)


@final
class Vaults:
    """The mounts of every namespace, and whether the server is sealed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._mounts: dict[tuple[str, str], Mount] = {}
        self.clock = clock
        self.namespaces = {""}
        self.sealed = False

    def mount(self, path: str = "secret", *, namespace: str = "") -> Mount:
        """Mount a KV store, or return the one that is there."""
        self.namespaces.add(namespace)
        return self._mounts.setdefault((namespace, path.strip("/")), Mount(self._clock))

    def at(self, namespace: str, path: str) -> tuple[str, Mount, str] | None:
        """Return the mount a path lies in: its own path, itself, and what is left."""
        for (where, name), mount in self._mounts.items():
            if where == namespace and f"{path}/".startswith(f"{name}/"):
                return name, mount, path[len(name) + 1 :]
        return None


@final
class Endpoints:
    """One method for each endpoint; `app` routes to them."""

    def __init__(self, vaults: Vaults, tokens: Tokens) -> None:
        self._vaults = vaults
        self._tokens = tokens
        self.app: ASGIApp = Router(
            [
                _route("GET", "/v1/sys/health", self.health),
                _route("GET", "/v1/sys/seal-status", self.seal_status),
                _route("POST PUT", "/v1/auth/approle/login", self.approle),
                _route("POST PUT", "/v1/auth/kubernetes/login", self.kubernetes),
                _route("GET", "/v1/auth/token/lookup-self", self.lookup),
                _route("POST PUT", "/v1/auth/token/renew-self", self.renew),
                _route("POST PUT", "/v1/auth/token/revoke-self", self.revoke),
                _route("POST PUT", "/v1/sys/capabilities-self", self.capabilities),
                _route("GET", "/v1/sys/internal/ui/mounts/{path:path}", self.mounts),
                Route("/v1/{path:path}", self.secrets, methods=_METHODS),
            ],
            redirect_slashes=False,
        )

    # -- without a token ------------------------------------------------------

    async def health(self, request: Request) -> ASGIApp:
        sealed = self._vaults.sealed
        document = {
            "initialized": True,
            "sealed": sealed,
            "standby": False,
            "performance_standby": False,
            "server_time_utc": int(self._vaults.clock()),
            "version": _version(),
            "cluster_name": "ostiary",
        }
        asked = request.query_params.get("sealedcode", "503")
        return Json(document, status=_number(asked) if sealed else 200)

    async def seal_status(self, request: Request) -> ASGIApp:
        sealed = self._vaults.sealed
        return Json(
            {"type": "shamir", "initialized": True, "sealed": sealed, "t": 1, "n": 1, "progress": 0}
        )

    async def approle(self, request: Request) -> ASGIApp:
        namespace = self._open(request)
        body = await _read(request, _APPROLE)
        if not body.role_id:
            raise _refused(400, "missing role_id")
        made = self._tokens.login_approle(body.role_id, body.secret_id, namespace)
        if made is None:
            raise _refused(400, "invalid role or secret ID")
        return self._logged_in(*made)

    async def kubernetes(self, request: Request) -> ASGIApp:
        namespace = self._open(request)
        body = await _read(request, _KUBERNETES)
        if not body.role or not body.jwt:
            raise _refused(400, "missing role" if not body.role else "missing jwt")
        made = self._tokens.login_kubernetes(body.role, body.jwt, namespace)
        if made is None:
            raise _refused(403, "permission denied")
        return self._logged_in(*made)

    # -- about a token --------------------------------------------------------

    async def lookup(self, request: Request) -> ASGIApp:
        token = self._caller(request)
        return _answer(
            {
                "accessor": token.accessor,
                "creation_time": int(token.issued),
                "creation_ttl": round(token.ttl),
                "display_name": token.display_name,
                "expire_time": None if token.expires is None else _stamp(token.expires),
                "policies": token.policies,
                "renewable": token.renewable,
                "ttl": self._tokens.remaining(token),
                "type": "service",
            }
        )

    async def renew(self, request: Request) -> ASGIApp:
        token = self._caller(request)
        if not self._tokens.renew(token):
            raise _refused(400, "lease is not renewable")
        return self._logged_in(None, token)

    async def revoke(self, request: Request) -> ASGIApp:
        self._tokens.revoke(self._caller(request))
        return Json(None, status=204)

    async def capabilities(self, request: Request) -> ASGIApp:
        token = self._caller(request)
        body = await _read(request, _PATHS)
        paths = body.paths or body.path
        if not paths:
            raise _refused(400, "path field is not provided")
        found: dict[str, object] = {p: self._tokens.capabilities(token, p) for p in paths}
        if len(paths) == 1:
            found["capabilities"] = found[paths[0]]
        return _answer(found)

    def _logged_in(self, secret: Secret | None, token: Token) -> ASGIApp:
        auth: dict[str, object] = {
            "accessor": token.accessor,
            "policies": token.policies,
            "token_policies": token.policies,
            "lease_duration": self._tokens.remaining(token),
            "renewable": token.renewable,
            "token_type": "service",
        }
        if secret is not None:
            auth["client_token"] = secret.reveal()
        return _answer(None, auth=auth)

    # -- secrets --------------------------------------------------------------

    async def mounts(self, request: Request) -> ASGIApp:
        token = self._caller(request)
        path: str = request.path_params["path"].strip("/")
        found = self._vaults.at(_namespace(request), path)
        if found is None or not self._tokens.sees(token, f"{found[0]}/"):
            raise _refused(
                403,
                "preflight capability check returned 403, please ensure client's policies grant "
                f'access to path "{path}/"',
            )
        return _answer({"path": f"{found[0]}/", "type": "kv", "options": {"version": "2"}})

    async def secrets(self, request: Request) -> ASGIApp:
        token = self._caller(request)
        whole: str = request.path_params["path"]
        found = self._vaults.at(_namespace(request), whole)
        kind, _, path = ("", "", "") if found is None else found[2].partition("/")
        method = request.method
        if method == "GET" and request.query_params.get("list") == "true":
            method = "LIST"
        path = path.strip("/")
        if found is None or kind not in _KV or (not path and method != "LIST"):
            raise _refused(404, f'no handler for route "{whole}". route entry not found.')
        mount = found[1]
        at = f"{found[0]}/{kind}/{path}"
        if kind == "data":
            return await self._data(request, method, mount, path, token, at)
        if kind == "metadata":
            return await self._metadata(request, method, mount, path, token, at)
        if method not in {"POST", "PUT"}:
            raise _refused(405, "unsupported operation")
        self._check(token, at, "update")
        numbers = (await _read(request, _VERSIONS)).versions
        if not numbers:
            raise _refused(400, "no version number provided")
        if kind == "delete":
            mount.delete(path, numbers)
        elif kind == "undelete":
            mount.undelete(path, numbers)
        else:
            mount.destroy(path, numbers)
        return Json(None, status=204)

    async def _data(
        self, request: Request, method: str, mount: Mount, path: str, token: Token, at: str
    ) -> ASGIApp:
        if method == "GET":
            self._check(token, at, "read")
            found = mount.read(path, _number(request.query_params.get("version", "0")))
            if found is None:
                raise _refused(404)
            number, version = found
            document = {
                "data": version.data if version.readable else None,
                "metadata": _about(number, version, mount.key(path)),
            }
            return _answer(document, status=200 if version.readable else 404)
        if method == "DELETE":
            self._check(token, at, "delete")
            mount.delete(path)
            return Json(None, status=204)
        if method not in {"POST", "PUT", "PATCH"}:
            raise _refused(405, "unsupported operation")
        # The real server tells a first write from a later one, and so may a policy.
        needs = "patch" if method == "PATCH" else "create" if mount.key(path) is None else "update"
        self._check(token, at, needs)
        body = await _read(request, _WRITE)
        if body.data is None:
            raise _refused(400, "no data provided")
        cas = body.options.cas if body.options else None
        try:
            if method == "PATCH":
                made = mount.patch(path, body.data, cas)
            else:
                made = mount.put(path, body.data, cas)
        except CasError as error:
            raise _refused(400, str(error)) from None
        key = mount.key(path)
        if made is None or key is None:
            raise _refused(404)
        return _answer(_about(key.current, made, key))

    async def _metadata(
        self, request: Request, method: str, mount: Mount, path: str, token: Token, at: str
    ) -> ASGIApp:
        if method == "LIST":
            # A policy for listing ends with a slash, as the real server asks for it.
            self._check(token, f"{at.rstrip('/')}/", "list")
            keys = mount.below(path)
            if not keys:
                raise _refused(404)
            return _answer({"keys": keys})
        key = mount.key(path)
        if method == "GET":
            self._check(token, at, "read")
            if key is None:
                raise _refused(404)
            return _answer(_described(key))
        if method == "DELETE":
            self._check(token, at, "delete")
            mount.forget(path)
            return Json(None, status=204)
        if method not in {"POST", "PUT"}:
            raise _refused(405, "unsupported operation")
        self._check(token, at, "create" if key is None else "update")
        body = await _read(request, _METADATA)
        mount.describe(
            path,
            max_versions=body.max_versions,
            cas_required=body.cas_required,
            custom_metadata=body.custom_metadata,
        )
        return Json(None, status=204)

    # -- who may --------------------------------------------------------------

    def _open(self, request: Request) -> str:
        """Return the namespace that is asked for; refuse while sealed."""
        if self._vaults.sealed:
            raise _refused(503, "Vault is sealed")
        namespace = _namespace(request)
        if namespace not in self._vaults.namespaces:
            raise _refused(404, f'no handler for route "". route entry not found in {namespace}/.')
        return namespace

    def _caller(self, request: Request) -> Token:
        namespace = self._open(request)
        given = request.headers.get("x-vault-token")
        if given is None:
            scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
            given = bearer.strip() if scheme.lower() == "bearer" else ""
        token = self._tokens.find(given, namespace)
        if token is None:
            raise _refused(403, "permission denied")
        return token

    def _check(self, token: Token, path: str, capability: str) -> None:
        if not self._tokens.allowed(token, path, capability):
            raise _refused(403, "1 error occurred:\n\t* permission denied\n\n")


def _route(methods: str, path: str, endpoint: Callable[[Request], Awaitable[ASGIApp]]) -> Route:
    return Route(path, endpoint, methods=methods.split())


def _namespace(request: Request) -> str:
    return request.headers.get("x-vault-namespace", "").strip("/")


async def _read(request: Request, decoder: msgspec.json.Decoder[T]) -> T:
    problem: HttpRefusal
    try:
        return await read_json(request, decoder)
    except HttpRefusal as refusal:
        problem = refusal
    # What other domains call invalid is a bad request here.
    raise _refused(400 if problem.status == 422 else problem.status, problem.message)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise _refused(400, "version is not a number")
    return int(text)


def _answer(data: object, *, auth: dict[str, object] | None = None, status: int = 200) -> ASGIApp:
    return Json(
        {
            "request_id": str(uuid.uuid4()),
            "lease_id": "",
            "renewable": False,
            "lease_duration": 0,
            "data": data,
            "wrap_info": None,
            "warnings": None,
            "auth": auth,
        },
        status=status,
    )


def _stamp(moment: float) -> str:
    # As Go writes them, with digits that a float of seconds does not have.
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _version_info(version: Version) -> dict[str, object]:
    return {
        "created_time": _stamp(version.created_time),
        "deletion_time": "" if version.deletion_time is None else _stamp(version.deletion_time),
        "destroyed": version.destroyed,
    }


def _about(number: int, version: Version, key: Key | None) -> dict[str, object]:
    return {
        **_version_info(version),
        "custom_metadata": None if key is None else key.custom_metadata,
        "version": number,
    }


def _described(key: Key) -> dict[str, object]:
    return {
        "cas_required": key.cas_required,
        "created_time": _stamp(key.created_time),
        "current_version": key.current,
        "custom_metadata": key.custom_metadata,
        "delete_version_after": "0s",
        "max_versions": key.max_versions,
        "oldest_version": key.oldest,
        "updated_time": _stamp(key.updated_time),
        "versions": {str(n): _version_info(version) for n, version in key.versions.items()},
    }


def _version() -> str:
    from ostiary import __version__

    return f"{__version__}+ostiary"

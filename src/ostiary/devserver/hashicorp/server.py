"""The small HashiCorp Vault on a loopback port, with TLS or without; started and stopped once.

Neighbour: `running` has one in a thread, for tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from ...secret import Secret
from ..http.admission import Admission
from ..http.front import Front
from ..http.server import HttpServer
from ..http.staged import HttpFaults
from ..sockets import bind_tcp
from .endpoints import Endpoints, Vaults, error_body
from .tokens import AppRole, KubernetesRole, Tokens

__all__ = ["HashicorpServer"]

_BODY_LIMIT: Final = 1024 * 1024
_MAX_CONNECTIONS: Final = 256


@final
class _Uncounted:
    """The front tells somebody of every request; here nobody asks."""

    def began(self) -> None:
        pass

    def ended(self, seconds: float) -> None:
        pass


@final
class HashicorpServer:
    """A KV version 2 server in memory, on 127.0.0.1.

    With `names` it speaks TLS, has a certificate for them, and `authority` is what to trust.
    There is one mount, `secret`; `vaults` and `tokens` make more of everything.
    """

    def __init__(
        self,
        *,
        names: Sequence[str] = (),
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.vaults = Vaults(clock)
        self.tokens = Tokens(clock)
        self.faults = HttpFaults()
        self.authority: str | None = None
        self.address: tuple[str, int] | None = None
        self._names = tuple(names)
        self._port = port
        self._server: HttpServer | None = None
        self.vaults.mount("secret")

    async def start(self) -> None:
        """Bind and listen."""
        tls = None
        if self._names:
            from .certificates import identity_for

            identity = identity_for(self._names)
            tls, self.authority = identity.context, identity.authority
        sock = bind_tcp("127.0.0.1", self._port, option="another port")
        try:
            host, port = sock.getsockname()
            hosts = [spelling for name in self._names for spelling in (name, f"{name}:{port}")]
            self._server = HttpServer(
                Front(
                    Endpoints(self.vaults, self.tokens).app,
                    # Callers show tokens of its own; a browser is kept out all the same.
                    Admission(token=None, body_limit=_BODY_LIMIT, hosts=hosts),
                    self.faults,
                    _Uncounted(),
                    error=error_body,
                ),
                max_connections=_MAX_CONNECTIONS,
                error=error_body,
            )
            await self._server.start([sock], tls=tls)
        except BaseException:
            sock.close()
            raise
        self.address = (host, port)

    async def stop(self, grace: float = 0.0) -> None:
        """Stop listening and forget everything; safe to repeat."""
        if self._server is not None:
            await self._server.stop(grace)
            self._server = None

    # -- who may do what -------------------------------------------------------

    def add_policy(self, name: str, paths: Mapping[str, Sequence[str]]) -> None:
        """Define a policy: capabilities by path, as `{"secret/data/app/*": ["read"]}`."""
        self.tokens.add_policy(name, paths)

    def add_token(
        self,
        token: str | None = None,
        *,
        policies: Sequence[str] = ("root",),
        namespace: str = "",
        ttl: float = 0.0,
        renewable: bool = False,
    ) -> Secret:
        """Issue a token, a new one unless its text is given; `ttl` are seconds, 0 for ever."""
        made, _ = self.tokens.issue(
            policies,
            token=None if token is None else Secret(token),
            namespace=namespace,
            ttl=ttl,
            renewable=renewable,
        )
        return made

    def add_approle(
        self,
        role_id: str,
        secret_id: str,
        *,
        policies: Sequence[str] = ("root",),
        namespace: str = "",
        ttl: float = 1200.0,
    ) -> None:
        """Let whoever has this role id and secret id log in."""
        self.tokens.add_approle(
            AppRole(
                name=role_id,
                role_id=role_id,
                secret_id=Secret(secret_id),
                policies=tuple(policies),
                namespace=namespace,
                ttl=ttl,
            )
        )

    def add_kubernetes_role(
        self,
        role: str,
        jwt: str,
        *,
        policies: Sequence[str] = ("root",),
        namespace: str = "",
        ttl: float = 1200.0,
    ) -> None:
        """Let the service account with this token log in to a role."""
        self.tokens.add_kubernetes(
            KubernetesRole(
                name=role, jwt=Secret(jwt), policies=tuple(policies), namespace=namespace, ttl=ttl
            )
        )

"""One HTTP domain of the control plane: its two sockets, its token, its front.

`NAME.sock` and `NAME.token` lie in the home. Neighbour: each domain makes one of these.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, final
from urllib.parse import quote

from starlette.types import ASGIApp, Scope

from ...secret import Secret
from ..faults import DevserverError
from ..home import create_private, refuse_loose
from ..options import Options
from ..sockets import LocalSocket, bind_tcp
from .admission import Admission
from .front import Front, Meter
from .refusals import HttpRefusal, error_body
from .server import HttpServer
from .staged import HttpFaults

__all__ = ["HttpDomain", "kept_token"]

_TOKEN_BYTES: Final = 32


@final
class HttpDomain:
    """Serve `app` on a Unix socket in `home`, and on loopback unless `port` is None.

    Every request needs the bearer token, which is made at the first start and kept in
    `token_path`, 0600. With `options.demo` none does, and `token` is None; the file is there
    all the same, for clients that are told to read it. A domain that judges its callers
    itself has no such token: `own_judgement`; the length of bodies is its affair then too.

    `other_token` is taken as well as that one, and asked for with `options.demo` too; `also`
    are taken wherever one is asked for. `open_paths` need none.

    `error` and `prepare` are the front's; `hosts` are names that requests may call this server
    by besides those of loopback. `body_limit` None is that of the options.
    """

    def __init__(
        self,
        name: str,
        home: Path,
        app: ASGIApp,
        meter: Meter,
        options: Options,
        *,
        port: int | None,
        own_judgement: bool = False,
        error: Callable[[HttpRefusal], bytes] = error_body,
        prepare: Callable[[Scope], None] | None = None,
        hosts: Iterable[str] = (),
        other_token: Secret | None = None,
        also: Iterable[Secret] = (),
        open_paths: Iterable[bytes] = (),
        body_limit: int | None = None,
    ) -> None:
        self.name = name
        self.socket_path = home / f"{name}.sock"
        self.token_path = home / f"{name}.token"
        self.tcp: tuple[str, int] | None = None
        self.faults = HttpFaults()
        self._port = port
        self._options = options
        self._local: LocalSocket | None = None
        self._bound: list[socket.socket] = []
        token = None if own_judgement else kept_token(self.token_path)
        self.token: Secret | None = other_token if options.demo else token
        admission = Admission(
            token=self.token,
            origins=options.allow_origins,
            body_limit=None if own_judgement else body_limit or options.request_limit,
            socket_path=str(self.socket_path),
            hosts=hosts,
            open_paths=open_paths,
            other_tokens=(*(() if other_token is None else (other_token,)), *also),
        )
        self._server = HttpServer(
            Front(app, admission, self.faults, meter, error=error, prepare=prepare),
            max_connections=options.max_connections,
            error=error,
        )

    def bind(self) -> None:
        """Take the addresses, which are known from then on; `start` listens on them."""
        host = self._options.host
        with ExitStack() as failing:
            sockets: list[socket.socket] = []
            if self._port is not None:
                tcp = bind_tcp(host, self._port, option=f"--{self.name}-port")
                failing.callback(tcp.close)
                self.tcp = (host, tcp.getsockname()[1])
                sockets.append(tcp)
            self._local = LocalSocket(self.socket_path)
            sockets.append(self._local.socket)
            self._bound = sockets
            failing.pop_all()

    async def start(self) -> None:
        """Bind, if that is not done, and listen; on failure nothing is left open."""
        if self._local is None:
            self.bind()
        try:
            await self._server.start(self._bound)
        except BaseException:
            self._release()
            raise
        self._bound = []  # the server's now

    async def stop(self, grace: float) -> None:
        """Stop listening and end what is in hand; safe to repeat."""
        if self._local is not None:
            self._local.remove()
            self._local = None
        self._release()
        await self._server.stop(grace)

    def _release(self) -> None:
        """Close what was bound and is not listened on."""
        for sock in self._bound:
            sock.close()
        self._bound = []

    @property
    def url(self) -> str | None:
        """The base URL on loopback; None when there is none."""
        if self.tcp is None:
            return None
        host, port = self.tcp
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def unix_url(self) -> str:
        """The base URL of the Unix socket."""
        return "http+unix://" + quote(os.fsencode(self.socket_path), safe="")


def kept_token(path: Path) -> Secret:
    """Return the token kept at `path`, made now if there is none."""
    create_private(path, secrets.token_urlsafe(_TOKEN_BYTES).encode() + b"\n")
    refuse_loose(path)
    text = path.read_bytes().strip()
    if len(text) < 16 or not text.isascii() or not text.decode("ascii").isprintable():
        raise DevserverError(
            f"{path} does not hold a token of at least 16 characters; delete it, and another "
            "is made"
        )
    return Secret(text)

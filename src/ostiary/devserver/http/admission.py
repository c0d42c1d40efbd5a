"""Who may ask at all: the rules about Host, Origin, body and token, before anything is read.

They keep a browser out: a page on another site can make the user's browser send requests to
loopback, by DNS rebinding or by a form of plain text, and a development server without a
token would obey. Decisions only, no I/O. Neighbour: `front` applies them to every request.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final, final
from urllib.parse import quote

from ...secret import Secret
from .refusals import HttpRefusal

__all__ = ["Admission"]

_LOOPBACK: Final = re.compile(rb"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.I)
_JSON: Final = b"application/json"
_HEAD_BYTES: Final = 64 * 1024  # h11's own limit is for a head that comes in pieces
# Twice would mean two answers to one question.
_ONCE: Final = frozenset({b"host", b"origin", b"authorization", b"content-type"})
_OF_A_PAGE_ELSEWHERE: Final = frozenset({b"cross-site", b"same-site"})


@final
class Admission:
    """The rules of one listening server.

    `token` None asks nobody for one; `other_tokens` are as good as it. `origins` are the web
    pages that may call, written as browsers send them: `http://localhost:3000`. `socket_path`
    may be the Host of what comes over that Unix socket, percent-encoded or as its file name;
    `hosts` may be on any.
    A `body_limit` of None leaves the length of bodies to the domain. `open_paths` need no
    token.
    """

    def __init__(
        self,
        *,
        token: Secret | None,
        origins: Iterable[str] = (),
        body_limit: int | None,
        socket_path: str | None = None,
        hosts: Iterable[str] = (),
        open_paths: Iterable[bytes] = (),
        other_tokens: Iterable[Secret] = (),
    ) -> None:
        self.body_limit = body_limit
        self._open_paths = frozenset(open_paths)
        self._origins = frozenset(origin.encode("ascii") for origin in origins)
        # Digests are compared, so that neither length nor content shows in the time taken.
        self._tokens = [
            hashlib.sha256(one.reveal_bytes()).digest()
            for one in (token, *other_tokens)
            if one is not None and token is not None
        ]
        self._hosts = frozenset(host.encode("ascii").lower() for host in hosts)
        self._socket_names: frozenset[bytes] = frozenset()
        if socket_path is not None:
            name = socket_path.rpartition("/")[2]
            self._socket_names = frozenset(
                spelling.encode().lower() for spelling in (quote(socket_path, safe=""), quote(name))
            )

    def allowed_origin(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """Return the listed origin a request comes from, or None."""
        for name, value in headers:
            if name == b"origin":
                return value if value in self._origins else None
        return None

    def check(
        self, method: str, path: bytes, headers: Iterable[tuple[bytes, bytes]], *, local: bool
    ) -> None:
        """Raise the refusal of a request by its head alone; `local` is a Unix socket."""
        found: dict[bytes, bytes] = {}
        size = len(path)
        for name, value in headers:
            size += len(name) + len(value)
            if name in _ONCE and name in found:
                raise HttpRefusal(
                    400, "BAD_REQUEST", f"the request has two {name.decode()} headers; send one"
                )
            found[name] = value
        if size > _HEAD_BYTES:
            raise HttpRefusal(
                431, "HEAD_TOO_LARGE", f"the request's head is longer than {_HEAD_BYTES} bytes"
            )
        if b"transfer-encoding" in found and b"content-length" in found:
            # Two lengths are how one request hides in another: nothing after this one is read.
            raise HttpRefusal(
                400,
                "BAD_REQUEST",
                "the request has two lengths; send Content-Length or Transfer-Encoding",
                headers=((b"connection", b"close"),),
            )
        if not path.startswith(b"/"):
            raise HttpRefusal(400, "BAD_REQUEST", "the request's target is not a path; send one")
        self._check_host(found.get(b"host"), local=local)
        self._check_origin(found)
        if method == "OPTIONS" and b"access-control-request-method" in found:
            return  # a preflight carries no token and no body; the front answers it
        if path not in self._open_paths:
            self._check_token(found.get(b"authorization"))
        self._check_body(found)

    def _check_host(self, host: bytes | None, *, local: bool) -> None:
        if host is not None and (
            _LOOPBACK.fullmatch(host)
            or host.lower() in self._hosts
            or (local and host.lower() in self._socket_names)
        ):
            return
        raise HttpRefusal(
            421,
            "HOST_REFUSED",
            "this server answers to localhost, 127.0.0.1 and [::1] only; use one of them in "
            "the URL",
        )

    def _check_origin(self, found: dict[bytes, bytes]) -> None:
        origin = found.get(b"origin")
        if origin is None:
            # Browsers leave Origin out of some requests, and say this of all of them.
            refused = found.get(b"sec-fetch-site", b"").lower() in _OF_A_PAGE_ELSEWHERE
        else:
            refused = origin not in self._origins
        if refused:
            raise HttpRefusal(
                403,
                "ORIGIN_REFUSED",
                "web pages may not call this server; list the page's origin with "
                "--allow-origin if it is yours",
            )

    def _check_token(self, given: bytes | None) -> None:
        if not self._tokens:
            return
        scheme, _, credentials = (given or b"").partition(b" ")
        digest = hashlib.sha256(credentials.strip()).digest()
        # All of them, so that the time does not tell which it was either.
        known = [hmac.compare_digest(digest, one) for one in self._tokens]
        if scheme.lower() == b"bearer" and any(known):
            return
        raise HttpRefusal(
            401,
            "UNAUTHORIZED",
            "the bearer token is missing"
            if given is None
            else "the bearer token is not this server's",
            headers=((b"www-authenticate", b"Bearer"),),
        )

    def _check_body(self, found: dict[bytes, bytes]) -> None:
        kind = found.get(b"content-type")
        size = found.get(b"content-length")
        if kind is None:
            if b"transfer-encoding" in found or (size is not None and size.strip(b"0")):
                raise _not_json()
        elif kind.partition(b";")[0].strip().lower() != _JSON:
            raise _not_json()
        if found.get(b"content-encoding", b"identity").lower() != b"identity":
            raise HttpRefusal(
                415, "UNSUPPORTED_MEDIA_TYPE", "send the body as it is, without a content coding"
            )
        if self.body_limit is None:
            return
        # h11 has let digits through alone; their number it has not looked at.
        if size is not None and (len(size.lstrip(b"0")) > 18 or int(size) > self.body_limit):
            raise self.too_large()

    def too_large(self) -> HttpRefusal:
        return HttpRefusal(
            413,
            "PAYLOAD_TOO_LARGE",
            f"the body is longer than {self.body_limit} bytes; send less",
            details={"limit_bytes": self.body_limit},
        )


def _not_json() -> HttpRefusal:
    return HttpRefusal(
        415, "UNSUPPORTED_MEDIA_TYPE", "the body must be sent as Content-Type: application/json"
    )

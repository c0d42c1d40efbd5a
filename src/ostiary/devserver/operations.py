"""What `use` does with a secret so that the agent need not hold it.

Every operation is prepared first, from its params alone, so that policies can ask what it
is about to do; only then does it meet the secret. Results are documented shapes; refusals
never hold the secret, nor any other library's text about it. Neighbour: `outbound`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeVar, final

import msgspec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox
from nacl.signing import SigningKey

from .._decoders import decode_as
from . import outbound
from .faults import Refusal, crypto, invalid, operation_unknown
from .policy import Use

__all__ = ["OPERATIONS", "Prepared", "prepare"]

P = TypeVar("P", bound=msgspec.Struct)

OPERATIONS: Final = ("http_request", "http_header", "sign", "encrypt", "decrypt")
_ALGORITHMS: Final = ("hmac-sha256", "ed25519")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_CIPHERTEXT: Final = "ostv1."
# The vault frames the message; a caller's own framing could smuggle a second request.
_REFUSED_HEADERS: Final = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "trailer",
        "upgrade",
        "expect",
    }
)


class _Header(msgspec.Struct):
    header_type: str | None = None
    header_name: str | None = None


class _Request(msgspec.Struct):
    url: str
    method: str | None = None
    headers: dict[str, str] | None = None
    body: str | None = None
    header_type: str | None = None
    header_name: str | None = None


class _Sign(msgspec.Struct):
    data: str | None = None
    payload: str | None = None
    algorithm: str | None = None
    data_encoding: Literal["utf-8", "base64"] = "utf-8"


class _Encrypt(msgspec.Struct):
    data: str | None = None
    plaintext: str | None = None
    data_encoding: Literal["utf-8", "base64"] = "utf-8"


class _Decrypt(msgspec.Struct):
    data: str | None = None
    ciphertext: str | None = None


@final
class Prepared:
    """An operation that knows what it will do and waits for the secret.

    `slow` ones talk to the network: call them in a thread.
    """

    def __init__(
        self,
        use: Use,
        run: Callable[[bytes], Mapping[str, object]],
        *,
        slow: bool = False,
    ) -> None:
        self.use = use
        self.run = run
        self.slow = slow


def prepare(operation: str, params: msgspec.Raw, limits: outbound.Limits) -> Prepared:
    """Read the params of one operation; raises `Refusal` when they make no sense."""
    match operation:
        case "http_request":
            return _http_request(_read(params, _Request), limits)
        case "http_header":
            given = _read(params, _Header)
            name, value = _header_maker(given.header_type, given.header_name)
            return Prepared(Use("http_header"), lambda secret: _show(name, value(secret)))
        case "sign" | "sign_payload":
            return _sign(_read(params, _Sign))
        case "encrypt":
            data = _read(params, _Encrypt)
            plain = _data(data.data, data.plaintext, data.data_encoding)
            return Prepared(Use("encrypt"), lambda secret: _encrypt(secret, plain))
        case "decrypt":
            sealed = _read(params, _Decrypt)
            text = sealed.data if sealed.data is not None else sealed.ciphertext
            if text is None:
                raise invalid("decrypt needs data, the ciphertext")
            blob = _blob(text)
            return Prepared(Use("decrypt"), lambda secret: _decrypt(secret, blob))
        case _:
            raise operation_unknown(", ".join(OPERATIONS))


def _read(params: msgspec.Raw, shape: type[P]) -> P:
    blank = bytes(params) in {b"", b"null"}  # the Go client sends null
    try:
        return decode_as(b"{}" if blank else params, shape)
    except (msgspec.DecodeError, RecursionError) as error:
        # msgspec names the field and the types, never a value.
        problem = str(error) if isinstance(error, msgspec.ValidationError) else "not JSON"
    raise invalid(f"the operation's params are not right: {problem}")


def _data(data: str | None, alias: str | None, encoding: str) -> bytes:
    text = data if data is not None else alias
    if text is None:
        raise invalid("the operation needs data")
    if encoding == "base64":
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise invalid("data is not base64") from None
    return text.encode()


# -- headers ----------------------------------------------------------------


def _header_maker(kind: str | None, name: str | None) -> tuple[str, Callable[[bytes], bytes]]:
    match kind or "bearer":
        case "bearer":
            return "Authorization", lambda secret: b"Bearer " + secret
        case "api_key":
            return "X-API-Key", lambda secret: secret
        case "basic":
            return "Authorization", lambda secret: b"Basic " + base64.b64encode(secret)
        case "custom":
            if name is None or not _TOKEN.fullmatch(name) or name.lower() in _REFUSED_HEADERS:
                raise invalid("header_type custom needs header_name, the name of a header")
            return name, lambda secret: secret
        case _:
            raise invalid("header_type is one of bearer, api_key, basic, custom")


def _show(name: str, value: bytes) -> dict[str, object]:
    text = _header_text(value)
    return {"header_name": name, "header_value": text, "header": f"{name}: {text}"}


def _header_text(value: bytes) -> str:
    """Return a header value that is safe to send, or refuse without showing it."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if not text.isprintable() or text != text.strip():
        raise crypto(
            "the credential holds characters that a header cannot",
            "store it again without line breaks or control characters, or use header_type basic",
        )
    return text


# -- http_request -----------------------------------------------------------


def _http_request(given: _Request, limits: outbound.Limits) -> Prepared:
    target = outbound.parse_target(given.url)
    method = (given.method or "GET").upper()
    if not _TOKEN.fullmatch(method) or method in {"CONNECT", "TRACE"}:
        raise invalid("method is not an HTTP method that can be proxied")
    name, value = _header_maker(given.header_type, given.header_name)
    body = (given.body or "").encode()
    headers = [(b"Host", target.host_header)]
    named: set[str] = set()
    for key, text in (given.headers or {}).items():
        lower = key.lower()
        if not _TOKEN.fullmatch(key) or lower in _REFUSED_HEADERS:
            raise invalid("headers holds a name that is not allowed here")
        if any(char in "\r\n\0" for char in text):
            raise invalid("headers holds a value with a line break")
        if lower == name.lower():
            continue  # the vault's own stands there
        named.add(lower)
        headers.append((key.encode(), text.encode()))
    if "accept-encoding" not in named:
        headers.append((b"Accept-Encoding", b"identity"))
    if body or method in {"POST", "PUT", "PATCH"}:
        headers.append((b"Content-Length", str(len(body)).encode()))
    headers.append((b"Connection", b"close"))

    def run(secret: bytes) -> dict[str, object]:
        credential = (name.encode(), _header_text(value(secret)).encode())
        return _answer(outbound.fetch(target, method, [*headers, credential], body, limits))

    host = target.host.rstrip(".")
    return Prepared(Use("http_request", domain=host), run, slow=True)


def _answer(answer: outbound.Answer) -> dict[str, object]:
    headers: dict[str, str] = {}
    for name, value in answer.headers:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    result: dict[str, object] = {"status": answer.status, "headers": headers}
    try:
        result["body"] = answer.body.decode()
    except UnicodeDecodeError:
        result["body"] = base64.b64encode(answer.body).decode()
        result["body_encoding"] = "base64"
    return result


# -- signatures and ciphers -------------------------------------------------


def _sign(given: _Sign) -> Prepared:
    algorithm = (given.algorithm or "hmac-sha256").lower()
    if algorithm not in _ALGORITHMS:
        raise invalid(f"algorithm is one of {', '.join(_ALGORITHMS)}")
    data = _data(given.data, given.payload, given.data_encoding)

    def run(secret: bytes) -> dict[str, object]:
        if algorithm == "ed25519":
            signature = SigningKey(_seed(secret)).sign(data).signature
        else:
            signature = hmac.digest(secret, data, "sha256")
        return {"signature": base64.b64encode(signature).decode()}

    return Prepared(Use("sign", algorithm=algorithm), run)


def _seed(secret: bytes) -> bytes:
    """Read a 32-byte Ed25519 seed: raw, in hex or in base64."""
    if len(secret) == 32:
        return secret
    text = secret.strip()
    try:
        seed = bytes.fromhex(text.decode("ascii")) if len(text) == 64 else b""
        seed = seed or base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        seed = b""
    if len(seed) != 32:
        raise crypto(
            "the credential is not an Ed25519 key",
            "store a 32-byte seed, raw, in hex or in base64; or sign with hmac-sha256",
        )
    return seed


def _cipher(secret: bytes) -> SecretBox:
    return SecretBox(hashlib.blake2b(secret, digest_size=32, person=b"ostiary encrypt").digest())


def _encrypt(secret: bytes, plain: bytes) -> dict[str, object]:
    sealed = bytes(_cipher(secret).encrypt(plain))
    return {"ciphertext": _CIPHERTEXT + base64.b64encode(sealed).decode()}


def _blob(text: str) -> bytes:
    try:
        return base64.b64decode(text.removeprefix(_CIPHERTEXT), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _decrypt(secret: bytes, blob: bytes) -> dict[str, object]:
    plain: bytes | None = None
    try:
        plain = _cipher(secret).decrypt(blob)
    except (CryptoError, ValueError):
        pass
    if plain is None:
        raise _not_ours()
    try:
        return {"plaintext": plain.decode()}
    except UnicodeDecodeError:
        return {
            "plaintext": base64.b64encode(plain).decode(),
            "plaintext_encoding": "base64",
        }


def _not_ours() -> Refusal:
    return crypto(
        "the ciphertext was altered or made with another credential",
        "decrypt with the credential that encrypted it, and its text unchanged",
    )

"""The operations of `use`, over a socket: documented values, aliases, and what they refuse."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from nacl.signing import SigningKey

from ostiary.devserver import RunningVault
from tests.devserver.conftest import Connect
from tests.devserver.wire import Refused

SIGNED = "PaMP2/QSSDnZQW7RGt8aj2dghy2saZjbp8x5HE8QuZU="
SECRET = "s3cr3t-Passw0rd"


def code(call: Any, *args: Any, **params: Any) -> str:
    with pytest.raises(Refused) as caught:
        call(*args, **params)
    return caught.value.code


# -- http_header ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "name", "value"),
    [
        ({}, "Authorization", "Bearer hi"),
        ({"header_type": "bearer"}, "Authorization", "Bearer hi"),
        ({"header_type": None}, "Authorization", "Bearer hi"),
        ({"header_type": "api_key"}, "X-API-Key", "hi"),
        ({"header_type": "basic"}, "Authorization", "Basic aGk="),
        ({"header_type": "custom", "header_name": "X-Token"}, "X-Token", "hi"),
    ],
)
def test_http_header(connect: Connect, params: dict[str, Any], name: str, value: str) -> None:
    assert connect("demo").use("maps/token", "http_header", **params) == {
        "header_name": name,
        "header_value": value,
        "header": f"{name}: {value}",
    }


@pytest.mark.parametrize(
    "params",
    [
        {"header_type": "cookie"},
        {"header_type": "custom"},
        {"header_type": "custom", "header_name": ""},
        {"header_type": "custom", "header_name": "X: y\r\nZ"},
        {"header_type": "custom", "header_name": "Content-Length"},
        {"header_type": 5},
    ],
)
def test_http_header_refuses(connect: Connect, params: dict[str, Any]) -> None:
    one = connect("demo")
    assert code(one.use, "maps/token", "http_header", **params) == "INVALID_REQUEST"


@pytest.mark.parametrize("kind", ["bearer", "api_key", "custom"])
@pytest.mark.parametrize("value", [b"pass\r\nX-Evil: 1", b"token\n", b"\xff\xfe-binary", b"a\0b"])
def test_a_secret_no_header_can_hold(
    vault: RunningVault, connect: Connect, value: bytes, kind: str
) -> None:
    vault.put("odd/one", value)
    one = connect("demo")
    with pytest.raises(Refused) as caught:
        one.use("odd/one", "http_header", header_type=kind, header_name="X-T")
    assert caught.value.code == "CRYPTO_ERROR"
    text = json.dumps(caught.value.body)
    assert "pass" not in text
    assert "token" not in text
    basic = one.use("odd/one", "http_header", header_type="basic")["header_value"]
    assert base64.b64decode(basic.removeprefix("Basic ")) == value


# -- sign -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("sign", {"algorithm": "hmac-sha256", "data": "ping"}),
        ("sign", {"data": "ping"}),
        ("sign", {"algorithm": "HMAC-SHA256", "data": "ping"}),
        ("sign_payload", {"payload": "ping"}),
        ("sign_payload", {"algorithm": "hmac-sha256", "payload": "ping"}),
        ("sign", {"data": "cGluZw==", "data_encoding": "base64"}),
    ],
)
def test_sign(connect: Connect, operation: str, params: dict[str, Any]) -> None:
    assert connect("demo").use("hook/key", operation, **params) == {"signature": SIGNED}


def test_sign_covers_utf8(connect: Connect) -> None:
    import hmac

    expected = hmac.digest(b"k1", "grüße €".encode(), "sha256")
    found = connect("demo").use("hook/key", "sign", data="grüße €")["signature"]
    assert base64.b64decode(found) == expected


@pytest.mark.parametrize("form", ["raw", "hex", "base64"])
def test_sign_ed25519(vault: RunningVault, connect: Connect, form: str) -> None:
    seed = bytes(range(32))
    stored = {"raw": seed, "hex": seed.hex().encode(), "base64": base64.b64encode(seed)}[form]
    vault.put("sign/key", stored)
    found = connect("demo").use("sign/key", "sign", algorithm="ed25519", data="ping")
    SigningKey(seed).verify_key.verify(b"ping", base64.b64decode(found["signature"]))


def test_sign_refuses(connect: Connect) -> None:
    one = connect("demo")
    assert code(one.use, "hook/key", "sign", algorithm="ed25519", data="x") == "CRYPTO_ERROR"
    assert code(one.use, "hook/key", "sign", algorithm="md5", data="x") == "INVALID_REQUEST"
    assert code(one.use, "hook/key", "sign") == "INVALID_REQUEST"
    assert code(one.use, "hook/key", "sign", data="!", data_encoding="base64") == "INVALID_REQUEST"


# -- encrypt, decrypt -------------------------------------------------------------


@pytest.mark.parametrize("alias", [False, True])
def test_round_trip(connect: Connect, alias: bool) -> None:
    one = connect("demo")
    plain, sealed = ("plaintext", "ciphertext") if alias else ("data", "data")
    first = one.use("hook/key", "encrypt", **{plain: "grüße"})["ciphertext"]
    second = one.use("hook/key", "encrypt", **{plain: "grüße"})["ciphertext"]
    assert first != second
    assert one.use("hook/key", "decrypt", **{sealed: first}) == {"plaintext": "grüße"}


def test_binary_round_trip(connect: Connect) -> None:
    one = connect("demo")
    data = base64.b64encode(b"\xff\x00").decode()
    sealed = one.use("hook/key", "encrypt", data=data, data_encoding="base64")["ciphertext"]
    assert one.use("hook/key", "decrypt", data=sealed) == {
        "plaintext": data,
        "plaintext_encoding": "base64",
    }


def test_decrypt_refuses(vault: RunningVault, connect: Connect) -> None:
    one = connect("demo")
    sealed = one.use("hook/key", "encrypt", data="secret text")["ciphertext"]
    raw = bytearray(base64.b64decode(sealed.removeprefix("ostv1.")))
    for at in (0, 30, len(raw) - 1):
        altered = bytearray(raw)
        altered[at] ^= 1
        text = "ostv1." + base64.b64encode(altered).decode()
        assert code(one.use, "hook/key", "decrypt", data=text) == "CRYPTO_ERROR"
    for text in ("", "ostv1.", "not base64!", sealed[:-8], "é"):
        assert code(one.use, "hook/key", "decrypt", data=text) == "CRYPTO_ERROR"
    assert code(one.use, "maps/token", "decrypt", data=sealed) == "CRYPTO_ERROR", "another key"


# -- every refusal ----------------------------------------------------------------


def test_unknown_operation(connect: Connect) -> None:
    one = connect("demo")
    with pytest.raises(Refused) as caught:
        one.use("hook/key", "chat.completions")
    assert caught.value.code == "UNSUPPORTED_OPERATION"
    assert "http_request" in caught.value["suggestion"]


def test_errors_never_hold_the_secret(vault: RunningVault, connect: Connect) -> None:
    vault.put("the/secret", SECRET)
    vault.put("the/broken", SECRET + "\r\nX: y")
    one = connect("demo")
    shapes: list[tuple[str, dict[str, Any]]] = [
        ("http_header", {"header_type": "nope"}),
        ("sign", {"algorithm": "ed25519", "data": "x"}),
        ("decrypt", {"data": "x"}),
        ("encrypt", {}),
        ("http_request", {"url": "file:///etc/passwd"}),
        ("http_request", {"url": "http://127.0.0.1:9/"}),
        ("http_request", {"url": "https://[::1]:9/"}),
        ("http_request", {"url": "http://no-such-host.invalid/"}),
        ("http_request", {"url": "https://x", "method": "GE T"}),
        ("http_request", {"url": "https://x", "headers": {"A": "b\r\nc"}}),
        ("nonsense", {}),
    ]
    refused = 0
    for path in ("the/secret", "the/broken"):
        for operation, params in shapes:
            with pytest.raises(Refused) as caught:
                one.use(path, operation, **params)
            text = json.dumps(caught.value.body)
            assert SECRET not in text
            assert base64.b64encode(SECRET.encode()).decode()[:16] not in text
            refused += 1
    assert refused == 2 * len(shapes)

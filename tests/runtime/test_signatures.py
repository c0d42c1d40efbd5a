"""Signed tools: what is signed, by which keys, and what does not pass."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from nacl.signing import SigningKey as Ed25519Key

from ostiary.runtime import canonical_tool, errors, verify_tool
from ostiary.runtime import models as m
from ostiary.runtime import signatures as room
from ostiary.runtime.models import wire
from ostiary.runtime.signatures import canonical_json

from .modelling import of_model

pytest.importorskip("cryptography", reason="ECDSA needs the package cryptography")
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "wycheproof-ed25519.json"
TOOL: dict[str, Any] = {
    "name": "add\u00e9",
    "description": "adds",
    "schema": {"type": "object", "properties": {"b": {}, "a": {"minimum": 1.0}}, "required": []},
    "provider": {"name": "acme"},
}
ED25519 = Ed25519Key(bytes(range(32)))
P256 = ec.derive_private_key(0x1D0C, ec.SECP256R1())
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


def encoded(key: Any, encoding: serialization.Encoding) -> bytes:
    return bytes(key.public_bytes(encoding, SPKI))


ED25519_PUBLIC = ed25519.Ed25519PublicKey.from_public_bytes(bytes(ED25519.verify_key))
PEM = encoded(P256.public_key(), serialization.Encoding.PEM)


def signed(algorithm: str, signature: bytes, tool: Any = TOOL) -> dict[str, Any]:
    return {
        "tool": tool,
        "signature": base64.b64encode(signature).decode(),
        "signed_at": "2026-03-01T10:00:00Z",
        "signer_id": "key-1",
        "signature_algorithm": algorithm,
        "review_id": "rv-1",
    }


def by_ed25519(tool: Any = TOOL) -> dict[str, Any]:
    return signed("Ed25519", ED25519.sign(canonical_tool(tool)).signature, tool)


def by_p256(tool: Any = TOOL) -> dict[str, Any]:
    signature = P256.sign(canonical_tool(tool), ec.ECDSA(hashes.SHA256()))
    return signed("ECDSA_P256", signature, tool)


ED25519_KEYS: list[Any] = [
    bytes(ED25519.verify_key),
    base64.b64encode(bytes(ED25519.verify_key)).decode(),
    encoded(ED25519_PUBLIC, serialization.Encoding.PEM),
    encoded(ED25519_PUBLIC, serialization.Encoding.PEM).decode(),
    encoded(ED25519_PUBLIC, serialization.Encoding.DER),
    base64.b64encode(encoded(ED25519_PUBLIC, serialization.Encoding.DER)).decode(),
    m.SigningKey(
        key_id="key-1",
        algorithm="Ed25519",
        public_key=encoded(ED25519_PUBLIC, serialization.Encoding.PEM).decode(),
    ),
]
P256_KEYS: list[Any] = [
    PEM,
    PEM.decode(),
    b"\n" + PEM + b"\n",
    PEM.decode().replace("\n", "\r\n"),
    encoded(P256.public_key(), serialization.Encoding.DER),
]


@pytest.mark.parametrize("key", range(len(ED25519_KEYS)))
def test_ed25519_holds(key: int) -> None:
    verify_tool(by_ed25519(), ED25519_KEYS[key])
    verify_tool(m.SignedTool.from_dict(by_ed25519()), ED25519_KEYS[key])


@pytest.mark.parametrize("key", range(len(P256_KEYS)))
def test_p256_holds(key: int) -> None:
    verify_tool(by_p256(), P256_KEYS[key])


def test_a_key_that_is_nearly_all_blanks_is_refused_at_once() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="can be read"):
        verify_tool(by_ed25519(), "-----BEGIN PUBLIC KEY-----" + "\n" * 300_000 + "x")


@pytest.mark.parametrize("name", ["ECDSA_P256", "ecdsa-p256-sha256", "ES256"])
def test_an_algorithm_is_known_by_its_names(name: str) -> None:
    verify_tool({**by_p256(), "signature_algorithm": name}, PEM)


def refused(document: dict[str, Any], key: Any, match: str) -> None:
    with pytest.raises(errors.SignatureVerificationError, match=match) as caught:
        verify_tool(document, key)
    assert isinstance(caught.value, errors.SymbiontError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("make", [by_ed25519, by_p256])
@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"description": "adds."},
        {"schema": {**TOOL["schema"], "required": ["a"]}},
        {"schema": {**TOOL["schema"], "additionalProperties": True}},
        {"provider": {"name": "acme", "public_key_url": "https://acme.test/k"}},
        {"provider": {"name": "acme", "since": 1}},
        {"hidden": "instructions"},
    ],
    ids=range(7),
)
def test_a_tool_that_was_changed_does_not_pass(make: Any, change: dict[str, Any]) -> None:
    key = ED25519_KEYS[0] if make is by_ed25519 else PEM
    refused({**make(), "tool": {**TOOL, **change}}, key, "does not hold")


def test_what_else_does_not_pass() -> None:
    other = bytes(Ed25519Key(bytes(32)).verify_key)
    stranger = encoded(
        ec.derive_private_key(7, ec.SECP256R1()).public_key(), serialization.Encoding.PEM
    )
    refused(by_ed25519(), other, "does not hold")
    refused(by_p256(), stranger, "does not hold")
    for document, key in ((by_ed25519(), ED25519_KEYS[0]), (by_p256(), PEM)):
        raw = base64.b64decode(document["signature"])
        for broken in (b"", raw[:-1], raw + b"\0", bytes(len(raw)), raw[::-1]):
            refused({**document, "signature": base64.b64encode(broken).decode()}, key, "not hold")
        refused({**document, "signature": "not base64!"}, key, "is not base64")


def test_the_reply_does_not_choose_how_it_is_judged() -> None:
    refused(by_ed25519(), PEM, "the key is for ECDSA_P256")
    refused(by_p256(), ED25519_KEYS[0], "the key is for Ed25519")
    for name in ("none", "", "RSA-SHA256", "HMAC"):
        refused({**by_ed25519(), "signature_algorithm": name}, ED25519_KEYS[0], "use the key")


@pytest.mark.parametrize(
    "key",
    [
        b"",
        "",
        b"x" * 31,
        "not a key",
        "-----BEGIN PUBLIC KEY-----\n!!!\n-----END PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        encoded(ec.derive_private_key(7, ec.SECP384R1()).public_key(), serialization.Encoding.PEM),
        # A point that is not on the curve.
        encoded(P256.public_key(), serialization.Encoding.DER)[:-1] + b"\0",
        None,
        5,
    ],
    ids=range(10),
)
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="public_key"):
        verify_tool(by_ed25519(), key)


def test_keys_of_other_kinds_are_refused() -> None:
    key = rsa.generate_private_key(65537, 2048)
    with pytest.raises(errors.InvalidArgumentError, match="no Ed25519 or P-256 key"):
        verify_tool(by_p256(), encoded(key.public_key(), serialization.Encoding.PEM))
    private = P256.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(errors.InvalidArgumentError, match="holds a private key"):
        verify_tool(by_p256(), private)


def test_without_the_extra_only_ecdsa_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ostiary.runtime.ecdsa", None)
    monkeypatch.delattr("ostiary.runtime.ecdsa", raising=False)
    verify_tool(by_ed25519(), ED25519_KEYS[2])
    with pytest.raises(errors.InvalidArgumentError, match=r"pip install 'ostiary\[signing\]'"):
        verify_tool(by_p256(), PEM)


def test_ed25519_loads_no_extra() -> None:
    program = (
        "import sys, json\n"
        "from ostiary.runtime import verify_tool\n"
        "verify_tool(json.loads(sys.argv[1]), sys.argv[2])\n"
        "assert 'cryptography' not in sys.modules\n"
    )
    command = [sys.executable, "-c", program, json.dumps(by_ed25519()), ED25519_KEYS[3]]
    subprocess.run(command, check=True, timeout=60)


# What is signed.


def test_a_tool_has_one_form() -> None:
    document = canonical_tool(TOOL)
    assert (
        document
        == (
            '{"description":"adds","name":"add\u00e9","provider":{"name":"acme"},"schema":'
            '{"properties":{"a":{"minimum":1},"b":{}},"required":[],"type":"object"}}'
        ).encode()
    )
    tool = m.Tool.from_dict(TOOL)
    old = {**TOOL, "tool_schema": TOOL["schema"]}
    del old["schema"]
    bare = {**TOOL, "provider": {"name": "acme", "public_key_url": None}}
    for same in (tool, old, bare, json.loads(document), wire(tool), dict(reversed(TOOL.items()))):
        assert canonical_tool(same) == document


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(of_model(m.Tool))
def test_a_tool_has_that_form_after_a_journey(tool: m.Tool) -> None:
    document = canonical_tool(tool)
    assert canonical_tool(m.Tool.from_dict(json.loads(document))) == document
    assert canonical_json(json.loads(document)) == document


# RFC 8785, appendix B, and 3.2.3.
@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_a_number_is_written_as_the_standard_has_it(bits: str, text: str) -> None:
    import struct

    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(value).decode() == text


def test_the_standard_s_other_examples() -> None:
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    written = json.loads(canonical_json(dict.fromkeys(names, 0)), object_pairs_hook=list)
    assert [name for name, _ in written] == [
        "\r",
        "1",
        "\u0080",
        "\u00f6",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]
    text = "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/"
    assert canonical_json(text) == b'"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'
    # Whole numbers keep all their digits, unlike there.
    assert canonical_json(2**64 + 1) == b"18446744073709551617"


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), "\ud800", {1: 2}, {"a": b"x"}, [object()], {"a": {"b": "\udfff"}}],
    ids=range(7),
)
def test_what_has_no_such_form_is_refused(value: Any) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="cannot be written as canonical JSON"):
        canonical_json(value)


def test_depth_is_refused() -> None:
    deep: Any = []
    for _ in range(20_000):
        deep = [deep]
    with pytest.raises(errors.InvalidArgumentError, match="nested too deeply"):
        canonical_json(deep)


def test_others_vectors() -> None:
    if not VECTORS.exists():
        pytest.skip("the vectors of Wycheproof are not beside this checkout")
    seen = 0
    for group in json.loads(VECTORS.read_text("utf-8"))["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            message, signature = (bytes.fromhex(case[name]) for name in ("msg", "sig"))
            holds = room._holds_ed25519(key, signature, message)
            assert holds is (case["result"] == "valid"), case
            seen += 1
    assert seen > 100

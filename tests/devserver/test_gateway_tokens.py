"""The tokens of the embedded trust domain: what is issued, and what is believed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("cryptography", reason="the extra dev is not installed")

from cryptography.hazmat.primitives.asymmetric import ec

from ostiary.devserver import DevserverError
from ostiary.devserver.clock import Clock
from ostiary.devserver.gateway.trust import Grant, TrustDomain
from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.jose import BadToken, SigningKey, VerifyingKey, read

NOW = 1_800_000_000.0


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims, _ = token.split(".")
    return json.loads(unb64(header)), json.loads(unb64(claims))


class Time:
    """A wall clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def clock(self) -> Clock:
        return Clock(steady=lambda: self.now, wall=lambda: self.now)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def trust(tmp_path: Path, time: Time) -> TrustDomain:
    return TrustDomain("sanctum.example", "llm-gateway", tmp_path, time.clock(), leeway=5)


GRANT = Grant(
    run_id="run_8841",
    org_id="77",
    agent="scanner",
    scope="scan.execute scan.upload",
    allowed_models={"triage": ("openai:gpt-test-mini",)},
    allowed_providers=("openai",),
    allowed_tools={"files": ("read",)},
)


def svid_key(trust: TrustDomain) -> SigningKey:
    return trust._svid_key


def trat_key(trust: TrustDomain) -> SigningKey:
    return trust._trat_key


def code_of(check: Callable[[str], object], token: str) -> str:
    with pytest.raises(HttpRefusal) as refused:
        check(token)
    assert refused.value.status == 401
    assert token not in refused.value.message
    return refused.value.code


# -- signatures -------------------------------------------------------------------


def test_the_example_of_the_standard_verifies() -> None:
    """RFC 7515, A.3: a key and a signature that others made."""
    x, y = (
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    )
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(unb64(x), "big"), int.from_bytes(unb64(y), "big"), ec.SECP256R1()
    )
    key = VerifyingKey(numbers.public_key())
    token = (
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
        "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5dj"
        "xLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )
    found = read(token)
    key.check(found)
    assert found.claims["iss"] == "joe"
    assert key.jwk("sig")["x"] == x
    assert key.jwk("sig")["y"] == y
    with pytest.raises(BadToken):
        SigningKey().public.check(found)


def test_a_key_survives_as_pem_and_nothing_shows_it() -> None:
    key = SigningKey()
    again = SigningKey(key.pem())
    assert again.public.kid == key.public.kid
    again.public.check(read(key.sign({"a": 1}, typ="JWT")))
    token = key.sign({"sub": "somebody"}, typ="JWT")
    assert "somebody" not in repr(read(token))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c.d",
        "a..c",
        "a.b.c ",
        "ä.b.c",
        "e30.e30.c\n",
        "e30.W10.AAAA",  # claims are a list
        "e30.!!!.AAAA",
        f"{b64(b'{}')}=.{b64(b'{}')}.AAAA",  # padding
        f"{b64(b'nope')}.{b64(b'{}')}.AAAA",
        f"{b64(b'{}')}.{b64(b'[' * 5000)}.AAAA",
        "e30.e30.AB",  # bits behind the last byte: a second spelling
        f"{b64(json.dumps({'alg': 'ES256', 'crit': ['x'], 'x': 1}).encode())}.e30.AAAA",
        "e30." + "A" * 20000 + ".AAAA",
    ],
    ids=range(15),
)
def test_what_is_no_token_is_not_read(token: str) -> None:
    with pytest.raises(BadToken):
        read(token)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_character_goes_unnoticed(trust: TrustDomain, data: st.DataObject) -> None:
    trust.admit(GRANT)
    token, _ = trust.issue_svid(GRANT)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCz09-_.").filter(lambda c: c != token[place]))
    changed = token[:place] + other + token[place + 1 :]
    with pytest.raises(HttpRefusal):
        trust.verify_svid(changed)


# -- what is issued ---------------------------------------------------------------


def test_the_claims_are_those_of_the_protocol(trust: TrustDomain) -> None:
    subject = trust.admit(GRANT)
    assert subject == "spiffe://sanctum.example/scanner/run_8841"
    header, claims = parts(trust.issue_svid(GRANT)[0])
    assert header == {"alg": "ES256", "kid": svid_key(trust).public.kid, "typ": "JWT"}
    assert claims == {
        "sub": subject,
        "aud": ["llm-gateway"],
        "iat": int(NOW),
        "exp": int(NOW) + 1800,
    }
    header, claims = parts(trust.issue_trat(GRANT)[0])
    assert header["typ"] == "txntoken+jwt"
    assert header["kid"] != svid_key(trust).public.kid
    assert set(claims) == {
        "txn", "sub", "scope", "req_wl", "iat", "exp", "aud", "iss", "tctx", "rctx"
    }  # fmt: skip
    assert claims["req_wl"] == subject
    assert claims["aud"] == "sanctum.example"
    assert claims["exp"] == claims["iat"] + 300
    assert claims["tctx"]["allowed_models"] == {
        "triage": ["openai:gpt-test-mini"],
        "analysis": [],
        "reasoning": [],
        "embeddings": [],
    }
    assert claims["tctx"]["allowed_tools"] == {"files": ["read"]}


def test_what_is_issued_is_believed_until_it_expires(trust: TrustDomain, time: Time) -> None:
    subject = trust.admit(GRANT)
    svid, trat = trust.issue_svid(GRANT)[0], trust.issue_trat(GRANT)[0]
    for _ in range(2):  # the second time it is remembered
        assert trust.verify_svid(svid) == subject
        assert trust.verify_trat(trat).tctx.run_id == "run_8841"
    time.now = NOW + 300 + 4.9
    assert trust.verify_trat(trat)
    time.now = NOW + 300 + 5
    assert code_of(trust.verify_trat, trat) == "txn_token_expired"
    assert trust.verify_svid(svid) == subject
    time.now = NOW + 1800 + 5
    assert code_of(trust.verify_svid, svid) == "svid_expired"


def test_new_keys_end_every_token(trust: TrustDomain) -> None:
    trust.admit(GRANT)
    svid, trat = trust.issue_svid(GRANT)[0], trust.issue_trat(GRANT)[0]
    assert trust.verify_svid(svid)
    assert trust.verify_trat(trat)
    trust.replace_keys()
    assert code_of(trust.verify_svid, svid) == "svid_invalid"
    assert code_of(trust.verify_trat, trat) == "txn_token_invalid"
    assert trust.verify_svid(trust.issue_svid(GRANT)[0])


def test_the_keys_outlive_the_server(trust: TrustDomain, tmp_path: Path, time: Time) -> None:
    svid = trust.issue_svid(GRANT)[0]
    again = TrustDomain("sanctum.example", "llm-gateway", tmp_path, time.clock(), leeway=5)
    assert again.verify_svid(svid)
    assert again.bundle() == trust.bundle()
    keys: Any = again.bundle()["keys"]
    assert [key["use"] for key in keys] == ["jwt-svid", "sig"]
    assert all("d" not in key for key in keys)
    path = tmp_path / "svid.key.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(DevserverError, match="chmod 600"):
        TrustDomain("sanctum.example", "llm-gateway", tmp_path, time.clock(), leeway=5)
    path.write_text("no key")
    path.chmod(0o600)
    with pytest.raises(DevserverError, match="holds no P-256 key"):
        TrustDomain("sanctum.example", "llm-gateway", tmp_path, time.clock(), leeway=5)


# -- what is not believed ---------------------------------------------------------

SUB = "spiffe://sanctum.example/scanner/run_8841"
GOOD_SVID: dict[str, Any] = {"sub": SUB, "aud": ["llm-gateway"], "exp": NOW + 60, "iat": NOW}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, None),
        ({"aud": "llm-gateway"}, None),
        ({"iat": None}, None),
        ({"nbf": NOW + 5}, None),
        ({"aud": ["another"]}, "svid_invalid"),
        ({"aud": []}, "svid_invalid"),
        ({"aud": None}, "svid_invalid"),
        ({"exp": None}, "svid_invalid"),
        ({"exp": "tomorrow"}, "svid_invalid"),
        ({"exp": True}, "svid_invalid"),
        ({"exp": NOW - 6}, "svid_expired"),
        ({"iat": NOW + 60}, "svid_invalid"),
        ({"nbf": NOW + 60}, "svid_invalid"),
        ({"sub": None}, "svid_invalid"),
        ({"sub": "scanner"}, "svid_invalid"),
        ({"sub": "https://sanctum.example/scanner"}, "svid_invalid"),
        ({"sub": "spiffe://evil.example/scanner/run_8841"}, "svid_invalid"),
        ({"sub": "spiffe://sanctum.example.evil.example/scanner"}, "svid_invalid"),
        ({"sub": "spiffe://sanctum.example"}, "svid_invalid"),
        ({"sub": "spiffe://sanctum.example/"}, "svid_invalid"),
        ({"sub": "spiffe://sanctum.example/a/../b"}, "svid_invalid"),
        ({"sub": "spiffe://sanctum.example/a//b"}, "svid_invalid"),
        ({"sub": "spiffe://sanctum.example/a b"}, "svid_invalid"),
        ({"sub": "spiffe://sanctum.example/" + "a" * 2048}, "svid_invalid"),
    ],
)
def test_the_claims_of_an_svid(
    trust: TrustDomain, change: dict[str, Any], code: str | None
) -> None:
    claims = {name: value for name, value in (GOOD_SVID | change).items() if value is not None}
    token = svid_key(trust).sign(claims, typ="JWT")
    if code is None:
        assert trust.verify_svid(token) == SUB
    else:
        assert code_of(trust.verify_svid, token) == code


GOOD_TRAT: dict[str, Any] = {
    "txn": "run_8841",
    "sub": "forge|org-77",
    "scope": "scan.execute",
    "req_wl": SUB,
    "iat": NOW,
    "exp": NOW + 60,
    "aud": "sanctum.example",
    "tctx": {"run_id": "run_8841", "org_id": "77"},
}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, None),
        ({"aud": ["sanctum.example", "another"]}, None),
        ({"tctx": None}, None),
        *(({name: None}, "txn_token_invalid") for name in GOOD_TRAT if name != "tctx"),
        *(({name: ""}, "txn_token_invalid") for name in ("txn", "sub", "req_wl", "aud")),
        ({"aud": "llm-gateway"}, "txn_token_invalid"),
        ({"exp": NOW - 6}, "txn_token_expired"),
        ({"exp": "later"}, "txn_token_invalid"),
        ({"iat": NOW + 60}, "txn_token_invalid"),
        ({"tctx": {"allowed_models": {"triage": "openai:x"}}}, "txn_token_invalid"),
        ({"tctx": {"allowed_providers": "openai"}}, "txn_token_invalid"),
        ({"tctx": []}, "txn_token_invalid"),
        ({"scope": ["scan.execute"]}, "txn_token_invalid"),
    ],
)
def test_the_claims_of_a_transaction_token(
    trust: TrustDomain, change: dict[str, Any], code: str | None
) -> None:
    claims = {name: value for name, value in (GOOD_TRAT | change).items() if value is not None}
    token = trat_key(trust).sign(claims, typ="txntoken+jwt")
    if code is None:
        assert trust.verify_trat(token).txn == "run_8841"
    else:
        assert code_of(trust.verify_trat, token) == code


def resigned(token: str, key: SigningKey, **header: Any) -> str:
    """Return the token with another header, signed by `key` as it is."""
    old, claims, _ = token.split(".")
    new = b64(json.dumps(json.loads(unb64(old)) | header).encode())
    signature = key.sign({}, typ="JWT").rpartition(".")[2]
    return f"{new}.{claims}.{signature}"


def test_neither_token_takes_the_other_ones_place(trust: TrustDomain) -> None:
    svid = svid_key(trust).sign(GOOD_TRAT | GOOD_SVID, typ="txntoken+jwt")
    assert code_of(trust.verify_trat, svid) == "txn_token_invalid"  # signed by the wrong key
    trat = trat_key(trust).sign(GOOD_TRAT | GOOD_SVID, typ="JWT")
    assert code_of(trust.verify_svid, trat) == "svid_invalid"
    for typ in ("JWT", "at+jwt", ""):
        token = trat_key(trust).sign(GOOD_TRAT, typ=typ)
        assert code_of(trust.verify_trat, token) == "txn_token_invalid"
    assert code_of(trust.verify_svid, svid_key(trust).sign(GOOD_SVID, typ="at+jwt")) == (
        "svid_invalid"
    )


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "EdDSA", "RS256", "ES384", "", 7])
def test_the_key_chooses_the_algorithm(trust: TrustDomain, algorithm: Any) -> None:
    """`none`, a MAC by the public key, and algorithms that an SVID may have but not this key."""
    svid = trust.issue_svid(GRANT)[0]
    forged = resigned(svid, svid_key(trust), alg=algorithm)
    assert code_of(trust.verify_svid, forged) == "svid_invalid"
    assert code_of(trust.verify_svid, svid.rpartition(".")[0] + ".") == "svid_malformed"
    trat = trust.issue_trat(GRANT)[0]
    assert code_of(trust.verify_trat, resigned(trat, trat_key(trust), alg=algorithm)) == (
        "txn_token_invalid"
    )


def test_a_stranger_with_our_key_id_is_a_stranger(trust: TrustDomain) -> None:
    stranger = SigningKey()
    token = stranger.sign(GOOD_SVID, typ="JWT")
    assert code_of(trust.verify_svid, token) == "svid_invalid"
    forged = resigned(token, stranger, kid=svid_key(trust).public.kid)
    assert code_of(trust.verify_svid, forged) == "svid_invalid"
    for wrong in (b"", b"short", bytes(64), bytes(63) + b"\x01", b"\xff" * 64, b"\x00" * 65):
        head = trust.issue_svid(GRANT)[0].rpartition(".")[0]
        assert code_of(trust.verify_svid, f"{head}.{b64(wrong)}").startswith("svid_")

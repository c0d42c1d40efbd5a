"""Fixed points of the protocol, written out, and what the Ed25519 we stand on verifies."""

# The format's inner steps have vectors of their own.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import nacl.bindings
import pytest
from nacl.exceptions import CryptoError

from ostiary._wire.framer import Framer
from ostiary.secret import Secret
from ostiary.vault import keys
from ostiary.vault.errors import KeyFileError
from ostiary.vault.keys import AgentKey
from ostiary.vault.models import Signature

SEED = bytes(range(32))
PUBLIC_KEY = bytes.fromhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8")
CHALLENGE = bytes(range(0xA0, 0xC0))
SIGNATURE = bytes.fromhex(
    "01055eed19b94a3a8d1f9d45a13f2b690204cb2062dbfe84ccb2f8378a0dad26"
    "9e814ae454fb5b30d36a2442e8a32f6ba2fcbb41ba2e529368d2267315c13e02"
)

PASSPHRASE = "correct horse"
SALT = b"\x11" * 16
NONCE = b"\x22" * 24
DERIVED = bytes.fromhex("9d3378ac2fe548e173ec37bb1b83922c41186f4dd47b40df5cd960e9367d673b")
BOX = bytes.fromhex(
    "74b5e4b156dc2b445d29ef39faeec6aaf676825de82acfae0e8ace45c5b5cab1"
    "8cf0cb027596aaab3e7ed49f36aeade4"
)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


class TestFrame:
    REQUEST = b'{"id":1,"method":"authenticate","params":{"agent_name":"demo"}}'
    REPLY = b'{"id":7,"result":{}}'

    @pytest.mark.parametrize(
        ("payload", "prefix"), [(REQUEST, "0000003f"), (REPLY, "00000014"), (b"", "00000000")]
    )
    def test_prefix(self, payload: bytes, prefix: str) -> None:
        frame = bytes(Framer.wrap(payload))
        assert frame == bytes.fromhex(prefix) + payload
        assert [bytes(each) for each in Framer().feed(frame)] == [payload]


class TestSignature:
    def test_public_key(self) -> None:
        key = AgentKey(Secret(SEED))
        assert key.public_key == PUBLIC_KEY
        assert key.public_key_hex == PUBLIC_KEY.hex()

    def test_challenge(self) -> None:
        assert AgentKey(Secret(SEED)).sign(CHALLENGE) == SIGNATURE

    @pytest.mark.parametrize(
        ("seed", "public", "message", "signature"),
        [
            # RFC 8032, section 7.1, tests 1 to 3
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                "",
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
                "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
                "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ],
        ids=["1", "2", "3"],
    )
    def test_the_rfcs_own(self, seed: str, public: str, message: str, signature: str) -> None:
        key = AgentKey(Secret(bytes.fromhex(seed)))
        assert key.public_key_hex == public
        assert key.sign(bytes.fromhex(message)).hex() == signature


class TestEncryptedKey:
    def test_derivation(self) -> None:
        derived = keys._derive(Secret(PASSPHRASE), SALT)
        assert derived.reveal_bytes() == DERIVED
        assert hashlib.pbkdf2_hmac("sha256", PASSPHRASE.encode(), SALT, 100_000, 32) == DERIVED

    def test_sealing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fixed = {16: SALT, 24: NONCE}
        monkeypatch.setattr(os, "urandom", fixed.__getitem__)
        blob = keys._seal(Secret(SEED), Secret(PASSPHRASE))
        assert blob.reveal_bytes() == SALT + NONCE + BOX
        assert len(blob.reveal_bytes()) == 88

    def test_loading(self, tmp_path: Path) -> None:
        file = write(tmp_path / "demo.key.enc", (SALT + NONCE + BOX).hex())
        key = keys.load(file, passphrase=PASSPHRASE)
        assert key.seed() == SEED
        assert key.public_key == PUBLIC_KEY

    @pytest.mark.parametrize("at", [0, 15, 16, 39, 40, 55, 56, 87])
    def test_every_part_is_authenticated(self, tmp_path: Path, at: int) -> None:
        blob = bytearray(SALT + NONCE + BOX)
        blob[at] ^= 1
        file = write(tmp_path / "demo.key.enc", blob.hex())
        with pytest.raises(KeyFileError, match="does not open"):
            keys.load(file, passphrase=PASSPHRASE)


def test_hmac_check_value() -> None:
    text = "PaMP2/QSSDnZQW7RGt8aj2dghy2saZjbp8x5HE8QuZU="
    expected = hmac.digest(b"k1", b"ping", "sha256")
    assert base64.b64encode(expected).decode() == text
    assert Signature.from_result({"signature": text}).raw == expected


WYCHEPROOF = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "wycheproof-ed25519.json"


@pytest.fixture(scope="module")
def wycheproof() -> list[tuple[bytes, dict[str, Any]]]:
    if not WYCHEPROOF.is_file():
        pytest.skip("the Wycheproof vectors are not beside this checkout")
    groups = json.loads(WYCHEPROOF.read_text())["testGroups"]
    return [
        (bytes.fromhex(group["publicKey"]["pk"]), case)
        for group in groups
        for case in group["tests"]
    ]


def test_what_we_stand_on_verifies_as_wycheproof_says(
    wycheproof: list[tuple[bytes, dict[str, Any]]],
) -> None:
    wrong: list[str] = []
    for public, case in wycheproof:
        signature, message = bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])
        try:
            # Detached, as the embedded vault checks it: the length first, then the rest.
            accepted = len(signature) == 64 and (
                nacl.bindings.crypto_sign_open(signature + message, public) == message
            )
        except CryptoError:
            accepted = False
        if accepted != (case["result"] == "valid"):
            wrong.append(f"{case['tcId']} ({', '.join(case['flags'])}): accepted={accepted}")
    assert len(wycheproof) == 151
    assert wrong == []


def test_our_signatures_are_the_only_ones_wycheproof_calls_valid(
    wycheproof: list[tuple[bytes, dict[str, Any]]],
) -> None:
    # Ed25519 is deterministic: where we hold the seed of a public key, each valid signature
    # in the file must be the one we make, and no invalid one may be.
    known = {
        AgentKey(Secret(bytes.fromhex(seed))).public_key: AgentKey(Secret(bytes.fromhex(seed)))
        for seed in (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        )
    }
    compared = 0
    for public, case in wycheproof:
        if key := known.get(public):
            same = key.sign(bytes.fromhex(case["msg"])).hex() == case["sig"]
            assert same == (case["result"] == "valid"), case["tcId"]
            compared += 1
    assert compared

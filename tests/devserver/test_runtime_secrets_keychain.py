"""Secrets in a keychain: which keyrings are fit for that, and what lies in one that is."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra dev is not installed")
pytest.importorskip("keyring", reason="the extra dev is not installed")
pytest.importorskip("keyrings.alt", reason="keyrings.alt is not installed")
pytest.importorskip("Cryptodome", reason="pycryptodomex is not installed")

import keyring
import keyrings.alt.file as alternatives
from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyring.backends.chainer import ChainerBackend

from ostiary.devserver.runtime.secrets.keychain import Keychain, unfit
from tests.devserver.secrets import VALUE, Asking, asking, everything_below

CONFIG = {"backend_type": "os_keychain"}


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    """Give the process its own keyring back."""
    yield
    keyring.core._keyring_backend = None


@pytest.fixture
def chain(tmp_path: Path) -> Any:
    """An encrypted keyring on disk: a real one, that needs no desktop."""
    ring = alternatives.EncryptedKeyring()
    ring.file_path = str(tmp_path / "ring.cfg")
    ring.keyring_key = "the user's own passphrase"
    keyring.set_keyring(ring)
    return ring


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Asking]:
    with asking(tmp_path / "home") as one:
        yield one


def test_the_life_of_a_secret(chain: Any, ask: Asking) -> None:
    ask.configure(CONFIG | {"service": "of the tests"})
    assert ask("GET", "/secrets/config")["service"] == "of the tests"
    made = ask.store("db", "first")
    assert made.status == 201
    again = ask.store("db", "sécond")
    assert again.status == 200
    assert again.document["created_at"] == made.document["created_at"]
    assert ask("GET", "/secrets/agent-1/db") == {"value": "sécond"}
    ask.store("another")
    ask.store("db", agent="agent-2")
    assert ask("GET", "/secrets/agent-1")["secrets"] == ["another", "db"]
    assert ask("GET", "/metrics")["secrets_count"] == 3
    kept = json.loads(chain.get_password("of the tests", "agent-2/db"))
    assert kept["updated_at"] is None
    ask("DELETE", "/secrets/agent-1/db")
    assert chain.get_password("of the tests", "agent-1/db") is None
    assert ask("DELETE", "/secrets/agent-1/db", status=404)["code"] == "SECRET_NOT_FOUND"
    assert ask("GET", "/secrets/agent-1")["secrets"] == ["another"]
    assert ask("GET", "/metrics")["secrets_count"] == 2


def test_the_check_leaves_nothing_behind(chain: Any, ask: Asking) -> None:
    ask.configure(CONFIG | {"service": "s"})
    assert chain.get_password("s", "probe") is None


def test_each_home_has_a_service_of_its_own(chain: Any, ask: Asking, tmp_path: Path) -> None:
    ask.configure(CONFIG)
    ask.store("db")
    with asking(tmp_path / "second") as other:
        other.configure(CONFIG)
        assert other("GET", "/secrets/agent-1")["secrets"] == []
    assert VALUE.encode() not in everything_below(tmp_path / "home")


def test_what_its_user_removed_is_gone(chain: Any, ask: Asking) -> None:
    ask.configure(CONFIG | {"service": "s"})
    ask.store("db")
    chain.delete_password("s", "agent-1/db")
    assert ask("GET", "/secrets/agent-1")["secrets"] == []
    assert ask.reply("GET", "/secrets/agent-1/db").status == 404
    assert ask.store("db").status == 201


UNFIT = {
    "fail": (fail.Keyring, "no keychain"),
    "null": (null.Keyring, "forgets"),
    "plaintext": (alternatives.PlaintextKeyring, "unencrypted"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_keyrings_that_are_refused(ask: Asking, kind: str) -> None:
    make, why = UNFIT[kind]
    keyring.set_keyring(make())
    answer = ask.refused(CONFIG)
    assert answer["details"]["field"] == "backend_type"
    assert why in answer["error"]


def test_a_keyring_derived_from_one_of_those(ask: Asking) -> None:
    class Mine(alternatives.PlaintextKeyring):  # type: ignore[misc,name-defined]
        pass

    assert unfit(Mine()) is not None
    assert unfit(alternatives.EncryptedKeyring()) is None


def test_of_a_chain_the_first_that_is_fit_is_used(
    chain: Any, ask: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = alternatives.PlaintextKeyring()
    monkeypatch.setattr(ChainerBackend, "backends", [plain, fail.Keyring(), chain])
    keyring.set_keyring(ChainerBackend())
    ask.configure(CONFIG | {"service": "s"})
    ask.store("db")
    assert chain.get_password("s", "agent-1/db") is not None
    monkeypatch.setattr(ChainerBackend, "backends", [plain])
    ask.refused(CONFIG)
    monkeypatch.setattr(ChainerBackend, "backends", [])
    ask.refused(CONFIG)


def test_a_keychain_that_fails_says_nothing_of_the_value(chain: Any, ask: Asking) -> None:
    ask.configure(CONFIG)

    def fails(service: str, username: str, password: str) -> None:
        raise RuntimeError(f"cannot store {password}")

    chain.set_password = fails
    reply = ask.store("db")
    assert reply.status == 503
    assert reply.document["code"] == "SECRET_BACKEND_UNAVAILABLE"
    assert VALUE.encode() not in reply.body


def test_a_keychain_that_forgets(chain: Any, ask: Asking) -> None:
    chain.get_password = lambda service, username: None
    assert "give back" in ask.refused(CONFIG)["error"]


def test_a_keychain_that_asks_its_user_for_ever(run: Any, tmp_path: Path) -> None:
    """It is given up after a while; its thread cannot be."""
    from concurrent.futures import ThreadPoolExecutor

    from ostiary.devserver.clock import Clock
    from ostiary.devserver.http.refusals import HttpRefusal

    answered = threading.Event()

    class Asks(KeyringBackend):
        priority = 1  # type: ignore[assignment]

        def get_password(self, service: str, username: str) -> str | None:
            answered.wait(60)
            return None

        def set_password(self, service: str, username: str, password: str) -> None:
            answered.wait(60)

        def delete_password(self, service: str, username: str) -> None:
            pass

    keyring.set_keyring(Asks())

    async def main() -> None:
        with ThreadPoolExecutor(1) as workers:
            place = Keychain("s", Clock(), workers, timeout=0.01)
            with pytest.raises(HttpRefusal) as caught:
                await place.check()
            answered.set()
        assert caught.value.status == 504

    run(main())


def test_without_the_package_it_is_named(ask: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "keyring" else found(name, *rest),
    )
    assert "keyring" in ask.refused(CONFIG)["error"]

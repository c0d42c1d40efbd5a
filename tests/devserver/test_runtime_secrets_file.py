"""Secrets in an encrypted file: where it may lie, what it holds, and who may open it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra dev is not installed")

from ostiary.devserver.http.refusals import HttpRefusal
from ostiary.devserver.runtime.secrets import encrypted_file
from ostiary.devserver.runtime.secrets.encrypted_file import secret_file
from tests.devserver.secrets import VALUE, Asking, asking, everything_below
from tests.devserver.web import Web

KEY = "a-passphrase-of-the-test"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make keys for as little as Argon2id does: what they cost is not what is tested."""
    monkeypatch.setattr(encrypted_file, "_OPS", 1)
    monkeypatch.setattr(encrypted_file, "_MEMORY_BYTES", 8192)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def ask(home: Path) -> Iterator[Asking]:
    with asking(home) as one:
        yield one


def config(path: Any = "app.enc", key: str | None = KEY) -> dict[str, Any]:
    return {"backend_type": "encrypted_file", "file_path": path, "encryption_key": key}


def test_the_life_of_a_secret(ask: Asking, home: Path) -> None:
    ask.configure(config())
    path = home / "runtime" / "secrets" / "app.enc"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    made = ask.store("db", "first")
    assert made.status == 201
    again = ask.store("db", "second")
    assert again.status == 200
    assert again.document["created_at"] == made.document["created_at"]
    assert again.document["updated_at"] is not None
    ask.store("another", agent="agent-2")
    assert ask("GET", "/secrets/agent-1/db") == {"value": "second"}
    assert ask("GET", "/secrets/agent-1")["secrets"] == ["db"]
    assert ask("GET", "/metrics")["secrets_count"] == 2
    ask("DELETE", "/secrets/agent-1/db")
    assert ask("DELETE", "/secrets/agent-1/db", status=404)["code"] == "SECRET_NOT_FOUND"
    assert ask("GET", "/secrets/agent-1/db", status=404)["code"] == "SECRET_NOT_FOUND"
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in path.parent.iterdir()) == ["app.enc"]


def test_it_can_be_copied_to_another_home(ask: Asking, home: Path, tmp_path: Path) -> None:
    ask.configure(config())
    ask.store("db")
    raw = (home / "runtime" / "secrets" / "app.enc").read_bytes()
    other = tmp_path / "other"
    with asking(other) as second:
        place = other / "runtime" / "secrets" / "copy.enc"
        place.parent.mkdir(mode=0o700)
        place.write_bytes(raw)
        place.chmod(0o600)
        second.configure(config("copy.enc"))
        assert second("GET", "/secrets/agent-1/db") == {"value": VALUE}
        assert second("GET", "/metrics")["secrets_count"] == 1


def test_nothing_lies_there_unencrypted(ask: Asking, home: Path) -> None:
    ask.configure(config())
    ask.store("db", description="of-the-description")
    found = everything_below(home)
    for text in (VALUE, KEY, "of-the-description"):
        assert text.encode() not in found
    assert KEY not in json.dumps(ask("GET", "/secrets/config"))


def test_it_is_found_again_by_the_next_server(home: Path) -> None:
    with asking(home) as ask:
        ask.configure(config())
        ask.store("db")
    with asking(home) as ask:
        assert ask("GET", "/secrets/agent-1/db") == {"value": VALUE}
        assert ask("GET", "/secrets/config")["file_path"].endswith("/runtime/secrets/app.enc")


def test_another_key_does_not_open_it(ask: Asking) -> None:
    ask.configure(config())
    ask.store("db")
    answer = ask.refused(config(key="another-passphrase"))
    assert answer["details"]["field"] == "encryption_key"
    assert ask("GET", "/secrets/agent-1/db") == {"value": VALUE}


def test_what_was_altered_does_not_open(ask: Asking, home: Path) -> None:
    ask.configure(config())
    ask.store("db")
    path = home / "runtime" / "secrets" / "app.enc"
    whole = path.read_bytes()
    document = json.loads(whole)
    document["sealed"] = document["sealed"][:-8] + "AAAA" + document["sealed"][-4:]
    for content in (json.dumps(document).encode(), whole[:-20], b"", b"[]"):
        path.write_bytes(content)
        answer = ask("GET", "/secrets/agent-1/db", status=502)
        assert answer["code"] == "SECRET_BACKEND_FAILED"
        # Nor is it written over: it may be repaired.
        assert ask.store("db").status == 502
        assert path.read_bytes() == content
    path.write_bytes(whole)
    assert ask("GET", "/secrets/agent-1/db") == {"value": VALUE}


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"ops": 1000}, {"memory_bytes": 1 << 40}, {"memory_bytes": 0}, {"salt": ""}],
    ids=["version", "ops", "memory", "no memory", "salt"],
)
def test_a_file_that_asks_for_too_much(ask: Asking, home: Path, change: dict[str, Any]) -> None:
    ask.configure(config())
    path = home / "runtime" / "secrets" / "app.enc"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    assert ask.configure(config(), 422)["details"]["field"] == "file_path"


def test_a_file_others_can_read(ask: Asking, home: Path) -> None:
    ask.configure(config())
    path = home / "runtime" / "secrets" / "app.enc"
    path.chmod(0o644)
    assert "chmod 600" in ask.configure(config(), 422)["error"]


def test_an_absolute_path_below_the_home(ask: Asking, home: Path) -> None:
    ask.configure(config(str(home / "mine.json")))
    assert ask.store("db").status == 201
    assert (home / "mine.json").stat().st_mode & 0o777 == 0o600


def test_without_a_path_it_has_one(ask: Asking, home: Path) -> None:
    ask.configure(config(None))
    assert (home / "runtime" / "secrets" / "secrets.enc").exists()


def test_a_file_of_somebody_else_is_left_alone(ask: Asking, home: Path) -> None:
    mine = home / "notes.json"
    mine.write_text('{"mine": true}')
    mine.chmod(0o600)
    assert ask.refused(config(str(mine)))["details"]["field"] == "file_path"
    assert mine.read_text() == '{"mine": true}'


def elsewhere(home: Path) -> list[str]:
    return [
        "/etc/secrets.enc",
        "../../../out.enc",
        "a/../../b.enc",
        str(home / ".." / "out.enc"),
        str(home.parent / "out.enc"),
        "link/x.enc",
        "link.enc",
        "nul\0.enc",
        "master.key",
        "runtime.token",
        str(home / "vault.db"),
        str(home / "vault.sock"),
        str(home / "keys" / "x.enc"),
        str(home),
        "~nobody-by-this-name/x.enc",
        "x" * 300 + ".enc",
    ]


def test_every_other_place_is_refused(ask: Asking, home: Path, tmp_path: Path) -> None:
    own = home / "runtime" / "secrets"
    own.mkdir(mode=0o700)
    outside = tmp_path / "outside"
    outside.mkdir()
    (own / "link").symlink_to(outside)
    (own / "link.enc").symlink_to(outside / "target.enc")
    before = sorted(str(one) for one in home.rglob("*"))
    for path in elsewhere(home):
        answer = ask.configure(config(path), 422)
        assert answer["code"] == "SECRET_PATH_REFUSED", path
        assert KEY not in json.dumps(answer)
    assert list(outside.iterdir()) == []
    assert sorted(str(one) for one in home.rglob("*")) == before


def test_a_pipe_is_no_file(ask: Asking, home: Path) -> None:
    own = home / "runtime" / "secrets"
    own.mkdir(mode=0o700)
    os.mkfifo(own / "pipe.enc", 0o600)
    assert ask.refused(config("pipe.enc"))["details"]["field"] == "file_path"


def test_a_home_that_is_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    assert secret_file(link, "x.enc") == link / "runtime" / "secrets" / "x.enc"
    assert secret_file(link, str(tmp_path / "real" / "x.enc")) == tmp_path / "real" / "x.enc"
    with pytest.raises(HttpRefusal):
        secret_file(link, str(tmp_path / "x.enc"))


# --- one place replaced by another, while it is used


def test_no_call_falls_between_two_places(tmp_path: Path) -> None:
    """Whoever began in the old place ends there; nobody is cut off, nothing is lost halfway."""
    with asking(tmp_path / "h") as ask:
        over = threading.Event()
        statuses: list[int] = []

        def use(number: int) -> None:
            with Web(ask.vault.runtime_socket, headers=dict(ask.web.headers)) as web:
                while not over.is_set():
                    body = {
                        "agent_id": f"agent-{number}",
                        "secret_name": "n",
                        "secret_value": VALUE,
                    }
                    statuses.append(web.post("/api/v1/secrets", body).status)

        users = [threading.Thread(target=use, args=(number,)) for number in range(4)]
        for user in users:
            user.start()
        try:
            for _ in range(3):
                ask.configure(config())
                ask.configure({"backend_type": "sealed"})
        finally:
            over.set()
            for user in users:
                user.join()
        assert set(statuses) <= {200, 201}
        assert len(statuses) >= len(users)
        assert ask("GET", "/secrets/agent-0/n") == {"value": VALUE}

"""`ostiary doctor`: what it finds, and that each finding says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def findings(done: Any) -> dict[str, Any]:
    """Return what was found of the installation and the vault, by the name of the check."""
    found = done.document["findings"]
    return {one["check"]: one for one in found if one["group"] in {"installation", "vault"}}


def statuses(done: Any) -> dict[str, str]:
    return {name: one["status"] for name, one in findings(done).items()}


def test_all_is_well_beside_a_running_vault(start_dev: Any, ostiary: Any) -> None:
    start_dev("--port", "0")
    done = ostiary("doctor", "--json")
    assert done.code == 0, done.text
    assert done.document["ok"] is True
    assert set(statuses(done).values()) == {"ok"}
    assert {
        *("Python", "compiled core", "libraries", "clock", "home", "keys", "vault.db"),
        *("master.key", "socket", "server's user", "server", "vault", "TCP", "audit log"),
    } <= set(statuses(done))
    text = ostiary("doctor")
    assert text.code == 0
    assert text.text.splitlines()[-1] == "all is well"


def test_nothing_there_yet_is_told_what_to_start(ostiary: Any, user_home: Path) -> None:
    done = ostiary("doctor", "--json")
    assert done.code == 1
    found = findings(done)
    assert (found["home"]["status"], found["keys"]["status"]) == ("warn", "warn")
    assert found["socket"]["status"] == "fail"
    assert "`ostiary dev`" in found["socket"]["next"]
    assert not list(user_home.iterdir()), "a doctor creates nothing"
    for one in done.document["findings"]:
        assert (one["next"] is None) == (one["status"] == "ok"), one


def test_a_loose_home_names_the_command_that_mends_it(start_dev: Any, ostiary: Any) -> None:
    dev = start_dev("--no-tcp")
    dev.home.chmod(0o755)
    done = ostiary("doctor", "--json")
    assert done.code == 1
    assert findings(done)["home"]["next"] == f"chmod 700 {dev.home}"
    dev.home.chmod(0o700)
    assert ostiary("doctor").code == 0


@pytest.mark.parametrize(
    ("name", "content", "mode", "status", "says"),
    [
        ("loose.key", "11" * 32, 0o644, "fail", "chmod 600"),
        ("garbage.key", "not hex at all", 0o600, "fail", "does not hold a key"),
        ("short.key", "11" * 31, 0o600, "fail", "does not hold a key"),
        ("misnamed.key", "11" * 88, 0o600, "warn", "misnamed.key.enc"),
        ("misnamed.key.enc", "11" * 32, 0o600, "warn", "misnamed.key"),
    ],
)
def test_key_files_are_looked_at_and_not_shown(
    served: Any, name: str, content: str, mode: int, status: str, says: str
) -> None:
    file = served.home / "keys" / name
    file.write_text(content)
    file.chmod(mode)
    try:
        done = served.run("doctor", "--json")
    finally:
        file.unlink()
    found = findings(done)["key file"]
    assert found["status"] == status
    assert says in found["found"] + found["next"]
    assert done.code == (1 if status == "fail" else 0)
    assert content not in done.text + done.err


def test_every_sound_form_of_a_key_is_counted(served: Any) -> None:
    directory = served.home / "keys"
    made = {"a.key": 32, "b.key": 64, "c.key.enc": 88}
    for name, size in made.items():
        (directory / name).write_text("11" * size + "\n")
        (directory / name).chmod(0o600)
    try:
        found = findings(served.run("doctor", "--json"))["key files"]
    finally:
        for name in made:
            (directory / name).unlink()
    assert found["status"] == "ok"
    assert found["found"] == "1 encrypted, 1 expanded, 1 plain, readable by you alone"


def test_a_locked_vault_is_a_warning(served: Any) -> None:
    served.run("vault", "lock")
    try:
        done = served.run("doctor", "--json")
    finally:
        served.run("vault", "unlock")
    assert findings(done)["vault"]["status"] == "warn"
    assert findings(done)["vault"]["next"] == "`ostiary vault unlock`"
    assert done.code == 0


def test_a_file_in_the_place_of_the_socket(ostiary: Any, user_home: Path) -> None:
    home = user_home / ".sanctum"
    home.mkdir(mode=0o700)
    (home / "vault.sock").touch()
    found = findings(ostiary("doctor", "--json"))["socket"]
    assert found["status"] == "fail"
    assert "is not a socket" in found["found"]


def test_a_path_too_long_for_a_socket(ostiary: Any, user_home: Path) -> None:
    done = ostiary("doctor", "--home", user_home / ("x" * 120), "--json")
    assert done.code == 1
    assert findings(done)["socket"]["next"] == "give a shorter --home"


@pytest.mark.parametrize("columns", [80, 120])
def test_the_screen_fits_the_terminal(served: Any, terminal: Any, columns: int) -> None:
    code, screen = terminal(served.user_home, "doctor", columns=columns)
    assert code == 0, screen
    assert max(len(line) for line in screen.splitlines()) <= columns
    assert "all is well" in screen

"""`ostiary config`: what holds, who says so, and how the domains are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the extra dev is not installed")

from ostiary.devserver import RunningVault, running

KEY = "literal-key-of-the-profile"


@pytest.fixture(scope="module")
def plane() -> Iterator[RunningVault]:
    with running(demo=True) as server:
        yield server


def write(home: Path, text: str, mode: int = 0o600) -> Path:
    path = home / ".config" / "ostiary" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_show_says_who_says_what_and_hides_keys(ostiary: Any, user_home: Path) -> None:
    path = write(
        user_home,
        f"""
        [profile.ci]
        timeout = 10
        [profile.ci.runtime]
        base_url = "http://localhost:1/api/v1"
        api_key = "{KEY}"
        [profile.ci.workflow]
        base_url = "http://name:{KEY}@localhost"
        api_key = "vault:services/workflow"
        limits = {{ body = 4096 }}
        [profile.ci.governance]
        """,
    )
    variables = {
        "OSTIARY_RUNTIME_API_KEY_FILE": "/run/key",
        "OSTIARY_GOVERNANCE_API_KEY": KEY,
        "OSTIARY_PROFILE": "ci",
    }
    found = ostiary("config", "show", env=variables)
    assert found.code == 0
    assert KEY not in found.text + found.err
    rows = [line.split() for line in found.text.splitlines()]
    assert ["runtime", "timeout", "10.0", "[profile.ci]"] in rows
    assert ["runtime", "api_key", "/run/key", "$OSTIARY_RUNTIME_API_KEY_FILE"] in rows
    assert ["workflow", "api_key", "vault:services/workflow", "[profile.ci.workflow]"] in rows
    assert ["workflow", "base_url", "**********", "[profile.ci.workflow]"] in rows
    assert ["workflow", "limits", "body=4096", "[profile.ci.workflow]"] in rows
    assert ["governance", "api_key", "**********", "$OSTIARY_GOVERNANCE_API_KEY"] in rows
    assert f"profile ci of {path}" in found.err
    document = ostiary("config", "show", "--json", "--profile", "ci").document
    assert (document["profile"], document["file"]) == ("ci", str(path))
    assert {
        "domain": "runtime",
        "setting": "api_key",
        "value": "**********",
        "source": "[profile.ci.runtime]",
    } in document["settings"]


def test_show_without_anything_says_where_it_would_be(ostiary: Any, user_home: Path) -> None:
    found = ostiary("config", "show")
    assert found.code == 0
    assert "nothing is configured" in found.err
    assert str(user_home / ".config" / "ostiary" / "config.toml") in found.err


def test_a_file_that_cannot_be_used_is_refused(ostiary: Any, user_home: Path) -> None:
    path = write(user_home, f'[default.runtime]\napi_key = "{KEY}"', 0o644)
    for command in ("show", "check"):
        found = ostiary("config", command)
        assert found.code == 1
        assert f"chmod 600 {path}" in found.err
        assert KEY not in found.err
    found = ostiary("config", "show", "--config-file", user_home / "none.toml", "--json")
    assert found.code == 1
    assert found.document["error"]["type"] == "ConfigError"


def test_doctor_looks_at_the_file(ostiary: Any, user_home: Path) -> None:
    def found() -> Any:
        findings = ostiary("doctor", "--json").document["findings"]
        (one,) = (one for one in findings if one["group"] == "config")
        return one

    assert found()["status"] == "ok"
    assert "no profile is used" in found()["found"]
    path = write(user_home, "[default]\ntimeout = 3")
    assert found()["found"] == f"{path}, profile default"
    path.write_text("[defautl]")
    assert found()["status"] == "fail"
    assert "did you mean 'default'" in found()["found"]


def test_check_asks_all_at_once(ostiary: Any, user_home: Path, plane: RunningVault) -> None:
    found = ostiary("config", "check")
    assert found.code == 1
    assert "nothing is configured" in found.err
    variables = plane.gateway.environment | {
        "SANCTUM_VAULT_PATH": str(plane.home),
        "OSTIARY_VAULT_AGENT": "my-agent",
        "OSTIARY_RUNTIME_URL": plane.runtime_unix_url,
    }
    found = ostiary("config", "check", env=variables)
    assert found.code == 0, found.err
    assert [line.split()[:2] for line in found.text.splitlines()[1:]] == [
        ["vault", "well"],
        ["gateway", "well"],
        ["runtime", "well"],
    ]
    variables["OSTIARY_RUNTIME_URL"] = f"unix://{user_home}/nobody.sock"
    found = ostiary("config", "check", "--json", "--timeout", "2", env=variables)
    assert found.code == 1
    assert {name: one["ok"] for name, one in found.document.items()} == {
        "vault": True,
        "gateway": True,
        "runtime": False,
    }
    assert found.document["runtime"]["error"]["type"].endswith("Error")

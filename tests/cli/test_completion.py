"""What the shell is offered at TAB."""

from __future__ import annotations

from typing import Any

import pytest


def offered(run: Any, line: str) -> list[str]:
    """Ask as bash does; return the words offered."""
    words = line.split(" ")
    done = run(
        env={
            "_OSTIARY_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        }
    )
    assert done.err == ""
    return list(done.text.split())


def test_commands_and_options_are_offered(ostiary: Any) -> None:
    assert {"dev", "doctor", "vault", "version"} <= set(offered(ostiary, "ostiary "))
    assert {"put", "get", "agent"} <= set(offered(ostiary, "ostiary vault "))
    assert "--verify" in offered(ostiary, "ostiary vault audit --v")


def test_names_of_the_running_vault_are_offered(served: Any) -> None:
    served.run("vault", "put", "tab/one", stdin=b"x")
    served.run("vault", "put", "tab/two", stdin=b"x")
    served.run("vault", "agent", "add", "tabby", "--allow", "tab/*")
    assert offered(served.run, "ostiary vault get tab/") == ["tab/one", "tab/two"]
    assert offered(served.run, "ostiary vault agent rm ta") == ["tabby"]
    assert offered(served.run, "ostiary vault policy rm agent-t") == ["agent-tabby"]
    assert offered(served.run, "ostiary vault audit --agent ta") == ["tabby"]


def test_without_a_server_nothing_is_offered_and_nothing_is_said(ostiary: Any) -> None:
    assert offered(ostiary, "ostiary vault get ") == []
    bad = {"OSTIARY_VAULT_ADDRESS": "no such://address"}
    done = ostiary(
        env={
            **bad,
            "_OSTIARY_COMPLETE": "complete_bash",
            "COMP_WORDS": "ostiary vault get ",
            "COMP_CWORD": "3",
        }
    )
    assert (done.text.strip(), done.err) == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(ostiary: Any, shell: str) -> None:
    done = ostiary(env={"_OSTIARY_COMPLETE": f"source_{shell}"})
    assert done.code == 0
    assert "_OSTIARY_COMPLETE" in done.text

"""`ostiary vault put|get|ls|rm|rotate` against a running vault."""

from __future__ import annotations

import base64
import signal
from pathlib import Path
from typing import Any

import pytest

CANARY = "canary-5f0c2b7e"


def test_a_piped_line_is_stored_without_its_line_end_and_comes_back_bare(served: Any) -> None:
    stored = served.run("vault", "put", "piped/line", stdin=f"{CANARY}\n".encode())
    assert (stored.code, stored.out) == (0, b"")
    assert "stored piped/line (api_key, 15 bytes)" in stored.err
    got = served.run("vault", "get", "piped/line")
    assert (got.code, got.out, got.err) == (0, CANARY.encode(), "")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"one line\r\n", b"one line"),
        (b"no line end", b"no line end"),
        (b"two\nlines\n", b"two\nlines\n"),
        (b"-----BEGIN-----\nabc\n-----END-----\n", b"-----BEGIN-----\nabc\n-----END-----\n"),
        (bytes(range(256)), bytes(range(256))),
        (b"\xff\n", b"\xff\n"),
        (b"only the last goes\n\n", b"only the last goes\n\n"),
    ],
)
def test_what_is_no_single_line_of_text_is_kept_to_the_byte(
    served: Any, given: bytes, kept: bytes
) -> None:
    assert served.run("vault", "put", "piped/bytes", stdin=given).code == 0
    assert served.run("vault", "get", "piped/bytes").out == kept


def test_file_keeps_every_byte_of_a_file_and_of_stdin(served: Any, tmp_path: Path) -> None:
    source = tmp_path / "key.pem"
    source.write_bytes(b"from a file\n")
    assert served.run("vault", "put", "file/a", "--file", source).code == 0
    assert served.run("vault", "get", "file/a").out == b"from a file\n"
    assert served.run("vault", "put", "file/b", "--file", "-", stdin=b"exactly\n").code == 0
    assert served.run("vault", "get", "file/b").out == b"exactly\n"


def test_a_secret_that_cannot_be_read_or_stored_changes_nothing(
    served: Any, tmp_path: Path
) -> None:
    missing = served.run("vault", "put", "bad/file", "--file", tmp_path / "absent")
    assert missing.code == 1
    assert "No such file" in missing.err
    empty = served.run("vault", "put", "bad/empty", stdin=b"\n")
    assert empty.code == 1
    assert "empty" in empty.err
    long = served.run("vault", "put", "bad/long", "--file", "-", stdin=bytes(1024 * 1024 + 1))
    assert long.code == 1
    assert "1048576" in long.err
    assert served.run("vault", "ls", "bad/", "--json").document == {"credentials": []}


def test_the_largest_secret_fits(served: Any) -> None:
    value = b"x" * 1024 * 1024
    assert served.run("vault", "put", "large/one", stdin=value).code == 0
    assert served.run("vault", "get", "large/one").out == value


def test_put_replaces_unless_told_to_keep(served: Any) -> None:
    assert served.run("vault", "put", "twice", stdin=b"first").code == 0
    kept = served.run("vault", "put", "twice", "--keep", stdin=b"second")
    assert kept.code == 1
    assert "exists already" in kept.err
    assert served.run("vault", "get", "twice").out == b"first"
    assert served.run("vault", "put", "twice", stdin=b"second").code == 0
    assert served.run("vault", "get", "twice").out == b"second"


def test_json_documents(served: Any) -> None:
    put = served.run(
        *("vault", "put", "doc/one", "--type", "token", "--description", "For documents"),
        *("--tag", "a", "--tag", "b", "--json"),
        stdin=CANARY.encode(),
    )
    assert put.document["path"] == "doc/one"
    assert put.document["type"] == "token"
    assert put.document["tags"] == ["a", "b"]
    assert put.err == ""
    assert "value" not in put.document
    got = served.run("vault", "get", "doc/one", "--json").document
    assert (got["encoding"], got["value"]) == ("utf-8", CANARY)
    assert got["description"] == "For documents"
    listed = served.run("vault", "ls", "doc/", "--json").document["credentials"]
    assert [entry["path"] for entry in listed] == ["doc/one"]
    assert "value" not in listed[0]
    # A moment in a document is ISO-8601, in a table it is how long ago.
    assert listed[0]["created_at"].endswith("Z")
    assert served.run("vault", "rm", "doc/one", "--json").document == {"removed": "doc/one"}


def test_a_binary_secret_survives_its_document(served: Any) -> None:
    served.run("vault", "put", "doc/binary", "--file", "-", stdin=b"\x00\xff\n")
    got = served.run("vault", "get", "doc/binary", "--json").document
    assert got["encoding"] == "base64"
    assert base64.b64decode(got["value"]) == b"\x00\xff\n"


def test_a_failure_has_a_document_a_message_and_a_code(served: Any) -> None:
    got = served.run("vault", "get", "no/such", "--json")
    assert got.code == 1
    assert got.document == {
        "error": {
            "type": "CredentialNotFound",
            "code": "CREDENTIAL_NOT_FOUND",
            "message": "there is no credential at no/such",
            "next": "`ostiary vault ls` shows what there is",
        }
    }
    assert got.err.splitlines() == [
        "error: there is no credential at no/such",
        "next: `ostiary vault ls` shows what there is",
    ]


def test_ls_narrows_by_prefix_and_type_and_aligns_its_columns(served: Any) -> None:
    served.run("vault", "put", "narrow/a", "--type", "token", stdin=b"x")
    served.run("vault", "put", "narrow/bcd", "--description", "A thing", stdin=b"x")
    both = served.run("vault", "ls", "narrow/").text.splitlines()
    assert both[0].split() == ["path", "type", "description", "changed", "used"]
    assert [line.split()[0] for line in both[1:]] == ["narrow/a", "narrow/bcd"]
    assert both[1].index("token") == both[2].index("api_key")
    tokens = served.run("vault", "ls", "narrow/", "--type", "token").text.splitlines()
    assert [line.split()[0] for line in tokens[1:]] == ["narrow/a"]
    none = served.run("vault", "ls", "nowhere/")
    assert (none.code, none.out) == (0, b"")
    assert "no credential matches" in none.err


def test_rotate_replaces_the_value_and_says_so(served: Any) -> None:
    served.run("vault", "put", "turn/key", stdin=b"old")
    rotated = served.run("vault", "rotate", "turn/key", "--json", stdin=b"new\n")
    assert rotated.document["rotated_at"] is not None
    assert served.run("vault", "get", "turn/key").out == b"new"
    assert served.run("vault", "rotate", "turn/none", stdin=b"x").code == 1


def test_rm_removes_without_asking_when_there_is_no_terminal(served: Any) -> None:
    served.run("vault", "put", "gone/soon", stdin=b"x")
    assert served.run("vault", "rm", "gone/soon").code == 0
    assert served.run("vault", "get", "gone/soon").code == 1


def test_no_command_but_get_shows_a_value(served: Any) -> None:
    served.run("vault", "put", "canary/key", stdin=CANARY.encode())
    served.run("vault", "rotate", "canary/key", stdin=(CANARY + "-2").encode())
    for command in (
        ("vault", "ls"),
        ("vault", "ls", "--json"),
        ("vault", "status", "--json"),
        ("vault", "audit", "--json"),
        ("vault", "lease", "ls", "--json"),
        ("vault", "put", "canary/key", "--keep", "--json"),
        ("doctor", "--json"),
    ):
        done = served.run(*command, stdin=CANARY.encode())
        assert CANARY not in done.text + done.err, command


def test_no_option_takes_a_secret() -> None:
    from typer.main import get_command

    from ostiary.cli.app import tree

    def walk(command: Any, path: str) -> list[tuple[str, Any]]:
        found = [(path, parameter) for parameter in command.params]
        for name, below in getattr(command, "commands", {}).items():
            found += walk(below, f"{path} {name}")
        return found

    parameters = walk(get_command(tree()), "ostiary")
    assert len(parameters) > 60, "the walk goes through every command"
    for path, parameter in parameters:
        if parameter.name in {"passphrase", "passphrase_stdin"}:
            assert parameter.is_flag, f"{path}: {parameter.name}"
        elif not parameter.name.endswith("_file"):  # where the secret is, and not what
            words = set(parameter.name.split("_"))
            assert not words & {"value", "secret", "password", "passphrase", "seed"}, path


def test_a_hostile_description_cannot_drive_the_terminal(served: Any, terminal: Any) -> None:
    served.run("vault", "put", "esc/x", "--description", "a\x1b]0;owned\x07[red]b", stdin=b"x")
    code, screen = terminal(served.user_home, "vault", "ls", "esc/", columns=120)
    assert code == 0
    assert "\x1b]0" not in screen
    assert "\\x1b]0;owned\\x07[red]b" in screen


def test_get_adds_a_line_end_on_a_terminal_alone(served: Any, terminal: Any) -> None:
    served.run("vault", "put", "tty/x", stdin=b"shown")
    assert terminal(served.user_home, "vault", "get", "tty/x") == (0, "shown\n")


def test_who_interrupts_a_question_leaves_its_line(served: Any, terminal: Any) -> None:
    answers = [("Secret for tty/y: ", signal.SIGINT)]
    code, screen = terminal(served.user_home, "vault", "put", "tty/y", answers=answers)
    assert code == 130
    assert screen.startswith("Secret for tty/y: \n")


def test_get_keeps_control_characters_off_a_terminal(served: Any, terminal: Any) -> None:
    served.run("vault", "put", "tty/esc", stdin=b"a\x1b[2Jb")
    code, screen = terminal(served.user_home, "vault", "get", "tty/esc")
    assert code == 1
    assert "\x1b[2J" not in screen
    assert "redirect stdout" in screen


def test_the_prompt_hides_what_is_typed_and_asks_twice(served: Any, terminal: Any) -> None:
    code, screen = terminal(
        served.user_home,
        *("vault", "put", "prompted/x"),
        answers=[("Secret for prompted/x: ", f"{CANARY}\n"), ("again: ", f"{CANARY}\n")],
    )
    assert code == 0, screen
    assert CANARY not in screen
    assert served.run("vault", "get", "prompted/x").out == CANARY.encode()


def test_two_different_entries_store_nothing(served: Any, terminal: Any) -> None:
    code, screen = terminal(
        served.user_home,
        *("vault", "put", "prompted/typo"),
        answers=[("Secret for", "one\n"), ("again: ", "two\n")],
    )
    assert code == 1
    assert "differ" in screen
    assert served.run("vault", "get", "prompted/typo").code == 1


def test_control_c_at_the_prompt_stores_nothing(served: Any, terminal: Any) -> None:
    code, screen = terminal(
        served.user_home, "vault", "put", "prompted/never", answers=[("Secret for", signal.SIGINT)]
    )
    assert code == 130, screen
    assert "Traceback" not in screen
    assert served.run("vault", "get", "prompted/never").code == 1


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 1, 0), ("y\n", 0, 1)])
def test_rm_asks_on_a_terminal(
    served: Any, terminal: Any, answer: str, code: int, left: int
) -> None:
    served.run("vault", "put", "asked/x", stdin=b"x")
    found, screen = terminal(
        served.user_home, "vault", "rm", "asked/x", answers=[("[y/N]: ", answer)]
    )
    assert found == code, screen
    assert served.run("vault", "get", "asked/x").code == left


@pytest.mark.parametrize("columns", [80, 120])
def test_the_listing_fits_the_terminal(served: Any, terminal: Any, columns: int) -> None:
    path = "team/production/" + "long/" * 12 + "key"
    served.run("vault", "put", path, "--description", "A long description " * 3, stdin=b"x")
    code, screen = terminal(served.user_home, "vault", "ls", columns=columns)
    assert code == 0
    assert max(len(line) for line in screen.splitlines()) <= columns
    # Folded and not cut: the whole path is on the screen.
    column = "".join(line.split("  ")[0].strip() for line in screen.splitlines())
    assert path in column
    served.run("vault", "rm", path)

"""The program itself: without its extra, its versions, its screens' words."""

from __future__ import annotations

import io
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from ostiary import __version__
from ostiary.cli.app import tree
from ostiary.cli.screen import Screen, ago, plain
from ostiary.errors import InvalidArgumentError


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_one_line_says_what_to_install(missing: str) -> None:
    program = (
        f"import sys; sys.modules['{missing}'] = None\n"
        "import ostiary.cli\n"
        "sys.exit(ostiary.cli.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"ostiary: the command line needs {missing}; run: pip install 'ostiary[cli]'"
    ]


def test_importing_the_room_needs_neither_typer_nor_rich() -> None:
    program = "import sys, ostiary.cli; print(sorted({'typer', 'rich'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"


def test_a_defect_of_ours_is_not_taken_for_a_missing_extra() -> None:
    program = (
        "import sys; sys.modules['ostiary.cli.screen'] = None\n"
        "import ostiary.cli\n"
        "sys.exit(ostiary.cli.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert "ModuleNotFoundError" in done.stderr


def test_version(ostiary: Any) -> None:
    assert ostiary("--version").text == f"ostiary {__version__}\n"
    assert ostiary("version").text.splitlines()[0] == f"ostiary {__version__}"
    document = ostiary("version", "--json").document
    assert document["ostiary"] == __version__
    assert document["python"] == platform.python_version()


def test_help_says_something_of_every_command_and_parameter() -> None:
    def walk(command: Any, words: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
        found = [(words, command)]
        for name, below in getattr(command, "commands", {}).items():
            found += walk(below, (*words, name))
        return found

    commands = walk(get_command(tree()), ())
    assert len(commands) > 20
    for words, command in commands:
        done = CliRunner().invoke(tree(*words[:1]), [*words, "--help"])
        assert done.exit_code == 0, words
        assert "Usage: " in done.output
        assert command.help, words
        for parameter in command.params:
            assert parameter.help, (words, parameter.name)


def test_a_command_loads_its_own_branch_alone() -> None:
    """The whole tree takes twice as long, at every command."""

    def branches(*words: str) -> list[str]:
        whole = get_command(tree(*words))
        assert isinstance(whole, TyperGroup)
        return list(whole.commands)

    names = branches()
    # A word that is no command gets the whole tree, for its suggestions.
    assert branches("valt") == names
    for name in names:
        assert branches(name) == [name]
    code = (
        "import sys; from ostiary.cli import main; sys.argv[1:] = ['vault', 'ls', '--help']; "
        "main(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "ostiary.cli.vault" in loaded
    others = {name for name in names if name not in {"vault", "env"}}
    assert not {f"ostiary.cli.{name}" for name in others} & loaded


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "now"),
        (-1, "1 s ago"),
        (-59.9, "59 s ago"),
        (-60, "1 min ago"),
        (-3599, "59 min ago"),
        (-7200, "2 h ago"),
        (-86400, "1 d ago"),
        (90, "in 1 min"),
        (299, "in 4 min"),
    ],
)
def test_a_moment_as_people_say_it(seconds: float, said: str) -> None:
    now = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    assert ago(now + timedelta(seconds=seconds), now=now.timestamp()) == said


def test_a_distant_moment_is_a_date() -> None:
    now = datetime(2031, 5, 6, 12, tzinfo=UTC)
    assert ago(now - timedelta(days=40), now=now.timestamp()) == "2031-03-27"
    assert ago(None) == "-"


def test_text_of_others_is_escaped_where_a_terminal_would_act_on_it() -> None:
    assert plain("openai/api_key") == "openai/api_key"
    assert plain("ключ 鍵") == "ключ 鍵"
    assert plain("a\x1b[2Jb\x07\n") == "a\\x1b[2Jb\\x07\\n"
    # U+202E turns the direction of what follows.
    assert plain("gnp\u202etxt") == "gnp\\u202etxt"


def test_a_prompt_that_cannot_hide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import getpass
    import warnings

    from ostiary.cli import entry

    def shows(prompt: str) -> str:
        warnings.warn("would echo", getpass.GetPassWarning, stacklevel=1)
        return "typed in the open"

    monkeypatch.setattr(getpass, "getpass", shows)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with pytest.raises(InvalidArgumentError, match="cannot hide"):
        entry.read_value("Secret", None)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["version", "version --json", "--help"])
def test_a_full_disk_is_a_sentence(command: str) -> None:
    done = shell(f"{sys.executable} -m ostiary {command} > /dev/full")
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_traceback() -> None:
    done = shell(f"{sys.executable} -m ostiary --help | true")
    assert done.stderr == ""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_survived(closed: str) -> None:
    done = shell(f"{sys.executable} -m ostiary version {closed}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_an_ascii_terminal_shows_escapes(ostiary: Any, start_dev: Any) -> None:
    start_dev("--no-tcp")
    ascii_only = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert ostiary("vault", "put", "k", "--description", "Schlüssel", stdin=b"x").code == 0
    listed = ostiary("vault", "ls", env=ascii_only)
    assert listed.code == 0, listed.err
    assert "Schl\\xfcssel" in listed.text


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", line],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("width", [24, 40, 80])
def test_a_narrow_terminal_is_shown_all_of_it(width: int) -> None:
    screen = Screen()
    screen.out = Console(file=io.StringIO(), width=width, force_terminal=True, no_color=True)
    cells = ("page-reader", "approved", "33min-ago", "by-somebody")
    screen.table(
        ("tool", "status", "when", "who"), [cells], empty="", firm=("tool", "status", "when")
    )
    screen.facts({"tctx.allowed_providers": "openai-and-others"})
    shown = screen.out.file
    assert isinstance(shown, io.StringIO)
    table, _, facts = shown.getvalue().partition("tctx")
    for cell in cells:
        letters = iter(table)
        assert all(letter in letters for letter in cell), cell
    assert "openai-and-others" in facts
    assert all(len(plain_line(line)) <= width for line in shown.getvalue().splitlines())


def plain_line(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", line)

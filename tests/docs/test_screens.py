"""The pictures of the command line: each command still runs, each picture is fit to be shown.

What a picture shows is not compared: it is drawn anew with `make screens` when it is out of date.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tools.screens import DEV, PICTURES, SCREENS, picture, run, stage, steady

ROOT = Path(__file__).resolve().parents[2]
SVG = "{http://www.w3.org/2000/svg}"
ALL = {screen.name: screen for screen in (DEV, *SCREENS)}


@pytest.mark.timeout(240)
def test_every_command_runs() -> None:
    with stage(tcp=False) as on:
        assert "DEVELOPMENT" in on.banner
        for screen in SCREENS:
            shown = steady(run(screen, on.home, on.environ), on.home, on.ports)
            assert shown.strip(), screen.command
            assert str(on.home) not in shown, screen.command
            assert "Traceback" not in shown, screen.command


def test_a_command_that_ends_otherwise_is_said() -> None:
    with stage(tcp=False) as on, pytest.raises(SystemExit, match=r"`.*` exited 1, not 0"):
        run(ALL["governance-block"]._replace(exits=0), on.home, on.environ)


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_picture_is_there_and_fetches_nothing(name: str) -> None:
    drawn = (PICTURES / f"{name}.svg").read_text("utf-8")
    root = ET.fromstring(drawn)
    assert root.findtext(f"{SVG}title") == ALL[name].command
    hosts = set(re.findall(r"(?:url\(|href=\")(?:https?:)?//[^)\"]+", drawn))
    assert not hosts
    assert "/tmp/" not in drawn
    assert "Traceback" not in drawn


def test_every_picture_is_drawn_by_the_tool_and_shown_on_a_page() -> None:
    assert {file.stem for file in PICTURES.glob("*.svg")} == set(ALL)
    pages = "".join(page.read_text("utf-8") for page in (ROOT / "docs").rglob("*.md"))
    shown = set(re.findall(r"assets/screens/([\w-]+)\.svg", pages))
    assert shown == set(ALL)


def test_what_changes_from_run_to_run_is_written_over() -> None:
    home = Path("/tmp/ostabcdefgh")
    one = """\
vault   /tmp/ostabcdefgh/.sanctum/vault.sock  you alone
vault   127.0.0.1:41234                       this machine
home    /tmp/ostabcdefgh/.sanctum (0700)
trace   9f7c1c1e-1111-4222-8333-444455556666
at      2027-03-09 23:59:58 UTC, 3 s ago"""
    other = (
        one.replace("9f7c1c1e", "00000000")
        .replace("2027-03-09 23:59:58", "2028-11-30 01:02:03")
        .replace("3 s ago", "7 s ago")
    )
    shown = steady(one, home, {41234: 7600})
    assert shown == steady(other, home, {41234: 7600})
    first, second, third, *_ = shown.splitlines()
    assert first.split() == ["vault", "~/.sanctum/vault.sock", "you", "alone"]
    assert second.index("this machine") == first.index("you alone")
    assert third == "home    ~/.sanctum (0700)"


def test_a_picture_depends_on_the_output_alone() -> None:
    screen = ALL["doctor"]
    assert picture(screen, "\x1b[32mok\x1b[0m") == picture(screen, "\x1b[32mok\x1b[0m")
    assert picture(screen, "ok") != picture(screen, "\x1b[32mok\x1b[0m")
    assert "&lt;b&gt;" in picture(screen, "<b>")

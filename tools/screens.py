"""Write the pictures of the command line that the documentation shows: `make screens`.

Each picture is a real command in a terminal of a fixed width, run against an embedded control
plane in a home of its own. What differs from run to run (times, ids, ports, the home) is written
over with words of the same length, so that a picture changes when the command's output does.

    python tools/screens.py             all of them, into docs/assets/screens/
    python tools/screens.py doctor      one of them
    python tools/screens.py --list      their names, commands and pages
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from html import escape
from io import StringIO
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT: Final = Path(__file__).resolve().parent.parent
PICTURES: Final = ROOT / "docs/assets/screens"
WIDTH: Final = 96
LONGEST: Final = 60.0  # seconds that a command may take
# Where the guide says that the services listen; here they are given whatever ports are free.
PORTS: Final = {
    7600: "--port",
    8200: "--port",
    8000: "--governance-port",
    8080: "--runtime-port",
    3000: "--workflow-port",
}


class Screen(NamedTuple):
    """One picture: its file's name, the command as it is shown, and what has to be so before."""

    name: str
    command: str
    before: Sequence[str] = ()
    exits: int = 0


SPANS: Final = """
from ostiary.workflow import Span, WorkflowClient
from datetime import datetime, timedelta, timezone

start = datetime(2026, 1, 5, 3, 0, tzinfo=timezone.utc)
rows = [
    ("run", None, "Nightly", 0, 840), ("read", "run", "read", 4, 180),
    ("page", "read", "read page 1", 9, 70), ("next", "read", "read page 2", 84, 92),
    ("check", "run", "check", 190, 260), ("sum", "run", "sum", 455, 372),
]
with WorkflowClient() as client:
    for id, parent, name, after, took in rows:
        begin = start + timedelta(milliseconds=after)
        client.report_span(Span(
            id=id, trace_id="night-2", parent_id=parent, name=name, start_time=begin.isoformat(),
            end_time=(begin + timedelta(milliseconds=took)).isoformat(), duration=float(took),
        ))
"""

TRIAGE: Final = """
import json
from pathlib import Path

Path("triage.py").write_text('''
async def urgency(ticket, client):
    if not ticket["text"]:
        raise ValueError("an empty ticket")
    return (await client.gateway.chat(f"How urgent is {ticket['text']!r}?")).text
''')
texts = {f"T-{n}": f"door {n} is stuck" if n % 67 else "" for n in range(200)}
lines = [json.dumps({"id": id, "text": text}) for id, text in texts.items()]
Path("tickets.jsonl").write_text("\\n".join(lines))
"""

DEV: Final = Screen("dev", "ostiary dev --demo")
SCREENS: Final = (
    Screen("vault-ls", "ostiary vault ls"),  # first: the age of things widens its table
    Screen("doctor", "ostiary doctor"),
    Screen("config-check", "ostiary config check"),
    Screen(
        "vault-audit",
        "ostiary vault audit --last 5",
        ("python -c \"import ostiary.vault as v; v.VaultClient('my-agent').connect().close()\"",),
    ),
    Screen("governance-stream", 'ostiary governance stream "create a report"'),
    Screen("governance-block", 'ostiary governance run "delete all production data"', exits=1),
    Screen("gateway-token", "ostiary gateway token"),
    Screen("runtime-review", "ostiary runtime reviews show review-123"),
    Screen(
        "fleet-run",
        "ostiary fleet run triage.py:urgency --inputs tickets.jsonl --out answers.jsonl",
        (f"python - <<'END'{TRIAGE}END",),
        exits=1,
    ),
    # A run that was reported, so that its times are always the same.
    Screen("workflow-trace", "ostiary workflow trace night-2", (f"python -c '{SPANS}'",)),
)

# --- what is not the same in the next run -------------------------------------------------------

_ID: Final = "5f0c2b9e-7a41-4d36-8e1b-93c0d7a46f28"
_HEX: Final = "9b4e1f7ac3d2580617ef"


def _same_length(words: str) -> Callable[[re.Match[str]], str]:
    """Write `words` over what was found, cut or repeated to its length."""

    def write(match: re.Match[str]) -> str:
        size = len(match[0])
        return (words * (size // len(words) + 1))[:size]

    return write


def _padded(words: str) -> Callable[[re.Match[str]], str]:
    """Write `words` over what was found, and blanks over the rest, so that columns stay."""
    return lambda match: words.ljust(len(match[0]))


_CHANGING: Final[tuple[tuple[str, Callable[[re.Match[str]], str]], ...]] = (
    (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", _same_length(_ID)),
    (r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b", _same_length(_HEX)),
    (r"\b20\d\d-\d\d-\d\d\b", _same_length("2026-01-05")),
    (r"\b[0-2]\d:[0-5]\d:[0-5]\d\b", _same_length("09:41:07")),
    (r"\b\d:[0-5]\d:[0-5]\d\b", _same_length("0:00:01")),
    (r"(?<=:\d\d)\.\d{3,6}\b", _same_length(".000000")),
    (r"\b\d+ s ago\b", _padded("4 s ago")),
    (r"\b\d+ (?:s|min)(?= (?:left|from now)|$)", _padded("4 min")),
    (r"\buid \d+", _padded("uid 1000")),
    (r"\d+\.\d s, [\d,]+ a second", lambda _: "0.6 s, 322 a second"),
    (r"[\d.]+ ms, [\d.]+ ms", lambda _: "95.4 ms, 190.8 ms"),
    # milliseconds in a column of their own
    (r"(?<![\d.])\d+\.\d(?=(?:\x1b\[[\d;]*m)*  )", lambda found: "4.1".rjust(len(found[0]))),
    (r"(?<='latency_ms': )[\d.]+", lambda _: "0.024"),
)


# Behind a word that was shortened: two blanks, so that it stands in a column.
_IN_COLUMN: Final = r"(?P<column>(?=(?:\x1b\[[\d;]*m)*  ))?"


def _shorter(output: str, long: str, short: str) -> str:
    """Write `short` for `long`, and blanks for the rest where the word stands in a column."""

    def write(match: re.Match[str]) -> str:
        blanks = len(long) - len(short) if match["column"] is not None else 0
        return short + match["tail"] + " " * blanks

    return re.sub(rf"{re.escape(long)}(?P<tail>[^\s\x1b]*){_IN_COLUMN}", write, output)


def steady(output: str, home: Path, ports: dict[int, int]) -> str:
    """Return what a command printed, without what the next run would print differently."""
    # Of a line that was drawn over, what was drawn last; and no word about the cursor.
    output = re.sub(r"^.*\r(?:\x1b\[2K)?(?=[^\r\n])|\x1b\[\?25[lh]|\r$", "", output, flags=re.M)
    output = _shorter(output, str(home), "~")
    for free, usual in ports.items():
        output = _shorter(output, str(free), str(usual))
    # A server at its usual port leaves out where it is.
    output = output.replace(" --base-url http://127.0.0.1:8000", "")
    for pattern, write in _CHANGING:
        output = re.sub(pattern, write, output, flags=re.M)
    return "\n".join(line.rstrip() for line in output.splitlines()).strip("\n")


# --- commands in a terminal ---------------------------------------------------------------------


def _environment(home: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OSTIARY_", "SANCTUM_", "SAGE_", "SPIFFE_", "SYMBIONT_"))
    }
    scripts = Path(sys.executable).parent
    return kept | {
        "HOME": str(home),
        "PATH": f"{scripts}{os.pathsep}{kept.get('PATH', '')}",
        "COLUMNS": str(WIDTH),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
    }


def _start(
    command: str, home: Path, environ: dict[str, str]
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a command on a terminal of its own; return it, and the terminal's other end."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, WIDTH, 0, 0))
    try:
        process = subprocess.Popen(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            cwd=home,
            env=environ,
            start_new_session=True,
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return process, ours


def _read(terminal: int, until: str | None = None) -> str:
    """Return what is written to a terminal until it is closed, or until a text appears."""
    deadline = time.monotonic() + LONGEST
    seen = b""
    while until is None or until.encode() not in seen:
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing more came; so far: {seen.decode(errors='replace')}")
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux says EIO once nobody has the other end
            piece = b""
        if not piece:
            if until is not None:
                raise SystemExit(f"it ended: {seen.decode(errors='replace')}")
            break
        seen += piece
    return seen.decode().replace("\r\n", "\n")


def run(screen: Screen, home: Path, environ: dict[str, str]) -> str:
    """Run a screen's command and return what it printed, colours included.

    `SystemExit` when it, or one of the commands before it, ends otherwise than it should.
    """
    output = ""
    for command, exits in [*((each, 0) for each in screen.before), (screen.command, screen.exits)]:
        process, terminal = _start(command, home, environ)
        try:
            output = _read(terminal)
        finally:
            os.close(terminal)
            if process.poll() is None:
                try:
                    process.wait(LONGEST)
                except subprocess.TimeoutExpired:
                    process.kill()
        if process.wait() != exits:
            raise SystemExit(f"`{command}` exited {process.returncode}, not {exits}:\n{output}")
    return output


# --- the control plane --------------------------------------------------------------------------


class Stage(NamedTuple):
    """A running control plane, and what a command needs to find it."""

    home: Path
    environ: dict[str, str]
    ports: dict[int, int]
    banner: str


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def stage(*, tcp: bool = True) -> Generator[Stage]:
    """Run `ostiary dev --demo` in a home of its own for as long as the block lasts.

    It is given ports that were free a moment ago; `tcp=False` is for those who share the machine.
    """
    home = Path(tempfile.mkdtemp(prefix="ost", dir="/tmp")).resolve()
    environ = _environment(home)
    free = _free_ports(len(PORTS))
    ports = dict(zip(free, PORTS, strict=True))
    given = " ".join(f"{option} {port}" for option, port in zip(PORTS.values(), free, strict=True))
    process, terminal = _start(f"exec {DEV.command} {given if tcp else '--no-tcp'}", home, environ)
    try:
        banner = _read(terminal, until="stops it.")
        printed = subprocess.run(
            [sys.executable, "-m", "ostiary", "env", "--json"],
            env=environ,
            cwd=home,
            capture_output=True,
            check=False,
            timeout=LONGEST,
        )
        if printed.returncode:
            raise SystemExit(f"`ostiary env` failed: {printed.stderr.decode()}")
        said: dict[str, str | None] = json.loads(printed.stdout)
        environ |= {name: value for name, value in said.items() if value is not None}
        yield Stage(home, environ, ports, banner)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(terminal)
        shutil.rmtree(home, ignore_errors=True)


# --- pictures -----------------------------------------------------------------------------------

# Legible on the light and on the dark page alike; the eight colours, then the eight bright ones.
THEME: Final = TerminalTheme(
    (24, 29, 38),
    (214, 220, 229),
    [
        (91, 100, 114), (240, 113, 120), (125, 211, 140), (233, 196, 106),
        (110, 168, 254), (199, 146, 234), (100, 210, 213), (214, 220, 229),
    ],
    [
        (122, 132, 148), (255, 139, 146), (152, 230, 166), (250, 216, 135),
        (143, 190, 255), (217, 172, 247), (133, 228, 231), (255, 255, 255),
    ],
)  # fmt: skip

# As rich's own, but for the window's buttons and its font, which a browser would fetch from a host
# that is not ours.
FORMAT: Final = """\
<svg class="screen" viewBox="0 0 {width} {height}" role="img" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; \
font-size: {char_height}px; line-height: {line_height}px; white-space: pre; }}
.{unique_id}-title {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; \
font-size: 18px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def picture(screen: Screen, output: str) -> str:
    """Return an SVG of a command's output, the command itself as its title."""
    console = Console(
        width=WIDTH, record=True, file=StringIO(), color_system="truecolor", force_terminal=True
    )
    console.print(Text.from_ansi(output), soft_wrap=False)
    drawn = console.export_svg(
        title=f"$ {screen.command}", theme=THEME, code_format=FORMAT, unique_id=screen.name
    )
    # The buttons of somebody's window.
    drawn = re.sub(r'<g transform="translate\(26,22\)">.*?</g>', "", drawn, flags=re.S)
    drawn = drawn.replace(">\n", f">\n<title>{escape(screen.command)}</title>\n", 1)
    return "\n".join(line.rstrip() for line in drawn.splitlines() if line.strip()) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Draw the screens that are named, or all of them."""
    everything = {screen.name: screen for screen in (DEV, *SCREENS)}
    if "--list" in arguments:
        for screen in everything.values():
            print(f"{screen.name:20} {screen.command}")
        return 0
    if unknown := set(arguments) - set(everything):
        print(f"no such screen: {', '.join(sorted(unknown))}; --list names them", file=sys.stderr)
        return 2
    PICTURES.mkdir(parents=True, exist_ok=True)
    with stage() as on:
        for screen in everything.values():
            output = on.banner if screen is DEV else run(screen, on.home, on.environ)
            if arguments and screen.name not in arguments:
                continue
            file = PICTURES / f"{screen.name}.svg"
            drawn = picture(screen, steady(output, on.home, on.ports))
            changed = not file.exists() or file.read_text("utf-8") != drawn
            file.write_text(drawn, "utf-8")
            print(f"{'drawn' if changed else 'as it was':10} {file.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Write each `_sync.py` from the `_async.py` beside it.

    python tools/unasync.py            write the sync files
    python tools/unasync.py --check    write nothing; fail when one differs from what it should be

Names are changed token by token, so layout and comments survive. It refuses a rule that no file
uses, an async word that is left in the output, and a skip block without its end. It does not look
at meaning: what has no twin stands between `# unasync: skip` and `# unasync: end` lines, which are
left out of the sync file together with everything between them.
"""

from __future__ import annotations

import argparse
import io
import itertools
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

HEADER: Final = "# Generated from _async.py by tools/unasync.py. Edit that file, not this one.\n\n"

# Where it looks, below the repository's root.
PLACES: Final = ("src", "examples")

# async name -> sync name, whole words, in code and in prose. A rule nothing uses is an error.
RENAMED: Final[Mapping[str, str]] = {
    "AsyncAgentCalls": "AgentCalls",
    "AsyncAgents": "Agents",
    "AsyncAgentsNames": "AgentsNames",
    "AsyncAttempts": "Attempts",
    "AsyncChannel": "Channel",
    "AsyncChannelPool": "ChannelPool",
    "AsyncChannels": "Channels",
    "AsyncChat": "Chat",
    "AsyncChatNames": "ChatNames",
    "AsyncChatStream": "ChatStream",
    "AsyncConnections": "Connections",
    "AsyncCredentials": "Credentials",
    "AsyncDomainClient": "DomainClient",
    "AsyncEventStream": "EventStream",
    "AsyncEvents": "Events",
    "AsyncExitStack": "ExitStack",
    "AsyncFramedTransport": "FramedTransport",
    "AsyncGatewayClient": "GatewayClient",
    "AsyncGenerator": "Generator",
    "AsyncGovernance": "Governance",
    "AsyncGovernanceClient": "GovernanceClient",
    "AsyncGovernanceNames": "GovernanceNames",
    "AsyncHeldHeader": "HeldHeader",
    "AsyncHeldKey": "HeldKey",
    "AsyncHeldPath": "HeldPath",
    "AsyncJudgementCalls": "JudgementCalls",
    "AsyncLease": "Lease",
    "AsyncLine": "Line",
    "AsyncLock": "Lock",
    "AsyncOstiary": "Ostiary",
    "AsyncPages": "Pages",
    "AsyncPoll": "Poll",
    "AsyncPool": "Pool",
    "AsyncPort": "Port",
    "AsyncProof": "Proof",
    "AsyncReportCalls": "ReportCalls",
    "AsyncResponseStream": "ResponseStream",
    "AsyncReviewCalls": "ReviewCalls",
    "AsyncRunCalls": "RunCalls",
    "AsyncRunStream": "RunStream",
    "AsyncRuntimeClient": "RuntimeClient",
    "AsyncSchedules": "Schedules",
    "AsyncSecrets": "Secrets",
    "AsyncSecretsNames": "SecretsNames",
    "AsyncSend": "Send",
    "AsyncStoreCalls": "StoreCalls",
    "AsyncSystem": "System",
    "AsyncSystemNames": "SystemNames",
    "AsyncToolCalls": "ToolCalls",
    "AsyncTurn": "Turn",
    "AsyncTwin": "Twin",
    "AsyncVaultClient": "VaultClient",
    "AsyncVaultKeys": "VaultKeys",
    "AsyncWorkflowClient": "WorkflowClient",
    "AsyncWorkflowEvents": "WorkflowEvents",
    "AsyncWorkflowHandle": "WorkflowHandle",
    "StopAsyncIteration": "StopIteration",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "_async": "_sync",
    "aclose": "close",
    "aio": "blocking",
    "aio_http": "blocking_http",
    "aio_pool": "blocking_pool",
    "async_map_bounded": "map_bounded",
    "async_sleep": "sleep",
    "config_async": "config",
    "delete_async": "delete",
    "enter_async": "enter",
    "explain_async": "explain",
    "get_async": "get",
    "get_credentials_async": "get_credentials",
    "get_trace_async": "get_trace",
    "get_trat_async": "get_trat",
    "health_async": "health",
    "metrics_async": "metrics",
    "push_async_callback": "callback",
    "request_headers_async": "request_headers",
    "run_async": "run",
    "set_async": "set",
    "status_async": "status",
    "trace_async": "trace",
}

_SKIP: Final = re.compile(r"[ \t]*# unasync: (\S+)[ \t]*")
_LEFTOVER: Final = re.compile(
    r"\b(?:async|await|asyncio|uvloop|anext|aiter|aclosing|_async|async_\w+|\w+_async"
    r"|__a(?:enter|exit|iter|next|wait)__|Async[A-Z]\w*)\b"
)
# In prose `async` goes only where it stands before the word it marks in code: "an async client"
# has no sync reading that a program could find, and is reported.
_KEYWORDS: Final = r"\bawait[ \t]+|\basync[ \t]+(?=(?:def|for|with)\b)"
# An f-string is one STRING on 3.11; from 3.12 on it has parts, and 3.14 adds t-strings.
_TEXT: Final = frozenset(
    getattr(tokenize, name)
    for name in ("COMMENT", "STRING", "FSTRING_MIDDLE", "TSTRING_MIDDLE")
    if hasattr(tokenize, name)
)


class UnasyncError(Exception):
    """The source cannot be turned into a sync file; the message says where and why."""


class _Edit(NamedTuple):
    start: tuple[int, int]
    end: tuple[int, int]
    text: str


def rewrite(source: str, renamed: Mapping[str, str] = RENAMED) -> tuple[str, set[str]]:
    """Return the unformatted sync text of `source`, and which rules it used.

    Raises `UnasyncError` on unbalanced markers, on source that is not Python, and on a leftover
    async word.
    """
    kept = _without_skipped(source)
    used: set[str] = set()
    try:
        edits = list(_edits(kept, renamed, used))
    except (tokenize.TokenError, SyntaxError) as error:
        raise UnasyncError(f"cannot be read as Python: {error}") from error
    lines = kept.splitlines(keepends=True)
    # From the end, so that the positions of the edits before it stay true.
    for (row, column), (end_row, end_column), text in reversed(edits):
        tail = lines[end_row - 1][end_column:]
        lines[row - 1 : end_row] = [lines[row - 1][:column] + text + tail]
    result = "".join(lines)
    for number, line in enumerate(result.splitlines(), 1):
        if found := _LEFTOVER.search(line):
            raise UnasyncError(
                f"{found[0]!r} is left in {line.strip()!r} (line {number} of the output); "
                "add a rule, reword it, or mark it `# unasync: skip`"
            )
    return HEADER + result, used


def _without_skipped(source: str) -> str:
    kept: list[str] = []
    opened = 0
    for number, line in enumerate(source.splitlines(keepends=True), 1):
        if mark := _SKIP.fullmatch(line.rstrip("\r\n")):
            if mark[1] == "skip" and not opened:
                opened = number
            elif mark[1] == "end" and opened:
                opened = 0
            else:
                raise UnasyncError(f"line {number}: {line.strip()!r} does not fit here")
        elif not opened:
            kept.append(line)
    if opened:
        raise UnasyncError(f"line {opened}: this skip block has no `# unasync: end`")
    return "".join(kept)


def _edits(source: str, renamed: Mapping[str, str], used: set[str]) -> Iterator[_Edit]:
    prose = re.compile(_KEYWORDS + "".join(rf"|\b{re.escape(name)}\b" for name in renamed))
    lines = source.splitlines(keepends=True)

    def change(match: re.Match[str]) -> str:
        word = match[0]
        if word in renamed:
            used.add(word)
            return renamed[word]
        return ""

    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for token, following in itertools.pairwise(tokens):
        if token.type == tokenize.NAME and token.string in {"async", "await"}:
            # Up to the next token, so that the blank between them goes too.
            same_line = following.start[0] == token.end[0]
            yield _Edit(token.start, following.start if same_line else token.end, "")
        elif token.type == tokenize.NAME and token.string in renamed:
            used.add(token.string)
            yield _Edit(token.start, token.end, renamed[token.string])
        elif token.type in _TEXT:
            # The source between the positions, not token.string: a part of an f-string has its
            # doubled braces already undone there.
            text = _slice(lines, token.start, token.end)
            if (changed := prose.sub(change, text)) != text:
                yield _Edit(token.start, token.end, changed)


def _slice(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    (row, column), (end_row, end_column) = start, end
    if row == end_row:
        return lines[row - 1][column:end_column]
    middle = "".join(lines[row : end_row - 1])
    return lines[row - 1][column:] + middle + lines[end_row - 1][:end_column]


def formatted(text: str, target: Path) -> str:
    """Sort the imports of `text` and lay it out as `target` would be; never touch the disk."""
    for step in (["check", "--select", "I", "--fix", "--quiet"], ["format", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *step, "--stdin-filename", str(target), "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise UnasyncError(f"ruff {step[0]} failed: {done.stdout}{done.stderr}".rstrip())
        text = done.stdout
    return text


def _require_pinned_ruff(root: Path) -> None:
    """Refuse to compare layouts with another ruff than the one the project pins."""
    groups = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    pinned = next(
        entry.removeprefix("ruff==")
        for entry in groups["check"]
        if isinstance(entry, str) and entry.startswith("ruff==")
    )
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "--version"], capture_output=True, text=True, check=False
    )
    have = done.stdout.removeprefix("ruff ").strip()
    if have != pinned:
        raise UnasyncError(
            f"ruff {have or 'is missing'}, {pinned} is pinned; run `make setup` "
            f"or `pip install ruff=={pinned}`"
        )


def _named(root: Path, name: str) -> list[Path]:
    return sorted(path for place in PLACES for path in root.glob(f"{place}/**/{name}"))


def run(root: Path, *, check: bool, renamed: Mapping[str, str] = RENAMED) -> list[str]:
    """Write or check every pair under `root`'s PLACES; return the complaints."""
    _require_pinned_ruff(root)
    origins = _named(root, "_async.py")
    if not origins:
        return [f"there is no _async.py to read in {' or '.join(PLACES)}"]
    complaints: list[str] = []
    used: set[str] = set()
    for origin in origins:
        target = origin.with_name("_sync.py")
        try:
            text, rules = rewrite(origin.read_text("utf-8"), renamed)
            text = formatted(text, target)
        except UnasyncError as error:
            complaints.append(f"{origin.relative_to(root)}: {error}")
            continue
        used |= rules
        if check:
            if not target.exists() or target.read_text("utf-8") != text:
                complaints.append(f"{target.relative_to(root)} is out of date; run `make sync`")
        elif not target.exists() or target.read_text("utf-8") != text:
            target.write_text(text, "utf-8")
            print(f"wrote {target.relative_to(root)}")
    # A file that failed above may hold the only use: report its error alone.
    if not complaints and (unused := renamed.keys() - used):
        complaints.append(f"rules nothing uses: {', '.join(sorted(unused))}; delete them")
    # A sync file whose source went away would live on unseen.
    complaints += [
        f"{lost.relative_to(root)} has no _async.py beside it; delete it"
        for lost in _named(root, "_sync.py")
        if not lost.with_name("_async.py").exists()
    ]
    return complaints


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; 0 when all is well, 1 with the complaints on stderr."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail when stale")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    options = parser.parse_args(arguments)
    try:
        complaints = run(options.root, check=options.check)
    except UnasyncError as error:
        complaints = [str(error)]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())

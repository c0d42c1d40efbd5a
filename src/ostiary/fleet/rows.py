"""Results on file: a line of JSON for each, appended as they come, and read to go on.

The first line names the run, so that whoever goes on has the same idempotency keys. A line that
a crash has cut is dropped, and its input run again. Neighbour: `cli/fleet`, which writes them.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import msgspec

from .._decoders import convert, decode_as
from ..errors import InvalidArgumentError
from .errors import FleetError, told
from .report import FleetReport, FleetResult

if TYPE_CHECKING:
    from ..gateway.io.outputs import SarifOutput

__all__ = ["Rows"]


class _Head(msgspec.Struct):
    fleet: str
    work: str


class _Failure(msgspec.Struct):
    type: str
    message: str


class _Found(msgspec.Struct):
    """What a SARIF output is made of; `repository` is its path, reference and URL."""

    tool_name: str
    tool_version: str
    information_uri: str
    repository: tuple[str, str, str] | None
    findings: list[Any]


class _Row(msgspec.Struct, omit_defaults=True):
    """One line."""

    id: str
    key: str
    attempts: int
    seconds: float
    ok: bool
    value: Any = None
    error: _Failure | None = None
    found: _Found | None = None


class Rows:
    """A file of results, held by this process alone until it is closed."""

    def __init__(self, path: str | os.PathLike[str], work: str, *, resume: bool) -> None:
        """Open or make the file; `run_id` and `done` are what it already says.

        Without `resume` it has to be new or empty. Raises `InvalidArgumentError` for a file that
        has other content, is of other work, or is written by somebody else.
        """
        self.path = Path(path)
        self.work = work
        self.run_id: str | None = None
        self.done: set[str] = set()
        """The ids that have a result."""
        self._file = _opened(self.path)
        try:
            if resume:
                self._read()
            elif self._file.seek(0, os.SEEK_END):
                raise InvalidArgumentError(
                    f"{path} has results already; give another file, or --resume to go on"
                )
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> None:
        kept = 0
        for number, line in enumerate(self._lines(), 1):
            if not line.endswith(b"\n"):
                break  # cut by a crash
            try:
                if number == 1:
                    head = decode_as(line, _Head)
                    self.run_id, work = head.fleet, head.work
                else:
                    work = self.work
                    self.done.add(decode_as(line, _Row).id)
            except msgspec.MsgspecError as error:
                problem = str(error)
            else:
                if work != self.work:
                    raise InvalidArgumentError(f"{self.path} has the results of {work}")
                kept += len(line)
                continue
            raise InvalidArgumentError(
                f"{self.path}, line {number}, is no result of a fleet: {problem}"
            )
        self._file.truncate(kept)

    def _lines(self) -> Iterator[bytes]:
        # The file itself has no buffer, and reads byte by byte.
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            yield from lines

    def begin(self, run_id: str) -> None:
        """Name the run, in a file that names none yet."""
        if self.run_id is None:
            self.run_id = run_id
            self._write(_Head(run_id, self.work))

    def add(self, result: FleetResult) -> None:
        """Append a result; it is with the system when this returns.

        Raises `FleetError` when the file takes no more.
        """
        self._write(_row(result))

    def _write(self, row: msgspec.Struct) -> None:
        # One write: a crash cuts the last line, and no other.
        line = _encoded(row) + b"\n"
        try:
            if os.write(self._file.fileno(), line) == len(line):
                return
            reason = "there is no more room"
        except OSError as error:
            reason = error.strerror or type(error).__name__
        raise FleetError(
            f"results cannot be written to {self.path}: {reason}; mend that, and go on with "
            "--resume"
        )

    def recall(self, report: FleetReport) -> None:
        """Put the findings of earlier results into a report."""
        from ..gateway.io.findings import Finding
        from ..gateway.io.inputs import RepositoryInput
        from ..gateway.io.outputs import SarifOutput

        self._file.seek(0)
        for line in self._lines():
            # Most have none, and are not read a second time.
            if b'"found":' not in line or (found := decode_as(line, _Row).found) is None:
                continue
            output = SarifOutput(
                found.tool_name,
                found.tool_version,
                convert(found.findings, list[Finding]),
                information_uri=found.information_uri,
            )
            if found.repository is not None:
                output.repository = RepositoryInput(
                    Path(found.repository[0]), *found.repository[1:]
                )
            report.found(output)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def _opened(path: Path) -> BinaryIO:
    reason = ""
    try:
        file = path.open("a+b", buffering=0)
    except OSError as error:
        reason = error.strerror or type(error).__name__
    else:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.seek(0)
            return file
        except OSError:
            file.close()
            reason = "another process writes to it"
    raise InvalidArgumentError(f"results cannot be written to {path}: {reason}")


def _row(result: FleetResult) -> _Row:
    value, found = result.value, None
    # A value with findings has brought their module along.
    if "ostiary.gateway.io.findings" in sys.modules:
        from ..gateway.agent import AgentResult
        from .sarif import findings_in

        output = findings_in(value)
        if output is not None:
            found = _of(output)
        if isinstance(value, AgentResult):
            value = {"exit_code": value.exit_code, "metadata": value.metadata}
        elif output is not None:
            value = None
    error = result.error
    return _Row(
        result.id,
        result.key,
        result.attempts,
        round(result.seconds, 6),
        result.ok,
        value,
        None if error is None else _failure(error),
        found,
    )


def _failure(error: Exception) -> _Failure:
    name = type(error).__name__
    # A path may hold what no UTF-8 can.
    text = told(error).removeprefix(name).removeprefix(": ")
    return _Failure(name, text.encode("utf-8", "backslashreplace").decode())


def _of(output: SarifOutput) -> _Found:
    where = output.repository
    return _Found(
        output.tool_name,
        output.tool_version,
        output.information_uri,
        None if where is None else (str(where.path), where.ref, where.url),
        output.findings,
    )


def _encoded(row: msgspec.Struct) -> bytes:
    """Return a line; a value that JSON has no form for is its type's name."""
    try:
        return msgspec.json.encode(row, enc_hook=_name)
    except (TypeError, ValueError, OverflowError, RecursionError):
        pass
    assert isinstance(row, _Row)
    row.value, row.found = _name(row.value), None
    return msgspec.json.encode(row)


def _name(value: object) -> str:
    # `str` of something unknown might tell what nobody meant to write.
    return type(value).__name__

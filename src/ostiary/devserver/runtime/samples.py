"""The documentation's workflow, which is a real one: statistics of a CSV file's columns.

It reads below one directory alone. Neighbour: `workflows` runs it on a thread.
"""

from __future__ import annotations

import csv
import os
import stat
import statistics
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..home import create_private
from ..http.refusals import HttpRefusal

__all__ = ["DATA_ANALYSIS", "analyse", "write"]

DATA_ANALYSIS: Final = "data-analysis-workflow"

_SAMPLE: Final = "path/to/data.csv"
_MOST_BYTES: Final = 64 * 1024 * 1024
_MOST_COLUMNS: Final = 1_000
_FREQUENT: Final = 5
_ROWS: Final = (
    ("day", "region", "orders", "revenue"),
    ("2026-01-05", "north", "41", "1230.50"),
    ("2026-01-05", "south", "35", "987.25"),
    ("2026-01-06", "north", "52", "1502.00"),
    ("2026-01-06", "south", "29", "803.75"),
    ("2026-01-07", "north", "47", "1398.10"),
    ("2026-01-07", "south", "", ""),
    ("2026-01-08", "north", "63", "1877.40"),
    ("2026-01-08", "south", "44", "1214.95"),
)


def write(directory: Path) -> None:
    """Put the sample's file there, unless there is one."""
    path = directory / _SAMPLE
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    create_private(path, "".join(",".join(row) + "\n" for row in _ROWS).encode())


def analyse(directory: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures about each column of the CSV file `input_data`, a path below `directory`.

    `analysis_type` is `statistical`, which it is when left out, or `summary` without figures.
    The first row holds the names. A column of numbers has count, missing, mean, median,
    stdev, minimum and maximum; any other its most frequent values.
    """
    name = parameters.get("input_data")
    if not isinstance(name, str) or not name:
        raise _invalid("input_data", "input_data is the path of a CSV file below runtime/files")
    kind = parameters.get("analysis_type", "statistical")
    if kind not in {"statistical", "summary"}:
        raise _invalid("analysis_type", "analysis_type is 'statistical' or 'summary'")
    columns, rows = _read(directory, name)
    found: dict[str, Any] = {
        "input_data": name,
        "analysis_type": kind,
        "rows": rows,
        "columns": list(columns),
    }
    if kind == "statistical":
        found["statistics"] = {column: _figures(values) for column, values in columns.items()}
    return found


def _read(directory: Path, name: str) -> tuple[dict[str, list[str]], int]:
    handle = _open(directory, name)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _missing()
    problem = ""
    try:
        with os.fdopen(handle, encoding="utf-8-sig", newline="") as file:
            if os.fstat(file.fileno()).st_size > _MOST_BYTES:
                raise _invalid("input_data", "the file has more than 64 MiB")
            reader = csv.reader(file, strict=True)
            names = next(reader, None)
            if not names or len(names) > _MOST_COLUMNS or len(set(names)) != len(names):
                raise _invalid(
                    "input_data", "the file's first row does not hold the names of its columns"
                )
            columns: dict[str, list[str]] = {name: [] for name in names}
            rows = 0
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise _invalid(
                        "input_data",
                        f"line {reader.line_num} has {len(row)} values for {len(names)} columns",
                    )
                rows += 1
                for column, value in zip(names, row, strict=True):
                    columns[column].append(value.strip())
            return columns, rows
    except UnicodeDecodeError:
        problem = "the file is not UTF-8"
    except csv.Error as error:
        problem = f"the file is no CSV: {error}"
    raise _invalid("input_data", problem)


def _open(directory: Path, name: str) -> int:
    """Open a file below `directory`, step by step and along no link."""
    parts = name.split("/")
    if name.startswith("/") or "\0" in name or not {"", ".", ".."}.isdisjoint(parts):
        raise _invalid("input_data", "input_data is a path below runtime/files, without '..'")
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    here = -1
    try:
        here = os.open(directory, flags | os.O_DIRECTORY)
        for part in parts[:-1]:
            inner = os.open(part, flags | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = inner
        # A pipe of that name would otherwise be waited for.
        return os.open(parts[-1], flags | os.O_NONBLOCK, dir_fd=here)
    except OSError:
        pass
    finally:
        if here >= 0:
            os.close(here)
    raise _missing()


def _figures(values: list[str]) -> dict[str, Any]:
    given = [value for value in values if value]
    numbers = _numbers(given)
    found: dict[str, Any] = {"count": len(given), "missing": len(values) - len(given)}
    if numbers:
        found |= {
            "type": "number",
            "mean": statistics.fmean(numbers),
            "median": statistics.median(numbers),
            "stdev": statistics.stdev(numbers) if len(numbers) > 1 else 0.0,
            "minimum": min(numbers),
            "maximum": max(numbers),
        }
    else:
        frequent = Counter(given).most_common(_FREQUENT)
        found |= {
            "type": "text",
            "distinct": len(set(given)),
            "most_frequent": [{"value": value, "count": count} for value, count in frequent],
        }
    return found


def _numbers(values: list[str]) -> list[float] | None:
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return None
    return numbers if all(abs(one) < float("inf") for one in numbers) else None


def _missing() -> HttpRefusal:
    return HttpRefusal(
        404, "FILE_NOT_FOUND", "there is no such file below runtime/files in the home; put it there"
    )


def _invalid(field: str, message: str) -> HttpRefusal:
    return HttpRefusal(
        422, "VALIDATION_FAILED", message, details={"field": field, "fields": [field]}
    )

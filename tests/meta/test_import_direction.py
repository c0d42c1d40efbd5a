"""Imports point one way: each room may use what stands above it, and domains stay strangers.

Read from the source, not from a running import: an import inside a function counts, and so do
the `cimport`s of a .pyx and a .pxd.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "ostiary"

# From the ground up. Rooms on one line never import one another.
FLOORS: list[set[str]] = [
    {"errors", "_decoders", "_later"},
    {"config", "secret"},
    {"_api_key"},
    {"telemetry"},
    {"_wire"},
    {"_pool", "_limit"},
    {"_io"},
    {"_retry", "_route", "_model"},
    {"_refusal"},
    {"_transport"},
    {"http"},
    {"_settings"},
    {"_calls"},
    {"vault", "gateway", "runtime", "workflow", "governance"},
    {"client"},
    {"fleet"},
    {"integrations"},
    {"devserver"},
    {"testing"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# The package itself: cheap to import, so it takes these two, and `client` when it is asked to
# (tests/meta/test_import_cost.py).
OF_THE_PACKAGE = {"errors", "secret", "client"}
# Narrower than their place on the list: decisions and bytes know no configuration.
ONLY = {
    "_wire": {"errors", "_decoders"},
    "_retry": {"errors"},
    "_pool": {"errors"},
    "_limit": set(),
}

# No clock, no socket, no lock, no event loop where bytes and decisions are made.
IMPURE = {"asyncio", "select", "selectors", "signal", "socket", "ssl", "threading", "time"}
PURE_ROOMS = {
    "errors",
    "config",
    "secret",
    "telemetry",
    "_wire",
    "_pool",
    "_limit",
    "_retry",
    "_route",
    "_refusal",
    "_model",
}
# Sockets, ssl and event loops are known to _io and to what is not part of the client.
WIRE_MODULES = {"asyncio", "select", "selectors", "socket", "ssl"}
MAY_TOUCH_THE_WIRE = {"_io", "fleet", "integrations", "devserver", "testing", "cli", "__main__"}
# What the core is installed with, and nothing else.
CORE_NEEDS = {"msgspec", "nacl", "h11"}
NEEDS_EXTRA = {"fleet", "integrations", "devserver", "testing", "cli", "__main__"}
# Single files of other rooms that work with an extra alone, and the packages it brings. Only
# functions import them, or one another's modules do; they may know clocks and event loops.
WITH_EXTRA: dict[str, set[str]] = {
    "gateway/_structlog.py": {"structlog"},
    "gateway/agent.py": set(),
    "gateway/auth/workload.py": {"spiffe"},
    "gateway/llm/_langchain.py": set(),
    "gateway/llm/access.py": {"pydantic"},
    "gateway/llm/clients.py": set(),
    "gateway/llm/conversion.py": {"langchain_core"},
    "gateway/llm/faults.py": {"langchain_core"},
    "gateway/llm/gateway_chat.py": {"langchain_core", "pydantic"},
    "gateway/llm/gateway_embeddings.py": {"langchain_core", "pydantic"},
    "gateway/llm/structured.py": {"langchain_core", "pydantic", "typing_extensions"},
    "gateway/llm/tools.py": {"langchain_core", "pydantic"},
    "gateway/mcp/held.py": set(),
    "gateway/mcp/session.py": {"anyio", "httpx2", "mcp", "mcp_types", "pydantic"},
    "gateway/mcp/transport.py": {"httpx2"},
    "gateway/runner.py": set(),
    "runtime/ecdsa.py": {"cryptography"},
    "telemetry/otel.py": {"opentelemetry"},
    "workflow/telemetry/otel.py": {"opentelemetry"},
}


class Import(NamedTuple):
    file: str
    line: int
    target: tuple[str, ...]
    typing_only: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {'.'.join(self.target)}"


def absolute(file: Path, base: Path, dots: int, module: str) -> tuple[str, ...]:
    """Resolve `from ..x` against the package the file stands in."""
    parts = tuple(part for part in module.split(".") if part)
    if not dots:
        return parts
    package = ("ostiary", *file.parent.relative_to(base).parts)
    return package[: len(package) - (dots - 1)] + parts


def imports_of(file: Path, base: Path) -> Iterator[Import]:
    text = file.read_text("utf-8")
    name = file.relative_to(base).as_posix()
    found = _python(text) if file.suffix in {".py", ".pyi"} else _cython(text)
    for line, dots, module, names, typing_only in found:
        target = absolute(file, base, dots, module)
        # `from .. import vault` names the room after the import.
        for each in names if target == ("ostiary",) else [""]:
            yield Import(name, line, (*target, each) if each else target, typing_only)


_IMPORTS = (ast.Import, ast.ImportFrom)

Raw = tuple[int, int, str, list[str], bool]


def _python(text: str) -> Iterator[Raw]:
    tree = ast.parse(text)
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        typing_only = id(node) in guarded
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, 0, alias.name, [], typing_only
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            yield node.lineno, node.level, node.module or "", names, typing_only


_FROM = re.compile(
    r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+c?import[ \t]+(\([^)]*\)|[^\n#]*)", re.MULTILINE
)
_IMPORT = re.compile(r"^[ \t]*c?import[ \t]+([^\n#]+)", re.MULTILINE)


def _cython(text: str) -> Iterator[Raw]:
    for match in _FROM.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        names = [part.split()[0] for part in match[3].strip("()").split(",") if part.split()]
        yield line, len(match[1]), match[2], names, False
    for match in _IMPORT.finditer(text):
        line = text.count("\n", 0, match.start(1)) + 1
        for part in match[1].split(","):
            yield line, 0, part.split()[0], [], False


def room_of(path: str) -> str:
    """Name the room a file (relative to the package) stands in."""
    return path.split("/")[0].split(".")[0]


def complaint(one: Import) -> str | None:
    """Say what is wrong with one import, or None."""
    room = room_of(one.file)
    if one.target[0] == "ostiary":
        return _between_rooms(room, one)
    top = one.target[0]
    if one.typing_only or one.file in WITH_EXTRA:
        return None
    if room in PURE_ROOMS and top in IMPURE:
        return f"{one}: {room} makes decisions and does no I/O"
    if room not in MAY_TOUCH_THE_WIRE and top in WIRE_MODULES:
        return f"{one}: only _io knows sockets, ssl and event loops"
    return None


def _between_rooms(room: str, one: Import) -> str | None:
    other = one.target[1] if len(one.target) > 1 else "__version__"
    if other.startswith("__") or other == room:
        return None
    if other not in FLOOR:
        return f"{one}: {other} is no room of FLOORS"
    if room == "__init__":
        return None if other in OF_THE_PACKAGE else f"{one}: ostiary takes no more than it must"
    if room not in FLOOR:
        return f"{one}: {room} is no room of FLOORS"
    if FLOOR[other] >= FLOOR[room]:
        return f"{one}: {other} does not stand above {room}"
    if other not in ONLY.get(room, FLOOR):
        return f"{one}: {room} may import {sorted(ONLY[room])} alone"
    return None


def sources(base: Path) -> list[Path]:
    return sorted(
        path for path in base.rglob("*") if path.suffix in {".py", ".pyi", ".pyx", ".pxd"}
    )


def complaints(base: Path) -> list[str]:
    return [
        said for file in sources(base) for one in imports_of(file, base) if (said := complaint(one))
    ]


def test_every_import_points_up() -> None:
    assert complaints(PACKAGE) == []


def test_the_core_needs_three_packages() -> None:
    """Whatever stands outside the extras imports the standard library and CORE_NEEDS."""
    known = set(sys.stdlib_module_names) | CORE_NEEDS
    known |= {"ostiary", "cython", "libc", "posix", "cpython"}  # the last four: cimports
    foreign = [
        str(one)
        for file in sources(PACKAGE)
        if room_of(file.relative_to(PACKAGE).as_posix()) not in NEEDS_EXTRA
        for one in imports_of(file, PACKAGE)
        if not one.typing_only and one.target[0] not in known | WITH_EXTRA.get(one.file, set())
    ]
    assert foreign == []


def test_a_file_that_needs_an_extra_is_imported_by_functions() -> None:
    """At module level only another such file of the same room may import one."""
    modules = {file.removesuffix(".py").replace("/", ".") for file in WITH_EXTRA}
    eager = []
    for file in sources(PACKAGE):
        name = file.relative_to(PACKAGE).as_posix()
        if file.suffix != ".py" or name in WITH_EXTRA or room_of(name) in NEEDS_EXTRA:
            continue
        tree = ast.parse(file.read_text("utf-8"))
        at_top = ast.Module([node for node in tree.body if isinstance(node, _IMPORTS)], [])
        for _, dots, module, names, _ in _python(ast.unparse(at_top)):
            target = ".".join(absolute(file, PACKAGE, dots, module)[1:])
            found = {target, *(f"{target}.{each}" for each in names)} & modules
            eager += [f"{name} imports {each}" for each in found]
    assert eager == []


def test_something_was_read() -> None:
    files = {path.relative_to(PACKAGE).as_posix() for path in sources(PACKAGE)}
    assert {"errors.py", "config.py", "_wire/framer.pyx", "_wire/framer.pxd"} <= files
    found = {str(one) for file in sources(PACKAGE) for one in imports_of(file, PACKAGE)}
    assert any("_wire/framer.pyx" in one and "ostiary.errors" in one for one in found)


# The check itself is checked: each of these trees has one wrong import.
@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("errors.py", "from . import config\n", "config does not stand above errors"),
        ("errors.py", "from .config import Limits\n", "config does not stand above errors"),
        ("vault/_async.py", "from ..gateway import models\n", "gateway does not stand above vault"),
        ("vault/_async.py", "def f():\n    import ostiary.cli\n", "cli does not stand above vault"),
        ("vault/_async.py", "from ..toolbox import x\n", "toolbox is no room"),
        ("_wire/framer.pyx", "from .._io.sockets cimport wait\n", "_io does not stand above _wire"),
        ("_wire/framer.pxd", "from .._io cimport (\n  sockets,\n)\n", "_io does not stand above"),
        (
            "_wire/framer.pyx",
            "from ..config import Limits\n",
            "may import ['_decoders', 'errors'] alone",
        ),
        ("_wire/framer.pyx", "    import time\n", "does no I/O"),
        ("_pool.pyx", "from ._io.sockets cimport now\n", "_io does not stand above _pool"),
        ("_pool.pyx", "from .config import Limits\n", "may import ['errors'] alone"),
        ("_pool.pyx", "import threading\n", "does no I/O"),
        ("_route.py", "from .http import Pool\n", "http does not stand above _route"),
        ("http/_async.py", "from ..governance import models\n", "does not stand above http"),
        ("http/_async.py", "import asyncio\n", "only _io knows sockets"),
        ("governance/_async.py", "from ..vault import keys\n", "does not stand above governance"),
        ("_io/aio.pyx", "from .. import vault\n", "vault does not stand above _io"),
        ("vault/_async.py", "import asyncio\n", "only _io knows sockets"),
        ("http/_async.py", "from .. import testing\n", "testing does not stand above http"),
        ("telemetry/__init__.py", "from ..http import Pool\n", "http does not stand above"),
        ("telemetry/__init__.py", "import time\n", "does no I/O"),
        ("__init__.py", "from .vault import VaultClient\n", "takes no more than it must"),
        ("cli/vault.py", "from ..cli2 import x\n", "cli2 is no room"),
    ],
)
def test_a_wrong_import_is_seen(tmp_path: Path, file: str, text: str, said: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    (found,) = complaints(tmp_path)
    assert said in found


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("vault/_async.py", "from .._io.aio import connect\nfrom . import models\n"),
        ("vault/_async.py", "if TYPE_CHECKING:\n    import ssl\n"),
        ("_io/aio.pyx", "import asyncio\nfrom .._wire.rpc cimport Method\n"),
        ("_io/aio_http.pyx", "from .._pool cimport Roster, Ticket\n"),
        (
            "governance/_async.py",
            "from ..http._async import AsyncPool\nfrom .._route import Route\n",
        ),
        ("cli/vault.py", "from ..devserver.admin import AdminClient\nfrom .. import __version__\n"),
    ],
)
def test_a_right_import_is_let_be(tmp_path: Path, file: str, text: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    assert complaints(tmp_path) == []

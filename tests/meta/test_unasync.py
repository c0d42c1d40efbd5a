"""tools/unasync.py: what it changes, what it leaves alone, and what it refuses."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tools import unasync
from tools.unasync import HEADER, RENAMED, UnasyncError, rewrite

RULES = {"AsyncClient": "Client", "AsyncIterator": "Iterator", "aio": "blocking", "_async": "_sync"}

needs_ruff = pytest.mark.skipif(
    importlib.util.find_spec("ruff") is None, reason="ruff is not installed (group `check`)"
)


def sync(source: str) -> str:
    text, _ = rewrite(source, RULES)
    return text.removeprefix(HEADER)


@pytest.mark.parametrize(
    ("source", "want"),
    [
        ("async def f(): pass\n", "def f(): pass\n"),
        ("async  def f(): pass\n", "def f(): pass\n"),
        ("x = await  f(await g())\n", "x = f(g())\n"),
        ("x = await(f())\n", "x = (f())\n"),
        ("async with a as b: pass\n", "with a as b: pass\n"),
        ("y = [x async for x in z]\n", "y = [x for x in z]\n"),
        ("class AsyncClient: pass\n", "class Client: pass\n"),
        ("from .._io.aio import AsyncClient\n", "from .._io.blocking import Client\n"),
        ("from ._async import x\n", "from ._sync import x\n"),
        ("x = AsyncClient.aio.AsyncClient\n", "x = Client.blocking.Client\n"),
        # a renamed word is a whole word
        ("audio = radio.aiox\n", "audio = radio.aiox\n"),
        ("x = (await f(),\n     await g())  # await h()\n", "x = (f(),\n     g())  # h()\n"),
    ],
)
def test_code(source: str, want: str) -> None:
    assert sync(source) == want


@pytest.mark.parametrize(
    ("source", "want"),
    [
        (
            '"""Use `await client.x()` of `AsyncClient`."""\n',
            '"""Use `client.x()` of `Client`."""\n',
        ),
        ('"""a\n  async with AsyncClient() as c:\n"""\n', '"""a\n  with Client() as c:\n"""\n'),
        ("# async for x in y\n", "# for x in y\n"),
        ("n = 'AsyncClient'; m = 1\n", "n = 'Client'; m = 1\n"),
        (
            's = f"{await x} of {{AsyncClient}} {AsyncClient!r}"\n',
            's = f"{x} of {{Client}} {Client!r}"\n',
        ),
        ('s = f"""{\nawait x}\nAsyncClient"""\n', 's = f"""{\nx}\nClient"""\n'),
        ("s = 'asynchronous, awaited'\n", "s = 'asynchronous, awaited'\n"),
    ],
)
def test_prose(source: str, want: str) -> None:
    assert sync(source) == want


def test_skip_block_is_left_out_whole() -> None:
    source = (
        "a = 1\n"
        "# unasync: skip\n"
        "import asyncio\n"
        "# unasync: end\n"
        "class C:\n"
        "    # unasync: skip\n"
        "    async def only(self): await asyncio.sleep(0)\n"
        "    # unasync: end\n"
        "    async def both(self): pass\n"
    )
    assert sync(source) == "a = 1\nclass C:\n    def both(self): pass\n"


@pytest.mark.parametrize(
    "source",
    [
        "# unasync: skip\nx = 1\n",
        "# unasync: end\n",
        "# unasync: skip\n# unasync: skip\n# unasync: end\n",
        "# unasync: skp\n# unasync: end\n",
    ],
)
def test_unbalanced_or_unknown_markers_are_refused(source: str) -> None:
    with pytest.raises(UnasyncError, match=r"line [12]:"):
        sync(source)


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio\n",
        "x = AsyncOther()\n",
        "def __aenter__(self): pass\n",
        "x = anext(y)\n",
        "# an async client\n",
        '"""Runs under uvloop."""\n',
        "async_thing = 1\n",
        "x = self.run_async()\n",
    ],
)
def test_a_leftover_is_refused(source: str) -> None:
    with pytest.raises(UnasyncError, match="is left in"):
        sync(source)


def test_source_that_is_no_python_is_refused() -> None:
    with pytest.raises(UnasyncError, match="cannot be read as Python"):
        sync("x = (\n")


def test_used_rules_are_reported() -> None:
    assert rewrite("x = AsyncClient()  # aio\n", RULES)[1] == {"AsyncClient", "aio"}


def tree(tmp_path: Path, source: str) -> Path:
    pyproject = Path(unasync.__file__).parent.parent / "pyproject.toml"
    (tmp_path / "pyproject.toml").write_text(pyproject.read_text("utf-8"), "utf-8")
    origin = tmp_path / "src" / "pkg" / "_async.py"
    origin.parent.mkdir(parents=True)
    origin.write_text(source, "utf-8")
    return origin.with_name("_sync.py")


@needs_ruff
def test_write_then_check(tmp_path: Path) -> None:
    target = tree(tmp_path, "from z import AsyncClient\nimport a\nx = await AsyncClient( a )\n")
    rules = {"AsyncClient": "Client"}
    assert unasync.run(tmp_path, check=True, renamed=rules) == [
        "src/pkg/_sync.py is out of date; run `make sync`"
    ]
    assert not target.exists()
    assert unasync.run(tmp_path, check=False, renamed=rules) == []
    assert target.read_text("utf-8") == (
        HEADER + "import a\nfrom z import Client\n\nx = Client(a)\n"
    )
    assert unasync.run(tmp_path, check=True, renamed=rules) == []
    # one blank more is another file
    target.write_text(target.read_text("utf-8") + "\n", "utf-8")
    assert unasync.run(tmp_path, check=True, renamed=rules) != []


@needs_ruff
def test_unused_rules_and_orphans_are_reported(tmp_path: Path) -> None:
    target = tree(tmp_path, "x = 1\n")
    lost = target.parent.parent / "other" / "_sync.py"
    lost.parent.mkdir()
    lost.write_text("", "utf-8")
    assert unasync.run(tmp_path, check=False, renamed={"AsyncClient": "Client"}) == [
        "rules nothing uses: AsyncClient; delete them",
        "src/other/_sync.py has no _async.py beside it; delete it",
    ]


@needs_ruff
def test_a_tree_without_sources_is_an_error(tmp_path: Path) -> None:
    tree(tmp_path, "").with_name("_async.py").unlink()
    assert unasync.run(tmp_path, check=True) == ["there is no _async.py to read in src or examples"]


@needs_ruff
def test_another_ruff_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "x = 1\n")
    pyproject = tmp_path / "pyproject.toml"
    text = pyproject.read_text("utf-8")
    pyproject.write_text(text.replace('"ruff==', '"ruff==999.'), "utf-8")
    with pytest.raises(UnasyncError, match=r"999\.\S+ is pinned"):
        unasync.run(tmp_path, check=True)


@needs_ruff
def test_command_line(tmp_path: Path) -> None:
    tree(tmp_path, "import asyncio\n")
    done = subprocess.run(
        [sys.executable, unasync.__file__, "--check", "--root", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "'asyncio' is left in 'import asyncio'" in done.stderr


def test_no_rule_leaves_an_async_word() -> None:
    assert not [name for name in RENAMED.values() if unasync._LEFTOVER.search(name)]

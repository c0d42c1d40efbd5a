"""The types users see: right programs pass mypy and pyright in strict mode, wrong ones do not.

`vault_calls.py` beside this is all `assert_type`. Both checkers also run over it in `make check`.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# Each marked line is a mistake that both checkers must see, and they must see no other.
WRONG = """\
from ostiary import Secret
from ostiary.vault import AsyncVaultClient, VaultClient

client = VaultClient("a")
client.retrieve(1)  # wrong
client.retrieve("p", 5)  # wrong
client.retrieve("p", ttl="long")  # wrong
client.retrive("p")  # wrong
number: int = client.retrieve("p")  # wrong
text: str = client.lease("p").value  # wrong
VaultClient("a", socketpath="x")  # wrong
VaultClient()  # wrong
client.list()[0].value  # wrong
secret_text: str = Secret("x")  # wrong


async def main() -> None:
    other = AsyncVaultClient("a")
    got: str = other.retrieve("p")  # wrong
    with other:  # wrong
        pass
    print(got)
"""
MISTAKES = {number for number, line in enumerate(WRONG.splitlines(), 1) if "# wrong" in line}


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(module) is None,
        reason=f"{module} is not installed (group `check`; `make check` runs it)",
    )


def mypy(root: Path, file: Path) -> set[int]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml")),
            *("--no-pretty", "--no-error-summary", "--hide-error-context", str(file)),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if ": error:" in line]
    elsewhere = [line for line in lines if file.name not in line]
    assert elsewhere == []
    return {int(line.split(":")[1]) for line in lines}


def pyright(root: Path, file: Path, tmp_path: Path) -> set[int]:
    # A configuration beside a copy of the file: naming files on the command line turns strict
    # mode off, and what lies outside the configuration's directory is passed over in silence.
    copy = tmp_path / file.name
    if copy != file:
        shutil.copy(file, copy)
    (tmp_path / "pyrightconfig.json").write_text(
        json.dumps(
            {
                "include": [file.name],
                "typeCheckingMode": "strict",
                "pythonVersion": "3.11",
                "extraPaths": [str(root / "src")],
                "reportUnusedExpression": False,
            }
        ),
        "utf-8",
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable),
            *("--project", str(tmp_path)),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1, done.stdout
    found = [one for one in report["generalDiagnostics"] if one["severity"] == "error"]
    return {one["range"]["start"]["line"] + 1 for one in found}


@needs("mypy")
def test_mypy_infers_what_we_promise(root: Path) -> None:
    assert mypy(root, HERE / "vault_calls.py") == set()


@needs("pyright")
def test_pyright_infers_what_we_promise(root: Path, tmp_path: Path) -> None:
    assert pyright(root, HERE / "vault_calls.py", tmp_path) == set()


@needs("mypy")
def test_mypy_sees_each_mistake(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(WRONG, "utf-8")
    assert mypy(root, file) == MISTAKES


@needs("pyright")
def test_pyright_sees_each_mistake(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(WRONG, "utf-8")
    assert pyright(root, file, tmp_path) == MISTAKES


def test_the_package_says_that_it_is_typed() -> None:
    import ostiary

    assert ostiary.__file__
    assert Path(ostiary.__file__).with_name("py.typed").exists()

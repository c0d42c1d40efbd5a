"""What stands between a tag and an index: the tag's judge, the API's, the wheels', the workflow."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tools import api, tag, wheels

INITIAL = """__version__ = "0.3.1"
__all__ = ["call"]


def call(name: str, *, timeout: float = 1.0) -> str:
    return name
"""


COMMIT = [
    *("-c", "user.name=somebody", "-c", "user.email=somebody@example.com"),
    *("-c", "commit.gpgsign=false", "commit", "--quiet", "--message", "Release"),
]
INSIDE = ["cli/__init__.py", "cli/given.py", "_inside.py", "vault/_wire.py", "vault/deep.py"]


def source(root: Path, text: str, changelog: str = "## 0.3.1 - 2026-01-31\n") -> None:
    package = root / "src" / "ostiary"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(text, "utf-8")
    (root / "CHANGELOG.md").write_text(f"# Changelog\n\n{changelog}", "utf-8")


def inside(root: Path, text: str) -> None:
    for name in INSIDE:
        path = root / "src" / "ostiary" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    (root / "src" / "ostiary" / "vault" / "__init__.py").write_text("", "utf-8")


def commit(root: Path) -> None:
    for command in (["add", "."], COMMIT):
        subprocess.run(["git", "-C", str(root), *command], check=True)


class TestTag:
    def test_what_agrees_may_be_released(self, tmp_path: Path) -> None:
        source(tmp_path, INITIAL)
        assert tag.complaints("v0.3.1", tmp_path) == []

    @pytest.mark.parametrize("name", ["0.3.1", "v0.3", "v0.3.1rc1", "v0.03.1", "v0.3.1\n", ""])
    def test_a_tag_is_v_and_three_numbers(self, tmp_path: Path, name: str) -> None:
        source(tmp_path, INITIAL)
        (complaint,) = tag.complaints(name, tmp_path)
        assert "is not a release" in complaint

    def test_the_package_has_to_say_the_same(self, tmp_path: Path) -> None:
        source(tmp_path, INITIAL, "## [0.3.2] - 2026-02-01\n")
        (complaint,) = tag.complaints("v0.3.2", tmp_path)
        assert complaint == "the tag says 0.3.2, ostiary.__version__ says 0.3.1"

    @pytest.mark.parametrize(
        ("section", "said"),
        [
            ("## 0.3.1 - unreleased\n", "a release has a day"),
            ("## 0.3.10 - 2026-01-31\n", "no section"),
            ("", "no section"),
        ],
    )
    def test_the_changelog_dates_it(self, tmp_path: Path, section: str, said: str) -> None:
        source(tmp_path, INITIAL, section)
        (complaint,) = tag.complaints("v0.3.1", tmp_path)
        assert said in complaint

    def test_the_version_is_read_where_the_build_reads_it(self, root: Path) -> None:
        import ostiary

        assert tag.version(root) == ostiary.__version__


class TestApi:
    @pytest.fixture
    def released(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Return a repository whose HEAD is tagged v0.3.1."""
        source(tmp_path, INITIAL)
        inside(tmp_path, "def f(a: int) -> None: ...\n")
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            monkeypatch.delenv(name)
        subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
        commit(tmp_path)
        subprocess.run(["git", "-C", str(tmp_path), "tag", "v0.3.1"], check=True)
        return tmp_path

    def test_without_a_release_nothing_is_promised(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
        assert api.main([], tmp_path) == 0
        assert "nothing is promised" in capsys.readouterr().out

    def test_an_addition_breaks_nothing(self, released: Path) -> None:
        source(released, INITIAL.replace("1.0)", "1.0, retries: int = 0)"))
        assert api.main([], released) == 0

    @pytest.mark.parametrize(
        ("version", "status"), [("0.3.1", 1), ("0.3.2", 1), ("0.4.0", 0), ("1.0.0", 0)]
    )
    def test_a_patch_breaks_nothing(
        self, released: Path, version: str, status: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        changed = INITIAL.replace("timeout", "seconds").replace("0.3.1", version)
        source(released, changed)
        assert api.main([], released) == status
        assert "call(timeout)" in capsys.readouterr().out

    def test_what_is_not_public_may_change(self, released: Path) -> None:
        inside(released, "def g() -> None: ...\n")
        assert api.breakages("v0.3.1", released) == []

    def test_what_the_reference_shows_is_public(self, released: Path) -> None:
        page = released / "docs" / "reference" / "vault.md"
        page.parent.mkdir(parents=True)
        page.write_text("# Vault\n\n::: ostiary.vault.deep\n    options:\n", "utf-8")
        commit(released)
        inside(released, "def g() -> None: ...\n")
        (line,) = api.breakages("HEAD", released)
        assert "vault/deep.py" in line
        assert "f: Public object was removed" in line

    def test_what_a_public_class_inherits_is_public(self, released: Path) -> None:
        client = "from .vault.deep import Calls\n\n\nclass Client(Calls):\n    pass\n"
        source(released, INITIAL.replace('"call"', '"call", "Client"') + client)
        calls = "class Calls:\n    def get(self, key: str) -> str: ...\n"
        inside(released, calls)
        commit(released)
        inside(released, calls.replace("key", "name"))
        lines = api.breakages("HEAD", released)
        assert [line.split(": ")[1] for line in lines] == ["Calls.get(key)", "Calls.get(name)"]

    @pytest.mark.parametrize(
        ("old", "new", "allowed"),
        [
            ("v1.2.3", "1.2.4", False),
            ("v1.2.3", "1.3.0", False),
            ("v1.2.3", "2.0.0", True),
            ("v0.9.0", "0.10.0", True),
            ("v0.10.0", "0.10.1", False),
        ],
    )
    def test_who_may_break(self, old: str, new: str, allowed: bool) -> None:
        assert api.may_break(old, new) is allowed


class TestWheels:
    @pytest.mark.parametrize(
        ("name", "size", "said"),
        [
            ("ostiary-1-py3-none-any.whl", 1, "the extensions were not compiled"),
            ("ostiary-1-cp311-cp311-linux_x86_64.whl", 1, "no index takes a wheel with this tag"),
            (
                "ostiary-1-cp311-cp311-manylinux_2_28_x86_64.whl",
                wheels.MAX_BYTES + 1,
                "are allowed",
            ),
        ],
    )
    def test_what_is_refused(self, tmp_path: Path, name: str, size: int, said: str) -> None:
        wheel = tmp_path / name
        wheel.write_bytes(bytes(size))
        with pytest.raises(wheels.Refused, match=said):
            wheels.judge(wheel)

    def test_a_folder_without_a_wheel_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert wheels.main(["--judge", str(tmp_path)]) == 1
        assert "holds no wheel" in capsys.readouterr().err

    def test_the_page_states_the_bound(self, root: Path) -> None:
        page = (root / "docs" / "releases.md").read_text("utf-8")
        assert f"larger than {wheels.MAX_BYTES / 1e6:g} MB" in page


def job(workflow: str, name: str) -> str:
    (found,) = re.findall(rf"^  {name}:\n((?:    .*\n|\n)+)", workflow, re.M)
    return str(found)


def test_no_wheel_of_a_release_is_built_before_the_gate(root: Path) -> None:
    workflow = (root / ".github" / "workflows" / "wheels.yml").read_text("utf-8")
    assert 'tags: ["v*.*.*"]' in workflow
    assert "uses: ./.github/workflows/benchmarks.yml" in job(workflow, "gate")
    for name in ("wheels", "sdist"):
        assert "needs: [tag, gate]" in job(workflow, name)
        assert "needs.tag.result == 'success' && needs.gate.result == 'success'" in job(
            workflow, name
        )
    assert "needs: [wheels, sdist]" in job(workflow, "publish")


def test_workflows_call_verbs_that_exist(root: Path) -> None:
    makefile = (root / "Makefile").read_text("utf-8")
    verbs = set(re.findall(r"^([a-z-]+)(?: [a-z-]+)*:(?!=)", makefile, re.M))
    called = {
        verb
        for path in (root / ".github" / "workflows").glob("*.yml")
        for verb in re.findall(r"\bmake (?:-k )?([a-z-]+)", path.read_text("utf-8"))
    }
    assert called
    assert called - verbs == set()

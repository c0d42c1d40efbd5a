"""The image's recipe and the example of an environment, held to the tree they speak of.

Nothing here builds an image; `make check-docker` lints the recipe.
"""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from tests.meta.test_packaging import BUILT_FROM

DOMAINS = ["vault", "governance", "gateway", "runtime", "workflow"]


def instructions(root: Path) -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile in order, continuation lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (root / "Dockerfile").read_text("utf-8"), flags=re.M)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(name, rest) for line in lines if line for name, _, rest in [line.partition(" ")]]


def stages(root: Path) -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions(root):
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, rest))
    return found


def test_the_build_gets_what_a_wheel_is_built_from(root: Path) -> None:
    build, _ = stages(root)
    copied = {word for name, rest in build if name == "COPY" for word in shlex.split(rest)[:-1]}
    assert copied == {*BUILT_FROM, "src"}
    ignored = (root / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied


def test_the_image_gets_the_environment_alone(root: Path) -> None:
    _, final = stages(root)
    assert [rest.split()[0] for name, rest in final if name == "COPY"] == ["--from=build"]
    assert not any(name == "RUN" and "apt-get" in rest for name, rest in final)


def test_the_image_does_not_run_as_root(root: Path) -> None:
    _, final = stages(root)
    (user,) = [rest for name, rest in final if name == "USER"]
    uid, _, gid = user.partition(":")
    assert int(uid) > 0
    assert int(gid) > 0


def test_the_image_calls_commands_that_exist(root: Path) -> None:
    pytest.importorskip("typer", reason="the extra cli is not installed")
    from typer.testing import CliRunner

    from ostiary.cli.app import tree

    _, final = stages(root)
    said = dict(final)
    assert said["ENTRYPOINT"] == '["ostiary"]'
    healthy = re.findall(r'"([^"]+)"', said["HEALTHCHECK"])
    for words in (healthy[1:], re.findall(r'"([^"]+)"', said["CMD"])):
        told = CliRunner().invoke(tree(words[0]), [words[0], "--help"])
        assert told.exit_code == 0
        assert all(word in told.output for word in words[1:])


def settings(domain: str) -> dict[str, tuple[str, ...]]:
    return dict(importlib.import_module(f"ostiary.{domain}.settings").VARIABLES)


def ours(root: Path) -> set[str]:
    """Return the variables with our name that the sources read."""
    sources = "".join(path.read_text("utf-8") for path in root.glob("src/ostiary/**/*.py"))
    return set(re.findall(r'"(OSTIARY_[A-Z_]*[A-Z])"', sources))


def test_each_variable_of_the_example_is_read(root: Path) -> None:
    example = (root / ".env.example").read_text("utf-8")
    named = re.findall(r"^#?([A-Z][A-Z0-9_]+)=", example, re.M)
    assert len(named) == len(set(named))
    read = ours(root) | {"SPIFFE_ENDPOINT_SOCKET"}
    for domain in DOMAINS:
        read |= {name for names in settings(domain).values() for name in names}
    assert set(named) - read == set()


def test_each_setting_of_a_domain_is_in_the_example(root: Path) -> None:
    example = (root / ".env.example").read_text("utf-8")
    left_out = [
        f"{domain}: {argument}"
        for domain in DOMAINS
        for argument, names in settings(domain).items()
        if not any(f"{name}=" in example for name in names)
    ]
    assert left_out == []
    assert {name for name in ours(root) if f"{name}=" not in example} == set()

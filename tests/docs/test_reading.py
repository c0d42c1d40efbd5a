"""A reader gets on: each page leads to another, and what the pages name is there."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# The reference leads on by its sidebar; the others are pages of the repository, shown whole.
GUIDE = sorted(
    page.relative_to(DOCS).as_posix()
    for page in DOCS.rglob("*.md")
    if page.parent.name != "reference" and "--8<--" not in page.read_text("utf-8")
)
ORIGINALS = {
    "sanctum_ai": ("ostiary.vault", "sanctumai"),
    "hestiaos": ("ostiary.governance", "hestiaos"),
    "symbiont": ("ostiary.runtime", "symbiont"),
}


@pytest.mark.parametrize("page", GUIDE)
def test_a_page_leads_on(page: str) -> None:
    text = (DOCS / page).read_text("utf-8").rstrip()
    last = re.split(r"\n\s*\n", text)[-1]
    assert re.search(r"\]\((?!https?:)[^)]+\.md(?:#[^)]*)?\)", last), (
        "the last paragraph, or list, of a page says where to go on"
    )


@pytest.mark.parametrize("page", [page for page in GUIDE if page.startswith("migrate/")])
def test_what_a_table_of_names_names_is_there(page: str) -> None:
    text = re.sub(r"```.*?```", "", (DOCS / page).read_text("utf-8"), flags=re.S)
    named = re.findall(r"`(ostiary(?:\.\w+)+)`", text)
    assert named or page.endswith("index.md")
    for name in named:
        found(name)


def test_the_page_on_testing_names_every_fixture() -> None:
    from ostiary.testing import plugin

    table = (DOCS / "testing.md").read_text("utf-8").partition("\n## ")[0]
    named = set(re.findall(r"`((?:ostiary|mock|sample)_\w+)`", table))
    assert named == {name for name in plugin.__all__ if name.islower()}


def found(dotted: str) -> Any:
    """Return what a dotted name stands for, importing as much of it as is a module."""
    parts = dotted.split(".")
    for size in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for part in parts[size:]:
            thing = getattr(thing, part)
        return thing
    raise AssertionError(dotted)


# --- the originals ------------------------------------------------------------------------------


def both(original: str) -> tuple[ModuleType, ModuleType]:
    theirs = pytest.importorskip(original, reason="the original SDK is not installed")
    return theirs, importlib.import_module(ORIGINALS[original][0])


def methods(of: type) -> dict[str, Any]:
    return {
        name: member
        for name, member in inspect.getmembers(of, callable)
        if name == "__init__" or not name.startswith("_")
    }


@pytest.mark.parametrize("original", ORIGINALS)
def test_every_name_of_the_original_is_here(original: str) -> None:
    theirs, ours = both(original)
    assert [name for name in theirs.__all__ if not hasattr(ours, name)] == []


@pytest.mark.parametrize("original", ORIGINALS)
def test_every_method_and_parameter_of_its_clients_is_here(original: str) -> None:
    theirs, ours = both(original)
    clients = [name for name in theirs.__all__ if name.endswith("Client")]
    assert clients
    missing: list[str] = []
    for client in clients:
        for name, member in methods(getattr(theirs, client)).items():
            mine = getattr(getattr(ours, client), name, None)
            if mine is None:
                missing.append(f"{client}.{name}")
                continue
            here = inspect.signature(mine).parameters
            missing += [
                f"{client}.{name}({parameter})"
                for parameter in inspect.signature(member).parameters
                if parameter not in here
            ]
    assert missing == []


@pytest.mark.parametrize("original", ORIGINALS)
def test_every_member_of_its_models_is_here(original: str) -> None:
    theirs, ours = both(original)
    missing: list[str] = []
    for name in theirs.__all__:
        model = getattr(theirs, name)
        fields = getattr(model, "model_fields", None) or getattr(model, "__dataclass_fields__", {})
        mine = getattr(ours, name)
        known = {*dir(mine), *getattr(mine, "__struct_encode_fields__", ())}
        missing += [f"{name}.{field}" for field in fields if field not in known]
    assert missing == []


@pytest.mark.parametrize("original", ORIGINALS)
def test_its_errors_are_errors_of_both_trees(original: str) -> None:
    from ostiary.errors import OstiaryError

    theirs, ours = both(original)
    errors = [
        name
        for name in theirs.__all__
        if isinstance(getattr(theirs, name), type)
        and issubclass(getattr(theirs, name), BaseException)
    ]
    assert errors
    for name in errors:
        here = getattr(ours, name)
        assert issubclass(here, OstiaryError), name
        for parent in getattr(theirs, name).__mro__[1:]:
            if parent.__name__ in errors:
                assert issubclass(here, getattr(ours, parent.__name__)), (name, parent)

"""Types are learned one at a time: msgspec dies when two threads meet a class together.

The cases that may die run in an interpreter of their own.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import pytest

from ostiary import _decoders
from ostiary._decoders import convert, decode_as, decoder_of

PACKAGE = Path(_decoders.__file__).parent
# Each of these may let msgspec learn a type: `model` has learned the models that it converts to.
MAY_LEARN = {"_decoders.py", "_model/model.py"}

# New classes for each round, and eight threads that meet them in one moment. Many fields take
# long to learn, and a thread that is asked every microsecond gives the others room in between.
RACE = """
import sys, threading
import msgspec
from ostiary._decoders import convert, decode_as, decoder_of
from ostiary._model.model import Model, accept, reader

sys.setswitchinterval(1e-6)
FIELDS = [f"field_{number}" for number in range(20)]

def classes():
    inner = type(Model)("Inner", (Model,), {"__annotations__": {"a": int}, "__module__": "race"})
    sys.modules["race"] = type(sys)("race")
    sys.modules["race"].Inner = inner
    hints = dict.fromkeys(FIELDS, "list[Inner] | None")
    fields = {"__annotations__": hints, "__module__": "race", **dict.fromkeys(FIELDS)}
    return type(Model)("Outer", (Model,), fields)

def round_of(use):
    outer, barrier, wrong = classes(), threading.Barrier(8), []
    read = reader(outer)
    def work():
        barrier.wait()
        for _ in range(5):
            found = use(outer, read)
            if found.field_3[0].a != 1:
                wrong.append(found)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert not wrong

GIVEN = {name: [{"a": 1}] for name in FIELDS}
BODY = msgspec.json.encode(GIVEN)
USES = {
    "reader": lambda kind, read: read(BODY),
    "accept": lambda kind, read: accept(kind, dict(GIVEN)),
    "call": lambda kind, read: kind(**GIVEN),
    "decode_as": lambda kind, read: decode_as(BODY, kind),
    "decoder_of": lambda kind, read: decoder_of(list[kind]).decode(b"[" + BODY + b"]")[0],
    "convert": lambda kind, read: convert(dict(GIVEN), kind),
}
for _ in range(40):
    round_of(USES[sys.argv[1]])
"""


@pytest.mark.parametrize("use", ["reader", "accept", "call", "decode_as", "decoder_of", "convert"])
def test_threads_meet_a_class_together(use: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RACE, use], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr or f"ended by signal {-done.returncode}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_waits_for_what_is_being_learned() -> None:
    """A child made in the middle would keep a table that nobody fills any more."""
    held, forked = threading.Event(), threading.Event()

    def learning() -> None:
        with _decoders._learning:
            held.set()
            waited.append(not forked.wait(0.2))

    waited: list[bool] = []
    thread = threading.Thread(target=learning)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        # Whoever may learn here is not kept waiting by a thread that is not here.
        os._exit(0 if _decoders._learning.acquire(timeout=5) else 1)
    forked.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert waited == [True]


def test_types_without_a_hash_are_read() -> None:
    kind: Any = Annotated[int, {"a": 1}]
    with pytest.raises(TypeError):
        hash(kind)
    assert decode_as(b"7", kind) == 7
    assert convert(7, kind) == 7


def test_what_is_no_type_is_told() -> None:
    with pytest.raises(TypeError, match="is not supported"):
        decoder_of(3)  # type: ignore[arg-type]


def test_a_decoder_is_made_once() -> None:
    assert decoder_of(list[int]) is decoder_of(list[int])
    assert decoder_of(list[int]).type == list[int]


def learned_elsewhere(text: str) -> list[int]:
    """Return the lines on which msgspec is given a type to learn."""
    found: list[int] = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        typed = bool(node.args) if name.endswith("Decoder") else len(node.args) > 1 or node.keywords
        if typed and name in {
            "msgspec.convert",
            "msgspec.json.Decoder",
            "msgspec.json.decode",
            "msgspec.msgpack.decode",
        }:
            found.append(node.lineno)
    return found


def test_types_are_learned_in_one_place() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).as_posix() not in MAY_LEARN
        for line in learned_elsewhere(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("msgspec.json.Decoder(Reply)", True),
        ("msgspec.json.Decoder()", False),
        ("msgspec.json.decode(raw)", False),
        ("msgspec.json.decode(raw, type=Reply)", True),
        ("msgspec.convert(raw, Reply)", True),
        ("decoder_of(Reply)", False),
    ],
)
def test_the_look_at_the_sources_sees(text: str, *, seen: bool) -> None:
    assert bool(learned_elsewhere(text)) is seen

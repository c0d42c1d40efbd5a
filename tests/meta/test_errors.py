"""The exception tree: drawn as it is, whole after every trip, adopted by the right class."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ostiary.errors as shared
import ostiary.gateway.errors as gateway
import ostiary.vault.errors as vault
from ostiary.errors import OstiaryError, adopt

GUIDED = re.compile(r"\.(?:governance|runtime)\.")


def walk(root: type[OstiaryError]) -> list[type[OstiaryError]]:
    seen: dict[type[OstiaryError], None] = {}
    waiting = [root]
    while waiting:
        each = waiting.pop()
        # Classes that tests elsewhere define for themselves are not the library's; those of
        # governance and the runtime, made and spelt as their guides have them, are walked in
        # tests/governance and tests/runtime.
        if each.__module__.startswith("ostiary.") and not GUIDED.search(each.__module__):
            seen[each] = None
        waiting += each.__subclasses__()
    return sorted(seen, key=lambda cls: (cls.__module__, cls.__qualname__))


TREE = walk(OstiaryError)

SAMPLES: dict[str, object] = {
    "sent": True,
    "status": 418,
    "code": "A_CODE",
    "request_id": "r-1",
    "retry_after": 2.5,
    "body": b"what the peer said",
    "detail": "a detail",
    "suggestion": "a suggestion",
    "docs_url": "https://docs.example/",
    "context": {"path": "a/b", "deep": [1, {"x": None}]},
    "exit_code": 77,
    "attempts": 4,
    "param": "model",
    "reason": "cut",
    "returncode": 3,
    "stderr": "what a tool wrote",
    "problems": (("tasks[0].id", "is empty"),),
    "cycle": ("a", "b", "a"),
    "last": {"status": "running"},
    "approval": {"status": "denied"},
    "began": False,
}


def make(cls: type[OstiaryError]) -> OstiaryError:
    """An error with every field its constructor knows, and one it does not."""
    names = inspect.signature(cls).parameters
    error = cls("what happened", **{k: v for k, v in SAMPLES.items() if k in names})
    error.add_note("seen by a test")
    return error


def assert_same(one: OstiaryError, two: OstiaryError) -> None:
    assert type(two) is type(one)
    assert two.args == one.args == ("what happened",)
    assert two.__dict__ == one.__dict__
    assert str(two) == str(one) == one.message
    assert repr(two) == repr(one)
    for name in SAMPLES:
        assert getattr(two, name, None) == getattr(one, name, None)


def test_the_tree_is_not_empty() -> None:
    ours = {OstiaryError, shared.SizeLimitError, vault.KeyFileError, gateway.SubprocessError}
    assert ours <= set(TREE)
    assert len(TREE) > 90


@pytest.mark.parametrize("cls", TREE, ids=lambda cls: cls.__qualname__)
class TestEveryError:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_pickles_whole(self, cls: type[OstiaryError], protocol: int) -> None:
        error = make(cls)
        assert_same(error, pickle.loads(pickle.dumps(error, protocol)))

    def test_copies_whole(self, cls: type[OstiaryError]) -> None:
        error = make(cls)
        assert_same(error, copy.copy(error))
        deep = copy.deepcopy(error)
        assert_same(error, deep)
        if isinstance(error, vault.VaultError):
            assert isinstance(deep, vault.VaultError)
            assert deep.context is not error.context

    def test_fields_hold_what_was_given(self, cls: type[OstiaryError]) -> None:
        error = make(cls)
        for name in inspect.signature(cls).parameters:
            if name != "message":
                assert getattr(error, name) == SAMPLES[name]

    def test_has_one_positional_argument(self, cls: type[OstiaryError]) -> None:
        kinds = [p.kind for p in inspect.signature(cls).parameters.values()]
        assert kinds[0] is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert set(kinds[1:]) <= {inspect.Parameter.KEYWORD_ONLY}

    def test_can_be_made_without_anything(self, cls: type[OstiaryError]) -> None:
        error = cls()
        assert error.message == "" == str(error)
        assert error.retryable in (True, False)
        assert pickle.loads(pickle.dumps(error)).__dict__ == error.__dict__

    def test_says_what_it_is(self, cls: type[OstiaryError]) -> None:
        assert cls.__doc__
        assert cls.__doc__ is not OstiaryError.__doc__ or cls is OstiaryError


def test_a_required_keyword_in_a_subclass_survives_the_trip() -> None:
    error = NeedsKeyword("text", number=7)
    for trip in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert isinstance(trip, NeedsKeyword)
        assert (trip.number, trip.sent, str(trip)) == (7, False, "text")


class NeedsKeyword(shared.ConnectError):
    def __init__(self, message: str, *, number: int) -> None:
        super().__init__(message)
        self.number = number


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (shared.ConnectError, ConnectionError),
        (shared.ConnectionLostError, ConnectionError),
        (shared.DeadlineError, TimeoutError),
        (shared.ProtocolError, ValueError),
        (shared.InvalidArgumentError, ValueError),
        (shared.ClientStateError, RuntimeError),
        (shared.SecretExposureError, TypeError),
    ],
)
def test_the_fitting_builtin_catches_it(cls: type[OstiaryError], builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match="^what happened"):
        raise make(cls)


def drawn(module: ModuleType) -> dict[str, tuple[str | None, str]]:
    """Read the tree in a module's docstring: name -> (parent, remark)."""
    found: dict[str, tuple[str | None, str]] = {}
    path: list[str] = []
    last = ""
    for line in (module.__doc__ or "").splitlines():
        if match := re.match(r"((?:│   |    )*)(?:├── |└── )?([A-Z]\w+)(?:$|  +(.*))", line):
            depth = len(line) - len(line.lstrip("│├└─ "))
            path = [*path[: depth // 4], match[2]]
            found[match[2]] = (path[-2] if len(path) > 1 else None, match[3] or "")
            last = match[2]
        elif last and (more := re.match(r"[│ ]{8,}(\S.*)", line)):
            found[last] = (found[last][0], f"{found[last][1]} {more[1]}")
        else:
            last = ""
    return found


@pytest.mark.parametrize("module", [shared, vault, gateway], ids=["shared", "vault", "gateway"])
def test_the_tree_is_drawn_as_it_is(module: ModuleType) -> None:
    tree = drawn(module)
    ours = [cls for cls in TREE if cls.__module__ == module.__name__]
    assert set(tree) == {cls.__name__ for cls in ours}
    assert {cls.__name__ for cls in ours} <= set(module.__all__)
    for cls in ours:
        parent, remark = tree[cls.__name__]
        if parent is not None:
            assert cls.__bases__[0].__name__ == parent
        if status := re.search(r"\b[45]\d\d\b", remark):
            assert cls.__dict__["status"] == int(status[0])
        assert ("retryable" in remark) == ("retryable" in cls.__dict__ and "status" in cls.__dict__)
        if also := re.search(r"also (?:a |an |the )?(?:builtin )?(\w+)$", remark):
            assert also[1] in {base.__name__ for base in cls.__mro__}


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (405, "MethodNotAllowedError"),
        (409, "ConflictError"),
        (410, "GoneError"),
        (413, "PayloadTooLargeError"),
        (422, "UnprocessableError"),
        (423, "LockedError"),
        (429, "RateLimitError"),
        (500, "ServerError"),
        (501, "ServerError"),
        (502, "BadGatewayError"),
        (503, "UnavailableError"),
        (504, "GatewayTimeoutError"),
        (599, "ServerError"),
        (418, "APIError"),
        (200, "APIError"),
        (600, "APIError"),
        (-1, "APIError"),
    ],
)
def test_a_status_has_its_class(status: int, name: str) -> None:
    cls = shared.error_for_status(status)
    assert cls.__name__ == name
    error = cls("no", status=status)
    assert error.status == status


@given(st.integers())
def test_every_status_has_a_class(status: int) -> None:
    assert issubclass(shared.error_for_status(status), shared.APIError)


class TestAdopt:
    @pytest.mark.parametrize("cls", list(vault.FAMILY))
    def test_gives_the_familys_class_and_keeps_the_fields(self, cls: type[OstiaryError]) -> None:
        error = make(cls)
        adopted = adopt(error, vault.FAMILY)
        assert type(adopted) is vault.FAMILY[cls]
        assert isinstance(adopted, cls)
        assert isinstance(adopted, vault.VaultError)
        assert adopted.message == "what happened"
        assert getattr(adopted, "sent", None) == getattr(error, "sent", None)
        assert adopted.code == vault.FAMILY[cls].default_code
        assert adopted.context == {}
        assert adopted.__notes__ == ["seen by a test"]
        assert_same(adopted, pickle.loads(pickle.dumps(adopted)))

    def test_takes_the_nearest_base(self) -> None:
        class Stalled(shared.SizeLimitError):
            pass

        adopted = adopt(Stalled("x", sent=True), vault.FAMILY)
        assert type(adopted) is vault.VaultSizeLimitError

    def test_leaves_its_own_alone(self) -> None:
        for cls in walk(vault.VaultError):
            error = cls("x")
            assert adopt(error, vault.FAMILY) is error

    def test_leaves_what_has_no_row_alone(self) -> None:
        error = shared.SecretExposureError("x")
        assert adopt(error, vault.FAMILY) is error

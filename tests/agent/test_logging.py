"""Log lines: on stderr, one each, with what a run is called and without what it holds."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from ostiary import Secret
from ostiary.gateway import ConfigurationError, GatewayCredentials, configure_logging, get_logger
from ostiary.gateway.logging import bound, redact

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzcGlmZmU6Ly9h.c2lnbmF0dXJl"
SECRETS = [
    JWT,
    "sk-" + "a1b2c3d4e5f6g7h8",
    "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2",
    "AKIA" + "ABCDEFGHIJKLMNOP",
    "xoxb-" + "123456789012-abcdef",
]


@pytest.fixture(params=["structlog", "alone"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With structlog and without it: the same lines."""
    if request.param == "structlog":
        pytest.importorskip("structlog", reason="structlog is not installed")
        return
    import ostiary.gateway

    # None in sys.modules is what an import cannot find.
    monkeypatch.setitem(sys.modules, "structlog", None)
    monkeypatch.delitem(sys.modules, "ostiary.gateway._structlog", raising=False)
    monkeypatch.delattr(ostiary.gateway, "_structlog", raising=False)


def test_both_kinds_of_logger_are_tried(either: None, request: pytest.FixtureRequest) -> None:
    alone = type(get_logger("x")).__module__.startswith("ostiary.")
    assert alone == (request.node.callspec.params["either"] == "alone")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    said = capsys.readouterr()
    assert said.out == ""
    return [json.loads(line) for line in said.err.splitlines()]


@pytest.mark.usefixtures("either")
def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    log = get_logger("an.agent").bind(file="a.py")
    log.info("scanned", files=3, names=["a", "b"], about={"deep": (1, None)})
    log.unbind("file").warning("odd", event_="x")
    log.debug("not shown")
    one, two = lines(capsys)
    assert one.pop("timestamp").endswith("+00:00")
    assert one == {
        "level": "info",
        "logger": "an.agent",
        "event": "scanned",
        "file": "a.py",
        "files": 3,
        "names": ["a", "b"],
        "about": {"deep": [1, None]},
    }
    assert (two["level"], two.get("file")) == ("warning", None)


@pytest.mark.usefixtures("either")
def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("text", verbose=True)
    log = get_logger("an.agent")
    log.debug("starting", path="a b", number=1, quoted='x"y')
    log.error("failed %s", "twice")
    one, two = capsys.readouterr().err.splitlines()
    assert "\033" not in one, "no colours where there is no terminal"
    assert one.partition(" ")[2] == (
        "debug    starting path='a b' number=1 quoted='x\"y' [an.agent]"
    )
    assert "error    failed twice [an.agent]" in two


@pytest.mark.usefixtures("either")
def test_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    try:
        raise ValueError(f"bad token {JWT}")
    except ValueError:
        get_logger("x").exception("went_wrong", step=2)
    (one,) = lines(capsys)
    assert (one["event"], one["level"], one["step"]) == ("went_wrong", "error", 2)
    assert "test_logging.py" in one["exception"]
    assert JWT not in json.dumps(one)


@pytest.mark.usefixtures("either")
def test_percent_signs_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    get_logger("x").info("100% of %s")
    assert lines(capsys)[0]["event"] == "100% of %s"


def test_records_of_others_look_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    logging.getLogger("some.library").warning("retrying %d of %d", 1, 3)
    (one,) = lines(capsys)
    assert one["level"] == "warning"
    assert one["logger"] == "some.library"
    assert one["event"] == "retrying 1 of 3"
    assert "timestamp" in one


def test_talkative_libraries_are_hushed(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("urllib3").setLevel(logging.DEBUG)  # somebody wants it so
    configure_logging("json")
    logging.getLogger("httpx").info("GET /")
    logging.getLogger("langchain").info("chain")
    logging.getLogger("urllib3").info("wanted")
    assert [one["event"] for one in lines(capsys)] == ["wanted"]


def test_handlers_of_others_stay(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    own = logging.NullHandler()
    root.addHandler(own)
    for _ in range(3):
        configure_logging("json")
    assert own in root.handlers
    logging.getLogger("x").warning("once")
    assert len(lines(capsys)) == 1


def test_nothing_is_said_before_it_is_configured() -> None:
    """No line on stdout, and none below WARNING at all: a library does not talk."""
    program = (
        "from ostiary.gateway import get_logger\n"
        "log = get_logger('x')\nlog.debug('a')\nlog.info('b', path='c')\nlog.warning('d')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert done.stderr == "d\n"


@pytest.mark.parametrize(
    ("environ", "given", "expected"),
    [
        ({}, None, "json"),  # stderr of a test is no terminal
        ({"OSTIARY_LOG_FORMAT": "text"}, None, "text"),
        ({"SAGE_SANCTUM_LOG_FORMAT": "text"}, None, "text"),
        ({"OSTIARY_LOG_FORMAT": "text"}, "json", "json"),
        ({"OSTIARY_LOG_FORMAT": "JSON"}, None, "json"),
    ],
    ids=["default", "environment", "guide", "argument", "case"],
)
def test_the_environment_chooses_the_format(
    capsys: pytest.CaptureFixture[str], environ: Any, given: str | None, expected: str
) -> None:
    configure_logging(given, environ=environ)
    logging.getLogger("x").warning("said")
    said = capsys.readouterr().err
    assert said.startswith("{") == (expected == "json")


def test_the_environment_chooses_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", environ={"OSTIARY_LOG_LEVEL": "warning"})
    get_logger("x").info("not said")
    get_logger("x").warning("said")
    configure_logging("json", verbose=True, environ={"OSTIARY_LOG_LEVEL": "error"})
    get_logger("x").debug("said too")
    assert [one["event"] for one in lines(capsys)] == ["said", "said too"]


@pytest.mark.parametrize(
    "environ",
    [{"OSTIARY_LOG_FORMAT": "xml"}, {"OSTIARY_LOG_LEVEL": "loud"}],
    ids=["format", "level"],
)
def test_what_the_environment_may_not_say(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="OSTIARY_LOG"):
        configure_logging(environ=environ)


def test_what_a_run_is_called_is_on_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    with bound(run_id="run_1"):
        with bound(org_id="o"):
            get_logger("a").info("one")
            logging.getLogger("library").warning("two")
        get_logger("a").info("three")
    get_logger("a").info("four")
    one, two, three, four = lines(capsys)
    assert (one["run_id"], one["org_id"]) == (two["run_id"], two["org_id"]) == ("run_1", "o")
    assert "org_id" not in three
    assert "run_id" not in four


def test_structlog_itself_goes_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    structlog = pytest.importorskip("structlog", reason="structlog is not installed")
    configure_logging("json")
    structlog.contextvars.bind_contextvars(request="r1")
    try:
        structlog.get_logger("theirs").info("said", token=JWT)
    finally:
        structlog.contextvars.clear_contextvars()
    (one,) = lines(capsys)
    assert one["event"] == "said"
    assert one["request"] == "r1"
    assert one["token"] == "**********"


# --- what is never said


@pytest.mark.parametrize("secret", SECRETS, ids=lambda text: text[:4])
def test_secrets_are_known_by_their_form(capsys: pytest.CaptureFixture[str], secret: str) -> None:
    assert secret not in redact(f"before {secret} after")
    assert redact(f"before {secret} after").startswith("before ")
    for log_format in ("json", "text"):
        configure_logging(log_format)
        log = get_logger("x")
        log.info(f"with {secret} in it", field=secret, deep={"list": [secret, {secret: 1}]})
        logging.getLogger("other").warning("with %s", secret)
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 2
        assert secret not in said


@pytest.mark.parametrize(
    "name", ["authorization", "Txn-Token", "api_key", "OPENAI_API_KEY", "password", "spiffe_jwt"]
)
def test_secrets_are_known_by_their_name(capsys: pytest.CaptureFixture[str], name: str) -> None:
    configure_logging("json")
    get_logger("x").info("e", **{name: "hunter2", "headers": {name: "hunter2"}})
    (one,) = lines(capsys)
    assert one[name] == one["headers"][name] == "**********"


def test_what_only_sounds_secret_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    said = {"token_file": "/run/trat.jwt", "prompt_tokens": 61, "secret_type": "aws"}
    get_logger("x").info("e", **said)
    assert lines(capsys)[0].items() >= said.items()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer **********"),
        ("https://user:hunter2@forge.example/a", "https://**********@forge.example/a"),
        ("nothing to hide: skip-this, AKIA, sk-1", "nothing to hide: skip-this, AKIA, sk-1"),
    ],
)
def test_redact(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize("text", ["0f" * 250_000, "eyJ-" * 125_000, "://" + "a" * 500_000])
def test_a_long_line_takes_no_longer_than_it_is_long(text: str) -> None:
    """Minified sources and data in hex are lines of this length; the square takes hours."""
    assert len(redact(text)) <= len(text)


def test_what_hides_itself_stays_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    credentials = GatewayCredentials("header.svid-payload.signature", "header.trat-payload.x")
    get_logger("x").info("e", value=Secret("hunter2"), both=credentials)
    said = capsys.readouterr().err
    assert "hunter2" not in said
    assert "payload" not in said


def test_no_field_breaks_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    configure_logging("text")
    get_logger("x").info("a\nb\x1b[31m", field="c\nd", odd=Odd(), deep=[[[[[[[[[1]]]]]]]]])
    (one,) = capsys.readouterr().err.splitlines()
    assert "\x1b" not in one
    configure_logging("json")
    get_logger("x").info("e", level="mine", surrogate="\ud800", big=10**30, nan=float("nan"))
    (two,) = lines(capsys)
    assert (two["level"], two["level_"]) == ("info", "mine")
    assert two["big"] == 10**30

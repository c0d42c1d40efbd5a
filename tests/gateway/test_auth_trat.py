"""The Transaction Token: its claims, its sources in their order, one renewal for all."""

from __future__ import annotations

import asyncio
import copy
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.gateway.auth.trat import (
    AllowedModels,
    RequesterContext,
    TransactionContext,
    TransactionToken,
    TransactionTokenClient,
)
from ostiary.gateway.errors import (
    AuthError,
    ConfigurationError,
    TraTAcquisitionError,
    TraTExpiredError,
)
from ostiary.secret import Secret
from tests.conftest import Run
from tests.gateway import tokens
from tests.gateway.clock import Clock
from tests.gateway.hiding import assert_hides
from tests.gateway.tokens import TRAT_HEADER, jwt, trat, write
from tests.http.peer import Exchange, HttpPeer, Script, answer, lost, script, stall
from tests.transport.peer import Gone

Sidecars = Callable[..., HttpPeer]

LEAKS = pytest.mark.usefixtures("first_loop", "no_leaked_descriptors")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trat.jwt"


@pytest.fixture(scope="session")
def first_loop() -> None:
    """Libuv opens a pipe of the process's with its first loop, and keeps it."""
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        uvloop.new_event_loop().close()


@pytest.fixture
def sidecars(first_loop: None) -> Iterator[Sidecars]:
    """Make sidecars; each step answers one `GET /trat`, the last all others."""
    with ExitStack() as stack:

        def make(*steps: Any, serve: Script | None = None) -> HttpPeer:
            ready = [answer(200, each) if isinstance(each, str) else each for each in steps]
            return stack.enter_context(HttpPeer(serve or script(*ready), "unix"))

        yield make


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture(params=["sync", "async"])
def get(request: pytest.FixtureRequest) -> Callable[[TransactionTokenClient], TransactionToken]:
    """Get a token in either colour."""
    if request.param == "sync":
        return TransactionTokenClient.get_token
    return lambda client: asyncio.run(client.get_token_async())


Get = Callable[[TransactionTokenClient], TransactionToken]


# --- claims


def test_every_claim_is_read() -> None:
    raw = trat()
    token = TransactionToken.from_jwt(raw)
    assert token.raw == raw
    assert (token.txn, token.sub, token.req_wl) == ("run_8841", "forge|org-77", tokens.ID)
    assert (token.scope, token.aud) == ("scan.execute scan.upload", "sanctum.example")
    assert token.iss == "https://tts.sanctum.example"
    assert token.exp - token.iat == 300
    assert not token.is_expired
    token.check_not_expired()
    tctx = token.tctx
    assert (tctx.run_id, tctx.org_id, tctx.agent_type) == ("run_8841", "77", "scanner")
    assert (tctx.repo_url, tctx.agent_mode) == ("https://forge.example/acme/app", "standard")
    assert tctx.allowed_models.analysis == ("anthropic:claude-test", "openai:gpt-test-1")
    assert tctx.allowed_providers == ("openai", "anthropic")
    assert tctx.allowed_tools == {"files": ("read",)}
    assert token.rctx == RequesterContext(
        trigger="pull_request", pr_number=9, actor="ci-bot", source_ip="192.0.2.10"
    )


def test_all_but_txn_may_be_missing() -> None:
    token = TransactionToken.from_jwt(jwt(TRAT_HEADER, {"txn": "t"}))
    assert (token.sub, token.scope, token.aud, token.iat) == ("", "", "", 0)
    assert token.tctx == TransactionContext()
    assert token.rctx == RequesterContext()
    assert not token.tctx.allowed_models.has_any()
    assert token.is_expired  # without `exp` nothing lasts
    with pytest.raises(TraTExpiredError):
        token.check_not_expired()


NULLS = [
    {"tctx": None},
    {"rctx": None},
    {"tctx": {"allowed_models": None}},
    {"tctx": {"allowed_models": {"triage": None}}},
    {"tctx": {"allowed_providers": None, "allowed_tools": None, "run_id": None}},
    {"tctx": {"allowed_tools": {"files": None}}},
    {"sub": None, "scope": None, "iss": None, "aud": None, "iat": None},
    {"rctx": {"pr_number": None, "actor": None}},
]


@pytest.mark.parametrize("nulls", NULLS, ids=range(len(NULLS)))
def test_null_is_as_if_left_out(nulls: dict[str, Any]) -> None:
    """And never grants anything."""
    token = TransactionToken.from_jwt(jwt(TRAT_HEADER, {"txn": "t"} | nulls))
    assert token.tctx == TransactionContext()
    assert token.rctx == RequesterContext()
    assert (token.sub, token.aud) == ("", "")


REFUSED = {
    "no txn": jwt(TRAT_HEADER, {"sub": "x"}),
    "txn null": jwt(TRAT_HEADER, {"txn": None}),
    "txn number": jwt(TRAT_HEADER, {"txn": 5}),
    "exp text": trat(exp="later"),
    "exp list": trat(exp=[1]),
    "exp true": trat(exp=True),
    "payload list": jwt(TRAT_HEADER, [1]),
    "payload null": jwt(TRAT_HEADER, None),
    "payload text": jwt(TRAT_HEADER, "Im5vIg"),
    "payload not JSON": jwt(TRAT_HEADER, "bm8"),
    "payload not UTF-8": jwt(TRAT_HEADER, "eyJ0eG4iOiL_In0"),
    "deep": jwt(TRAT_HEADER, tokens.b64(b'{"txn":' + b"[" * 30_000)),
    "tctx list": trat(tctx=[]),
    "models text": trat(tctx={"allowed_models": {"triage": "openai:x"}}),
    "models numbers": trat(tctx={"allowed_models": {"triage": [5]}}),
    "providers text": trat(tctx={"allowed_providers": "openai"}),
    "tools list": trat(tctx={"allowed_tools": ["read"]}),
    "pr_number text": trat(rctx={"pr_number": "9"}),
    "alg none": jwt({"alg": "none", "typ": "txntoken+jwt"}, {"txn": "t"}),
    "unsigned": jwt(TRAT_HEADER, {"txn": "t"}, ""),
    "two parts": "a.b",
    "header injection": f"{trat()}\r\nX-Evil: 1",
    "a blank inside": f"{trat()} {trat()}",
    "JSON instead": '{"token": "x"}',
    "an SVID": tokens.svid(),
    "empty": "",
    "lone surrogate": "\udc80.a.b",
}


@pytest.mark.parametrize("content", list(REFUSED.values()), ids=list(REFUSED))
def test_what_is_no_transaction_token(content: str) -> None:
    with pytest.raises(TraTAcquisitionError) as caught:
        TransactionToken.from_jwt(content)
    assert caught.value.exit_code == 12
    assert caught.value.__cause__ is None
    assert_hides(caught.value, content, *content.split("."))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["tctx", "rctx", "allowed_models", "triage", "run_id", "x"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_any_claims_are_read_or_refused(value: object) -> None:
    for payload in (value, {"txn": "t", "tctx": value, "rctx": value, "exp": value}):
        try:
            TransactionToken.from_jwt(jwt(TRAT_HEADER, [payload] if payload is value else payload))
        except TraTAcquisitionError:
            pass


def test_a_token_shows_its_claims_and_not_itself() -> None:
    """The original's repr prints the raw token."""
    raw = trat()
    token = TransactionToken.from_jwt(raw)
    signature = raw.rpartition(".")[2]
    for text in (repr(token), str(token), f"{token}", repr(msgspec.structs.asdict(token))):
        assert "run_8841" in text
        assert signature not in text
        assert raw[:20] not in text
    with pytest.raises(TypeError):
        msgspec.json.encode(token)
    with pytest.raises(TypeError):
        pickle.dumps(token)
    with pytest.raises(TypeError):
        copy.deepcopy(token)
    with pytest.raises(AttributeError):
        token.exp = 1e12  # type: ignore[misc]


@pytest.mark.parametrize("cls", [RequesterContext, AllowedModels, TransactionContext])
def test_parts_are_read_alone(cls: Any) -> None:
    assert cls.from_dict({}) == cls() == cls.from_dict({"unknown": {"x": 1}})
    first = cls.__struct_fields__[0]
    with pytest.raises(TraTAcquisitionError):
        cls.from_dict({first: 5})


def test_the_end_counts_as_over(monkeypatch: pytest.MonkeyPatch) -> None:
    token = TransactionToken.from_jwt(jwt(TRAT_HEADER, {"txn": "t", "exp": 1000}))
    monkeypatch.setattr(time, "time", lambda: 999.9)
    assert not token.is_expired
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert token.is_expired


def test_several_audiences() -> None:
    assert TransactionToken.from_jwt(trat(aud=["a", "b"])).aud == ("a", "b")


# --- the file


def test_the_file_comes_first(path: Path, sidecars: Sidecars, get: Get) -> None:
    raw = trat()
    sidecar = sidecars(trat())
    client = TransactionTokenClient(write(path, f"\n{raw}\n"), sidecar.where)
    assert get(client).raw == raw
    assert get(client) is get(client)
    assert sidecar.asked == []


def test_a_renewed_file_is_read(path: Path, get: Get) -> None:
    one, two = trat(), trat(jti="2")
    client = TransactionTokenClient(write(path, one))
    assert get(client).raw == one
    write(path, two)
    assert get(client).raw == two


def test_a_file_that_is_written_again_with_the_same_token(path: Path, get: Get) -> None:
    """What was read stays one object, by which those who hold on to it see that it is the same."""
    raw = trat()
    client = TransactionTokenClient(write(path, raw, age=0))
    held = get(client)
    assert get(client) is held
    write(path, f"{raw}\n", age=0)
    assert get(client) is held


BAD = {
    "missing": None,
    "empty": "",
    "not a token": "no token",
    "malformed": "a.b.c",
    "not UTF-8": b"\xff\xff",
    "expired": trat(-10),
    "no exp": jwt(TRAT_HEADER, {"txn": "t"}),
    "an SVID": tokens.svid(),
}


@pytest.mark.parametrize("bad", list(BAD.values()), ids=list(BAD))
def test_a_bad_file_falls_back_to_the_sidecar(
    path: Path, sidecars: Sidecars, get: Get, bad: Any
) -> None:
    """Whatever is wrong with it, and not only when it is expired."""
    if bad is not None:
        write(path, bad)
    raw = trat()
    sidecar = sidecars(f"  {raw}\n")
    client = TransactionTokenClient(path, sidecar.where)
    for _ in range(3):
        assert get(client).raw == raw
    (asked,) = sidecar.asked
    assert (asked.method, asked.target, asked.body) == ("GET", "/trat", b"")


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_file_alone_is_an_error(path: Path, get: Get, name: str) -> None:
    if BAD[name] is not None:
        write(path, BAD[name])
    over = name in {"expired", "no exp"}
    with pytest.raises(TraTExpiredError if over else TraTAcquisitionError) as caught:
        get(TransactionTokenClient(path))
    assert caught.value.exit_code == (13 if over else 12)
    assert str(path) in str(caught.value)


def test_a_file_that_is_mended_is_preferred_again(path: Path, sidecars: Sidecars, get: Get) -> None:
    client = TransactionTokenClient(path, sidecars(trat()).where)
    get(client)
    raw = trat(jti="mended")
    write(path, raw)
    assert get(client).raw == raw


def test_a_bad_rotation_fails_no_call(path: Path, get: Get, clock: Clock) -> None:
    raw = trat(300)
    client = TransactionTokenClient(write(path, raw))
    assert get(client).raw == raw
    write(path, "half")
    assert get(client).raw == raw
    path.unlink()
    clock.ahead = 299
    assert get(client).raw == raw
    clock.ahead = 301
    with pytest.raises(TraTAcquisitionError, match="cannot be read"):
        get(client)


# --- the sidecar


def test_no_source_at_all(get: Get) -> None:
    with pytest.raises(TraTAcquisitionError, match="TRAT_FILE or AUTH_SIDECAR_SOCKET"):
        get(TransactionTokenClient())


def cut(exchange: Exchange) -> None:
    """Close before the announced end: what has come might be read as a token."""
    exchange.raw(answer(200, trat(), announced=5000))
    exchange.link.close()
    raise Gone


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (answer(404, "nope"), "404"),
        (answer(401, "SECRET-PROSE"), "401"),
        (answer(204), "204"),
        (answer(302, "", [("Location", "http://elsewhere.example/")]), "redirect"),
        (answer(200, ""), "not a JWT"),
        (answer(200, json.dumps({"token": trat()})), "not a JWT"),
        (answer(200, "x" * 100_000), "body-size"),
        (cut, "ended"),
        (lost, "sidecar"),
        (b"garbage\r\n\r\n", "sidecar"),
    ],
    ids=["404", "401", "204", "302", "empty", "json", "large", "cut", "lost", "garbage"],
)
def test_a_sidecar_that_fails(sidecars: Sidecars, get: Get, step: Any, said: str) -> None:
    sidecar = sidecars(step)
    with pytest.raises(TraTAcquisitionError, match=said) as caught:
        get(TransactionTokenClient(None, sidecar.where))
    assert caught.value.exit_code == 12
    assert sidecar.where in str(caught.value)
    assert "SECRET-PROSE" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_sidecar_that_is_not_there(tmp_path: Path, get: Get) -> None:
    with pytest.raises(TraTAcquisitionError, match="no.sock"):
        get(TransactionTokenClient(None, tmp_path / "no.sock", timeout=1))


def test_a_sidecar_whose_token_is_over(sidecars: Sidecars, get: Get, path: Path) -> None:
    sidecar = sidecars(trat(-5))
    for file in (None, write(path, trat(-50))):
        with pytest.raises(TraTExpiredError, match="past its time") as caught:
            get(TransactionTokenClient(file, sidecar.where))
        assert caught.value.exit_code == 13


@LEAKS
def test_a_sidecar_that_hangs_holds_up_nobody_for_long(sidecars: Sidecars, get: Get) -> None:
    """One deadline for the whole renewal, not two minutes for each receive."""
    with pytest.raises(TraTAcquisitionError):
        get(TransactionTokenClient(None, sidecars(stall).where, timeout=0.1))


@LEAKS
def test_a_sidecar_that_drips_gains_no_time(sidecars: Sidecars, get: Get) -> None:
    def drip(exchange: Exchange) -> None:
        exchange.link.drip(answer(200, trat()), 0.05)

    with pytest.raises(TraTAcquisitionError):
        get(TransactionTokenClient(None, sidecars(drip).where, timeout=0.2))


def test_a_sidecar_that_is_busy_is_asked_again(sidecars: Sidecars, get: Get) -> None:
    raw = trat()
    sidecar = sidecars(answer(503), answer(503), raw)
    assert get(TransactionTokenClient(None, sidecar.where)).raw == raw


@LEAKS
def test_a_sidecar_of_somebody_else(sidecars: Sidecars, get: Get) -> None:
    sidecar = sidecars(trat())
    other = TransactionTokenClient(None, sidecar.where, expected_uid=os.geteuid() + 1)
    with pytest.raises(TraTAcquisitionError, match="uid|user"):
        get(other)
    assert sidecar.asked == []
    assert get(TransactionTokenClient(None, sidecar.where, expected_uid=os.geteuid()))


@pytest.mark.parametrize("wrong", ["a\x00b", "x" * 200], ids=["NUL", "long"])
def test_what_is_no_socket(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="sidecar"):
        TransactionTokenClient(None, wrong)


def test_a_path_with_marks_of_urls(tmp_path: Path) -> None:
    client = TransactionTokenClient(None, tmp_path / "a?b#c.sock")
    assert client.sidecar_socket == str(tmp_path / "a?b#c.sock")
    with pytest.raises(TraTAcquisitionError, match=r"a\?b#c\.sock"):
        client.get_token()


# --- renewal


def test_it_is_renewed_before_its_end(sidecars: Sidecars, get: Get, clock: Clock) -> None:
    """No token ends while it is under way."""
    one, two = trat(300), trat(600, jti="2")
    sidecar = sidecars(one, two)
    client = TransactionTokenClient(None, sidecar.where)
    assert get(client).raw == one
    clock.ahead = 220
    assert get(client).raw == one
    clock.ahead = 290
    assert get(client).raw == two
    assert get(client).raw == two
    assert len(sidecar.asked) == 2


def test_the_moment_is_spread(
    sidecars: Sidecars, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fleet that began together does not ask together."""
    moments: set[float] = set()
    sidecar = sidecars(trat(300))
    for _ in range(8):
        client = TransactionTokenClient(None, sidecar.where)
        token = client.get_token()
        moments.add(round(token.exp - client._refresh_at, 3))
    assert len(moments) > 1
    assert all(0.8 * 60 <= each <= 1.2 * 60 for each in moments)


def test_a_renewal_that_fails_is_not_the_callers_trouble(
    sidecars: Sidecars, get: Get, clock: Clock
) -> None:
    raw = trat(300)
    sidecar = sidecars(raw, answer(404))
    client = TransactionTokenClient(None, sidecar.where)
    get(client)
    clock.ahead = 290
    assert get(client).raw == raw
    asked = len(sidecar.asked)
    assert get(client).raw == raw  # and a dead sidecar is not asked by every call
    assert len(sidecar.asked) == asked == 2
    clock.ahead = 301
    with pytest.raises(TraTAcquisitionError, match="404"):
        get(client)


def test_the_file_about_to_end_is_renewed_by_the_sidecar(
    path: Path, sidecars: Sidecars, get: Get, clock: Clock
) -> None:
    one, two = trat(300), trat(900, jti="2")
    sidecar = sidecars(two)
    client = TransactionTokenClient(write(path, one), sidecar.where)
    assert get(client).raw == one
    clock.ahead = 295
    assert get(client).raw == two


def test_a_token_that_is_short_lived_from_the_beginning(
    sidecars: Sidecars, get: Get, clock: Clock
) -> None:
    """What a sidecar hands out from its store near its end serves for half of what is left."""
    late = trat(20, iat=time.time() - 280)
    sidecar = sidecars(late)
    client = TransactionTokenClient(None, sidecar.where)
    for _ in range(5):
        get(client)
    assert len(sidecar.asked) == 1
    clock.ahead = 12
    get(client)
    assert len(sidecar.asked) == 2


# --- single flight


class Gate:
    """A sidecar that answers when it is let go, and counts how many are asking at once."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.go = threading.Event()
        self.come = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        while True:
            exchange.request()
            self.come.set()
            while not self.go.wait(0.05):
                exchange.link.stall(0)
            exchange.answer(200, self.token)


@LEAKS
def test_one_call_for_many_threads(sidecars: Sidecars) -> None:
    gate = Gate(trat())
    sidecar = sidecars(serve=gate)
    client = TransactionTokenClient(None, sidecar.where)
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(client.get_token().raw)) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    while len(getattr(client._flights._flight, "waiters", ())) < 15:
        time.sleep(0.001)
    gate.go.set()
    for thread in threads:
        thread.join()
    assert found == [gate.token] * 16
    assert len(sidecar.asked) == 1


@LEAKS
def test_one_call_for_many_tasks(sidecars: Sidecars, run: Run) -> None:
    gate = Gate(trat())
    sidecar = sidecars(serve=gate)
    client = TransactionTokenClient(None, sidecar.where)

    async def main() -> list[TransactionToken]:
        tasks = [asyncio.create_task(client.get_token_async()) for _ in range(200)]
        while not gate.come.is_set():
            await asyncio.sleep(0.001)
        gate.go.set()
        return await asyncio.gather(*tasks)

    found = run(main())
    assert {token.raw for token in found} == {gate.token}
    assert len(sidecar.asked) == 1


@LEAKS
def test_one_call_for_threads_and_tasks_together(sidecars: Sidecars, run: Run) -> None:
    gate = Gate(trat())
    sidecar = sidecars(serve=gate)
    client = TransactionTokenClient(None, sidecar.where)
    found: list[str] = []

    async def main() -> None:
        threads = [
            threading.Thread(target=lambda: found.append(client.get_token().raw)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        tasks = [asyncio.create_task(client.get_token_async()) for _ in range(4)]
        while len(getattr(client._flights._flight, "waiters", ())) < 7:
            await asyncio.sleep(0.001)
        gate.go.set()
        found.extend(token.raw for token in await asyncio.gather(*tasks))
        for thread in threads:
            thread.join()

    run(main())
    assert found == [gate.token] * 8
    assert len(sidecar.asked) == 1


def test_while_one_renews_the_others_go_on(sidecars: Sidecars, clock: Clock) -> None:
    one = trat(300)
    gate = Gate(trat(900, jti="2"))
    first = threading.Event()

    def serve(exchange: Exchange) -> None:
        if not first.is_set():
            first.set()
            exchange.request()
            exchange.answer(200, one, [("Connection", "close")])
        else:
            gate(exchange)

    sidecar = sidecars(serve=serve)
    client = TransactionTokenClient(None, sidecar.where)
    client.get_token()
    clock.ahead = 290
    found: list[str] = []
    renewer = threading.Thread(target=lambda: found.append(client.get_token().raw))
    renewer.start()
    assert gate.come.wait(10)
    assert client.get_token().raw == one
    assert asyncio.run(client.get_token_async()).raw == one
    gate.go.set()
    renewer.join()
    assert found == [gate.token]
    assert client.get_token().raw == gate.token


@LEAKS
def test_a_cancelled_renewal_is_taken_over(sidecars: Sidecars, run: Run) -> None:
    gate = Gate(trat())
    client = TransactionTokenClient(None, sidecars(serve=gate).where)

    async def main() -> TransactionToken:
        first = asyncio.create_task(client.get_token_async())
        while not gate.come.is_set():
            await asyncio.sleep(0.001)
        second = asyncio.create_task(client.get_token_async())
        await asyncio.sleep(0)
        first.cancel()
        gate.go.set()
        found = await second
        with pytest.raises(asyncio.CancelledError):
            await first
        return found

    assert run(main()).raw == gate.token


def test_the_loop_goes_on_meanwhile(sidecars: Sidecars, run: Run) -> None:
    """Nothing about a token blocks an event loop."""
    gate = Gate(trat())
    client = TransactionTokenClient(None, sidecars(serve=gate).where)

    async def main() -> int:
        task = asyncio.create_task(client.get_token_async())
        turns = 0
        while not task.done():
            turns += 1
            await asyncio.sleep(0.001)
            if turns == 20:
                gate.go.set()
        await task
        return turns

    assert run(main()) > 20


# --- invalidate


def test_invalidate_looks_for_another(sidecars: Sidecars, get: Get) -> None:
    one, two = trat(), trat(jti="2")
    client = TransactionTokenClient(None, sidecars(one, two).where)
    first = get(client)
    client.invalidate()
    assert get(client).raw == two
    client.invalidate(first)  # a late refusal of the first: the second stays
    assert client._held is not None
    assert get(client).raw == two


def test_a_refused_file_is_replaced_by_the_sidecars(
    path: Path, sidecars: Sidecars, get: Get
) -> None:
    one, two = trat(), trat(jti="2")
    sidecar = sidecars(two)
    client = TransactionTokenClient(write(path, one), sidecar.where)
    client.invalidate(get(client))
    for _ in range(3):
        assert get(client).raw == two
    assert len(sidecar.asked) == 1


def test_a_refused_file_is_better_than_nothing(path: Path, sidecars: Sidecars, get: Get) -> None:
    raw = trat()
    client = TransactionTokenClient(write(path, raw), sidecars(answer(404)).where)
    client.invalidate(get(client))
    assert get(client).raw == raw
    alone = TransactionTokenClient(path)
    alone.invalidate(get(alone))
    assert get(alone).raw == raw


@LEAKS
def test_a_storm_of_refusals_asks_once(sidecars: Sidecars) -> None:
    """A sidecar that has no other token is not asked by each of a hundred failed calls."""
    sidecar = sidecars(trat())
    client = TransactionTokenClient(None, sidecar.where)
    for _ in range(100):
        client.invalidate(client.get_token())
    assert len(sidecar.asked) == 2


def test_a_file_that_never_looks_settled_does_not_undo_a_renewal(
    path: Path, sidecars: Sidecars, get: Get, clock: Clock
) -> None:
    """Its time lies ahead, on another machine's clock, so that it is read at every look."""
    one, two = trat(300), trat(900, jti="2")
    client = TransactionTokenClient(write(path, one, age=-3600), sidecars(two).where)
    assert get(client).raw == one
    clock.ahead = 295
    for _ in range(3):
        assert get(client).raw == two


def test_nothing_to_forget(path: Path) -> None:
    TransactionTokenClient(path).invalidate()
    TransactionTokenClient().invalidate(TransactionToken.from_jwt(trat()))


# --- the rest


def test_it_travels_as_its_places(path: Path, sidecars: Sidecars) -> None:
    raw = trat()
    client = TransactionTokenClient(write(path, raw), sidecars(raw).where, timeout=3)
    client.get_token()
    data = pickle.dumps(client)
    assert raw.encode() not in data
    again = pickle.loads(data)
    assert (again.trat_file, again.sidecar_socket) == (path, client.sidecar_socket)
    assert again._timeout == 3
    assert again.get_token().raw == raw
    assert raw not in repr(client)


def test_a_secret_is_taken_too() -> None:
    assert TransactionToken.from_jwt(Secret(trat())).txn == "run_8841"
    with pytest.raises(AuthError):
        TransactionToken.from_jwt(5)  # type: ignore[arg-type]


def test_a_file_brings_no_event_loop_and_no_http(path: Path) -> None:
    program = (
        "import sys\nfrom ostiary.gateway.auth.trat import TransactionTokenClient\n"
        f"TransactionTokenClient({str(write(path, trat()))!r}).get_token()\n"
        "print({'asyncio', 'ssl', 'h11', 'ostiary.http'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"

"""Webhooks signed as their platforms document it, and everything that must not pass."""

from __future__ import annotations

import hashlib
import hmac
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostiary.runtime import WebhookVerifier, errors
from ostiary.runtime.enums import WebhookProviderType
from ostiary.secret import Secret
from tests.frames import recorded

few = settings(max_examples=20, suppress_health_check=list(HealthCheck))

KEY = "whsec-NEVER-SHOWN"
BODY = b'{"action":"opened","text":"\xc3\xa9"}'
NOW = 1_772_359_200.0


def mac(message: bytes, key: str = KEY) -> str:
    return hmac.new(key.encode(), message, hashlib.sha256).hexdigest()


def github(body: bytes = BODY, key: str = KEY) -> dict[str, str]:
    return {"X-Hub-Signature-256": f"sha256={mac(body, key)}"}


def stripe(body: bytes = BODY, key: str = KEY, at: float = NOW, **more: str) -> dict[str, str]:
    signed = mac(f"{at:.0f}.".encode() + body, key)
    return {"Stripe-Signature": f"t={at:.0f},v1={signed},v0={'0' * 64}"}


def slack(body: bytes = BODY, key: str = KEY, at: float = NOW) -> dict[str, str]:
    return {
        "X-Slack-Request-Timestamp": f"{at:.0f}",
        "X-Slack-Signature": f"v0={mac(f'v0:{at:.0f}:'.encode() + body, key)}",
    }


def generic(body: bytes = BODY, key: str = KEY) -> dict[str, str]:
    return {"X-Signature": mac(body, key)}


STYLES: dict[str, Any] = {"github": github, "stripe": stripe, "slack": slack, "generic": generic}
TIMED = ["stripe", "slack"]


def refused(verifier: WebhookVerifier, headers: Any, match: str, body: Any = BODY) -> None:
    with pytest.raises(errors.WebhookVerificationError, match=match) as caught:
        verifier.verify(headers, body, now=NOW)
    error = caught.value
    assert isinstance(error, (errors.SymbiontError, ValueError))
    assert error.header_name in {verifier.header_name, verifier.timestamp_header}
    assert KEY not in recorded(error)


@pytest.mark.parametrize("style", STYLES)
def test_a_signature_holds(style: Any) -> None:
    headers = STYLES[style]()
    verifier = WebhookVerifier(style, KEY)
    verifier.verify(headers, BODY, now=NOW)
    verifier.verify({name.lower(): value for name, value in headers.items()}, BODY, now=NOW)
    verifier.verify({name.upper(): value for name, value in headers.items()}, BODY, now=NOW)
    verifier.verify(list(headers.items()), bytearray(BODY), now=NOW)
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    verifier.verify([*pairs, (b"Accept", b"*/*")], memoryview(BODY), now=NOW)
    assert KEY not in f"{verifier!r} {vars(verifier)!r}"


def test_real_signatures_of_the_platforms() -> None:
    # GitHub's documented example.
    WebhookVerifier.github("It's a Secret to Everybody").verify(
        {
            "X-Hub-Signature-256": "sha256="
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        },
        b"Hello, World!",
    )
    # Slack's documented example.
    WebhookVerifier.slack("8f742231b10e8888abcd99yyyzzz85a5").verify(
        {
            "X-Slack-Request-Timestamp": "1531420618",
            "X-Slack-Signature": "v0="
            "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        },
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id="
        b"G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook"
        b"-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F39770"
        b"0885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d"
        b"2c447fce8b6703c",
        now=1531420618,
    )


@pytest.mark.parametrize("style", STYLES)
@few
@given(body=st.binary(max_size=200), key=st.text(min_size=1, max_size=40))
def test_any_body_and_secret(style: Any, body: bytes, key: str) -> None:
    verifier = WebhookVerifier(style, key)
    verifier.verify(STYLES[style](body, key), body, now=NOW)
    with pytest.raises(errors.WebhookVerificationError):
        verifier.verify(STYLES[style](body, key), body + b"x", now=NOW)
    with pytest.raises(errors.WebhookVerificationError):
        verifier.verify(STYLES[style](body, key + "x"), body, now=NOW)


@pytest.mark.parametrize("style", STYLES)
@few
@given(value=st.text(max_size=100) | st.from_regex(r"(sha256=|v0=|t=1,v1=)?[0-9a-f]{62,66}"))
def test_any_header_is_refused_and_none_crashes(style: Any, value: str) -> None:
    verifier = WebhookVerifier(style, KEY)
    headers = {verifier.header_name: value, verifier.timestamp_header or "x": f"{NOW:.0f}"}
    with pytest.raises(errors.WebhookVerificationError):
        verifier.verify(headers, BODY, now=NOW)


@pytest.mark.parametrize("style", STYLES)
def test_another_body_or_secret_does_not_pass(style: Any) -> None:
    verifier = WebhookVerifier(style, KEY)
    refused(verifier, STYLES[style](), "does not hold", BODY + b" ")
    refused(verifier, STYLES[style](key="another"), "does not hold")
    refused(verifier, {}, f"has no {verifier.timestamp_header or verifier.header_name}|has no X-")


@pytest.mark.parametrize("style", STYLES)
def test_while_one_secret_takes_over_from_another_both_pass(style: Any) -> None:
    verifier = WebhookVerifier(style, ["new", Secret(KEY), b"older"])
    for key in ("new", KEY, "older"):
        verifier.verify(STYLES[style](key=key), BODY, now=NOW)
    refused(verifier, STYLES[style](key="oldest"), "does not hold")


@pytest.mark.parametrize("style", ["github", "slack"])
def test_the_mark_before_a_signature_is_not_optional(style: Any) -> None:
    headers = STYLES[style]()
    verifier = WebhookVerifier(style, KEY)
    bare = headers[verifier.header_name].partition("=")[2]
    refused(verifier, {**headers, verifier.header_name: bare}, "does not begin with")
    sha1 = {**headers, verifier.header_name: f"sha1={bare}"}
    refused(verifier, sha1, "does not begin with")


@pytest.mark.parametrize("style", STYLES)
def test_hexadecimal_of_either_case(style: Any) -> None:
    verifier = WebhookVerifier(style, KEY)
    headers = STYLES[style]()
    value = headers[verifier.header_name]
    signed = max(value.replace(",", "=").split("="), key=len)
    headers[verifier.header_name] = value.replace(signed, signed.upper())
    verifier.verify(headers, BODY, now=NOW)


@pytest.mark.parametrize("style", TIMED)
@pytest.mark.parametrize(("age", "passes"), [(0, True), (300, True), (-300, True), (301, False),
                                             (-301, False), (1e9, False)])  # fmt: skip
def test_an_old_signature_does_not_pass(style: Any, age: float, passes: bool) -> None:
    verifier = WebhookVerifier(style, KEY)
    headers = STYLES[style](at=NOW - age)
    if passes:
        verifier.verify(headers, BODY, now=NOW)
    else:
        refused(verifier, headers, "seconds (ago|ahead), and 300 are allowed")
    WebhookVerifier(style, KEY, tolerance=2e9).verify(headers, BODY, now=NOW)


@pytest.mark.parametrize("style", TIMED)
def test_the_clock_is_asked_when_no_time_is_given(style: Any) -> None:
    import time

    verifier = WebhookVerifier(style, KEY)
    verifier.verify(STYLES[style](at=time.time()), BODY)
    with pytest.raises(errors.WebhookVerificationError, match="ago"):
        verifier.verify(STYLES[style](at=time.time() - 1000), BODY)


def test_the_time_is_part_of_what_is_signed() -> None:
    moved = slack(at=NOW - 10_000)
    moved["X-Slack-Request-Timestamp"] = f"{NOW:.0f}"
    refused(WebhookVerifier.slack(KEY), moved, "does not hold")
    signed = stripe(at=NOW - 10_000)["Stripe-Signature"].partition(",")[2]
    moved = {"Stripe-Signature": f"t={NOW:.0f},{signed}"}
    refused(WebhookVerifier.stripe(KEY), moved, "does not hold")


@pytest.mark.parametrize("stamp", ["", "soon", "1e9", "-5", "nan", "1" * 13, "١٢٣"])
def test_a_time_that_is_none_does_not_pass(stamp: str) -> None:
    headers = slack() | {"X-Slack-Request-Timestamp": stamp}
    refused(WebhookVerifier.slack(KEY), headers, "no number of seconds|is not ASCII")
    headers = {"Stripe-Signature": f"t={stamp},v1={'0' * 64}"}
    refused(WebhookVerifier.stripe(KEY), headers, "no number of seconds|is not ASCII")


def test_what_stripe_sends_while_its_secret_changes() -> None:
    both = stripe()["Stripe-Signature"] + f",v1={mac(b'x')},v1=junk, v1={'A' * 64}"
    WebhookVerifier.stripe(KEY).verify({"Stripe-Signature": both}, BODY, now=NOW)
    only_old = f"t={NOW:.0f},v0={mac(f'{NOW:.0f}.'.encode() + BODY)}"
    refused(WebhookVerifier.stripe(KEY), {"Stripe-Signature": only_old}, "no HMAC-SHA256")
    twice = f"t=1,{both}"
    refused(WebhookVerifier.stripe(KEY), {"Stripe-Signature": twice}, "no time, or several")
    refused(WebhookVerifier.stripe(KEY), {"Stripe-Signature": "v1=0"}, "no time, or several")


def test_headers_that_contradict_one_another() -> None:
    name = "X-Hub-Signature-256"
    verifier = WebhookVerifier.github(KEY)
    verifier.verify([(name, github()[name]), (name.lower(), github()[name])], BODY)
    pairs = [(name, github()[name]), (name.lower(), "sha256=" + "0" * 64)]
    refused(verifier, pairs, "several X-Hub-Signature-256")
    refused(verifier, {name: "sha256=" + "é" * 64}, "is not ASCII")
    refused(verifier, {name: b"sha256=\xff"}, "is not ASCII")


def test_a_sender_with_headers_of_its_own() -> None:
    verifier = WebhookVerifier(
        "generic",
        KEY,
        header_name="X-Acme-Mac",
        prefix="hmac ",
        timestamp_header="X-Acme-Time",
    )
    signed = mac(f"{NOW:.0f}.".encode() + BODY)
    headers = {"X-Acme-Mac": f"hmac {signed}", "X-Acme-Time": f"{NOW:.0f}"}
    verifier.verify(headers, BODY, now=NOW)
    refused(verifier, {"X-Acme-Mac": f"hmac {signed}"}, "has no X-Acme-Time")
    refused(verifier, headers | {"X-Acme-Mac": signed}, "does not begin with hmac")
    assert WebhookVerifier(WebhookProviderType.CUSTOM, KEY).header_name == "X-Signature"
    assert WebhookVerifier(WebhookProviderType.GITHUB, KEY).style == "github"


@pytest.mark.parametrize("style", STYLES)
def test_what_was_accepted_is_refused_when_it_comes_again(style: Any) -> None:
    verifier = WebhookVerifier(style, KEY, remember=2)
    verifier.verify(STYLES[style](), BODY, now=NOW)
    refused(verifier, STYLES[style](), "accepted before")
    # What is refused is not remembered in place of what was accepted.
    for number in range(5):
        refused(verifier, STYLES[style](key=f"other-{number}"), "does not hold")
    refused(verifier, STYLES[style](), "accepted before")
    for body in (b"1", b"2"):
        verifier.verify(STYLES[style](body), body, now=NOW)
    verifier.verify(STYLES[style](), BODY, now=NOW)
    assert len(verifier._seen) == 2


def test_of_many_that_bring_the_same_one_is_accepted() -> None:
    verifier = WebhookVerifier.slack(KEY)
    verifier = WebhookVerifier("slack", KEY, remember=10)
    accepted: list[int] = []
    start = threading.Barrier(8)

    def bring() -> None:
        start.wait()
        try:
            verifier.verify(slack(), BODY, now=NOW)
        except errors.WebhookVerificationError:
            return
        accepted.append(1)

    threads = [threading.Thread(target=bring) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert accepted == [1]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"secrets": ""}, "secret is empty"),
        ({"secrets": b""}, "secret is empty"),
        ({"secrets": Secret("")}, "secret is empty"),
        ({"secrets": []}, "secret is missing"),
        ({"secrets": ["a", ""]}, "secret is empty"),
        ({"secrets": None}, "not NoneType"),
        ({"secrets": [KEY, 5]}, "not int"),
        ({"secrets": [KEY, ""]}, "secret is empty"),
        ({"secrets": KEY + "\ud800"}, "lone surrogates"),
        ({"style": "gitlab"}, "style is one of github, stripe, slack, generic"),
        ({"tolerance": 0}, "tolerance is a positive"),
        ({"tolerance": float("nan")}, "tolerance is a positive"),
        ({"remember": -1}, "remember is a number"),
        ({"remember": 1.5}, "remember is a number"),
        ({"header_name": "X-Other"}, "the platform's own"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], match: str) -> None:
    arguments: dict[str, Any] = {"style": "github", "secrets": KEY} | given
    with pytest.raises(errors.InvalidArgumentError, match=match) as caught:
        WebhookVerifier(arguments.pop("style"), arguments.pop("secrets"), **arguments)
    assert KEY not in recorded(caught.value)


@pytest.mark.parametrize("body", ["text", None, {"a": 1}])
def test_a_body_that_was_decoded_is_a_mistake(body: Any) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="raw bytes of the request"):
        WebhookVerifier.github(KEY).verify(github(), body)

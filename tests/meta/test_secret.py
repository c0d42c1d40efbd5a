"""A Secret shows itself to `reveal` and to nothing else."""

# Every old road to text is taken on purpose, and both directions of each comparison.
# pyright: reportPrivateUsage=false
# ruff: noqa: UP031, UP032, FLY002, B015, SIM201, SIM202

from __future__ import annotations

import copy
import dataclasses
import gc
import hmac
import io
import json
import logging
import pickle
import pprint
import reprlib
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.errors import InvalidArgumentError, OstiaryError, SecretExposureError
from ostiary.secret import Secret

VALUE = "s3cr3t-v4lue"


def hides(text: str) -> bool:
    """Neither the value, nor its hex, nor a piece of it stands in the text."""
    return not any(each in text for each in (VALUE, VALUE[:6], VALUE[-6:], VALUE.encode().hex()))


@pytest.fixture
def secret() -> Secret:
    return Secret(VALUE)


class TestWhatItHolds:
    @pytest.mark.parametrize(
        "value", [VALUE, VALUE.encode(), bytearray(VALUE.encode()), memoryview(VALUE.encode())]
    )
    def test_every_kind_of_value(self, value: str | bytes | bytearray | memoryview) -> None:
        secret = Secret(value)
        assert secret.reveal() == VALUE
        assert secret.reveal_bytes() == VALUE.encode()

    def test_another_secret_is_copied_not_shared(self, secret: Secret) -> None:
        other = Secret(secret)
        secret.wipe()
        assert other.reveal() == VALUE

    def test_the_source_may_change_afterwards(self) -> None:
        source = bytearray(VALUE.encode())
        secret = Secret(source)
        source[:] = bytes(len(source))
        assert secret.reveal() == VALUE

    @given(st.binary())
    def test_bytes_come_back(self, value: bytes) -> None:
        assert Secret(value).reveal_bytes() == value
        assert bool(Secret(value)) is bool(value)

    @given(st.text())
    def test_text_comes_back(self, value: str) -> None:
        assert Secret(value).reveal() == value

    def test_bytes_that_are_no_text(self) -> None:
        secret = Secret(b"\xff" + VALUE.encode())
        with pytest.raises(InvalidArgumentError, match="reveal_bytes") as caught:
            secret.reveal()
        assert_hidden(caught.value)

    @pytest.mark.parametrize("value", [None, 5, 10**30, 2.5, [1, 2], object()])
    def test_other_values_are_refused(self, value: object) -> None:
        with pytest.raises(InvalidArgumentError):
            Secret(value)  # type: ignore[arg-type]

    def test_text_that_no_encoding_holds_is_refused_without_showing_it(self) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            Secret(VALUE + "\ud800")
        assert_hidden(caught.value)


def assert_hidden(error: BaseException) -> None:
    """No part of an error, its causes or the frames of ours that it passed shows the value."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or each in seen:
            continue
        seen.append(each)
        assert isinstance(each, OstiaryError)
        assert hides(f"{each!r} {each!s} {each.args!r} {each.__dict__!r}")
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if frame.f_globals.get("__name__", "").startswith("ostiary."):
                assert hides(repr(frame.f_locals))
        waiting += [each.__cause__, each.__context__]


class TestHiding:
    SHOWS: tuple[Callable[[Secret], str], ...] = (
        repr,
        str,
        ascii,
        format,
        pprint.pformat,
        reprlib.repr,
        lambda s: f"{s}",
        lambda s: f"{s!r}",
        lambda s: f"{s!s}",
        lambda s: f"{s:>30}",
        lambda s: f"{s=}",
        lambda s: "%s" % s,
        lambda s: "%r" % s,
        lambda s: "%(key)s" % {"key": s},
        lambda s: "{}{:^40}{!r}".format(s, s, s),
        lambda s: repr([s, {"key": s}, (s,)]),
        lambda s: repr(Holder(s)),
        lambda s: repr(Record(s)),
        lambda s: json.dumps({"key": s}, default=str),
        lambda s: json.dumps({"key": s}, default=repr),
        lambda s: str(ValueError(s)),
        lambda s: repr(ValueError(s)),
        lambda s: repr(dir(s)),
    )

    @pytest.mark.parametrize("show", SHOWS, ids=range(len(SHOWS)))
    def test_it_is_masked(self, show: Callable[[Secret], str], secret: Secret) -> None:
        shown = show(secret)
        assert isinstance(shown, str)
        assert hides(shown)

    def test_the_mask_does_not_tell_the_length(self) -> None:
        for show in (repr, str):
            assert show(Secret("")) == show(Secret("x" * 500))
        assert "*" in str(Secret(""))

    def test_a_format_spec_applies_to_the_mask(self, secret: Secret) -> None:
        assert f"{secret:>20}" == str(secret).rjust(20)
        with pytest.raises(ValueError, match="format"):
            format(secret, "d")

    LOGS: tuple[Callable[[logging.Logger, Secret], None], ...] = (
        lambda logger, s: logger.error("key %s", s),
        lambda logger, s: logger.error("key %r", s),
        lambda logger, s: logger.error(s),
        lambda logger, s: logger.error("%(key)s", {"key": s}),
        lambda logger, s: logger.error(f"key {s}"),
        lambda logger, s: logger.error("both %s %s", s, [s]),
    )

    @pytest.mark.parametrize("log", LOGS, ids=range(len(LOGS)))
    def test_it_is_masked_in_logs(
        self, log: Callable[[logging.Logger, Secret], None], secret: Secret
    ) -> None:
        stream = io.StringIO()
        logger = logging.Logger("of-a-test")
        logger.addHandler(logging.StreamHandler(stream))
        log(logger, secret)
        assert "*" in stream.getvalue()
        assert hides(stream.getvalue())

    def test_it_is_masked_in_a_traceback_with_locals(self, secret: Secret) -> None:
        def fails(key: Secret) -> None:
            raise RuntimeError("x")

        with pytest.raises(RuntimeError) as caught:
            fails(secret)
        shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        text = "".join(shown.format())
        assert "key = Secret" in text
        assert hides(text.replace(f"'{VALUE}'", ""))

    @pytest.mark.parametrize(
        "encode", [json.dumps, msgspec.json.encode, msgspec.msgpack.encode, msgspec.to_builtins]
    )
    def test_no_encoder_writes_it(self, encode: Callable[[object], object], secret: Secret) -> None:
        for value in (secret, {"key": secret}, [secret], Record(secret)):
            with pytest.raises(TypeError) as caught:
                encode(value)
            assert hides(f"{caught.value!r}")

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_it_is_not_pickled(self, protocol: int, secret: Secret) -> None:
        for value in (secret, {"key": secret}, Holder(secret), Record(secret)):
            with pytest.raises(SecretExposureError, match="not pickled") as caught:
                pickle.dumps(value, protocol)
            assert_hidden(caught.value)

    @pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
    def test_it_is_not_copied(self, duplicate: Callable[[object], object], secret: Secret) -> None:
        with pytest.raises(SecretExposureError, match="not copied") as caught:
            duplicate(secret)
        assert_hidden(caught.value)

    def test_what_holds_it_is_not_deep_copied(self, secret: Secret) -> None:
        for value in ([secret], {"key": secret}, Holder(secret)):
            with pytest.raises(SecretExposureError):
                copy.deepcopy(value)
        with pytest.raises(SecretExposureError):
            dataclasses.asdict(Holder(secret))

    def test_it_cannot_be_taken_apart_by_accident(self, secret: Secret) -> None:
        roads: tuple[Any, ...] = (len, iter, bytes, bytearray, memoryview, int, float, vars)
        for road in roads:
            with pytest.raises(TypeError) as caught:
                road(secret)
            assert hides(repr(caught.value))
        with pytest.raises(TypeError):
            secret[0]  # type: ignore[index]
        with pytest.raises(TypeError):
            "x" in secret  # type: ignore[operator]
        with pytest.raises(TypeError):
            secret + "x"  # type: ignore[operator]
        with pytest.raises(TypeError):
            "".join([secret])  # type: ignore[list-item]


@dataclasses.dataclass
class Holder:
    key: Secret


class Record(msgspec.Struct):
    key: Secret


class TestEquality:
    def test_it_is_of_the_content(self, secret: Secret) -> None:
        for same in (Secret(VALUE), VALUE, VALUE.encode(), bytearray(VALUE.encode()), secret):
            assert secret == same
            assert same == secret
            assert not secret != same
        for other in (Secret("x"), VALUE + "x", "", b"", VALUE[:-1].encode(), 5, None, [VALUE]):
            assert secret != other
            assert other != secret
            assert not secret == other

    @given(st.text(st.characters()), st.text())
    def test_no_text_breaks_it(self, other: str, value: str) -> None:
        assert (Secret(value) == other) is (value == other)

    def test_it_goes_through_compare_digest(
        self, secret: Secret, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[object] = []

        def compare(one: bytes, two: bytes) -> bool:
            asked.append((bytes(one), bytes(two)))
            return real(one, two)

        real = hmac.compare_digest
        monkeypatch.setattr(hmac, "compare_digest", compare)
        for other in (Secret("x"), "x", b"x", bytearray(b"x")):
            assert secret != other
        assert asked == [(VALUE.encode(), b"x")] * 4

    def test_it_has_no_hash(self, secret: Secret) -> None:
        with pytest.raises(TypeError, match="unhashable"):
            hash(secret)
        with pytest.raises(TypeError):
            {secret: "x"}.clear()


class TestWiping:
    def test_a_wiped_secret_is_gone(self, secret: Secret) -> None:
        buffer = secret._open()
        assert buffer == VALUE.encode()
        secret.wipe()
        assert buffer == bytes(len(VALUE))
        for read in (secret.reveal, secret.reveal_bytes, lambda: bool(secret)):
            with pytest.raises(InvalidArgumentError, match="wiped"):
                read()
        with pytest.raises(InvalidArgumentError, match="wiped"):
            Secret(secret)

    def test_wiping_twice_is_harmless(self, secret: Secret) -> None:
        secret.wipe()
        secret.wipe()
        assert hides(repr(secret))

    def test_collection_wipes(self) -> None:
        secret = Secret(VALUE)
        buffer, gone = secret._open(), weakref.ref(secret)
        del secret
        gc.collect()
        assert gone() is None
        assert buffer == bytes(len(VALUE))

    def test_what_was_revealed_stays(self, secret: Secret) -> None:
        revealed = secret.reveal_bytes()
        secret.wipe()
        assert revealed == VALUE.encode()

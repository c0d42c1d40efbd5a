"""Spans and metrics of an operation, by the conventions for generative AI."""

from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from ostiary import telemetry
from ostiary.errors import AuthenticationError
from ostiary.telemetry.otel import OpenTelemetry

from .conftest import Recorded


def test_an_answer_becomes_a_span_and_three_points(recorded: Recorded) -> None:
    with telemetry.operation(
        "chat", provider="openai", name="gpt-test", about={"request.seed": 7}
    ) as call:
        call.reply(
            model="gpt-test-1",
            id="c-1",
            finish_reasons=["stop"],
            input_tokens=61,
            output_tokens=7,
            cached_tokens=3,
        )
    (span,) = recorded.spans
    assert span.name == "chat gpt-test"
    assert span.kind.name == "CLIENT"
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-test",
        "gen_ai.request.seed": 7,
        "gen_ai.response.model": "gpt-test-1",
        "gen_ai.response.id": "c-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 61,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 3,
    }
    assert span.status.is_ok is True or span.status.status_code.name == "UNSET"
    tokens = {
        labels["gen_ai.token.type"]: (total, count)
        for labels, total, count in recorded.points("gen_ai.client.token.usage")
    }
    assert tokens == {"input": (61, 1), "output": (7, 1)}
    ((labels, seconds, count),) = recorded.points("gen_ai.client.operation.duration")
    assert count == 1
    assert seconds > 0
    assert labels["gen_ai.response.model"] == "gpt-test-1"
    assert "error.type" not in labels


def test_a_failure_tells_its_kind_and_nothing_it_says(recorded: Recorded) -> None:
    with (
        pytest.raises(AuthenticationError),
        telemetry.operation("embeddings", provider="google", name="embed"),
    ):
        raise AuthenticationError("tok-secret was refused", status=401, request_id="r-9")
    (span,) = recorded.spans
    assert span.attributes["error.type"] == "AuthenticationError"
    assert span.attributes["http.response.status_code"] == 401
    assert span.attributes["ostiary.request_id"] == "r-9"
    assert span.attributes["gen_ai.provider.name"] == "gcp.gen_ai"
    assert span.status.status_code.name == "ERROR"
    assert span.events == ()
    assert "tok-secret" not in recorded.everything()
    assert recorded.points("gen_ai.client.token.usage") == []
    ((labels, _, _),) = recorded.points("gen_ai.client.operation.duration")
    assert labels["error.type"] == "AuthenticationError"


def test_a_stream_outlives_its_block(recorded: Recorded) -> None:
    from opentelemetry import trace

    call = telemetry.operation("chat", provider="openai", name="m")
    with call.current():
        inside = trace.get_current_span().get_span_context().span_id
    assert trace.get_current_span().get_span_context().is_valid is False
    assert recorded.spans == []
    call.chunk()
    call.chunk()
    call.reply(output_tokens=2)
    call.end()
    call.end(ValueError("late"))  # closing twice is no second operation
    (span,) = recorded.spans
    assert span.context.span_id == inside
    assert span.attributes["gen_ai.response.time_to_first_chunk"] > 0
    assert "error.type" not in span.attributes
    name = "gen_ai.client.operation.time_to_first_chunk"
    assert [count for _, _, count in recorded.points(name)] == [1]
    assert [count for _, _, count in recorded.points("gen_ai.client.operation.duration")] == [1]


def test_operations_nest(recorded: Recorded) -> None:
    with (
        telemetry.operation("execute_tool", name="search"),
        telemetry.operation("chat", provider="openai", name="m"),
    ):
        pass
    inner, outer = recorded.spans
    assert outer.name == "execute_tool search"
    assert outer.attributes["gen_ai.tool.name"] == "search"
    assert outer.kind.name == "INTERNAL"
    assert inner.parent.span_id == outer.context.span_id


def test_off_takes_everything_and_keeps_nothing() -> None:
    call = telemetry.operation("chat", provider="openai", name="m")
    with call as entered, call.current():
        entered.chunk()
        entered.reply(model="m", input_tokens=1)
        entered.end(ValueError())
    assert entered is call is telemetry.operation("embeddings", name="other")


def test_what_is_under_way_still_ends(recorded: Recorded) -> None:
    call = telemetry.operation("chat", name="m")
    telemetry.disable()
    call.end()
    assert [span.name for span in recorded.spans] == ["chat m"]


def test_without_providers_the_global_ones_are_used() -> None:
    """The API alone gives providers that do nothing: no error, and no span."""
    telemetry.enable()
    try:
        with telemetry.operation("chat", name="m") as call:
            call.reply(input_tokens=1)
    finally:
        telemetry.disable()


def test_the_instruments_ask_for_the_conventions_boundaries() -> None:
    from ostiary.telemetry import otel

    record = Recorded()
    OpenTelemetry(record.tracer_provider, record.meter_provider)
    record.close()
    assert otel._TOKENS[:4] == [1, 4, 16, 64]
    assert otel._TOKENS[-1] == 67108864
    assert otel._SECONDS[0] == 0.01
    assert otel._SECONDS[-1] == pytest.approx(81.92)

"""`GatewayChatModel` on the wire: what is sent, what becomes of answers, what is refused."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("langchain_core", reason="the extra langchain is not installed")

from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAuthenticationError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)
from langchain_core.load import dumpd
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    ToolMessage,
    trim_messages,
)
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.tools import tool
from pydantic import BaseModel

from ostiary.devserver import HttpFault
from ostiary.errors import InvalidArgumentError, OstiaryError
from ostiary.gateway import (
    ConfigurationError,
    DirectProviderClient,
    GatewayError,
    JWTSource,
    ModelNotAuthorizedError,
    ModelRef,
    RateLimitError,
    SageSanctumError,
    SpiffeGatewayClient,
    TransactionTokenClient,
)
from ostiary.gateway.http import GatewayHttpClient
from ostiary.gateway.llm.clients import Clients
from ostiary.gateway.llm.gateway_chat import GatewayChatModel, create_llm_for_gateway
from ostiary.gateway.llm.gateway_embeddings import GatewayEmbeddings
from tests.langchain.peers import USAGE, access_to, body_of, call, delta, refuses, says, streams

if TYPE_CHECKING:
    from ostiary.devserver import RunningGateway
    from tests.http.peer import HttpPeer


# --- what is sent


def test_what_is_unset_is_not_sent(ask: Any) -> None:
    """Some models refuse even a temperature of zero."""
    asking = ask(says())
    asking.model.invoke("Hello")
    asked = asking.peer.asked[0]
    assert body_of(asking.peer) == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Hello"}],
    }
    assert (asked.method, asked.target) == ("POST", "/v1/chat/completions")
    assert asked.header("x-provider") == "openai"
    assert str(asked.header("authorization")).startswith("Bearer ey")
    assert str(asked.header("txn-token")).startswith("ey")


def test_every_parameter_is_sent_under_its_own_name(ask: Any) -> None:
    parameters: dict[str, Any] = {
        "temperature": 0.0,
        "max_tokens": 9,
        "max_completion_tokens": 8,
        "top_p": 0.5,
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "logit_bias": {"50256": -100.0},
        "logprobs": True,
        "top_logprobs": 2,
        "reasoning_effort": "low",
        "service_tier": "flex",
        "user": "u-1",
    }
    asking = ask(says(), stop=["END"], extra_body={"top_k": 3}, **parameters)
    asking.model.invoke("Hello")
    sent = body_of(asking.peer)
    assert {name: sent[name] for name in parameters} == parameters
    assert sent["stop"] == ["END"]
    assert sent["top_k"] == 3


def test_no_stops_are_not_sent(ask: Any) -> None:
    asking = ask(says(), stop=[])
    asking.model.invoke("Hello")
    assert "stop" not in body_of(asking.peer)
    asking = ask(says(), stop=["END"])
    asking.model.invoke("Hello", stop=[])
    assert "stop" not in body_of(asking.peer)


def test_a_call_has_the_last_word(ask: Any) -> None:
    asking = ask(says(), temperature=0.5, stop=["A"], extra_body={"top_k": 3, "x": 1})
    asking.model.invoke(
        "Hello",
        stop=["B"],
        temperature=None,
        top_p=0.1,
        extra_body={"top_k": 4},
        model="gpt-4o-mini",
    )
    sent = body_of(asking.peer)
    assert "temperature" not in sent
    assert (sent["stop"], sent["top_p"], sent["top_k"], sent["x"]) == (["B"], 0.1, 4, 1)
    assert sent["model"] == "gpt-4o-mini"


def test_the_model_of_a_call_may_be_anothers(ask: Any) -> None:
    asking = ask(says())
    asking.model.invoke("Hello", model="anthropic:claude-sonnet-4-5")
    assert asking.peer.asked[0].header("x-provider") == "anthropic"
    assert body_of(asking.peer)["model"] == "claude-sonnet-4-5"


@pytest.mark.parametrize("name", ["temprature", "functions", "frobnicate"])
def test_a_parameter_nobody_knows_is_no_secret(ask: Any, name: str) -> None:
    """Nothing is dropped without a word."""
    asking = ask(says())
    with pytest.raises(InvalidArgumentError, match=name):
        asking.model.invoke("Hello", **{name: 1})
    with pytest.raises(SageSanctumError, match=name):
        GatewayChatModel("openai:gpt-4o", gateway_client=asking.model.gateway_client, **{name: 1})
    assert asking.peer.asked == []


def test_a_wrong_setting_is_told_without_its_value(ask: Any) -> None:
    access = ask(says()).model.gateway_client
    with pytest.raises(SageSanctumError, match="max_tokens") as caught:
        GatewayChatModel("openai:gpt-4o", gateway_client=access, max_tokens="sk-secret")
    assert "sk-secret" not in str(caught.value)


def test_two_names_for_one_model_are_refused(ask: Any) -> None:
    access = ask(says()).model.gateway_client
    with pytest.raises(SageSanctumError, match="twice"):
        GatewayChatModel("a:b", gateway_client=access, model_ref=ModelRef("c", "d"))


# --- what comes back


def test_a_reply_tells_model_reason_and_usage(ask: Any) -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    message = ask(says("Yes.", usage=usage)).model.invoke("Hello")
    assert message.content == "Yes."
    assert message.usage_metadata == {
        "input_tokens": 9,
        "output_tokens": 5,
        "total_tokens": 14,
        "input_token_details": {"audio": 1, "cache_read": 4},
        "output_token_details": {"reasoning": 3},
    }
    told = message.response_metadata
    assert (told["model_name"], told["finish_reason"]) == ("gpt-4o-2026-01", "stop")
    assert (told["system_fingerprint"], told["id"]) == ("fp_1", "chatcmpl-1")
    assert told["usage"]["prompt_tokens"] == 9
    # Two replies may have one id, and LangGraph would take them for one message.
    assert message.id != "chatcmpl-1"


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "tool_calls": [{"id": "c1", "function": {"name": "now"}}]},
        {
            "content": None,
            "tool_calls": [{"id": "c1", "function": {"name": "now", "arguments": ""}}],
        },
        {
            "content": "",
            "tool_calls": [{"id": "c1", "function": {"name": "now", "arguments": "{}"}}],
        },
    ],
)
def test_a_call_without_text_or_arguments_is_a_call(ask: Any, message: dict[str, Any]) -> None:
    """`content: null` and empty arguments are what real providers send."""
    answer = says(message.pop("content"), finish_reason="tool_calls", **message)
    found = ask(answer).model.invoke("What time is it?")
    assert found.content == ""
    assert [(c["id"], c["name"], c["args"]) for c in found.tool_calls] == [("c1", "now", {})]
    assert found.invalid_tool_calls == []


def test_a_call_that_cannot_be_read_is_kept_and_told_again(ask: Any) -> None:
    """Invalid arguments are no crash, and the model learns of them by the call's id."""
    bad = {"id": "c1", "function": {"name": "now", "arguments": '{"zone": '}}
    good = {"id": "c2", "function": {"name": "now", "arguments": '{"zone": "UTC"}'}}
    asking = ask(says(None, tool_calls=[bad, good]), says())
    found = asking.model.invoke("What time is it?")
    assert [c["id"] for c in found.tool_calls] == ["c2"]
    (invalid,) = found.invalid_tool_calls
    assert (invalid["id"], invalid["name"], invalid["args"]) == ("c1", "now", '{"zone": ')
    assert "JSON" in str(invalid["error"])
    asking.model.invoke(
        [
            HumanMessage("What time is it?"),
            found,
            ToolMessage("12:00", tool_call_id="c2"),
            ToolMessage("not JSON", tool_call_id="c1", status="error"),
        ]
    )
    sent = body_of(asking.peer)["messages"][1]
    assert [c["id"] for c in sent["tool_calls"]] == ["c2", "c1"]
    assert sent["tool_calls"][1]["function"]["arguments"] == '{"zone": '


def test_a_refusal_is_told(ask: Any) -> None:
    found = ask(says(None, refusal="I would rather not.")).model.invoke("Do it")
    assert found.content == ""
    assert found.additional_kwargs["refusal"] == "I would rather not."


def test_usage_reaches_langchains_callback(ask: Any) -> None:
    handler = UsageMetadataCallbackHandler()
    asking = ask(says(), streams(delta(content="Hi"), delta(finish="stop"), USAGE))
    asking.model.invoke("Hello", config={"callbacks": [handler]})
    list(asking.model.stream("Hello", config={"callbacks": [handler]}))
    assert handler.usage_metadata["gpt-4o-2026-01"]["total_tokens"] == 16
    assert asking.model.clients.usage["openai:gpt-4o"].total_tokens == 16


def test_logprobs_are_told(ask: Any) -> None:
    told = {"content": [{"token": "Hi", "logprob": -0.1}]}

    def answer(exchange: Any) -> None:
        choice = {"message": {"content": "Hi"}, "logprobs": told, "finish_reason": "stop"}
        exchange.json({"choices": [choice], "model": "m"})

    found = ask(answer, logprobs=True).model.invoke("Hello")
    assert found.response_metadata["logprobs"] == told


# --- streams


def whole(chunks: Any) -> AIMessageChunk:
    found = list(chunks)
    first: AIMessageChunk = found[0]
    for chunk in found[1:]:
        first = first + chunk
    return first


def test_a_stream_adds_up(ask: Any) -> None:
    pieces = [
        delta(role="assistant", content=""),
        delta(content="Hel"),
        delta(content="lo"),
        delta(finish="stop"),
        USAGE,
    ]
    asking = ask(streams(*pieces))
    full = whole(asking.model.stream("Hello"))
    assert full.content == "Hello"
    assert full.response_metadata["model_name"] == "gpt-4o-2026-01"
    assert full.response_metadata["finish_reason"] == "stop"
    assert full.usage_metadata == {"input_tokens": 7, "output_tokens": 4, "total_tokens": 11}
    assert body_of(asking.peer)["stream_options"] == {"include_usage": True}


def test_usage_of_streams_may_be_left_out(ask: Any) -> None:
    asking = ask(streams(delta(content="Hi", finish="stop")), stream_usage=False)
    list(asking.model.stream("Hello"))
    assert "stream_options" not in body_of(asking.peer)


@pytest.mark.parametrize(
    "fragments",
    [
        # as OpenAI sends them
        [
            call(0, "add", "", "c1"),
            call(0, None, '{"a"'),
            call(0, None, ": 1}"),
            call(1, "now", "{}", "c2"),
        ],
        # one index for all
        [call(0, "add", '{"a": 1}', "c1"), call(0, "now", "{}", "c2")],
        # the name in every fragment
        [call(0, "add", '{"a"', "c1"), call(0, "add", ": 1}", "c1"), call(1, "now", "{}", "c2")],
        # the id after the name
        [call(0, "add", '{"a": '), call(0, None, "1}", "c1"), call(1, "now", "", "c2")],
    ],
    ids=["openai", "one-index", "names-repeated", "late-id"],
)
def test_calls_arrive_in_pieces(ask: Any, fragments: list[Any]) -> None:
    pieces = [delta(tool_calls=[one]) for one in fragments]
    asking = ask(streams(*pieces, delta(finish="tool_calls"), USAGE))
    full = whole(asking.model.stream("Hello"))
    assert [(c["id"], c["name"], c["args"]) for c in full.tool_calls] == [
        ("c1", "add", {"a": 1}),
        ("c2", "now", {}),
    ]
    assert full.response_metadata["finish_reason"] == "tool_calls"
    assert full.usage_metadata is not None


async def test_events_keep_calls_and_usage(ask: Any) -> None:
    """Under `astream_events` an invoke is a stream, which once lost both."""
    answer = streams(
        delta(tool_calls=[call(0, "add", "{}", "c1")]), delta(finish="tool_calls"), USAGE
    )
    model = ask(answer).model

    async def agent(text: str) -> AIMessage:
        return await model.ainvoke(text)

    events = [e async for e in RunnableLambda(agent).astream_events("Hello", version="v2")]
    (end,) = [e for e in events if e["event"] == "on_chat_model_end"]
    message = end["data"]["output"]
    assert [c["name"] for c in message.tool_calls] == ["add"]
    assert message.usage_metadata["total_tokens"] == 11
    await model.aclose()


@pytest.mark.parametrize("how", ["cut", "error", "not-json"])
def test_a_stream_that_fails_raises(ask: Any, how: str) -> None:
    """Neither a missing end nor an error in the middle is a success."""
    bad = {
        "cut": (),
        "error": ('{"error": {"message": "m", "code": "rate_limited"}}',),
        "not-json": ("{not json",),
    }[how]
    asking = ask(streams(delta(content="Hel"), *bad, ends=False), max_retries=0)
    seen = []
    with pytest.raises(GatewayError) as caught:
        seen.extend(chunk.content for chunk in asking.model.stream("Hello"))
    assert seen == ["Hel"]
    assert isinstance(caught.value, RateLimitError) == (how == "error")


def test_a_stream_left_early_is_closed_at_once(ask: Any) -> None:
    gone = threading.Event()

    def answer(exchange: Any) -> None:
        exchange.start_events()
        exchange.chunk('data: {"choices": [{"delta": {"content": "Hi"}}]}\n\n')
        exchange.link.wait_gone()
        gone.set()

    stream = ask(answer).model.stream("Hello")
    next(stream)
    stream.close()
    assert gone.wait(10)


def test_tokens_are_told_one_by_one(ask: Any) -> None:
    from langchain_core.callbacks import BaseCallbackHandler

    class Listening(BaseCallbackHandler):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def on_llm_new_token(self, token: Any, **_: Any) -> None:
            self.heard.append(token)

    listening = Listening()
    asking = ask(streams(delta(content="Hel"), delta(content="lo"), delta(finish="stop")))
    asking.model.invoke("Hello", config={"callbacks": [listening]}, stream=True)
    assert listening.heard[:2] == ["Hel", "lo"]


# --- errors


def test_errors_are_ours_and_langchains(ask: Any) -> None:
    asking = ask(refuses(429, "rate_limited", ("Retry-After", "7")), max_retries=0)
    with pytest.raises(RateLimitError) as caught:
        asking.model.invoke("tell nobody")
    error = caught.value
    assert isinstance(error, ModelRateLimitError)
    assert (error.exit_code, error.status, error.retry_after) == (31, 429, 7.0)
    assert "tell nobody" not in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert again.__dict__ == error.__dict__


async def test_errors_are_both_on_every_road(ask: Any) -> None:
    model = ask(refuses(400, "context_length_exceeded"), max_retries=0).model
    with pytest.raises(ContextOverflowError):
        model.invoke("Hello")
    with pytest.raises(ContextOverflowError):
        list(model.stream("Hello"))
    with pytest.raises(ContextOverflowError):
        await model.ainvoke("Hello")
    with pytest.raises(ContextOverflowError):
        [chunk async for chunk in model.astream("Hello")]
    await model.aclose()


def test_a_model_this_run_may_not_use_is_not_asked(ask: Any) -> None:
    asking = ask(says(), model="openai:gpt-forbidden")
    with pytest.raises(ModelNotAuthorizedError) as caught:
        asking.model.invoke("Hello")
    assert isinstance(caught.value, ModelPermissionDeniedError)
    assert caught.value.exit_code == 21
    assert asking.peer.asked == []


@pytest.mark.usefixtures("gateway_mode")
def test_tokens_are_renewed_once(ostiary_gateway: RunningGateway, monkeypatch: Any) -> None:
    for name, value in ostiary_gateway.environment.items():
        monkeypatch.setenv(name, value)
    with GatewayChatModel("ostiary:echo", max_retries=0) as model:
        assert model.invoke("Hello").content
        ostiary_gateway.revoke()
        assert model.invoke("Hello again").content
        ostiary_gateway.faults.add(HttpFault(path="/v1/*", status=401, times=2))
        with pytest.raises(ModelAuthenticationError):
            model.invoke("Hello")


def test_fallbacks_of_langchain_work(ask: Any) -> None:
    first = ask(refuses(503, "overloaded"), max_retries=0).model
    second = ask(says("From the second.")).model
    both = first.with_fallbacks([second], exceptions_to_handle=(GatewayError,))
    assert both.invoke("Hello").content == "From the second."


# --- identity


def test_what_changes_an_answer_changes_the_key(ask: Any) -> None:
    """Models that differ in one setting shared a cache key."""
    access = ask(says()).model.gateway_client
    settings: list[dict[str, Any]] = [
        {},
        {"temperature": 0.0},
        {"max_tokens": 5},
        {"max_completion_tokens": 5},
        {"top_p": 0.5},
        {"seed": 1},
        {"stop": ["x"]},
        {"reasoning_effort": "low"},
        {"extra_body": {"top_k": 1}},
        {"extra_body": {"top_k": 2}},
        {"presence_penalty": 0.5},
        {"model": "openai:gpt-4o-mini"},
        {"model": "anthropic:gpt-4o"},
    ]
    models = [
        GatewayChatModel(gateway_client=access, **{"model": "openai:gpt-4o", **one})
        for one in settings
    ]
    elsewhere = GatewayChatModel("openai:gpt-4o", gateway_client=ask(says()).model.gateway_client)
    keys = [model._get_llm_string() for model in [*models, elsewhere]]
    keys.append(models[0]._get_llm_string(tools=[{"type": "function"}]))
    keys.append(models[0]._get_llm_string(stop=["y"]))
    assert len(set(keys)) == len(keys)
    assert models[0]._get_llm_string() == keys[0]


def test_an_answer_is_its_organisations(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = InMemoryCache()
    model = ask(says("To one."), says("To another."), says("By other tokens."), cache=cache).model
    monkeypatch.setenv("ORG_ID", "1")
    assert model.invoke("Hello").content == "To one."
    monkeypatch.setenv("ORG_ID", "2")
    assert model.invoke("Hello").content == "To another."
    access = model.gateway_client
    other = SpiffeGatewayClient(
        JWTSource("/run/other/svid.jwt"),
        TransactionTokenClient("/run/other/trat.jwt"),
        access.get_endpoint("openai").removeprefix("unix://"),
    )
    elsewhere = GatewayChatModel("openai:gpt-4o", gateway_client=other, cache=cache)
    assert elsewhere._identifying_params == model._identifying_params
    assert elsewhere._get_llm_string() != model._get_llm_string()
    assert "eyJ" not in model._get_llm_string()


def test_a_cache_answers_what_was_asked_before(ask: Any) -> None:
    cache = InMemoryCache()
    asking = ask(says("Once."), says("Twice."), cache=cache)
    assert asking.model.invoke("Hello").content == "Once."
    assert asking.model.invoke("Hello").content == "Once."
    assert asking.model.invoke("Hello", seed=1).content == "Twice."
    assert len(asking.peer.asked) == 2


def test_tracers_learn_the_model(ask: Any) -> None:
    """Tracing metadata had no model."""
    model = ask(says(), temperature=0.5, max_tokens=7, stop=["x"]).model
    assert model._get_ls_params() == {
        "ls_provider": "openai",
        "ls_model_name": "gpt-4o",
        "ls_model_type": "chat",
        "ls_temperature": 0.5,
        "ls_max_tokens": 7,
        "ls_stop": ["x"],
    }
    told = model._get_ls_params(stop=["y"], model="google:gemini-2.5-flash", max_tokens=1)
    assert (told["ls_provider"], told["ls_model_name"]) == ("google", "gemini-2.5-flash")
    assert (told["ls_max_tokens"], told["ls_stop"]) == (1, ["y"])
    assert model._llm_type == "sage-sanctum-gateway"


def test_totals_of_a_batch_are_sums(ask: Any) -> None:
    result = ask(says()).model.generate([[HumanMessage("a")], [HumanMessage("b")]])
    assert result.llm_output["token_usage"]["total_tokens"] == 10
    assert result.llm_output["model_name"] == "gpt-4o-2026-01"


# --- tools


class Node(BaseModel):
    """A tree."""

    value: int
    children: list[Node] = []


@tool
def plant(root: Node) -> str:
    """Plant a tree."""
    return "planted"


@tool
def now() -> str:
    """Tell the time."""
    return "12:00"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("auto", "auto"),
        ("none", "none"),
        ("now", {"type": "function", "function": {"name": "now"}}),
        ({"type": "tool", "name": "now"}, {"type": "function", "function": {"name": "now"}}),
        ({"type": "any"}, "required"),
        (
            {"type": "function", "function": {"name": "now"}},
            {"type": "function", "function": {"name": "now"}},
        ),
        (None, None),
        (False, None),
    ],
)
def test_a_choice_is_sent_as_openai_has_it(ask: Any, given: Any, sent: Any) -> None:
    asking = ask(says())
    asking.model.bind_tools([now], tool_choice=given, parallel_tool_calls=False).invoke("?")
    body = body_of(asking.peer)
    assert body.get("tool_choice") == sent
    assert body["parallel_tool_calls"] is False
    assert [t["function"]["name"] for t in body["tools"]] == ["now"]


def test_a_choice_that_names_no_tool_is_refused(ask: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="later.*now"):
        ask(says()).model.bind_tools([now], tool_choice="later")


@pytest.mark.parametrize("kind", ["function", "model"])
def test_recursive_parameters_arrive_whole(ask: Any, kind: str) -> None:
    """References are kept; LangChain's own conversion cuts a recursive type short."""
    asking = ask(says())
    asking.model.bind_tools([plant if kind == "function" else Node]).invoke("?")
    parameters = body_of(asking.peer)["tools"][0]["function"]["parameters"]
    assert parameters["$defs"]["Node"]["properties"]["children"]["items"] == {
        "$ref": "#/$defs/Node"
    }
    assert "title" not in str(parameters)


def test_strict_tools_are_closed(ask: Any) -> None:
    asking = ask(says())
    asking.model.bind_tools([plant], strict=True).invoke("?")
    function = body_of(asking.peer)["tools"][0]["function"]
    assert function["strict"] is True
    node = function["parameters"]["$defs"]["Node"]
    assert node["additionalProperties"] is False
    assert node["required"] == ["value", "children"]

    def note(tags: dict[str, str]) -> None:
        """Note tags."""

    with pytest.raises(InvalidArgumentError, match="map"):
        asking.model.bind_tools([note], strict=True)
    asking.model.bind_tools([note]).invoke("?")


def test_tools_bound_by_hand_are_sent_as_they_are(ask: Any) -> None:
    asking = ask(says())
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"x": 1}}}]
    asking.model.bind(tools=tools, tool_choice="auto").invoke("?")
    assert body_of(asking.peer)["tools"] == tools
    assert body_of(asking.peer)["tool_choice"] == "auto"


def test_what_is_no_tool_is_refused(ask: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="tool"):
        ask(says()).model.bind_tools([3])


# --- many at once


@pytest.mark.usefixtures("gateway_mode")
async def test_a_hundred_calls_on_one_loop() -> None:
    async with GatewayChatModel("ostiary:echo") as model:
        found = await asyncio.gather(*(model.ainvoke(f"/say {n}") for n in range(100)))
        assert [message.content for message in found] == [str(n) for n in range(100)]


@pytest.mark.usefixtures("gateway_mode")
def test_one_model_on_many_loops_and_threads(no_leaked_descriptors: None) -> None:
    """A model outlives loops, and several may run at once."""
    model = GatewayChatModel("ostiary:echo")
    wrong: list[object] = []

    async def main(n: int) -> None:
        for m in range(3):
            said = (await model.ainvoke(f"/say {n}.{m}")).content
            if said != f"{n}.{m}":
                wrong.append(said)

    def work(n: int) -> None:
        try:
            asyncio.run(main(n))
            if model.invoke(f"/say {n}").content != str(n):
                wrong.append(n)
        except Exception as error:  # noqa: BLE001  (it belongs to the main thread)
            wrong.append(error)

    for _ in range(2):
        asyncio.run(main(9))
    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert model.clients.usage["ostiary:echo"].total_tokens > 0
    model.close()
    with pytest.raises(GatewayError, match="closed"):
        model.invoke("Hello")


@pytest.mark.usefixtures("gateway_mode")
async def test_async_takes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def thread(*_: object) -> None:
        raise AssertionError("a thread was taken")

    async with GatewayChatModel("ostiary:echo") as model, GatewayEmbeddings("ostiary:hash") as both:
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", thread)
        assert (await model.ainvoke("/say a")).content == "a"
        assert [chunk async for chunk in model.astream("/say a b c")]
        assert len(await model.abatch(["a", "b"])) == 2
        for options in ({}, {"include_raw": True}, {"method": "json_mode"}):
            chain = model.with_structured_output(Node, **options)
            assert await chain.ainvoke("/say " + '{"value": 3}')
            assert [one async for one in chain.astream("/say " + '{"value": 3}')]
        assert await both.aembed_documents(["a", "b"])
        assert await both.aembed_query("a")


@pytest.mark.usefixtures("gateway_mode")
def test_loops_that_follow_one_another_have_one_client(no_leaked_descriptors: None) -> None:
    with GatewayChatModel("ostiary:echo") as model:
        for n in range(5):
            assert asyncio.run(model.ainvoke(f"/say {n}")).content == str(n)
        assert len(model.clients._async) == 1


def test_a_loop_that_rests_keeps_its_client(ask: Any) -> None:
    """Between two calls on it a loop does not run, and streams of it are open nonetheless."""
    more = threading.Event()

    def answer(exchange: Any) -> None:
        exchange.start_events()
        exchange.chunk('data: {"choices": [{"delta": {"content": "a"}}]}\n\n')
        more.wait(10)
        exchange.chunk('data: {"choices": [{"delta": {"content": "b"}}]}\n\ndata: [DONE]\n\n')
        exchange.end_chunks()

    model = ask(answer, says("x")).model
    stream = model.astream("Hello")

    async def rest() -> list[str]:
        return [chunk.content async for chunk in stream]

    with asyncio.Runner() as one, asyncio.Runner() as other:
        assert one.run(anext(stream)).content == "a"
        assert other.run(model.ainvoke("Hello")).content == "x"
        more.set()
        assert "".join(one.run(rest())) == "b"
        one.run(model.aclose())


def test_tokens_are_estimated_without_a_tokenizer(ask: Any) -> None:
    model = ask(says()).model
    assert model.get_num_tokens("twelve chars") == 3
    kept = trim_messages(
        [HumanMessage("word " * 400), AIMessage("x"), HumanMessage("word " * 10)],
        max_tokens=100,
        token_counter=model,
        start_on="human",
    )
    assert [message.content for message in kept] == ["word " * 10]
    exact = ask(says(), custom_get_token_ids=lambda text: list(range(len(text)))).model
    assert exact.get_num_tokens("abc") == 3


async def test_a_call_may_have_its_own_times(ask: Any) -> None:
    def answer(exchange: Any) -> None:
        exchange.start_events()
        exchange.chunk('data: {"choices": [{"delta": {"content": "Hi"}}]}\n\n')
        exchange.link.stall()

    model = ask(answer).model
    with pytest.raises(ModelTimeoutError):
        list(model.stream("Hello", idle_timeout=0.05))
    with pytest.raises(GatewayError) as caught:
        [one async for one in model.astream("Hello", total_timeout=0.05)]
    assert isinstance(caught.value, TimeoutError)
    await model.aclose()
    quick = ask(lambda exchange: exchange.link.stall(), timeout=30, max_retries=0).model
    with pytest.raises(ModelTimeoutError):
        quick.invoke("Hello", timeout=0.05, idle_timeout=5)


async def test_a_cancelled_call_ends_its_connection(ask: Any) -> None:
    began, gone = threading.Event(), threading.Event()

    def answer(exchange: Any) -> None:
        began.set()
        exchange.link.wait_gone()
        gone.set()

    model = ask(answer).model
    task = asyncio.create_task(model.ainvoke("Hello"))
    await asyncio.to_thread(began.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(gone.wait, 10)
    await model.aclose()


# --- how it is reached


@pytest.mark.usefixtures("direct_mode")
def test_direct_mode_has_a_key_and_no_tokens(peers: Callable[..., HttpPeer]) -> None:
    peer = peers(says("Straight."), kind="tcp")
    with GatewayChatModel("openai:gpt-4o", api_key="sk-1", base_url=peer.url("/v1")) as model:
        assert model.invoke("Hello").content == "Straight."
        asked = peer.asked[0]
        assert asked.target == "/v1/chat/completions"
        assert asked.header("authorization") == "Bearer sk-1"
        assert asked.header("txn-token") is None
        assert asked.header("x-provider") is None
        assert "sk-1" not in repr(model) + str(dumpd(model)) + str(model._identifying_params)
        assert b"sk-1" not in pickle.dumps(model)


def test_a_key_and_a_gateway_contradict_each_other(ask: Any) -> None:
    access = ask(says()).model.gateway_client
    with pytest.raises(ConfigurationError, match="direct mode") as caught:
        GatewayChatModel("openai:gpt-4o", gateway_client=access, api_key="sk-1")
    assert "sk-1" not in str(caught.value)


@pytest.mark.parametrize("kind", [GatewayChatModel, GatewayEmbeddings])
def test_what_gives_no_access_is_refused_now(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="not str"):
        kind("openai:gpt-4o", gateway_client="unix:///run/llm.sock")


def test_without_an_environment_nothing_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPIFFE_JWT_PATH", "LLM_GATEWAY_SOCKET", "SAGE_SANCTUM_ALLOW_DIRECT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError) as caught:
        GatewayChatModel("openai:gpt-4o")
    assert caught.value.exit_code == 43


@pytest.mark.usefixtures("gateway_mode")
def test_a_model_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="SAGE_MODEL"):
        GatewayChatModel()
    monkeypatch.setenv("SAGE_MODEL", "ostiary:echo")
    with GatewayChatModel() as model:
        assert model.invoke("Hello").content


def test_the_factory_of_the_guide(peers: Callable[..., HttpPeer], shared_gateway: Any) -> None:
    peer = peers(says())
    access = access_to(peer, shared_gateway)
    with create_llm_for_gateway(ModelRef("openai", "gpt-4o"), access) as model:
        assert isinstance(model.http_client, GatewayHttpClient)
        assert model.http_client.is_unix_socket
        assert model.gateway_client is access
        model.invoke("Hello")
    assert body_of(peer)["temperature"] == 0.0
    with create_llm_for_gateway("openai:gpt-4o", access, temperature=None, max_tokens=5) as model:
        model.invoke("Hello")
    assert "temperature" not in body_of(peer)
    assert body_of(peer)["max_tokens"] == 5


def test_the_factory_in_direct_mode(peers: Callable[..., HttpPeer]) -> None:
    peer = peers(says("Straight."), kind="tcp")
    access = DirectProviderClient(
        allow=True, api_keys={"openai": "sk-1"}, base_urls={"openai": peer.url("/v1")}
    )
    with create_llm_for_gateway(ModelRef("openai", "gpt-4o"), access) as model:
        assert model.http_client is None
        assert model.invoke("Hello").content == "Straight."


def test_tokens_do_not_leave_in_plain_text(shared_gateway: Any, peers: Any) -> None:
    access = access_to(peers(says()), shared_gateway)
    elsewhere = GatewayHttpClient.from_endpoint("http://gateway.example:8080/v1")
    with (
        GatewayChatModel("openai:gpt-4o", gateway_client=access, http_client=elsewhere) as model,
        pytest.raises(ConfigurationError, match="plain http"),
    ):
        model.invoke("Hello")


def test_models_share_connections(peers: Callable[..., HttpPeer], shared_gateway: Any) -> None:
    """One connection for calls that follow one another, whichever model makes them."""
    peer = peers(says())
    with Clients(access_to(peer, shared_gateway)) as clients:
        for name in ("openai:gpt-4o", "openai:gpt-4o-mini"):
            model = GatewayChatModel(name, clients=clients, timeout=60)
            model.invoke("Hello")
            model.close()
        GatewayChatModel("openai:gpt-4o", clients=clients).invoke("Hello")
        assert {asked.connection for asked in peer.asked} == {peer.asked[0].connection}
        assert clients.usage["openai:gpt-4o"].total_tokens == 10
        assert set(clients.usage) == {"openai:gpt-4o", "openai:gpt-4o-mini"}


@pytest.mark.parametrize(
    "own", [{"max_retries": 1}, {"api_key": "sk-1"}, {"base_url": "https://x.example"}]
)
@pytest.mark.parametrize("kind", [GatewayChatModel, GatewayEmbeddings])
def test_what_shared_clients_decide_is_not_said_again(
    ask: Any, kind: Any, own: dict[str, Any]
) -> None:
    clients = ask(says()).model.clients
    with pytest.raises(ConfigurationError, match=next(iter(own))):
        kind("openai:gpt-4o", clients=clients, **own)
    with pytest.raises(ConfigurationError, match="Clients"):
        kind("openai:gpt-4o", clients=object())


@pytest.mark.parametrize("direct", [False, True])
def test_a_configured_model_shares_connections(peers: Any, ask: Any, direct: bool) -> None:
    if direct:
        peer = peers(says(), kind="tcp")
        model = GatewayChatModel("openai:gpt-4o", api_key="sk-1", base_url=peer.url("/v1"))
    else:
        model, peer = ask(says())
    own = model.configurable_fields(temperature=ConfigurableField(id="t"))
    for temperature in (0.1, 0.2):
        own.with_config(configurable={"t": temperature}).invoke("Hello")
        assert body_of(peer)["temperature"] == temperature
    model.invoke("Hello")
    assert "temperature" not in body_of(peer)
    assert {asked.connection for asked in peer.asked} == {peer.asked[0].connection}
    model.close()


def test_a_copy_asks_by_itself(ask: Any) -> None:
    asking = ask(says(), temperature=0.5)
    again = pickle.loads(pickle.dumps(asking.model))
    assert again._identifying_params == asking.model._identifying_params
    assert again.invoke("Hello").content == "Well."
    again.close()
    asking.model.model_copy(update={"temperature": 0.9}).invoke("Hello")
    assert body_of(asking.peer)["temperature"] == 0.9


def test_every_error_is_one_of_ours(ask: Any) -> None:
    """Bytes that make no sense are no exception of some library's."""
    for data in (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"junk\r\n\r\n"):
        with pytest.raises(OstiaryError):
            ask(data, max_retries=0).model.invoke("Hello")

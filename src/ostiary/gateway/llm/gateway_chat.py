"""`GatewayChatModel`: a LangChain chat model whose calls go through the gateway.

Sync and native async, tools, streaming, structured output (docs/langchain.md). Neighbours:
`conversion` for what is said, `structured` for answers of a given shape, `clients` for who
sends it.
"""

from __future__ import annotations

from . import _langchain as _langchain  # says what to install when it is not there

# isort: split
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final, Literal, Self, Unpack

import pydantic
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr

from ...errors import OstiaryError
from .. import providers
from ..errors import GatewayArgumentError
from ..http import GatewayHttpClient
from ..models import ChatChunk
from ..options import MAX_RETRIES, TIMEOUT
from .access import access_for, check_shared, default_model, placed
from .clients import Clients
from .conversion import Fragments, chunk_of, result_of
from .conversion import messages_to_dicts as _messages_to_dicts
from .faults import lifted
from .foreign import ForeignHttp, is_foreign
from .model_ref import ModelRef
from .parameters import (
    BODY,
    IGNORED,
    PER_CALL,
    ChatParameters,
    ChatSettings,
    unknown,
)
from .structured import (
    StructuredOutputParser,
    instructed,
    response_format_of,
    shape_of,
    tool_of,
)
from .tools import shown_to_tracers, tool_choice_of, wire_tool_of

__all__ = ["GatewayChatModel", "create_llm_for_gateway"]

Method = Literal["json_schema", "function_calling", "json_mode"]

_OF_STREAMS: Final = ("idle_timeout", "total_timeout")
_HOW: Final = ("timeout", "idempotency_key", *_OF_STREAMS)

_METHODS: Final[Mapping[str, Method]] = {
    "json_schema": "json_schema",
    "tool": "function_calling",
    "json_object": "json_mode",
}


class GatewayChatModel(BaseChatModel):
    """A model behind the gateway, or in direct mode a provider's (docs/langchain.md).

    `GatewayChatModel("openai:gpt-4o")` reaches it as the environment says. What is left unset is
    not sent. Thread-safe, and good on any number of event loops. Every error of a call is a
    `SageSanctumError`, and LangChain's own error for the same condition where it has one.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        extra="forbid",
        hide_input_in_errors=True,
        populate_by_name=True,
        protected_namespaces=(),
    )

    model_ref: ModelRef
    gateway_client: Any = Field(default=None, exclude=True, repr=False)
    http_client: Any = Field(default=None, exclude=True, repr=False)
    clients: Any = Field(default=None, exclude=True, repr=False)
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    base_url: str | None = None
    timeout: float | None = TIMEOUT
    max_retries: int = Field(default=MAX_RETRIES, ge=0)
    temperature: float | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    top_p: float | None = None
    seed: int | None = None
    stop: list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    parallel_tool_calls: bool | None = None
    service_tier: str | None = None
    user: str | None = None
    extra_body: dict[str, Any] | None = None
    streaming: bool = False
    stream_usage: bool = True

    _access: Any = PrivateAttr()
    _owns: bool = PrivateAttr(default=False)

    def __init__(
        self, model: str | ModelRef | None = None, **parameters: Unpack[ChatParameters]
    ) -> None:
        """Describe a model; nothing is opened or read but the environment.

        `model` is `provider:model`, or a name whose provider is detected; left out,
        `SAGE_MODEL`, then `OPENAI_MODEL`. The parameters are those of `ChatParameters`.
        Raises `ConfigurationError` when the environment does not say how it is reached, and
        `GatewayArgumentError` for a parameter that cannot be meant.
        """
        given: dict[str, Any] = dict(parameters)
        key = given.pop("api_key", None)
        del parameters  # a traceback records the locals of the frames that raise
        if key is not None:
            key = key if isinstance(key, SecretStr) else SecretStr(key)
        ref = _ref_of(given.pop("model_ref", None), given.pop("model_name", None), model)
        given["stop"] = _stops(given.pop("stop", None) or given.pop("stop_sequences", None))
        given.pop("stop_sequences", None)
        shared = given.get("clients")
        check_shared(
            shared,
            max_retries=given.get("max_retries"),
            api_key=key,
            base_url=given.get("base_url"),
            http_client=given.get("http_client"),
        )
        access = (
            shared.access
            if isinstance(shared, Clients)
            else access_for(given.get("gateway_client"), ref.provider, key, given.get("base_url"))
        )
        problem = ""
        try:
            fields: dict[str, Any] = {"model_ref": ref, "api_key": key, **given}
            super().__init__(**fields)
        except pydantic.ValidationError as error:
            wrong = error.errors(include_input=False, include_url=False, include_context=False)
            problem = "; ".join(f"{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in wrong[:5])
        if problem:
            raise GatewayArgumentError(f"GatewayChatModel cannot be made so: {problem}")
        self._access = access
        if shared is None and not is_foreign(self.http_client):
            if (transport := self.http_client) is not None:
                access = placed(access, transport)
                if "timeout" not in given:
                    self.timeout = transport.timeout
                if "max_retries" not in given:
                    self.max_retries = transport.max_retries
            self.clients = Clients(access, timeout=self.timeout, max_retries=self.max_retries)
            self.clients.settled |= {
                "api_key": key,
                "base_url": self.base_url,
                "http_client": transport,
            }
            self._owns = True

    # --- what it is

    @property
    def model(self) -> str:
        """The model as `provider:model`."""
        return str(self.model_ref)

    @property
    def model_name(self) -> str:
        """The model's name without its provider."""
        return self.model_ref.model

    @property
    def endpoint(self) -> str:
        """Where calls go; `unix:///path` in gateway mode."""
        return str(self._access.get_endpoint(self.model_ref.provider))

    @property
    def _llm_type(self) -> str:
        return "sage-sanctum-gateway"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """Everything that an answer depends on: what caches and tracers go by."""
        found: dict[str, Any] = {"model": self.model, "model_name": self.model_name}
        for name in (*BODY, "extra_body"):
            if (value := getattr(self, name)) is not None:
                found[name] = value
        found["endpoint"] = self.endpoint
        return found

    def _get_invocation_params(
        self, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        # LangChain's own puts the call's stop, even when it has none, in the place of the model's.
        return super()._get_invocation_params(self.stop if stop is None else stop, **kwargs)

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # What caches go by: an answer given to one organisation is none for another, even where
        # both have one gateway.
        tenant = (os.environ.get("ORG_ID", ""), repr(self._access))
        return f"{super()._get_llm_string(stop, **kwargs)}---{tenant}"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        ref = self._ref(kwargs.get("model"))
        found = LangSmithParams(
            ls_provider=ref.provider, ls_model_name=ref.model, ls_model_type="chat"
        )
        temperature = kwargs.get("temperature", self.temperature)
        if temperature is not None:
            found["ls_temperature"] = temperature
        limits = (
            kwargs.get("max_tokens"),
            kwargs.get("max_completion_tokens"),
            self.max_tokens,
            self.max_completion_tokens,
        )
        if (limit := next((one for one in limits if one is not None), None)) is not None:
            found["ls_max_tokens"] = limit
        if stops := _stops(stop) or self.stop:
            found["ls_stop"] = stops
        return found

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
        total: dict[str, Any] = {}
        usage: dict[str, int] = {}
        for output in llm_outputs:
            for name, value in (output or {}).items():
                if name != "token_usage":
                    total.setdefault(name, value)
                    continue
                for kind, count in value.items():
                    if isinstance(count, int):
                        usage[kind] = usage.get(kind, 0) + count
        return {**total, "token_usage": usage} if usage else total

    # --- calls

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        try:
            ref, body, how = self._request(messages, stop, kwargs)
            if is_foreign(self.http_client):
                reply = ForeignHttp(self._access, self.http_client).chat(body, ref)
            else:
                reply = self.clients.sync_client().chat_raw(body, ref, **how)
            return result_of(reply, ref.model)
        except OstiaryError as error:
            raise lifted(error) from error.__cause__

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if is_foreign(self.http_client):
            return await super()._agenerate(messages, stop, run_manager, **kwargs)
        try:
            ref, body, how = self._request(messages, stop, kwargs)
            reply = await self.clients.async_client().chat_raw(body, ref, **how)
            return result_of(reply, ref.model)
        except OstiaryError as error:
            raise lifted(error) from error.__cause__

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        try:
            ref, body, how = self._request(messages, stop, kwargs, stream=True)
            pieces = _Pieces(ref.model)
            if is_foreign(self.http_client):
                opened = ForeignHttp(self._access, self.http_client).stream(body, ref)
            else:
                opened = self.clients.sync_client().stream_raw(body, ref, **how)
            with closing(opened):
                for chunk in opened:
                    if (made := pieces.next(chunk)) is not None:
                        if run_manager is not None:
                            run_manager.on_llm_new_token(made.text, chunk=made)
                        yield made
        except OstiaryError as error:
            raise lifted(error) from error.__cause__

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        if is_foreign(self.http_client):
            # LangChain's own, in a thread: what a caller brought has no async of its own.
            async for each in super()._astream(messages, stop, run_manager, **kwargs):
                yield each
            return
        try:
            ref, body, how = self._request(messages, stop, kwargs, stream=True)
            pieces = _Pieces(ref.model)
            opened = self.clients.async_client().stream_raw(body, ref, **how)
            async with opened as chunks:
                async for chunk in chunks:
                    if (made := pieces.next(chunk)) is not None:
                        if run_manager is not None:
                            await run_manager.on_llm_new_token(made.text, chunk=made)
                        yield made
        except OstiaryError as error:
            raise lifted(error) from error.__cause__

    def _ref(self, model: Any) -> ModelRef:
        """Return the model of one call; a bare name that begins like nobody's stays here."""
        if model is None:
            return self.model_ref
        if isinstance(model, ModelRef):
            return model
        ref = ModelRef.parse(model)
        if ":" not in model and ref.provider == providers.DEFAULT:
            return ModelRef(self.model_ref.provider, ref.model)
        return ref

    def _request(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        given: Mapping[str, Any],
        *,
        stream: bool = False,
    ) -> tuple[ModelRef, dict[str, Any], dict[str, Any]]:
        """Return whom to ask, the body without the model, and how it is to be sent."""
        rest = {name: value for name, value in given.items() if name not in IGNORED}
        ref = self._ref(rest.pop("model", None))
        how: dict[str, Any] = {name: rest.pop(name) for name in _HOW if name in rest}
        if not stream:  # whether a call is one may be LangChain's choice
            how = {name: how[name] for name in how if name not in _OF_STREAMS}
        if not self._owns and "timeout" in self.model_fields_set:
            how.setdefault("timeout", self.timeout)  # the clients' own may be another
        extra: dict[str, Any] = {**(self.extra_body or {}), **(rest.pop("extra_body", None) or {})}
        usage = rest.pop("stream_usage", self.stream_usage)
        if stop is not None:
            rest["stop"] = stop
        if wrong := rest.keys() - set(BODY) - set(PER_CALL):
            raise unknown(wrong)
        body: dict[str, Any] = {"messages": _messages_to_dicts(messages)}
        for name in BODY:
            value = rest.get(name, getattr(self, name))
            # An empty list of stops is LangChain's way of saying none.
            if value is not None and value != []:
                body[name] = value
        body |= {name: rest[name] for name in PER_CALL if rest.get(name) is not None}
        if stream:
            # None keeps the client from asking for it.
            body.setdefault("stream_options", {"include_usage": True} if usage else None)
        if not body.get("tools"):
            body.pop("parallel_tool_calls", None)
        return ref, {**body, **extra}, how

    # --- tools and structured output

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return this model with tools that it may call.

        `tool_choice` is a tool's name, `"any"` or `"required"` for one of them, `"auto"`,
        `"none"`, or a dict. `strict` has the provider hold the model to each tool's schema; it
        raises `GatewayArgumentError` for one that cannot be closed. `parallel_tool_calls`
        False asks for one call at a time. The rest is as for a call.
        """
        made = [wire_tool_of(tool, strict=strict) for tool in tools]
        bound: dict[str, Any] = {"tools": made, **kwargs}
        names = [str(one.get("function", one).get("name", "")) for one in made]
        if (choice := tool_choice_of(tool_choice, names)) is not None:
            bound["tool_choice"] = choice
        if parallel_tool_calls is not None:
            bound["parallel_tool_calls"] = parallel_tool_calls
        return self.bind(**bound)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        include_raw: bool = False,
        method: Method | None = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return this model with answers of a given shape.

        `schema` is a pydantic model, a Struct or a dataclass, and answers are its instances; or
        a TypedDict or a JSON Schema, and answers are dicts. `method` is `json_schema`, where
        the provider holds the model to the schema, `function_calling`, where the answer is the
        arguments of a tool, or `json_mode`, where the schema is told in the prompt; left out,
        what the provider does best. `strict` is True for `json_schema` unless given.

        With `include_raw` the answer is a dict: `raw` the message, `parsed` the object or None,
        `parsing_error` None or the exception. Without it an answer of another shape raises
        `ChatOutputError`. A schema that cannot be closed raises `GatewayArgumentError` now.
        """
        if method is None:
            known = providers.known(self.model_ref.provider)
            method = _METHODS["tool" if known is None else known.structured]
        if schema is None:
            raise GatewayArgumentError("with_structured_output needs a schema")
        shape = shape_of(schema)
        told = {
            "kwargs": {"method": method, "strict": strict},
            "schema": shown_to_tracers(schema, shape),
        }
        asked: dict[str, Any] = {"ls_structured_output_format": told, **kwargs}
        ask: Runnable[LanguageModelInput, AIMessage]
        if method == "function_calling":
            asked["tools"] = [tool_of(shape, strict=strict)]
            asked["tool_choice"] = tool_choice_of(shape.name, [shape.name])
            ask = self.bind(**asked)
        elif method == "json_schema":
            asked["response_format"] = response_format_of(shape, strict=strict is not False)
            ask = self.bind(**asked)
        elif method == "json_mode":
            asked["response_format"] = {"type": "json_object"}

            def tell(given: LanguageModelInput) -> list[BaseMessage]:
                return instructed(self._convert_input(given).to_messages(), shape)

            async def tell_async(given: LanguageModelInput) -> list[BaseMessage]:
                return tell(given)

            ask = RunnableLambda(tell, tell_async, name="TellSchema") | self.bind(**asked)
        else:
            raise GatewayArgumentError(
                f"method {str(method)[:40]!r} is none of {', '.join(_METHODS.values())}"
            )
        return ask | StructuredOutputParser(
            shape=shape,
            tool=shape.name if method == "function_calling" else None,
            include_raw=include_raw,
        )

    # --- counting

    def get_num_tokens(self, text: str) -> int:
        """Return about how many tokens a text has: a token for four characters."""
        if self.custom_get_token_ids is not None:
            return super().get_num_tokens(text)
        return -(-len(text) // 4)

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Return about how many tokens messages have, for whoever trims a conversation.

        An estimate of LangChain's that needs no tokenizer; what a call used is in its
        `usage_metadata`.
        """
        if self.custom_get_token_ids is not None:
            return super().get_num_tokens_from_messages(messages, tools)
        return count_tokens_approximately(messages)

    # --- the end

    def __getstate__(self) -> dict[Any, Any]:
        # It travels as its settings: the key is to be there already, where it arrives.
        state = dict(super().__getstate__())
        state["__dict__"] = {**state["__dict__"], "api_key": None}
        return state

    def close(self) -> None:
        """Close the connections; those of `clients` that were given are their owner's."""
        if self._owns:
            self.clients.close()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._owns:
            await self.clients.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


class _Pieces:
    """Makes LangChain's chunks of one stream's; the first of them names the model."""

    def __init__(self, asked_for: str) -> None:
        self._asked_for = asked_for
        self._fragments = Fragments()
        self._named = False

    def next(self, chunk: ChatChunk) -> ChatGenerationChunk | None:
        name = None if self._named else chunk.model or self._asked_for
        made = chunk_of(chunk, self._fragments, name)
        self._named |= made is not None
        return made


def _ref_of(ref: ModelRef | str | None, name: str | None, model: str | ModelRef | None) -> ModelRef:
    given = [one for one in (ref, name, model) if one is not None]
    if len(given) > 1:
        raise GatewayArgumentError("a model is named twice; give model or model_ref")
    if not given:
        given = [default_model()]
    return given[0] if isinstance(given[0], ModelRef) else ModelRef.parse(given[0])


def _stops(stop: Any) -> list[str] | None:
    if stop is None:
        return None
    return [stop] if isinstance(stop, str) else list(stop)


def create_llm_for_gateway(
    model_ref: ModelRef | str,
    gateway_client: Any,
    temperature: float | None = 0.0,
    **settings: Unpack[ChatSettings],
) -> GatewayChatModel:
    """Return a chat model for an access object, in gateway mode and in direct mode.

    `temperature` None leaves it to the model; several reasoning models refuse any. The rest is
    as for `GatewayChatModel`.
    """
    ref = model_ref if isinstance(model_ref, ModelRef) else ModelRef.parse(model_ref)
    if gateway_client.is_gateway_mode and "http_client" not in settings:
        endpoint = gateway_client.get_endpoint(ref.provider)
        settings["http_client"] = GatewayHttpClient.from_endpoint(endpoint)
    return GatewayChatModel(ref, gateway_client=gateway_client, temperature=temperature, **settings)

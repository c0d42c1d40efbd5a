"""What may be said to a chat model, when it is made and at each call; each name once.

What is left out, or is None, is not sent: some models refuse even a temperature of zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from ..errors import GatewayArgumentError

if TYPE_CHECKING:
    from langchain_core.caches import BaseCache
    from langchain_core.callbacks import Callbacks
    from langchain_core.rate_limiters import BaseRateLimiter
    from pydantic import SecretStr

    from .clients import Clients
    from .model_ref import ModelRef

__all__ = ["BODY", "IGNORED", "PER_CALL", "ChatParameters", "ChatSettings", "unknown"]


class ChatSettings(TypedDict, total=False):
    """How a chat model behaves.

    `clients` shares the connections of other models; `http_client` replaces the transport.
    `api_key` and `base_url` are for direct mode alone. `timeout` is in seconds, for a whole
    call, None for no limit.

    The rest but LangChain's own goes into the request, each under its own name, `extra_body`
    as it is. `stream_usage` asks for the usage of streams.
    """

    http_client: Any
    clients: Clients | None
    api_key: str | SecretStr | None
    base_url: str | None
    timeout: float | None
    max_retries: int
    max_tokens: int | None
    max_completion_tokens: int | None
    top_p: float | None
    seed: int | None
    stop: str | Sequence[str] | None
    stop_sequences: Sequence[str] | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logit_bias: Mapping[str, float] | None
    logprobs: bool | None
    top_logprobs: int | None
    reasoning_effort: str | None
    parallel_tool_calls: bool | None
    service_tier: str | None
    user: str | None
    extra_body: Mapping[str, Any] | None
    streaming: bool
    stream_usage: bool
    # LangChain's own
    name: str | None
    cache: BaseCache | bool | None
    verbose: bool
    callbacks: Callbacks
    tags: list[str] | None
    metadata: dict[str, Any] | None
    custom_get_token_ids: Any
    rate_limiter: BaseRateLimiter | None
    disable_streaming: bool | Literal["tool_calling"]
    output_version: str | None
    profile: Any


class ChatParameters(ChatSettings, total=False):
    """The keyword arguments of `GatewayChatModel`, beside `model`.

    `model_ref` names the model in its stead. `gateway_client` says how it is reached: a
    `GatewayAccess`, left out what the environment asks for.
    """

    model_name: str
    model_ref: ModelRef
    gateway_client: Any
    temperature: float | None


BODY: Final = (
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "top_p",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "parallel_tool_calls",
    "service_tier",
    "user",
)
"""Members of the request that a model may have set, or a call."""

PER_CALL: Final = ("tools", "tool_choice", "response_format", "stream_options", "prediction")
"""Members of the request that only a call has."""

IGNORED: Final = frozenset({"stream", "ls_structured_output_format", "structured_output_format"})
"""What LangChain tells a model for its own sake."""


def unknown(names: Iterable[str]) -> GatewayArgumentError:
    """Return the error for arguments that would otherwise be dropped without a word."""
    told = ", ".join(sorted(name[:40] for name in names))
    return GatewayArgumentError(
        f"a chat has no parameter {told}; known are {', '.join((*BODY, *PER_CALL))}. What a "
        "provider has beyond these goes into extra_body={...}"
    )

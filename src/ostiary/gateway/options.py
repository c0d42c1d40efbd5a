"""What may be said about one call, by name, and how a client behaves.

`ChatOptions` is the keyword arguments of `chat` and `stream_chat`; what is left out, or is
None, is not sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from .._api_key import KeySource, Unusable
from .._settings import GivenHeaders
from ..config import (
    IDLE_TIMEOUT,
    MAX_CONNECTIONS,
    MAX_RETRIES,
    Limits,
)
from ..errors import InvalidArgumentError
from ..http._sync import Pool
from .errors import GatewayArgumentError
from .llm.model_ref import ModelCategory, ModelRef
from .llm.model_selector import ModelSelector
from .settings import TIMEOUT, GatewaySettings

if TYPE_CHECKING:
    import ssl

    from ..http.connections import AsyncConnections, Connections
    from ..http.hooks import RequestInfo, ResponseInfo, RetryInfo
    from ..http.settings import Parser
    from .client import GatewayAccess
    from .tool import ToolLike

__all__ = [
    "IDLE_TIMEOUT",
    "MAX_CONNECTIONS",
    "MAX_RETRIES",
    "TIMEOUT",
    "Behaviour",
    "ChatOptions",
    "Model",
    "StreamOptions",
    "Timeout",
    "models_of",
]

DEFAULT_MODEL: Final = "openai:gpt-4o"
"""What direct mode talks to when neither caller nor environment names a model."""

DEFAULT_EMBEDDINGS: Final = "openai:text-embedding-3-small"

CATEGORIES: Final = tuple(each.value for each in ModelCategory)

Timeout = float | UnsetType | None
"""Seconds; None is no limit; left out, the client's."""

Model = str | ModelRef | ModelCategory
"""A model by its reference, or the category whose preferred model is meant."""


class ChatOptions(TypedDict, total=False):
    """The keyword arguments of a chat.

    `model` is a reference, or the category whose preferred model is meant; left out,
    `ModelCategory.ANALYSIS`. `tools` are functions, types, `Tool`s or OpenAI's own objects;
    `tool_choice` is `auto`, `none`, `required` or a tool's name. `stop` is up to four texts.
    `extra` are members of the body that have no name here; None removes one.

    `strict` false sends a schema as it is, for one that cannot be closed. `repairs` is how
    often the model is asked again when its reply is not of the shape that `response_format`
    asks for; 0 unless given. `fallback` tries a category's next model when one is refused
    with 429 or 5xx; not unless given.

    `timeout` bounds the whole call in seconds, whatever is tried again in it.
    `idempotency_key`, text or True for a new one, is for gateways that know a repeat by it:
    with it the call is sent again also when it may have run.
    """

    model: Model | None
    tools: Sequence[ToolLike] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    temperature: float | None
    max_tokens: int | None
    max_completion_tokens: int | None
    top_p: float | None
    seed: int | None
    stop: str | Sequence[str] | None
    reasoning_effort: str | None
    user: str | None
    extra: Mapping[str, Any] | None
    strict: bool
    repairs: int
    fallback: bool
    timeout: Timeout
    idempotency_key: str | bool | None


class StreamOptions(ChatOptions, total=False):
    """Those of a stream: `timeout` ends with the response's head.

    `idle_timeout` is the longest gap between two events, in seconds, `total_timeout` is for
    all of it. There are no `repairs`.
    """

    idle_timeout: Timeout
    total_timeout: Timeout


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a client is made from. Times are seconds, None is no limit.

    `timeout` that is left out and `max_retries` of None are the environment's to say.
    """

    access: GatewayAccess | None = None
    models: ModelSelector | None = None
    timeout: Timeout = UNSET
    idle_timeout: float | None = IDLE_TIMEOUT
    total_timeout: float | None = None
    max_retries: int | None = None
    max_connections: int = MAX_CONNECTIONS
    token_budget: int | None = None
    limits: Limits | None = None
    parser: Parser | None = None
    ssl_context: ssl.SSLContext | None = None
    expected_uid: int | None = None
    on_request: Callable[[RequestInfo], object] | None = None
    on_response: Callable[[ResponseInfo], object] | None = None
    on_retry: Callable[[RetryInfo], object] | None = None
    headers: GivenHeaders = None
    keys: KeySource | None = None
    connections: AsyncConnections | Connections | None = None
    adaptive: bool = False

    def pool_arguments(self, *, retries: bool = True) -> dict[str, Any]:
        """Return what a pool is made with, beside base URL, headers, credentials and family."""
        return {
            "connections": self.connections,
            "adaptive": self.adaptive,
            "timeout": self.timeout,
            "idle_timeout": self.idle_timeout,
            "total_timeout": self.total_timeout,
            "max_retries": self.max_retries if retries else 0,
            "max_connections": self.max_connections,
            # A fleet's calls come and go together: what is closed now is opened again at once.
            "max_idle": self.max_connections,
            "limits": self.limits,
            "parser": self.parser,
            "ssl_context": self.ssl_context,
            "expected_uid": self.expected_uid,
            "on_request": self.on_request,
            "on_response": self.on_response,
            "on_retry": self.on_retry,
        }

    def check(self) -> None:
        """Raise `GatewayArgumentError` for what cannot be meant, before a provider is known."""
        if self.models is not None and not isinstance(self.models, ModelSelector):
            raise GatewayArgumentError(
                "models is a ModelSelector, or a StaticModelSelector for one model"
            )
        if isinstance(self.headers, Unusable):
            raise GatewayArgumentError(self.headers.problem)
        arguments = msgspec.structs.replace(
            self,
            connections=None,
            adaptive=False,  # of an endpoint that is none, nothing is learned
            timeout=TIMEOUT if self.timeout is UNSET else self.timeout,
            max_retries=MAX_RETRIES if self.max_retries is None else self.max_retries,
        ).pool_arguments()
        del arguments["ssl_context"]  # fits an https endpoint alone, and none is known yet
        try:
            Pool("http://localhost", **arguments)
        except InvalidArgumentError as error:
            problem = error.message
        else:
            return
        raise GatewayArgumentError(problem)

    def resolved(self) -> Behaviour:
        """Return it with what was left out: the environment's, or the defaults.

        The environment is read for a client that is given no access object, and for no other.
        """
        timeout, retries = self.timeout, self.max_retries
        if self.access is not None:
            return msgspec.structs.replace(
                self,
                timeout=TIMEOUT if timeout is UNSET else timeout,
                max_retries=MAX_RETRIES if retries is None else retries,
            )
        settings = GatewaySettings.from_environment()
        models = self.models
        if models is None and settings.direct:
            models = models_of(settings.model)
        return msgspec.structs.replace(
            self,
            access=settings.access(),
            models=models,
            timeout=settings.timeout if timeout is UNSET else timeout,
            max_retries=settings.max_retries if retries is None else retries,
        )

    def portable(self) -> Behaviour:
        """Return a copy that may be pickled: without headers, TLS context and hooks."""
        return msgspec.structs.replace(
            self,
            ssl_context=None,
            on_request=None,
            on_response=None,
            on_retry=None,
            headers=None,
            keys=None,
            connections=None,
        )


def models_of(model: str | None) -> ModelSelector:
    """Return the selector for what no Transaction Token limits: one model for all that is said.

    None is `DEFAULT_MODEL`.
    """
    chat = model or DEFAULT_MODEL
    return ModelSelector(
        {each: [DEFAULT_EMBEDDINGS if each == "embeddings" else chat] for each in CATEGORIES}
    )

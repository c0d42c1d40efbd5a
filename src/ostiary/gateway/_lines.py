"""The way to a provider: which dialect it is spoken to in, and what its failures allow.

Also what a tracer is told of a call: settings and counts, and no word of what was said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._io.sockets import seconds_left
from ..errors import OstiaryError, adopt
from . import _routes as routes
from . import providers
from .errors import FAMILY, GatewayError, GatewayServerError, GatewayStateError, RateLimitError

if TYPE_CHECKING:
    from .. import telemetry
    from .._wire.headers import Headers
    from .._wire.sse import EventDecoder
    from .dialects import Dialect, Reader
    from .llm.model_ref import ModelRef
    from .models import ChatReply
    from .structured import How

__all__ = [
    "Begun",
    "answering",
    "closed",
    "dialect_of",
    "left",
    "may_stand_in",
    "said_of",
    "said_of_reply",
    "structured_by",
]


class Begun(NamedTuple):
    """A stream whose head has come: who answers, and what reads it."""

    ref: ModelRef
    reader: Reader
    decoder: EventDecoder[Any]
    source: Any
    told: telemetry.Operation


def dialect_of(provider: str, gateway: bool) -> Dialect:
    """Return how a provider is spoken to: through a gateway, all of them in one way."""
    if gateway:
        return routes.GATEWAY
    spoken = providers.provider(provider).dialect
    if spoken == "anthropic":
        from .dialects.anthropic import ANTHROPIC

        return ANTHROPIC
    if spoken == "google":
        from .dialects.google import GOOGLE

        return GOOGLE
    return routes.DIRECT


def structured_by(provider: str) -> How:
    """Return how a provider is made to answer in a given shape; by a tool when it is unknown."""
    known = providers.known(provider)
    return "tool" if known is None else known.structured


def may_stand_in(error: GatewayError) -> bool:
    """Whether another model may be asked in place of the one that failed so."""
    # Refused, and so not running: what was lost on the way may be paid for already.
    return isinstance(error, (RateLimitError, GatewayServerError))


def answering(headers: Headers) -> str | None:
    """Say what is wrong with the head of a stream; None when nothing is."""
    kind = headers.get("content-type", "text/event-stream").partition(";")[0].strip().lower()
    if kind == "text/event-stream" or "json" not in kind:
        return None
    return f"the stream was answered with {kind[:60]}, which is no event stream"


def left(until: float) -> float:
    """Return the seconds until a deadline; `GatewayDeadlineError` when it has passed."""
    try:
        return seconds_left(until)
    except OstiaryError as error:
        raise adopt(error, FAMILY) from None


def closed() -> GatewayStateError:
    """Make the error for a client that was closed."""
    return GatewayStateError("the client is closed; make another one")


# --- for tracers


_TOLD: Final[Mapping[str, str]] = {
    "max_tokens": "request.max_tokens",
    "max_completion_tokens": "request.max_tokens",
    "temperature": "request.temperature",
    "top_p": "request.top_p",
    "seed": "request.seed",
    "frequency_penalty": "request.frequency_penalty",
    "presence_penalty": "request.presence_penalty",
}


def said_of(ref: ModelRef, body: Mapping[str, Any], *, stream: bool = False) -> dict[str, Any]:
    """Return what a tracer is told of a request: whom it is for, and its settings."""
    about = {
        told: body[name] for name, told in _TOLD.items() if isinstance(body.get(name), (int, float))
    }
    if stream:
        about["request.stream"] = True
    return {"provider": ref.provider, "name": ref.model, "about": about}


def said_of_reply(reply: ChatReply[Any]) -> dict[str, Any]:
    """Return what a tracer is told of an answer: counts and reasons."""
    usage = reply.usage
    told: dict[str, Any] = {
        "model": reply.model or None,
        "id": reply.id or None,
        "finish_reasons": [reply.finish_reason] if reply.finish_reason else [],
    }
    if usage is not None:
        told |= {
            "input_tokens": usage.prompt_tokens,
            "output_tokens": usage.completion_tokens,
            "cached_tokens": usage.cached_tokens or None,
            "reasoning_tokens": usage.reasoning_tokens or None,
        }
    return told

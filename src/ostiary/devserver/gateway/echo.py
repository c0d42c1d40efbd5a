"""The built-in model: it says what it was told, calls tools and fills schemas, by rule.

Nothing in it is random or timed, so that what stands above it can be tested; lines of the
last user message that begin with `/` are its commands (docs/dev.md). Neighbours: `wire` for
what it is asked, `completions` for how it is said.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import msgspec

from .instances import LONGEST, Filler, quoted, words
from .wire import ChatBody, Message, Tool, invalid

__all__ = ["EFFORTS", "MODELS", "Answer", "Call", "answer", "tokens"]

MODELS: Final = ("echo", "echo-mini", "hash")

_TOKEN: Final = re.compile(r"\s*[^\W_]{1,12}|\s*(?:[^\w\s]|_)|\s+")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_COMMAND: Final = re.compile(r"/([a-z]+)(?:[ \t]+(.*))?")
# Words of tool names that say nothing about the tool.
_EMPTY: Final = frozenset({"get", "set", "the", "and", "for", "tool", "function", "run", "make"})
_MESSAGE_TOKENS: Final = 3
_IMAGE_TOKENS: Final = 85
_AUDIO_TOKENS: Final = 10
_FILE_TOKENS: Final = 50
_MOST_WORDS: Final = 100_000
EFFORTS: Final = {"none": 0, "minimal": 4, "low": 8, "medium": 16, "high": 32, "xhigh": 64}
_PROSE: Final = (
    "the quick model reads what it was told and says it again until somebody counts the words"
)

_encode = msgspec.json.Encoder(order="deterministic").encode


class Call(msgspec.Struct, frozen=True):
    """A call of a tool; `arguments` is JSON, unless a command asked for other text."""

    id: str
    name: str
    arguments: str


class Answer(msgspec.Struct, kw_only=True):
    """What the model says, before it is put on the wire.

    `content` None is null. `pace` is seconds before each piece; `fail` a status to refuse
    with, `retry_after` beside it; `error_after` and `cut_after` count pieces of a stream.
    """

    content: str | None = ""
    calls: list[Call] = []
    refusal: str | None = None
    finish: str = "stop"
    pace: float = 0.0
    fail: int | None = None
    retry_after: int | None = None
    error_after: int | None = None
    cut_after: int | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    audio_tokens: int = 0
    reasoning_tokens: int = 0


class _Orders(msgspec.Struct):
    """The commands of one message, and the text that is left."""

    text: str
    found: list[tuple[str, str]] = []

    def last(self, name: str) -> str | None:
        return next((value for key, value in reversed(self.found) if key == name), None)

    def number(self, name: str, most: int) -> int | None:
        value = self.last(name)
        if value is None:
            return None
        first = value.split(maxsplit=1)[0] if value else ""
        if not first.isdecimal() or not first.isascii() or int(first) > most:
            raise invalid("messages", f"/{name} takes a whole number up to {most}")
        return int(first)


def tokens(text: str) -> list[str]:
    """Cut a text into the model's tokens; joined, they are the text."""
    return _TOKEN.findall(text)


def answer(body: ChatBody, pace: float = 0.0) -> Answer:
    """Return what the model says to a request; 400 for a request it cannot make sense of."""
    _check(body)
    asked = next((m for m in reversed(body.messages) if m.role == "user"), None)
    orders = _orders(asked.text if asked is not None else "")
    said = Answer(pace=_pace(orders, pace))
    _count_prompt(said, body)
    said.cached_tokens = min(orders.number("cached", 10**9) or 0, said.prompt_tokens)
    said.fail, said.retry_after = _failure(orders)
    said.error_after = orders.number("error", 10**9)
    said.cut_after = orders.number("cut", 10**9)
    _speak(said, body, orders, asked)
    finish = orders.last("finish")
    if finish:
        said.finish = finish.split()[0]
    said.reasoning_tokens = EFFORTS.get(body.reasoning_effort or "none", 0)
    said.completion_tokens = (
        len(tokens(said.content or ""))
        + len(tokens(said.refusal or ""))
        + sum(len(tokens(call.name + call.arguments)) + 1 for call in said.calls)
        + said.reasoning_tokens
    )
    return said


def _check(body: ChatBody) -> None:
    if not body.messages:
        raise invalid("messages", "messages is empty; send at least one")
    for number, message in enumerate(body.messages):
        if message.role == "tool" and not message.tool_call_id:
            raise invalid(f"messages[{number}]", "a tool message names its call in tool_call_id")
        if message.content is None and message.role != "assistant":
            raise invalid(f"messages[{number}].content", "content is missing")
    for name, value, least, most in (
        ("temperature", body.temperature, 0, 2),
        ("top_p", body.top_p, 0, 1),
        ("n", body.n, 1, 1),
        ("max_tokens", body.max_tokens, 1, 2**31),
        ("max_completion_tokens", body.max_completion_tokens, 1, 2**31),
    ):
        if value is not None and not least <= value <= most:
            raise invalid(name, f"{name} is not between {least} and {most}")
    if isinstance(body.stop, list) and len(body.stop) > 16:
        raise invalid("stop", "stop has more than 16 sequences")
    if body.reasoning_effort is not None and body.reasoning_effort not in EFFORTS:
        raise invalid("reasoning_effort", f"reasoning_effort is one of {', '.join(EFFORTS)}")
    named = None
    if body.tool_choice is not None and not isinstance(body.tool_choice, str):
        named = body.tool_choice.function.name
    known = [tool.function.name for tool in body.tools or ()]
    if body.tool_choice == "required" and not known:
        raise invalid("tool_choice", "tool_choice asks for a call, and tools is empty")
    if named is not None and named not in known:
        raise invalid("tool_choice", "tool_choice names a tool that is not in tools")


def _orders(text: str) -> _Orders:
    if "/" not in text:
        return _Orders(text)
    kept: list[str] = []
    found: list[tuple[str, str]] = []
    lines = text.split("\n")
    for number, line in enumerate(lines):
        match = _COMMAND.fullmatch(line.strip("\r"))
        if match is None or match[1] not in _KNOWN:
            kept.append(line)
            continue
        value = match[2] or ""
        if match[1] in _TO_THE_END:
            found.append((match[1], "\n".join([value, *lines[number + 1 :]])))
            break
        found.append((match[1], value))
    return _Orders("\n".join(kept).strip("\n") if found else text, found)


_TO_THE_END: Final = frozenset({"say", "refuse"})
_KNOWN: Final = _TO_THE_END | {
    "call",
    "badcall",
    "cached",
    "cut",
    "error",
    "fail",
    "finish",
    "null",
    "pace",
    "words",
}


def _pace(orders: _Orders, pace: float) -> float:
    value = orders.last("pace")
    if value is None:
        return pace
    try:
        found = float(value)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 3600:
        raise invalid("messages", "/pace takes seconds, from 0 to 3600")
    return found


def _failure(orders: _Orders) -> tuple[int | None, int | None]:
    value = orders.last("fail")
    if value is None:
        return None, None
    status, _, after = value.partition(" ")
    good = status.isdecimal() and status.isascii() and 400 <= int(status) <= 599
    if not good or (after and not (after.isdecimal() and after.isascii() and len(after) < 7)):
        raise invalid("messages", "/fail takes a status from 400 to 599, and Retry-After seconds")
    return int(status), int(after) if after else None


def _count_prompt(said: Answer, body: ChatBody) -> None:
    total = 0
    for message in body.messages:
        total += _MESSAGE_TOKENS + len(tokens(message.text)) + len(tokens(message.name or ""))
        for call in message.tool_calls or ():
            total += len(tokens(call.function.name + call.function.arguments))
        total += _IMAGE_TOKENS * message.count("image_url")
        total += _FILE_TOKENS * message.count("file")
        said.audio_tokens += _AUDIO_TOKENS * message.count("input_audio")
    for tool in body.tools or ():
        total += len(tokens(_encode(tool).decode()))
    said.prompt_tokens = total + said.audio_tokens


def _speak(said: Answer, body: ChatBody, orders: _Orders, asked: Message | None) -> None:
    """Decide between a refusal, calls, an instance of a schema and text."""
    refused = orders.last("refuse")
    if refused is not None:
        said.content, said.refusal = None, refused.strip() or "I will not."
        return
    calls = _commanded(body, orders)
    last = body.messages[-1]
    after_tool = last.role == "tool"
    if not calls and body.tools and body.tool_choice != "none" and not after_tool:
        tool = _chosen(body, orders.text)
        if tool is not None:
            calls = [_call(body, tool, orders.text, 0)]
    if calls and not after_tool:
        said.content, said.calls, said.finish = None, calls, "tool_calls"
        return
    said.content = _text(body, orders, asked)
    if orders.last("null") is not None:
        said.content = None
    else:
        _shorten(said, body)


def _commanded(body: ChatBody, orders: _Orders) -> list[Call]:
    calls: list[Call] = []
    for command, value in orders.found:
        if command not in {"call", "badcall"}:
            continue
        name, _, arguments = value.partition(" ")
        if not name:
            raise invalid("messages", f"/{command} takes the name of a tool and its arguments")
        if command == "call":
            arguments = _arguments(arguments)
        calls.append(Call(_call_id(body, len(calls)), name, arguments))
    return calls


def _arguments(text: str) -> str:
    if not text.strip():
        return "{}"
    found: object = None
    try:
        found = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, RecursionError):
        pass
    if not isinstance(found, dict):
        raise invalid("messages", "/call takes a JSON object; /badcall takes any text")
    return text.strip()


def _chosen(body: ChatBody, text: str) -> Tool | None:
    """Return the tool to call, or None to answer in words."""
    tools = body.tools or []
    if body.tool_choice is not None and not isinstance(body.tool_choice, str):
        name = body.tool_choice.function.name
        return next(tool for tool in tools if tool.function.name == name)
    text = text[:LONGEST]
    said = set(words(text))
    best: Tool | None = None
    most = 0
    for tool in tools:
        name = tool.function.name
        score = len(said & (set(words(_CAMEL.sub(" ", name).replace("_", " "))) - _EMPTY))
        if name in text and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text):
            score += 1000 + len(name)
        if score > most:
            best, most = tool, score
    if best is None and body.tool_choice == "required":
        return tools[0]
    return best


def _call(body: ChatBody, tool: Tool, text: str, number: int) -> Call:
    schema = tool.function.parameters or {"type": "object", "properties": {}}
    arguments = _instance(schema, text, "tools")
    if not isinstance(arguments, dict):
        raise invalid("tools", "the parameters of a tool are the schema of an object")
    return Call(_call_id(body, number), tool.function.name, _json(arguments))


def _call_id(body: ChatBody, number: int) -> str:
    """An id that is the same for the same conversation, and another one turn later."""
    spoken = _encode([body.messages, number])
    return "call_" + hashlib.blake2b(spoken, digest_size=12).hexdigest()


def _text(body: ChatBody, orders: _Orders, asked: Message | None) -> str:
    said = orders.last("say")
    if said is not None:
        return said
    last = body.messages[-1]
    wanted = body.response_format
    if wanted is not None and wanted.type != "text":
        text = orders.text if last.role != "tool" else f"{orders.text}\n{last.text}"
        return _structured(body, text)
    count = orders.number("words", _MOST_WORDS)
    if count is not None:
        vocabulary = _PROSE.split()
        return " ".join(vocabulary[n % len(vocabulary)] for n in range(count))
    if last.role == "tool":
        return f"The tool says: {last.text}"
    if orders.text.strip():
        return orders.text
    sent = sum(asked.count(kind) for kind in ("image_url", "input_audio", "file")) if asked else 0
    return f"I was sent {sent} attachments and no words." if sent else "Nothing was said."


def _structured(body: ChatBody, text: str) -> str:
    given = _given_json(text)
    wanted = body.response_format
    assert wanted is not None
    if given is not None:
        return given
    if wanted.json_schema is not None:
        return _json(_instance(wanted.json_schema.schema or {}, text, "response_format"))
    if wanted.type == "json_schema":
        raise invalid("response_format", "response_format of type json_schema has no json_schema")
    return _json(dict.fromkeys(quoted(text) or ["answer"], " ".join(text.split())))


def _given_json(text: str) -> str | None:
    """Return the text itself where it is a JSON object: it is said again."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    return text.strip() if isinstance(found, dict) else None


def _instance(schema: dict[str, Any], text: str, param: str) -> Any:
    try:
        return Filler(schema, text).fill()
    except ValueError:
        pass
    raise invalid(param, "the schema cannot be read, or asks for too much; send a JSON Schema")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _shorten(said: Answer, body: ChatBody) -> None:
    """Cut the text before a stop sequence, and where it may go no further."""
    text = said.content or ""
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    places = [text.find(stop) for stop in stops if stop and stop in text]
    if places:
        text = text[: min(places)]
    limits = [n for n in (body.max_tokens, body.max_completion_tokens) if n is not None]
    if limits:
        pieces = tokens(text)
        if len(pieces) > min(limits):
            text = "".join(pieces[: min(limits)])
            said.finish = "length"
    said.content = text

"""`chat` and `embed`: what models answer."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import InvalidArgumentError
from ..clients import client_of
from ..screen import counted
from .session import ExitCodes, Json, Session, Timeout, read_input, session, write

if TYPE_CHECKING:
    from ...gateway import GatewayClient
    from ...gateway.models import ChatReply, Usage

__all__ = ["register"]

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="PROVIDER:MODEL",
        help="The model, or a category of the token: triage, analysis, reasoning. Default: the "
        "first model of analysis.",
        show_default=False,
    ),
]


def register(commands: typer.Typer) -> None:
    """Add these commands to the domain's group."""
    commands.command("chat")(chat)
    commands.command("embed")(embed)


def chat(
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="What to ask; read from stdin without it."),
    ] = None,
    model: Model = None,
    system: Annotated[
        str | None,
        typer.Option("--system", "-s", metavar="TEXT", help="Instructions that come first."),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", metavar="N", min=1, help="How long the answer may be."),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option("--temperature", metavar="T", min=0.0, help="Not sent unless given."),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--no-stream", help="Print the answer at once, not as it comes.")
    ] = False,
    usage: Annotated[
        bool, typer.Option("--usage", help="Say on stderr how many tokens it took.")
    ] = False,
    timeout: Timeout = 120.0,
    json: Json = False,
    exit_codes: ExitCodes = False,
) -> None:
    """Ask a model and print its answer as it comes."""
    with session(json, exit_codes) as on, _client(on, timeout) as client:
        asked = read_input("prompt") if prompt is None else prompt
        if not asked.strip():
            raise InvalidArgumentError("the prompt is empty; give one, or pipe it in")
        messages: list[dict[str, Any]] = [{"role": "user", "content": asked}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        options: dict[str, Any] = {
            "model": _model(model),
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        if json or whole:
            reply = client.chat(messages, **options)
        else:
            reply = _streamed(client, messages, options)
        if json:
            on.screen.document(_document(reply))
            return
        if whole and reply.text:
            write(reply.text, end="" if reply.text.endswith("\n") else "\n")
        _remark(on, reply)
        if usage:
            on.screen.note(_tokens(reply.usage))


def embed(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="What to embed; the lines of stdin without it."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="PROVIDER:MODEL",
            help="The model. Default: the token's first model for embeddings.",
            show_default=False,
        ),
    ] = None,
    dimensions: Annotated[
        int | None,
        typer.Option("--dimensions", metavar="N", min=1, help="How long the vectors are to be."),
    ] = None,
    timeout: Timeout = 120.0,
    json: Json = False,
    exit_codes: ExitCodes = False,
) -> None:
    """Embed texts; with --json the vectors themselves, in order, else what they begin with."""
    with session(json, exit_codes) as on, _client(on, timeout) as client:
        given = texts or [line for line in read_input("texts").splitlines() if line.strip()]
        if not given:
            raise InvalidArgumentError("there is nothing to embed; give texts, or pipe in lines")
        found = client.embed(given, model=model, dimensions=dimensions)
        if json:
            on.screen.document(
                {
                    "model": found.model,
                    "vectors": found.vectors,
                    "usage": found.usage,
                }
            )
            return
        on.screen.table(
            ["text", "dimensions", "begins with"],
            [
                [
                    text if len(text) <= 40 else f"{text[:39]}\N{HORIZONTAL ELLIPSIS}",
                    len(vector),
                    " ".join(f"{value:+.4f}" for value in vector[:4]),
                ]
                for text, vector in zip(given, found.vectors, strict=True)
            ],
            empty="",
            right={"dimensions"},
            firm={"begins with"},
        )


def _client(on: Session, timeout: float) -> AbstractContextManager[GatewayClient]:
    from ...gateway import GatewayClient

    return client_of(GatewayClient, on.screen.note, on.access, timeout=timeout)


def _streamed(
    client: GatewayClient, messages: list[dict[str, Any]], options: dict[str, Any]
) -> ChatReply[Any]:
    written = ""
    try:
        with client.stream_chat(messages, **options) as stream:
            for chunk in stream:
                if chunk.text:
                    write(chunk.text)
                    written = chunk.text
            return stream.reply
    finally:
        # An error that comes in the middle has a line of its own, too.
        if written and not written.endswith("\n"):
            write("\n")


def _model(text: str | None) -> Any:
    from ...gateway import ModelCategory

    if text in {category.value for category in ModelCategory}:
        return ModelCategory(text)
    return text


def _document(reply: ChatReply[Any]) -> dict[str, Any]:
    return {
        "text": reply.text,
        "tool_calls": reply.tool_calls,
        "refusal": reply.refusal,
        "finish_reason": reply.finish_reason,
        "model": reply.model,
        "id": reply.id,
        "usage": reply.usage,
    }


def _remark(on: Session, reply: ChatReply[Any]) -> None:
    """Say on stderr what the text alone does not tell."""
    if reply.refusal:
        on.screen.note(f"the model refused: {reply.refusal}")
    if reply.tool_calls:
        names = ", ".join(call.name for call in reply.tool_calls)
        on.screen.note(
            f"the model asks for {counted(len(reply.tool_calls), 'tool call')}: {names}; "
            "--json shows the arguments"
        )
    if reply.finish_reason == "length":
        on.screen.note("the answer was cut off; allow more with --max-tokens")
    elif reply.finish_reason == "content_filter":
        on.screen.note("the answer was held back by a content filter")


def _tokens(usage: Usage | None) -> str:
    if usage is None:
        return "the gateway did not say how many tokens it took"
    return (
        f"{counted(usage.prompt_tokens, 'token')} in, "
        f"{counted(usage.completion_tokens, 'token')} out"
    )

"""Talk to a model, stream, call a tool, get a typed answer; starts an embedded gateway."""

from __future__ import annotations

import msgspec

from ostiary.devserver import running
from ostiary.gateway import GatewayClient, Message, Tool, access_from_environment


class Triage(msgspec.Struct):
    """What to do about a finding."""

    line: int
    title: str


def count_lines(path: str) -> int:
    """Count the lines of a file."""
    with open(path, encoding="utf-8") as file:
        return sum(1 for _ in file)


def main(client: GatewayClient) -> None:
    print(client.chat("Which lines open sockets?").text)

    stream = client.stream_chat("one two three four five")
    for chunk in stream:
        print(chunk.text, end="|")
    print(stream.reply.finish_reason)

    # The model asks for the tool, the tool is run, the model is told.
    tool = Tool.of(count_lines)
    talk = [Message.user(f"How long is '{__file__}'? Use count_lines.")]
    reply = client.chat(talk, tools=[tool], tool_choice="count_lines")
    results = [call.result(str(tool.run(call))) for call in reply.tool_calls]
    print(client.chat([*talk, reply.message, *results], tools=[tool]).text)

    found = client.chat("The socket on line 12 has no timeout.", response_format=Triage)
    print(found.parsed)

    vectors = client.embed(["alpha", "beta", "alpha"]).vectors
    print("the same text, the same vector:", vectors[0] == vectors[2] != vectors[1])
    print(f"{client.usage.calls} calls, {client.usage.total_tokens} tokens")


if __name__ == "__main__":
    with running(demo=True, tcp=False) as server:
        # What `eval "$(ostiary env)"` puts into a shell.
        access = access_from_environment(server.gateway.environment)
        with GatewayClient(access) as opened:
            main(opened)

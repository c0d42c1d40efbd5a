"""The cases of the gateway, G1 to G6: chats, streams of tokens, and agents' processes."""

from __future__ import annotations

from typing import Any

from .case import Case, Role

_ORIGINAL = "sage-sanctum-sdk 0.4.0"
_OPENAI = "openai 3.52.0"
_LANGCHAIN_OPENAI = "langchain-openai 1.7.3"
_LANGCHAIN = "langchain-core 1.7.2, nobody asked"
_THREADS = "64 threads for 64 streams"
_OURS = ("typed", "agent", "langchain")


def _row(
    name: str,
    label: str,
    function: str,
    count: int,
    smoke: int = 64,
    unit: str = "us",
    **options: Any,
) -> Case:
    """Return a case of the gateway; the original's runs in the peers' environment."""
    role: Role = "peer"
    if name.partition(".")[2] in {"c-floor", "c-poll", "langchain-core", "bare"}:
        role = "floor"
    elif name.rpartition(".")[2].removesuffix("-uvloop") in {*_OURS, "import"}:
        role = "ours"
    environment = "litellm" if "sage-sanctum" in name else ""
    smoke = min(count, smoke)
    return Case(
        name, label, role, function, count, smoke, unit, "httpd", environment, options=options
    )


def _asked() -> list[Case]:
    """G1 and G2."""

    def one(key: str, label: str, count: int) -> Case:
        return _row(f"G1.{key}", label, "chat:calls", count, client=key)

    def many(key: str, label: str, count: int, loop: str = "") -> Case:
        client = key.removesuffix("-uvloop")
        return _row(
            f"G2.{key}", label, "chat:async_calls", count, client=client, tasks=64, loop=loop
        )

    return [
        _row("G1.c-floor", "C floor: send, recv", "chat:c_floor", 20_000),
        _row("G1.c-poll", "C floor: send, polling recv", "chat:c_floor", 20_000, poll=True),
        one("langchain-core", _LANGCHAIN, 2_000),
        one("sage-sanctum", _ORIGINAL, 1_000),
        one("openai", _OPENAI, 1_000),
        one("langchain-openai", _LANGCHAIN_OPENAI, 500),
        one("typed", "GatewayClient.chat", 20_000),
        one("langchain", "GatewayChatModel.invoke", 2_000),
        _row("G2.c-floor", "C floor: epoll", "chat:c_fanout", 64_000, tasks=64),
        many("langchain-core", _LANGCHAIN, 2_560),
        many("aiohttp", "aiohttp 3.14.5 + json", 6_400),
        many("sage-sanctum", f"{_ORIGINAL}, in LangChain's threads", 1_280),
        many("openai", _OPENAI, 1_280),
        many("openai-uvloop", f"{_OPENAI}, uvloop", 1_280, "uvloop"),
        many("langchain-openai", _LANGCHAIN_OPENAI, 640),
        many("typed", "AsyncGatewayClient.chat", 19_200),
        many("typed-uvloop", "AsyncGatewayClient.chat, uvloop", 19_200, "uvloop"),
        many("langchain", "GatewayChatModel.ainvoke", 2_560),
        many("langchain-uvloop", "GatewayChatModel.ainvoke, uvloop", 2_560, "uvloop"),
    ]


def _told() -> list[Case]:
    """G3 and G4. The original cannot read chunks."""

    def model(key: str) -> str:
        return "bare-steady" if "sage-sanctum" in key else "steady"

    def alone(key: str, label: str, count: int, function: str = "alone", **options: Any) -> Case:
        options |= {"client": key, "model": model(key)}
        return _row(f"G3.{key}", label, f"tokens:{function}", count, 400, **options)

    def many(key: str, label: str, times: int, function: str = "many", **options: Any) -> Case:
        client = key.removesuffix("-uvloop").removeprefix("threads.")
        options = {"client": client, "model": model(key), "streams": 1_000, **options}
        return _row(f"G4.{key}", label, f"tokens:{function}", times * 38_000, 400, **options)

    def threads(key: str, label: str) -> Case:
        return many(f"threads.{key}", label, 1, "threads", streams=64)

    astream = "AsyncGatewayClient.stream_chat"
    return [
        alone("c-floor", "C floor: recv", 100_000, "c_floor"),
        alone("c-poll", "C floor: polling recv", 100_000, "c_floor", poll=True),
        alone("langchain-core", _LANGCHAIN, 20_000),
        alone("sage-sanctum", f"{_ORIGINAL}, stream", 10_000),
        alone("openai", _OPENAI, 10_000),
        alone("langchain-openai", f"{_LANGCHAIN_OPENAI}, stream", 4_000),
        alone("typed", "GatewayClient.stream_chat", 100_000),
        alone("langchain", "GatewayChatModel.stream", 20_000),
        many("c-floor", "C floor: epoll", 8, "c_many"),
        many("langchain-core", _LANGCHAIN, 1),
        many("aiohttp", "aiohttp 3.14.5 + json", 1),
        # LangChain's few threads cannot wait for a thousand streams.
        many("sage-sanctum", f"{_ORIGINAL}, in LangChain's threads", 1, together=False),
        threads("sage-sanctum", f"{_ORIGINAL}, {_THREADS}"),
        many("openai", _OPENAI, 1),
        many("langchain-openai", _LANGCHAIN_OPENAI, 1),
        many("typed", astream, 4),
        many("typed-uvloop", f"{astream}, uvloop", 4, loop="uvloop"),
        threads("typed", f"GatewayClient.stream_chat, {_THREADS}"),
        many("langchain", "GatewayChatModel.astream", 1),
        many("langchain-uvloop", "GatewayChatModel.astream, uvloop", 1, loop="uvloop"),
    ]


_QUESTION = "'Is a socket without a timeout a problem?'"
_TOKENS = """
import os
svid, trat = (open(os.environ[n]).read() for n in ("SPIFFE_JWT_PATH", "TRAT_FILE"))
about = {"Txn-Token": trat, "X-Provider": "openai"}
uds = os.environ["LLM_GATEWAY_SOCKET"]
"""
_AGENTS: tuple[tuple[str, str, str, str, int], ...] = (
    (
        "langchain-core",
        _LANGCHAIN,
        "langchain_core",
        f"""
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
class Ready(BaseChatModel):
    _llm_type = "ready"
    def _generate(self, *_, **__):
        message = AIMessage(content="The socket in net.py")
        return ChatResult(generations=[ChatGeneration(message=message)])
answer = Ready().invoke({_QUESTION}).content
""",
        3,
    ),
    (
        "sage-sanctum",
        _ORIGINAL,
        "sage_sanctum",
        f"""
from sage_sanctum import AgentContext, ModelCategory
context = AgentContext.from_environment()
answer = context.create_llm_client(ModelCategory.ANALYSIS).invoke({_QUESTION}).content
""",
        1,
    ),
    (
        "openai",
        _OPENAI,
        "openai",
        f"""{_TOKENS}
import httpx2, openai
http = httpx2.Client(transport=httpx2.HTTPTransport(uds=uds))
client = openai.OpenAI(
    api_key=svid, base_url="http://localhost/v1", default_headers=about, http_client=http
)
asked = [{{"role": "user", "content": {_QUESTION}}}]
answer = client.chat.completions.create(model="quick", messages=asked).choices[0].message.content
""",
        3,
    ),
    (
        "langchain-openai",
        _LANGCHAIN_OPENAI,
        "langchain_openai",
        f"""{_TOKENS}
import httpx2, langchain_openai
http = httpx2.Client(transport=httpx2.HTTPTransport(uds=uds))
client = langchain_openai.ChatOpenAI(
    model="quick", api_key=svid, base_url="http://localhost/v1", default_headers=about,
    http_client=http,
)
answer = client.invoke({_QUESTION}).content
""",
        2,
    ),
    (
        "typed",
        "GatewayClient",
        "",
        f"""
from ostiary.gateway import GatewayClient
client = GatewayClient()
answer = client.chat({_QUESTION}).text
""",
        5,
    ),
    (
        "agent",
        "AgentContext, its typed client",
        "",
        f"""
import asyncio
from ostiary.gateway import AgentContext
async def main():
    context = await AgentContext.from_environment_async()
    return (await context.create_client().chat({_QUESTION})).text
answer = asyncio.run(main())
""",
        5,
    ),
    (
        "langchain",
        "AgentContext, its GatewayChatModel",
        "langchain_core",
        f"""
from ostiary.gateway import AgentContext, ModelCategory
context = AgentContext.from_environment()
answer = context.create_llm_client(ModelCategory.ANALYSIS).invoke({_QUESTION}).content
""",
        3,
    ),
)


def _agents() -> list[Case]:
    """G5 and G6."""
    begins, holds = "agents:over_bare", "agents:resident"
    text = "import ostiary.gateway and no more"
    found = [_row("G5.import", text, begins, 5, 1, "ms", code="import ostiary.gateway")]
    also = [_row("G6.bare", "bare Python", holds, 3, 1, "MB", code="pass")]
    for key, label, module, asks, count in _AGENTS:
        code = f"{asks}assert answer.startswith('The socket in net.py'), answer\n"
        found.append(_row(f"G5.{key}", label, begins, count, 1, "ms", module=module, code=code))
        also.append(_row(f"G6.{key}", label, holds, count, 1, "MB", module=module, code=code))
    return found + also


CASES = (*_asked(), *_told(), *_agents())

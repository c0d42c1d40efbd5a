"""Ours and the peers as clients of a model gateway: each asks the same and shows the same proof.

The tables SYNC and ASYNC name them. Each entry opens a client as it would be used to go fast:
one client kept, connections kept where it keeps any, a timeout set. The cases that time them
are in `chat` and `tokens`. Nothing here is imported but by who needs it: the original runs in
an environment of its own, which has none of ours.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..sample import Unavailable, Work
from .exchange import DEADLINE, peer

PATH = "/v1/chat/completions"
PROVIDER = "openai"
BASE = "http://localhost/v1"
SAYS = "The socket in net.py"
"""How the server's answer begins."""
LAST = " late"
"""The second of the tokens it sends, and every 18th after that."""

SYSTEM = (
    "You review the findings of a static analyser. Say which of them are real, why, and what is "
    "to be done; be brief, and name file and line."
)
PROMPT = (
    "1. net.py:12: socket without a timeout\n2. tests/test_net.py:40: assert used\n"
    "3. tests/data.py:7: hard-coded password 'hunter2'\n\n"
    "net.py:8-16\n    def ask(address, question):\n        line = socket.create_connection(address)"
    "\n        line.sendall(question)\n        return line.recv(65536)\n"
)


def said() -> list[Any]:
    """Return the conversation as OpenAI writes it, made anew for each call."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]


def written() -> list[Any]:
    """Return the same as LangChain has it."""
    messages = peer("langchain_core.messages")
    return [messages.SystemMessage(SYSTEM), messages.HumanMessage(PROMPT)]


class Client(NamedTuple):
    """One client: asks and returns the answer; or streams, of so many tokens each."""

    ask: Callable[[], str]
    read: Callable[[int], tuple[int, str]]
    """Returns how many tokens there were, and the last of them."""


class AsyncClient(NamedTuple):
    ask: Callable[[], Coroutine[Any, Any, str]]
    read: Callable[[int], Coroutine[Any, Any, tuple[int, str]]]


# --- who asks ---------------------------------------------------------------------------------


def _jwt(**claims: Any) -> str:
    """Return a token of the usual size. Its signature is none: the server checks nothing."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = {"alg": "ES256", "kid": "bench", "typ": "JWT"}
    signature = hashlib.sha512(b"bench").digest()
    return ".".join((*(part(json.dumps(x).encode()) for x in (head, claims)), part(signature)))


class Proof(NamedTuple):
    """The two tokens, in files as an agent finds them, and as text."""

    svid_file: str
    trat_file: str
    svid: str
    trat: str

    @property
    def headers(self) -> dict[str, str]:
        """Those beside `Authorization`."""
        return {"Txn-Token": self.trat, "X-Provider": PROVIDER}

    def environment(self, socket: str) -> dict[str, str]:
        """Return what an agent's environment says."""
        return {
            "RUN_ID": "run_8f1d0b6a4c2e",
            "ORG_ID": "org_97531f0a",
            "WORK_DIR": str(Path(self.svid_file).parent),
            "OUTPUT_PATH": str(Path(self.svid_file).parent),
            "SPIFFE_JWT_PATH": self.svid_file,
            "TRAT_FILE": self.trat_file,
            "LLM_GATEWAY_SOCKET": socket,
        }


@contextmanager
def proof(model: str) -> Iterator[Proof]:
    """Write both tokens, as if an hour ago: files that have just changed are read again."""
    now = int(time.time())
    times = {"iat": now - 3600, "exp": now + 24 * 3600}
    svid = _jwt(sub="spiffe://bench/agent", aud=["gateway"], **times)
    names = [f"{PROVIDER}:{name}" for name in (model, "slow", "dear")]
    allowed = {"triage": names, "analysis": names, "reasoning": names, "embeddings": []}
    trat = _jwt(
        txn="txn_6f1c2c9e7c2a4f0e",
        sub="run_8f1d0b6a4c2e",
        scope="scan.execute",
        req_wl="spiffe://bench/agent",
        aud="gateway",
        iss="bench",
        tctx={
            "run_id": "run_8f1d0b6a4c2e",
            "org_id": "org_97531f0a",
            "repo_url": "https://example.com/orders",
            "agent_type": "review",
            "agent_mode": "scan",
            "allowed_models": allowed,
            "allowed_providers": [PROVIDER],
        },
        rctx={"trigger": "manual", "actor": "somebody"},
        **times,
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        paths: list[str] = []
        for name, text in (("svid.jwt", svid), ("trat.jwt", trat)):
            path = Path(folder) / name
            path.touch(0o600)
            path.write_text(text, encoding="utf-8")
            os.utime(path, (now - 3600, now - 3600))
            paths.append(str(path))
        yield Proof(paths[0], paths[1], svid, trat)


def model_of(work: Work) -> str:
    """Return the model that is asked, which is how the server is to send its tokens."""
    return str(work.options.get("model", "quick"))


def connections_of(work: Work) -> int:
    return int(work.options.get("streams", work.options.get("tasks", 1)))


def request(model: str, tokens: int | None = None) -> str:
    """Return what is sent, proof and all, as text for the floors."""
    body: dict[str, Any] = {"model": model, "messages": said(), "temperature": 0.0}
    if tokens is not None:
        body |= {"max_tokens": tokens, "stream": True}
    content = json.dumps(body, separators=(",", ":"))
    with proof(model) as shown:
        headers = {"Authorization": f"Bearer {shown.svid}", **shown.headers}
    headers |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
    lines = [f"POST {PATH} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", content))


# --- ours -------------------------------------------------------------------------------------


def _access(shown: Proof, socket: str) -> Any:
    try:
        from ostiary.gateway import JWTSource, SpiffeGatewayClient, TransactionTokenClient
    except ImportError as error:
        raise Unavailable(str(error)) from None
    return SpiffeGatewayClient(
        JWTSource(shown.svid_file), TransactionTokenClient(shown.trat_file), socket
    )


@contextmanager
def typed(work: Work) -> Iterator[Client]:
    """`GatewayClient`: Structs, and no LangChain."""
    model = f"{PROVIDER}:{model_of(work)}"
    with proof(model_of(work)) as shown:
        access = _access(shown, work.socket)
        from ostiary.gateway import GatewayClient

        with GatewayClient(
            access, timeout=DEADLINE, max_connections=connections_of(work)
        ) as client:

            def ask() -> str:
                return client.chat(said(), model=model, temperature=0.0).text

            def read(tokens: int) -> tuple[int, str]:
                count, last = 0, ""
                for chunk in client.stream_chat(
                    said(), model=model, temperature=0.0, max_tokens=tokens
                ):
                    if chunk.text:
                        last = chunk.text
                        count += 1
                return count, last

            yield Client(ask, read)


@asynccontextmanager
async def async_typed(work: Work) -> AsyncIterator[AsyncClient]:
    """`AsyncGatewayClient`."""
    model = f"{PROVIDER}:{model_of(work)}"
    with proof(model_of(work)) as shown:
        access = _access(shown, work.socket)
        from ostiary.gateway import AsyncGatewayClient

        async with AsyncGatewayClient(
            access, timeout=DEADLINE, max_connections=connections_of(work)
        ) as client:

            async def ask() -> str:
                return (await client.chat(said(), model=model, temperature=0.0)).text

            async def read(tokens: int) -> tuple[int, str]:
                count, last = 0, ""
                async for chunk in client.stream_chat(
                    said(), model=model, temperature=0.0, max_tokens=tokens
                ):
                    if chunk.text:
                        last = chunk.text
                        count += 1
                return count, last

            yield AsyncClient(ask, read)


# --- LangChain --------------------------------------------------------------------------------

Make = Callable[[int | None], Any]
"""Makes a chat model that says at most so many tokens; all share their connections."""


def _by_langchain(make: Make) -> Client:
    whole, of = make(None), cache(make)

    def ask() -> str:
        return str(whole.invoke(written()).content)

    def read(tokens: int) -> tuple[int, str]:
        count, last = 0, ""
        for chunk in of(tokens).stream(written()):
            if chunk.content:
                last = chunk.content
                count += 1
        return count, last

    return Client(ask, read)


def _by_async_langchain(make: Make) -> AsyncClient:
    whole, of = make(None), cache(make)

    async def ask() -> str:
        return str((await whole.ainvoke(written())).content)

    async def read(tokens: int) -> tuple[int, str]:
        count, last = 0, ""
        async for chunk in of(tokens).astream(written()):
            if chunk.content:
                last = chunk.content
                count += 1
        return count, last

    return AsyncClient(ask, read)


def _models(shown: Proof, work: Work) -> tuple[Make, Any]:
    peer("langchain_core")
    access = _access(shown, work.socket)
    from ostiary.gateway.llm.clients import Clients
    from ostiary.gateway.llm.gateway_chat import GatewayChatModel

    clients = Clients(access, timeout=DEADLINE, max_connections=connections_of(work))
    ref = f"{PROVIDER}:{model_of(work)}"

    def make(tokens: int | None) -> Any:
        return GatewayChatModel(ref, clients=clients, temperature=0.0, max_tokens=tokens)

    return make, clients


@contextmanager
def langchain(work: Work) -> Iterator[Client]:
    """`GatewayChatModel`: LangChain on top of the typed client."""
    with proof(model_of(work)) as shown:
        make, clients = _models(shown, work)
        with clients:
            yield _by_langchain(make)


@asynccontextmanager
async def async_langchain(work: Work) -> AsyncIterator[AsyncClient]:
    """`GatewayChatModel`, natively async."""
    with proof(model_of(work)) as shown:
        make, clients = _models(shown, work)
        yield _by_async_langchain(make)
        await clients.aclose()


def _silent() -> Make:
    """Return models that have their answer ready: what LangChain itself costs."""
    messages, outputs = peer("langchain_core.messages"), peer("langchain_core.outputs")
    base: Any = peer("langchain_core.language_models").BaseChatModel

    class Ready(base):  # type: ignore[misc, unused-ignore]
        tokens: int = 0

        @property
        def _llm_type(self) -> str:
            return "ready"

        def _generate(self, *_: Any, **__: Any) -> Any:
            message = messages.AIMessage(content=f"{SAYS} and more")
            return outputs.ChatResult(generations=[outputs.ChatGeneration(message=message)])

        async def _agenerate(self, *_: Any, **__: Any) -> Any:
            return self._generate()

        def _stream(self, *_: Any, **__: Any) -> Iterator[Any]:
            for _number in range(self.tokens):
                chunk = messages.AIMessageChunk(content=LAST)
                yield outputs.ChatGenerationChunk(message=chunk)

        async def _astream(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
            for each in self._stream():
                await asyncio.sleep(0)
                yield each

    return lambda tokens: Ready(tokens=tokens or 0)


@contextmanager
def langchain_alone(work: Work) -> Iterator[Client]:
    """LangChain without anybody to talk to."""
    yield _by_langchain(_silent())


@asynccontextmanager
async def async_langchain_alone(work: Work) -> AsyncIterator[AsyncClient]:
    """The same, async; it gives way to the others at each token, as who reads has to."""
    yield _by_async_langchain(_silent())


def _originals(shown: Proof, work: Work) -> Make:
    chat, access = peer("sage_sanctum.llm.gateway_chat"), peer("sage_sanctum.gateway.client")
    spiffe, trat = peer("sage_sanctum.auth.spiffe"), peer("sage_sanctum.auth.trat")
    ref = peer("sage_sanctum.llm.model_ref").ModelRef(PROVIDER, model_of(work))
    client = access.SpiffeGatewayClient(
        spiffe.JWTSource(shown.svid_file),
        trat.TransactionTokenClient(shown.trat_file),
        work.socket,
    )

    def make(tokens: int | None) -> Any:
        llm = chat.create_llm_for_gateway(ref, client)
        llm.max_tokens = tokens
        return llm

    return make


@contextmanager
def original(work: Work) -> Iterator[Client]:
    """sage-sanctum-sdk's `GatewayChatModel`; it opens a connection for each call."""
    with proof(model_of(work)) as shown:
        yield _by_langchain(_originals(shown, work))


@asynccontextmanager
async def async_original(work: Work) -> AsyncIterator[AsyncClient]:
    """The same: it has no async of its own, so that LangChain runs it in threads."""
    with proof(model_of(work)) as shown:
        yield _by_async_langchain(_originals(shown, work))


def _chat_openai(shown: Proof, work: Work, **clients: Any) -> Make:
    module = peer("langchain_openai")

    def make(tokens: int | None) -> Any:
        return module.ChatOpenAI(
            model=model_of(work),
            api_key=shown.svid,
            base_url=BASE,
            default_headers=shown.headers,
            temperature=0.0,
            timeout=DEADLINE,
            max_tokens=tokens,
            **clients,
        )

    return make


@contextmanager
def langchain_openai(work: Work) -> Iterator[Client]:
    """langchain-openai's `ChatOpenAI`."""
    with proof(model_of(work)) as shown, _httpx2(work) as http:
        yield _by_langchain(_chat_openai(shown, work, http_client=http))


@asynccontextmanager
async def async_langchain_openai(work: Work) -> AsyncIterator[AsyncClient]:
    """langchain-openai's `ChatOpenAI`, async."""
    with proof(model_of(work)) as shown:
        async with _async_httpx2(work) as http:
            yield _by_async_langchain(_chat_openai(shown, work, http_async_client=http))


# --- the openai SDK ---------------------------------------------------------------------------


def _httpx2(work: Work) -> Any:
    module, count = peer("httpx2"), connections_of(work)
    limits = module.Limits(max_connections=count, max_keepalive_connections=count)
    return module.Client(
        transport=module.HTTPTransport(uds=work.socket, limits=limits), timeout=DEADLINE
    )


def _async_httpx2(work: Work) -> Any:
    module, count = peer("httpx2"), connections_of(work)
    limits = module.Limits(max_connections=count, max_keepalive_connections=count)
    return module.AsyncClient(
        transport=module.AsyncHTTPTransport(uds=work.socket, limits=limits), timeout=DEADLINE
    )


def _settings(shown: Proof, http: Any) -> dict[str, Any]:
    return {
        "api_key": shown.svid,
        "base_url": BASE,
        "default_headers": shown.headers,
        "http_client": http,
        "timeout": DEADLINE,
    }


@contextmanager
def openai(work: Work) -> Iterator[Client]:
    """The openai SDK; the SVID is its key."""
    model, module = model_of(work), peer("openai")
    with proof(model_of(work)) as shown, module.OpenAI(**_settings(shown, _httpx2(work))) as client:
        create = client.chat.completions.create

        def ask() -> str:
            answer = create(model=model, messages=said(), temperature=0.0)
            return str(answer.choices[0].message.content)

        def read(tokens: int) -> tuple[int, str]:
            count, last = 0, ""
            for chunk in create(
                model=model, messages=said(), temperature=0.0, max_tokens=tokens, stream=True
            ):
                if chunk.choices and (text := chunk.choices[0].delta.content):
                    last = text
                    count += 1
            return count, last

        yield Client(ask, read)


@asynccontextmanager
async def async_openai(work: Work) -> AsyncIterator[AsyncClient]:
    """The openai SDK, async."""
    model, module = model_of(work), peer("openai")
    with proof(model_of(work)) as shown:
        async with module.AsyncOpenAI(**_settings(shown, _async_httpx2(work))) as client:
            create = client.chat.completions.create

            async def ask() -> str:
                answer = await create(model=model, messages=said(), temperature=0.0)
                return str(answer.choices[0].message.content)

            async def read(tokens: int) -> tuple[int, str]:
                count, last = 0, ""
                async for chunk in await create(
                    model=model, messages=said(), temperature=0.0, max_tokens=tokens, stream=True
                ):
                    if chunk.choices and (text := chunk.choices[0].delta.content):
                        last = text
                        count += 1
                return count, last

            yield AsyncClient(ask, read)


# --- by hand ----------------------------------------------------------------------------------


@asynccontextmanager
async def async_aiohttp(work: Work) -> AsyncIterator[AsyncClient]:
    """aiohttp and `json`, as somebody writes it who wants no SDK; the lines taken by hand."""
    model, module = model_of(work), peer("aiohttp")
    with proof(model_of(work)) as shown:
        headers = {"Authorization": f"Bearer {shown.svid}", **shown.headers}
        async with module.ClientSession(
            connector=module.UnixConnector(path=work.socket, limit=connections_of(work)),
            headers=headers,
            timeout=module.ClientTimeout(DEADLINE),
            raise_for_status=True,
        ) as session:

            async def ask() -> str:
                body = {"model": model, "messages": said(), "temperature": 0.0}
                async with session.post(f"http://localhost{PATH}", json=body) as response:
                    answer = json.loads(await response.read())
                return str(answer["choices"][0]["message"]["content"])

            async def read(tokens: int) -> tuple[int, str]:
                count, last = 0, ""
                body = {"model": model, "messages": said(), "temperature": 0.0}
                body |= {"max_tokens": tokens, "stream": True}
                async with session.post(f"http://localhost{PATH}", json=body) as response:
                    async for line in response.content:
                        if line.startswith(b"data: {"):
                            delta = json.loads(line[6:])["choices"][0]["delta"]
                            if text := delta.get("content"):
                                last = text
                                count += 1
                return count, last

            yield AsyncClient(ask, read)


SYNC: dict[str, Callable[[Work], AbstractContextManager[Client]]] = {
    "typed": typed,
    "langchain": langchain,
    "langchain-core": langchain_alone,
    "sage-sanctum": original,
    "langchain-openai": langchain_openai,
    "openai": openai,
}
ASYNC: dict[str, Callable[[Work], AbstractAsyncContextManager[AsyncClient]]] = {
    "typed": async_typed,
    "langchain": async_langchain,
    "langchain-core": async_langchain_alone,
    "sage-sanctum": async_original,
    "langchain-openai": async_langchain_openai,
    "openai": async_openai,
    "aiohttp": async_aiohttp,
}

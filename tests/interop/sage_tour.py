"""Drives the published sage-sanctum-sdk, unmodified, step by step; runs in its own environment.

Reads one JSON line for each step, `{"step": ..., "environment": {...}, ...}`, and answers with
one: `{"result": ...}`, or `{"error": ..., "exit_code": ..., "message": ...}`. It knows nothing
of ostiary, and asserts nothing: `test_sage_sanctum.py` does.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import sys
import time
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel
from sage_sanctum import (
    AgentContext,
    AgentResult,
    AgentRunner,
    Finding,
    Location,
    ModelCategory,
    SageSanctumAgent,
    SarifOutput,
)
from sage_sanctum.auth.trat import TransactionTokenClient
from sage_sanctum.gateway.http import GatewayHttpClient

GREP = {
    "type": "function",
    "function": {
        "name": "grep",
        "description": "Search the code",
        "parameters": {
            "type": "object",
            "properties": {"pattern": {"type": "string"}, "limit": {"type": "integer"}},
            "required": ["pattern", "limit"],
        },
    },
}


class Triage(BaseModel):
    """What a model says about a finding."""

    verdict: str
    score: int


def context(**_: Any) -> dict[str, Any]:
    made = AgentContext.from_environment()
    trat = made.gateway_client.get_trat()
    return {
        "run_id": made.run_id,
        "org_id": made.org_id,
        "healthy": made.check_gateway_health(),
        "analysis": str(made.model_selector.select(ModelCategory.ANALYSIS)),
        "trat": None if trat is None else {"run_id": trat.tctx.run_id, "scope": trat.scope},
    }


def model(**settings: Any) -> Any:
    llm = AgentContext.from_environment().create_llm_client(ModelCategory.ANALYSIS)
    for name, value in settings.items():
        setattr(llm, name, value)
    return llm


def said(message: AIMessage) -> dict[str, Any]:
    return {
        "content": message.content,
        "tool_calls": [{"name": c["name"], "args": c["args"]} for c in message.tool_calls],
        "usage": dict(message.usage_metadata or {}),
        "metadata": sorted(message.response_metadata),
    }


def invoke(prompt: str, settings: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
    began = time.monotonic()
    result = said(model(**(settings or {})).invoke(prompt, **kwargs))
    return result | {"seconds": time.monotonic() - began}


def conversation(**_: Any) -> dict[str, Any]:
    """Every kind of message, and a tool's whole round trip."""
    llm = model().bind(tools=[GREP])
    messages: list[Any] = [
        SystemMessage("Be brief."),
        HumanMessage("Use grep for 'socket', at most 5 lines."),
    ]
    first = llm.invoke(messages)
    call = first.tool_calls[0]
    messages += [first, ToolMessage("net.py:12", tool_call_id=call["id"])]
    return {"first": said(first), "second": said(llm.invoke(messages))}


def stream(prompt: str, **_: Any) -> dict[str, Any]:
    began = time.monotonic()
    chunks = [chunk.content for chunk in model().stream(prompt)]
    return {"chunks": chunks, "seconds": time.monotonic() - began}


def ainvoke(prompt: str, **_: Any) -> dict[str, Any]:
    async def both() -> dict[str, Any]:
        llm = model()
        whole = await llm.ainvoke(prompt)
        pieces = [chunk.content async for chunk in llm.astream(prompt)]
        return {"whole": said(whole), "pieces": pieces}

    return asyncio.run(both())


def structured(prompt: str, **_: Any) -> Any:
    found = model().with_structured_output(Triage).invoke(prompt)
    return found.model_dump()


def embeddings(texts: list[str], **_: Any) -> dict[str, Any]:
    client = AgentContext.from_environment().create_embeddings_client()
    return {"documents": client.embed_documents(texts), "query": client.embed_query(texts[0])}


def trat(file: str | None = None, sidecar: str | None = None, times: int = 1, **_: Any) -> Any:
    client = TransactionTokenClient(trat_file=file, sidecar_socket=sidecar)
    return [client.get_token().tctx.run_id for _ in range(times)]


def raw(method: str, path: str, body: Any = None, **_: Any) -> dict[str, Any]:
    """A request by the original transport, with or without proof."""
    client = GatewayHttpClient(socket_path=os.environ["LLM_GATEWAY_SOCKET"], max_retries=0)
    response = client.request(method, path, body=body)
    return {"status": response.status, "data": response.data}


def agent(**_: Any) -> dict[str, Any]:
    """An agent as its README has it, under the original runner."""

    class Scanner(SageSanctumAgent):
        name = "scanner"
        version = "1.2.3"

        async def run(self, agent_input: Any) -> AgentResult:
            llm = self.context.create_llm_client(ModelCategory.TRIAGE)
            reply = await llm.ainvoke("Is a socket without timeout a problem?")
            output = SarifOutput(tool_name=self.name, tool_version=self.version)
            output.findings.append(
                Finding(
                    id="NET-004",
                    title="Socket without timeout",
                    description=reply.content,
                    severity="high",
                    location=Location(file=str(agent_input.list_files()[0]), start_line=1),
                )
            )
            return AgentResult(output=output)

    code = AgentRunner(Scanner).run()
    path = os.path.join(os.environ["OUTPUT_PATH"], "results.sarif")
    with open(path, encoding="utf-8") as file:
        return {"exit_code": code, "sarif": json.load(file)}


def version(**_: Any) -> str:
    return importlib.metadata.version("sage-sanctum-sdk")


STEPS = {
    step.__name__: step
    for step in (
        agent, ainvoke, context, conversation, embeddings, invoke, raw, stream, structured, trat,
        version,
    )
}  # fmt: skip


def main() -> None:
    # What the SDK logs goes to stdout in places; the answers have a line of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        os.environ.update(asked.pop("environment", {}))
        for name in asked.pop("without", []):
            os.environ.pop(name, None)
        try:
            answer: dict[str, Any] = {"result": STEPS[asked.pop("step")](**asked)}
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            answer = {
                "error": type(error).__name__,
                "exit_code": getattr(error, "exit_code", None),
                "message": str(error),
            }
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()

"""What a checker infers for the LangChain classes. Checked by `make check`, never run."""

from __future__ import annotations

from typing import Any, assert_type

from langchain_core.messages import AIMessage

from ostiary.gateway import GatewayAccess, ModelRef, Usage
from ostiary.gateway.llm import (
    GatewayChatModel,
    GatewayEmbeddings,
    create_embeddings_for_gateway,
    create_llm_for_gateway,
)
from ostiary.gateway.llm.clients import Clients


def chat(access: GatewayAccess) -> None:
    model = GatewayChatModel("openai:gpt-4o", temperature=0.2, max_tokens=400, stop=["END"])
    assert_type(model.invoke("Hello"), AIMessage)
    assert_type(model.bind_tools([chat], tool_choice="any", strict=True).invoke("?"), AIMessage)
    assert_type(model.with_structured_output(dict[str, Any]).invoke("?"), Any)
    assert_type(model.model_ref, ModelRef)
    assert_type(model.model, str)
    assert_type(model.endpoint, str)
    GatewayChatModel(model_ref=ModelRef("openai", "gpt-4o"), gateway_client=access, timeout=None)
    made = create_llm_for_gateway(ModelRef("openai", "gpt-4o"), access, None, max_tokens=5)
    assert_type(made, GatewayChatModel)
    with model as same:
        assert_type(same, GatewayChatModel)


async def chat_async() -> None:
    async with GatewayChatModel() as model:
        assert_type(await model.ainvoke("Hello"), AIMessage)


async def embed(access: GatewayAccess) -> None:
    with GatewayEmbeddings("ostiary:hash", dimensions=64) as embeddings:
        assert_type(embeddings.embed_query("x"), list[float])
        assert_type(embeddings.embed_documents(["x"]), list[list[float]])
        assert_type(await embeddings.aembed_query("x"), list[float])
    assert_type(create_embeddings_for_gateway("m", access, "openai"), GatewayEmbeddings)


def share(access: GatewayAccess) -> None:
    with Clients(access, timeout=30) as clients:
        GatewayChatModel("openai:gpt-4o", clients=clients)
        assert_type(clients.usage, dict[str, Usage])

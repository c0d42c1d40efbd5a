"""Models by name, and what stands between them and LangChain.

The LangChain classes are loaded when they are asked for, and need the extra `langchain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._later import later

if TYPE_CHECKING:
    from .gateway_chat import GatewayChatModel, create_llm_for_gateway
    from .gateway_embeddings import GatewayEmbeddings, create_embeddings_for_gateway

__all__ = [
    "GatewayChatModel",
    "GatewayEmbeddings",
    "create_embeddings_for_gateway",
    "create_llm_for_gateway",
]

__getattr__ = later(
    __name__,
    {
        "GatewayChatModel": ("gateway_chat", "GatewayChatModel"),
        "GatewayEmbeddings": ("gateway_embeddings", "GatewayEmbeddings"),
        "create_embeddings_for_gateway": ("gateway_embeddings", "create_embeddings_for_gateway"),
        "create_llm_for_gateway": ("gateway_chat", "create_llm_for_gateway"),
    },
)

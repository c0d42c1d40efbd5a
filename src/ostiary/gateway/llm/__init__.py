"""Models by name, and what stands between them and LangChain.

The LangChain classes are loaded when they are asked for, and need the extra `langchain`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .gateway_chat import GatewayChatModel, create_llm_for_gateway
    from .gateway_embeddings import GatewayEmbeddings, create_embeddings_for_gateway

__all__ = [
    "GatewayChatModel",
    "GatewayEmbeddings",
    "create_embeddings_for_gateway",
    "create_llm_for_gateway",
]

_PLACE: Final = {
    "GatewayChatModel": "gateway_chat",
    "GatewayEmbeddings": "gateway_embeddings",
    "create_embeddings_for_gateway": "gateway_embeddings",
    "create_llm_for_gateway": "gateway_chat",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{_PLACE[name]}", __name__), name)
    globals()[name] = found
    return found

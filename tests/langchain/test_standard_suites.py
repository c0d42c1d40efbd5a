"""LangChain's own suites for chat models and embeddings, all of them, in both modes.

The unit suite for chat runs in direct mode, where a model has a key; the others against the
embedded gateway. One test skips itself: `test_serdes`, since LangChain loads
only the classes that its own table names, whatever a class says of itself.
"""

from __future__ import annotations

import struct
import zlib
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="the group langchain is not installed")

from langchain_core.messages import AIMessage, HumanMessage
from langchain_tests.integration_tests import (
    ChatModelIntegrationTests,
    EmbeddingsIntegrationTests,
)
from langchain_tests.integration_tests import chat_models as suite
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests

from ostiary.gateway.llm.gateway_chat import GatewayChatModel
from ostiary.gateway.llm.gateway_embeddings import GatewayEmbeddings


@pytest.mark.usefixtures("direct_mode")
class TestChatUnit(ChatModelUnitTests):
    chat_model_class = GatewayChatModel
    chat_model_params = {"model": "openai:gpt-4o"}  # noqa: RUF012  (the suite's way)

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return (
            {"SAGE_MODEL": "google:gemini-test", "GOOGLE_API_KEY": "of-a-laptop"},
            {},
            {"model": "google:gemini-test", "model_name": "gemini-test"},
        )


@pytest.mark.usefixtures("gateway_mode")
class TestEmbeddingsUnit(EmbeddingsUnitTests):
    embeddings_class = GatewayEmbeddings
    embedding_model_params = {"model": "openai:text-embedding-3-small"}  # noqa: RUF012

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return (
            {"LLM_GATEWAY_SOCKET": "/run/another.sock"},
            {"model": "openai:text-embedding-3-small"},
            {"endpoint": "unix:///run/another.sock"},
        )


class ChatIntegration(ChatModelIntegrationTests):
    """Everything the suite can ask of a model; what follows says which one answers."""

    chat_model_class = GatewayChatModel
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_image_tool_message = True
    supports_pdf_inputs = True
    supports_pdf_tool_message = True
    supports_audio_inputs = True
    supports_video_inputs = True
    supports_anthropic_inputs = True
    enable_vcr_tests = True  # no recording is there, so that the gateway itself is asked
    supported_usage_metadata_details = {  # noqa: RUF012
        "invoke": ["audio_input", "reasoning_output", "cache_read_input"],
        "stream": ["audio_input", "reasoning_output", "cache_read_input"],
    }

    @pytest.fixture(autouse=True)
    def sample_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give the suite the files that it would download: made here, of the same kinds."""

        def get(url: str, **_: Any) -> SimpleNamespace:
            return SimpleNamespace(content=_SAMPLES[url.rpartition(".")[2]])

        monkeypatch.setattr(suite, "httpx", SimpleNamespace(get=get))
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "nothing is asked for")

    def _said(self, message: HumanMessage, *, stream: bool, **options: Any) -> AIMessage:
        model = self.chat_model_class(**self.chat_model_params, **options)
        if not stream:
            return model.invoke([message])
        chunks = list(model.stream([message]))
        full = chunks[0]
        for chunk in chunks[1:]:
            full = full + chunk
        return full

    def invoke_with_audio_input(self, *, stream: bool = False) -> AIMessage:
        sound = {"data": "UklGRg==", "format": "wav"}
        parts = [
            {"type": "text", "text": "What is to be heard?"},
            {"type": "input_audio", "input_audio": sound},
        ]
        return self._said(HumanMessage(parts), stream=stream)

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._said(HumanMessage("Think."), stream=stream, reasoning_effort="high")

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._said(HumanMessage("/cached 2\nSay it again"), stream=stream)


@pytest.mark.usefixtures("gateway_mode")
class TestChatIntegration(ChatIntegration):
    chat_model_params = {"model": "ostiary:echo"}  # noqa: RUF012
    model_override_value = "echo-mini"


@pytest.mark.usefixtures("gateway_mode")
class TestChatIntegrationByTool(ChatIntegration):
    """The same with another provider, and answers as the arguments of a tool."""

    chat_model_params = {"model": "openai:gpt-4o"}  # noqa: RUF012
    model_override_value = "gpt-4o-mini"
    structured_output_kwargs = {"method": "function_calling"}  # noqa: RUF012


@pytest.mark.usefixtures("gateway_mode")
class TestEmbeddingsIntegration(EmbeddingsIntegrationTests):
    embeddings_class = GatewayEmbeddings
    embedding_model_params = {"model": "ostiary:hash"}  # noqa: RUF012


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\x30\x60\x90")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def _wav() -> bytes:
    sound = bytes(range(64)) * 4
    form = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    return (
        b"RIFF" + struct.pack("<I", 36 + len(sound)) + b"WAVEfmt " + struct.pack("<I", 16) + form
        + b"data" + struct.pack("<I", len(sound)) + sound
    )  # fmt: skip


_SAMPLES = {
    "png": _png(),
    "wav": _wav(),
    "pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
}

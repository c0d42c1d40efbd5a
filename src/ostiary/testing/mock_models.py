"""LangChain models that answer what a test says, and keep what they were asked.

Needs the extra `langchain`. Neighbour: `mocks`, which imports this when a name is asked for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, UsageMetadata
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from ..errors import InvalidArgumentError

__all__ = ["MockEmbeddings", "MockLLM"]

_WORDS: Final = re.compile(r"\S+\s*")
_REST: Final = "Mock response"

Response = str | AIMessage | BaseException


class MockLLM(BaseChatModel):
    """Gives the responses in order, and `Mock response` when there are no more.

    Other `responses` begin with their first. A response is text, an `AIMessage` (with tool
    calls, say) or an exception to raise. `calls` keeps the messages of each call, `options` what
    was bound or given with it. Structured output is read from the text as JSON. Tokens are
    counted by words.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    responses: list[Response] = Field(default_factory=list[Response])
    calls: list[list[BaseMessage]] = Field(default_factory=list[list[BaseMessage]])
    options: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    _given: list[Response] | None = PrivateAttr(default=None)
    _next: int = PrivateAttr(default=0)

    def __init__(self, responses: Sequence[Response] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.responses = list(responses or ())

    @property
    def _llm_type(self) -> str:
        return "mock"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": "mock"}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = self._answer(messages, stop, kwargs)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        message = self._answer(messages, stop, kwargs)
        for word in _WORDS.findall(message.text):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=word))
            if run_manager is not None:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk
        end = AIMessageChunk(
            content="",
            usage_metadata=message.usage_metadata,
            response_metadata=message.response_metadata,
            tool_calls=message.tool_calls,
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=end)

    def _answer(
        self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> AIMessage:
        self.calls.append(messages)
        self.options.append(options if stop is None else {**options, "stop": stop})
        response: Response = _REST
        if self._given is not self.responses:
            self._given, self._next = self.responses, 0
        if self._next < len(self.responses):
            response = self.responses[self._next]
            self._next += 1
        if isinstance(response, BaseException):
            raise response
        if isinstance(response, AIMessage):
            return response
        asked = sum(len(message.text.split()) for message in messages)
        said = len(response.split())
        return AIMessage(
            content=response,
            usage_metadata=UsageMetadata(
                input_tokens=asked, output_tokens=said, total_tokens=asked + said
            ),
            response_metadata={"model_name": "mock", "finish_reason": "stop"},
        )

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | Any],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Note the tools in `options`; which one is called is up to the responses."""
        bound = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=bound, tool_choice=tool_choice, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Read each response as JSON: into a pydantic model, or a dict for any other schema."""
        parser: Any = JsonOutputParser()
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            parser = PydanticOutputParser(pydantic_object=schema)
        if not include_raw:
            parsed: Runnable[LanguageModelInput, Any] = self | parser
            return parsed

        def both(raw: BaseMessage) -> dict[str, Any]:
            try:
                return {"raw": raw, "parsed": parser.invoke(raw), "parsing_error": None}
            except Exception as error:  # noqa: BLE001 - it is what the caller asked to see
                return {"raw": raw, "parsed": None, "parsing_error": error}

        return self | RunnableLambda(both)


class MockEmbeddings(Embeddings):
    """Unit vectors made from a digest of the text; `calls` keeps the texts of each call."""

    def __init__(self, dimension: int = 8) -> None:
        if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < 1:
            raise InvalidArgumentError("dimension is a whole number of at least 1")
        self.dimension = dimension
        self.calls: list[list[str]] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text."""
        self.calls.append(list(texts))
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one text."""
        self.calls.append([text])
        return self._vector(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text."""
        return self.embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of one text."""
        return self.embed_query(text)

    def _vector(self, text: str) -> list[float]:
        # As many bytes as there are components: a digest of fixed length would repeat itself.
        raw = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(4 * self.dimension)
        found = [
            int.from_bytes(raw[at : at + 4], "big") / 2**31 - 1.0 for at in range(0, len(raw), 4)
        ]
        length = sum(value * value for value in found) ** 0.5 or 1.0
        return [value / length for value in found]

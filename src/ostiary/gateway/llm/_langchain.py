"""Whether LangChain is here; imported first by every module that stands on it."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import ConfigurationError

if find_spec("langchain_core") is None:
    raise ConfigurationError(
        "the LangChain classes need langchain-core; run pip install 'ostiary[langchain]'"
    )

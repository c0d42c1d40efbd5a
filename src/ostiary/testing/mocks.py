"""Stand-ins for tests of agents: what the guide's testing kit has, by the same names.

The same in every process and every run, and no network. Where the real thing can run, the
embedded gateway of the plugin's `ostiary_gateway` says more. `MockLLM` and `MockEmbeddings`
bring LangChain in when they are first asked for (extra `langchain`). Neighbour: `plugin`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..gateway.auth.credentials import GatewayCredentials
from ..gateway.auth.trat import (
    AllowedModels,
    RequesterContext,
    TransactionContext,
    TransactionToken,
)
from ..gateway.client import GatewayAccess
from ..secret import Secret

if TYPE_CHECKING:
    from .mock_context import MockContext
    from .mock_models import MockEmbeddings, MockLLM

__all__ = ["MockContext", "MockEmbeddings", "MockGatewayClient", "MockLLM", "MockTratClient"]

_LIFE: Final = 300.0
_ENDPOINTS: Final = {
    "openai": "http://localhost:8080/v1",
    "anthropic": "http://localhost:8080/anthropic",
    "google": "http://localhost:8080/google",
}
_MODULES: Final = {
    "MockContext": "mock_context",
    "MockEmbeddings": "mock_models",
    "MockLLM": "mock_models",
}


class MockGatewayClient(GatewayAccess):
    """An access object with fixed tokens: `mock-spiffe-jwt` and `mock-trat-jwt`.

    `endpoints` maps providers to base URLs, by default below http://localhost:8080; a provider
    that is not there has OpenAI's. `trat` is what `get_trat` returns. `invalidated` counts how
    often the tokens were refused.
    """

    def __init__(
        self,
        is_gateway: bool = False,
        endpoints: Mapping[str, str] | None = None,
        trat: TransactionToken | None = None,
    ) -> None:
        self._is_gateway = is_gateway
        self._endpoints = dict(endpoints or _ENDPOINTS)
        self._trat = trat
        self.invalidated = 0

    @property
    def is_gateway_mode(self) -> bool:
        """What `is_gateway` said."""
        return self._is_gateway

    def get_credentials(self) -> GatewayCredentials:
        """Return the fixed tokens."""
        return GatewayCredentials("mock-spiffe-jwt", "mock-trat-jwt")

    def get_endpoint(self, provider: str) -> str:
        """Return a provider's base URL."""
        return self._endpoints.get(provider) or self._endpoints.get("openai", _ENDPOINTS["openai"])

    def get_api_key(self, provider: str) -> str:
        """Return the key that direct mode would send: `mock-api-key`."""
        return "mock-api-key"

    def get_trat(self) -> TransactionToken | None:
        """Return the token given, or None."""
        return self._trat

    def invalidate(self, credentials: GatewayCredentials | None = None) -> None:
        """Count it; the tokens stay what they are."""
        self.invalidated += 1


class MockTratClient:
    """A source of one Transaction Token, valid for 300 seconds and then made anew.

    `trat` takes its place; `allowed_models` is what it allows unless `trat` is given.
    """

    def __init__(
        self,
        trat: TransactionToken | None = None,
        allowed_models: AllowedModels | None = None,
    ) -> None:
        self._given = trat is not None
        self._trat = _sample(allowed_models) if trat is None else trat

    def get_token(self) -> TransactionToken:
        """Return the token; one that was given may have expired, as a real one may."""
        if not self._given and self._trat.is_expired:
            now = time.time()
            self._trat = msgspec.structs.replace(self._trat, iat=now, exp=now + _LIFE)
        return self._trat

    async def get_token_async(self) -> TransactionToken:
        """Return the token."""
        return self.get_token()

    def invalidate(self, token: TransactionToken | None = None) -> None:
        """Do nothing: there is no other token."""


def _sample(allowed_models: AllowedModels | None) -> TransactionToken:
    now = time.time()
    return TransactionToken(
        token=Secret("mock-trat-jwt"),
        txn="run_test123",
        sub="github|org-12345",
        scope="scan.execute scan.upload",
        req_wl="spiffe://sage-sanctum.local/scanner/run_test123",
        iat=now,
        exp=now + _LIFE,
        aud="sage-sanctum.local",
        iss="https://tts.sage-sanctum.local",
        tctx=TransactionContext(
            run_id="run_test123",
            org_id="12345",
            repo_url="https://github.com/acme/repo",
            agent_type="sage-scanner",
            agent_mode="standard",
            allowed_models=allowed_models
            or AllowedModels(
                triage=("openai:gpt-4o-mini",),
                analysis=("openai:gpt-4o", "anthropic:claude-3-5-sonnet-latest"),
                reasoning=("openai:o1",),
                embeddings=("openai:text-embedding-3-small",),
            ),
            allowed_providers=("openai", "anthropic"),
        ),
        rctx=RequesterContext(trigger="pull_request", pr_number=42, actor="dependabot[bot]"),
    )


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    if _MODULES[name] == "mock_models":
        # Raises where LangChain is missing, and says what to install.
        importlib.import_module("..gateway.llm._langchain", __package__)
    found = getattr(importlib.import_module(f".{_MODULES[name]}", __package__), name)
    globals()[name] = found
    return found

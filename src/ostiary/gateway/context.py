"""What an agent works with: its run, its directories, its models.

Made from the environment, strictly: a token that cannot be had or a model that is not allowed
is an error, and nothing falls back to another. Neighbours: `settings` reads the environment,
`client` holds the proofs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

# The packages and not their names, which are loaded when an annotation is resolved or a model
# is made: `llm.GatewayChatModel` brings in LangChain.
from .. import gateway
from . import llm
from .client import DirectProviderClient, GatewayAccess
from .errors import ConfigurationError
from .io.findings import TokenUsage
from .io.inputs import AgentInput, RepositoryInput
from .io.outputs import AgentOutput
from .llm.model_ref import ModelCategory, ModelRef
from .llm.model_selector import ModelSelector, StaticModelSelector
from .logging import BoundLogger, get_logger
from .settings import DEFAULT_MODEL, Environment, GatewaySettings, default_selector

if TYPE_CHECKING:
    from .llm.clients import Clients
    from .models import Usage

__all__ = ["AgentContext"]

I = TypeVar("I", bound=AgentInput)  # noqa: E741


def _logger() -> BoundLogger:
    return get_logger("ostiary.agent")


@dataclass
class AgentContext:
    """The surroundings of one run (docs/agents.md); make it by one of its factories.

    `gateway_client` and `model_selector` are None where there are no models, as for an agent
    with `requires_gateway = False`.
    """

    run_id: str
    org_id: str
    work_dir: Path
    output_dir: Path
    gateway_client: GatewayAccess | None = None
    model_selector: ModelSelector | None = None
    logger: BoundLogger = field(default_factory=_logger, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.work_dir = Path(self.work_dir)
        self.output_dir = Path(self.output_dir)
        # Whether the selector is what the Transaction Token allows, and changes when that does.
        self._follows_token = False
        self._environ = Environment()
        self._client: gateway.AsyncGatewayClient | None = None
        self._shared: dict[int | None, Clients] = {}  # by how often a call is sent again
        self._used: dict[str, Usage] = {}  # by clients that are closed

    # --- factories

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> AgentContext:
        """Return the context of the run that this process's environment describes.

        Needs RUN_ID and ORG_ID, and what one of the modes needs (docs/identity.md, The
        environment). In gateway mode the Transaction Token is fetched, which may block; it
        alone says which models there are.

        Raises `ConfigurationError` for what is missing or contradicts itself, an `AuthError`
        when the token cannot be had.
        """
        context = cls._from_settings(environ)
        if context._follows_token:
            context._current_selector()
        return context

    @classmethod
    async def from_environment_async(cls, environ: Mapping[str, str] | None = None) -> AgentContext:
        """Return the same without blocking the loop while the token is fetched."""
        context = cls._from_settings(environ)
        if context._follows_token and context.gateway_client is not None:
            trat = await context.gateway_client.get_trat_async()
            if trat is not None:
                context.model_selector = ModelSelector.from_trat(trat)
        return context

    @classmethod
    def _from_settings(cls, environ: Mapping[str, str] | None) -> AgentContext:
        source = Environment(environ)
        del environ
        settings = GatewaySettings.from_environment(source)
        settings.check_run()
        context = cls(
            settings.run_id,
            settings.org_id,
            Path(settings.work_dir),
            Path(settings.output_dir),
            gateway_client=settings.access(source),
            model_selector=default_selector(source) if settings.direct else None,
        )
        context._follows_token = not settings.direct
        context._environ = source
        return context

    @classmethod
    def for_local_development(
        cls,
        work_dir: str | Path = ".",
        output_dir: str | Path = "./output",
        model: str | ModelRef = DEFAULT_MODEL,
        *,
        api_keys: Mapping[str, str] | None = None,
        base_urls: Mapping[str, str] | None = None,
    ) -> AgentContext:
        """Return a context that talks to providers directly, with one model for everything.

        Keys and base URLs are the arguments', else those of the environment, read when they
        are needed. Nothing is set in the environment.
        """
        return cls(
            "local",
            "local",
            Path(work_dir),
            Path(output_dir),
            gateway_client=DirectProviderClient(allow=True, api_keys=api_keys, base_urls=base_urls),
            model_selector=StaticModelSelector(model),
        )

    @classmethod
    def for_external_llm(cls, environ: Mapping[str, str] | None = None) -> AgentContext:
        """Return a context without models, for agents that bring a tool with its own.

        Reads RUN_ID, ORG_ID, WORK_DIR and OUTPUT_PATH and nothing else.
        """
        source = Environment(environ)
        del environ
        names = ("RUN_ID", "ORG_ID", "WORK_DIR", "OUTPUT_PATH")
        settings = GatewaySettings.from_environment({n: source[n] for n in names if n in source})
        settings.check_run()
        context = cls(
            settings.run_id,
            settings.org_id,
            Path(settings.work_dir),
            Path(settings.output_dir),
        )
        context._environ = source
        return context

    # --- models

    def create_llm_client(
        self, category: ModelCategory | str = ModelCategory.ANALYSIS, **settings: Any
    ) -> llm.GatewayChatModel:
        """Return a LangChain chat model for a category; needs `ostiary[langchain]`.

        `settings` are those of `GatewayChatModel`, such as `temperature` and `max_tokens`.
        Models of one context share their connections.

        Raises `ConfigurationError` where the context has no models, `ModelNotAvailableError`
        when the category has none.
        """
        access = self._access("create_llm_client()")
        ref = self._current_selector("create_llm_client()").select(ModelCategory(category))
        self.logger.debug("creating_llm_client", category=str(category), model_ref=str(ref))
        if "http_client" not in settings:
            settings.setdefault("clients", self._clients(settings.pop("max_retries", None)))
        return llm.GatewayChatModel(ref, gateway_client=access, **settings)

    def create_embeddings_client(
        self, model: str | None = None, provider: str | None = None, **options: Any
    ) -> llm.GatewayEmbeddings:
        """Return LangChain embeddings; needs `ostiary[langchain]`.

        Without `model` it is the first that the run is allowed for embeddings. `options` are
        those of `GatewayEmbeddings`. Raises as `create_llm_client`.
        """
        access = self._access("create_embeddings_client()")
        if model is None:
            selector = self._current_selector("create_embeddings_client()")
            ref = selector.select(ModelCategory.EMBEDDINGS)
        else:
            ref = ModelRef(provider, model) if provider else ModelRef.parse(model)
        self.logger.debug("creating_embeddings_client", model=ref.model, provider=ref.provider)
        if "http_client" not in options:
            options.setdefault("clients", self._clients(options.pop("max_retries", None)))
        return llm.GatewayEmbeddings(ref, access, **options)

    def create_client(self) -> gateway.AsyncGatewayClient:
        """Return the typed client of this context: chat, streams and embeddings as Structs.

        It is one client, made by the first call and closed by `aclose`. A call that names no
        model takes the category's. Raises `ConfigurationError` where the context has no models.
        """
        access = self._access("create_client()")
        if self._client is None:
            # What a token allows the client reads itself, at each call.
            models = None if self._follows_token else self.model_selector
            self._client = gateway.AsyncGatewayClient(access, models=models)
        return self._client

    def check_gateway_health(self) -> bool:
        """Return whether the gateway answers; False without one, as in direct mode."""
        access = self.gateway_client
        if access is None or not access.is_gateway_mode:
            return False
        from .http import GatewayHttpClient

        with GatewayHttpClient.from_endpoint(access.get_endpoint("openai")) as http:
            return http.health_check()

    def usage(self) -> list[TokenUsage]:
        """Return the tokens that calls through this context have taken so far, by model."""
        totals = dict(self._used)
        if self._client is not None:
            _add(totals, self._client.usage.by_model)
        # A copy: the runner's watchdog may ask while the loop closes them.
        for shared in list(self._shared.values()):
            _add(totals, shared.usage)
        return [
            TokenUsage(model, one.prompt_tokens, one.completion_tokens, one.total_tokens)
            for model, one in sorted(totals.items())
        ]

    # --- input and output

    @overload
    def load_input(self) -> RepositoryInput: ...
    @overload
    def load_input(self, kind: type[I]) -> I: ...
    def load_input(self, kind: type[AgentInput] = RepositoryInput) -> AgentInput:
        """Return the input the environment describes, validated: a repository, or of `kind`.

        Raises `InputValidationError` and `PathTraversalError`.
        """
        found = kind.from_environment(self._environ)
        found.validate()
        return found

    def write_output(self, output: AgentOutput) -> list[str]:
        """Write an output into `output_dir`; return the names of its files.

        Raises `OutputWriteError`, and `SarifValidationError` for what is no SARIF.
        """
        return output.write(self.output_dir)

    def part(self, name: str) -> AgentContext:
        """Return the context of one of several agents that share this run.

        Its directories are those below this one's that are called `name`, which are not made
        here; its usage and connections are its own. It is closed by itself.
        """
        found = replace(self, work_dir=self.work_dir / name, output_dir=self.output_dir / name)
        found._follows_token = self._follows_token
        found._environ = self._environ
        return found

    async def aclose(self) -> None:
        """Close every connection that was made through this context; models end with it."""
        client, self._client = self._client, None
        if client is not None:
            _add(self._used, client.usage.by_model)
            await client.aclose()
        while self._shared:
            _, shared = self._shared.popitem()
            _add(self._used, shared.usage)
            await shared.aclose()

    # --- inside

    def _access(self, caller: str) -> GatewayAccess:
        if self.gateway_client is None:
            raise ConfigurationError(
                f"{caller} needs a gateway, and this context has none: it was made for an agent "
                "with requires_gateway = False; set that to True, or make the context by "
                "from_environment() or for_local_development()"
            )
        return self.gateway_client

    def _current_selector(self, caller: str = "the context") -> ModelSelector:
        """Return what the run is allowed now: tokens are renewed while it goes on."""
        if self._follows_token and self.gateway_client is not None:
            trat = self.gateway_client.get_trat()
            if trat is not None:
                self.model_selector = ModelSelector.from_trat(trat)
        if self.model_selector is None:
            raise ConfigurationError(
                f"{caller} needs to know which models there are; give the context a "
                "model_selector, or make it by from_environment()"
            )
        return self.model_selector

    def _clients(self, max_retries: int | None) -> Clients:
        if max_retries not in self._shared:
            from .llm.clients import Clients

            options = {} if max_retries is None else {"max_retries": max_retries}
            self._shared[max_retries] = Clients(self.gateway_client, **options)
        return self._shared[max_retries]


def _add(totals: dict[str, Usage], more: Mapping[str, Usage]) -> None:
    for model, usage in more.items():
        totals[model] = totals[model] + usage if model in totals else usage

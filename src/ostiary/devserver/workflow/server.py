"""The embedded workflow server on its sockets; started beside a vault, on its event loop.

Neighbour: `ostiary.devserver.server` owns one of these.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, cast, final

import msgspec
from starlette.types import ASGIApp

from ...workflow.models import Action, GuardDecision, Principal
from ..documents import Documents, Store
from ..faults import DevserverError
from ..http.domain import HttpDomain
from ..http.gauges import Gauges
from ..http.idempotency import Idempotency
from ..http.limits import RateLimit
from ..http.refusals import HttpRefusal
from ..http.routing import Paths
from ..options import Options, WorkflowOptions
from ..vault import Vault
from .audit import Audit
from .context import Context, Group
from .crv.gate import Gate
from .crv.registry import Registration
from .crv.registry import Registry as Validators
from .engine.engine import Engine
from .execution import Execution
from .handlers import Handlers
from .health import OPEN_PATHS, Health
from .judging import Judging
from .keys import Keys, caller_of
from .observability import Observability
from .observer import Observer
from .policy.approvals import ApprovalRecord, Approvals
from .policy.guard import Guard
from .samples import BALANCE_POSITIVE, write
from .telemetry import Telemetry
from .tools import Registry as Tools
from .tools.shipped import shipped
from .validation import Validation

__all__ = ["GROUPS", "WorkflowServer"]

_APPROVALS_KEPT: Final = 90 * 86400.0

GROUPS: Final[tuple[type[Group], ...]] = (Health, Execution, Validation, Judging, Observability)


@final
class WorkflowServer:
    """A workflow server in `home`; start and stop once.

    `files` is what tools reach. `handlers` are the runtime's, if there is one.
    """

    def __init__(
        self, vault: Vault, home: Path, options: Options, workflow: WorkflowOptions
    ) -> None:
        self._options = options
        directory = home / "workflow"
        self.files = directory / "files"
        for one in (directory, self.files):
            one.mkdir(mode=0o700, exist_ok=True)
        self.keys = Keys(home, workflow.keys)
        self._running = False
        self._opened: list[Store | Telemetry] = []
        try:
            store = Store(directory / "state.db")
            self._opened.append(store)
            telemetry = Telemetry(
                directory / "telemetry.db",
                options.clock,
                limit=workflow.telemetry_limit,
                ttl=workflow.telemetry_ttl,
            )
            self._opened.append(telemetry)
            self.context = self._context(home, store, telemetry, workflow)
            self.http = HttpDomain(
                "workflow",
                home,
                self._application(store, workflow),
                Gauges(),
                options,
                port=workflow.port,
                error=error_body,
                prepare=self.keys.note,
                also=self.keys.tokens.values(),
                open_paths=OPEN_PATHS,
                body_limit=workflow.request_limit,
            )
        except BaseException:
            self._close()
            raise

    def _context(
        self, home: Path, store: Store, telemetry: Telemetry, workflow: WorkflowOptions
    ) -> Context:
        clock = self._options.clock
        observer = Observer(telemetry, clock)
        registry = Validators(
            Documents(store, "validator", Registration), workflow.validators or None
        )
        gate = Gate(registry, clock, observer.validated)
        questions = Documents(store, "approval", ApprovalRecord)
        late = clock.wall() - _APPROVALS_KEPT
        for token, record in questions.items():
            if record.expires < late:
                questions.delete(token)
        approvals = Approvals(
            questions,
            clock,
            lifetime=workflow.approval_ttl,
            told=self._answered,
        )
        audit = Audit(store, clock)

        def judged(principal: Principal, action: Action, decision: GuardDecision) -> None:
            audit.note(principal, action, decision)
            observer.judged(principal, action, decision)

        guard = Guard(approvals, judged)
        tools = _tools(workflow)
        self.engine = Engine(
            home / "workflow.db",
            tools=tools,
            guard=guard,
            approvals=approvals,
            gate=gate,
            observer=observer,
            clock=clock,
            sandbox=self.files,
        )
        self.handlers = Handlers(self.engine, tools)
        return Context(
            options=self._options,
            workflow=workflow,
            files=self.files,
            store=store,
            telemetry=telemetry,
            registry=registry,
            gate=gate,
            approvals=approvals,
            guard=guard,
            audit=audit,
            engine=self.engine,
        )

    def _application(self, store: Store, workflow: WorkflowOptions) -> ASGIApp:
        self.groups = [kind(self.context) for kind in GROUPS]
        app: ASGIApp = Paths(path for group in self.groups for path in group.routes())
        clock = self._options.clock
        app = self._idempotency = Idempotency(
            app,
            store,
            clock,
            workflow.idempotency_ttl,
            caller=lambda scope: caller_of(scope).name,
        )
        if workflow.requests_per_minute is not None:
            exempt = [path.decode() for path in OPEN_PATHS]
            app = RateLimit(
                app,
                workflow.requests_per_minute,
                clock,
                exempt=exempt,
                caller=lambda scope: caller_of(scope).name,
            )
        return app

    def _answered(self, record: ApprovalRecord) -> None:
        if self._running:
            self.engine.approval_changed(record)

    async def start(self) -> None:
        """Go on with what ran before, load the samples, and listen."""
        self.http.bind()
        if self._options.demo:
            write(self.files)
            self.context.registry.register("balance_positive", BALANCE_POSITIVE, "")
        await self.engine.start()
        self._running = True
        await self.engine.resume_all()
        await self.http.start()

    async def stop(self, grace: float) -> None:
        """Stop listening, leave what runs for the next start, close the files; safe to repeat."""
        try:
            await self.http.stop(grace)
            await self._idempotency.stop()
            if self._running:
                self._running = False
                await self.engine.stop()
        finally:
            self.context.audit.flush()
            self._close()

    def _close(self) -> None:
        while self._opened:
            self._opened.pop().close()


def _tools(workflow: WorkflowOptions) -> Tools:
    tools = Tools(shipped(workflow.allow_hosts))
    tools.load(workflow.tool_modules, directory=Path.cwd())
    for name, function in workflow.tools.items():
        try:
            tools.add(function, name)
        except ValueError as error:
            problem = str(error)
        else:
            continue
        raise DevserverError(problem)
    return tools


def error_body(refusal: HttpRefusal) -> bytes:
    """Return an error as the workflow server's clients read it; what there is not, is left out."""
    details = dict(refusal.details or {})
    errors = details.pop("errors", None)
    if errors is None and (fields := details.get("fields")):
        errors = [{"path": path, "message": refusal.message} for path in _listed(fields)]
    document = {
        "error": refusal.message,
        "code": refusal.code,
        "details": details or None,
        "errors": errors,
        "request_id": refusal.request_id,
    }
    return msgspec.json.encode({name: one for name, one in document.items() if one is not None})


def _listed(fields: object) -> list[Any]:
    return list(cast("Any", fields)) if isinstance(fields, list) else []

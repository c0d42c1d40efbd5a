"""A request sets a program off: which trigger, may it, what runs, what came of it.

Neighbours: `evaluation` runs statements, `payload` reads the request, `..deployments` asks.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Literal, Protocol, cast, final

import msgspec

from ....errors import OstiaryError
from ....secret import Secret
from ...http.refusals import HttpRefusal
from . import tree
from .declarations import DEFAULT_SECRET
from .evaluation import Calls, Evaluation
from .operators import RunError, same, weighed
from .payload import Unreadable, event_of, fires, passes, read_payload, summary
from .program import Action, Program, Trigger, Webhook
from .values import dotted, encoded, is_map

__all__ = ["ActionCall", "ActionResult", "Host", "Step", "run_trigger"]

_log = logging.getLogger(__name__)

Status = Literal["completed", "skipped", "denied", "failed"]

_MAIN: Final = ("main", "execute", "run", "handle")
_MOST_STEPS: Final = 200


class Step(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One action of a run. `line` is where in the source it was called."""

    action: str
    status: str
    line: int = 0
    duration_ms: float
    result: Any = None
    error: str | None = None


class ActionResult(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What came of one request.

    `status` is completed; skipped, when no trigger was meant; denied, by a signature or a
    policy; or failed. `text` is the output for those who want one text.
    """

    status: Status
    output: dict[str, Any] = {}
    text: str = ""
    steps: list[Step] = []
    trigger: str | None = None
    action: str | None = None
    error: str | None = None
    code: str | None = None


class ActionCall(msgspec.Struct, frozen=True, kw_only=True):
    """What a registered function is told if it has a parameter `call`.

    `results` are those of the actions before it in this run, by name.
    """

    agent_id: str
    action: str
    event: str | None
    payload: Any
    headers: Mapping[str, str]
    results: Mapping[str, Any]


class Host(Protocol):
    """What programs may ask of the server they run in."""

    @property
    def actions(self) -> Mapping[str, Callable[..., Any]]:
        """Registered functions, by name."""
        ...

    @property
    def keyless(self) -> bool:
        """Whether this server asks nobody for a credential, as with `--demo`."""
        ...

    def now(self) -> str: ...

    def new_id(self) -> str: ...

    def publish(self, agent_id: str, topic: str) -> None:
        """Tell those who listen that an agent published something; not what."""
        ...

    async def secret(self, agent_id: str, name: str) -> Secret | None: ...

    async def workflow(
        self, name: str | None, parameters: dict[str, Any], agent_id: str
    ) -> dict[str, Any]:
        """Run a workflow; without a name the agent's own, if there is one."""
        ...

    async def in_thread(self, call: Callable[[], Any]) -> Any: ...


async def run_trigger(
    program: Program,
    trigger: str | None,
    payload: Any,
    headers: Mapping[str, str],
    *,
    host: Host,
    body: bytes | None = None,
    authenticated: bool = False,
    timeout: float = 30.0,
) -> ActionResult:
    """Run what a request sets off; every failure of the program is in the result.

    `trigger` names one of the program's triggers, None lets the request decide. `payload` is
    the request's content; where it is None the content is read from `body`, the bytes as they
    came, which signatures are checked against. `authenticated` says that whoever sent it has
    shown a credential to the server.
    """
    run = _Run(program, payload, headers, host, body, authenticated)
    try:
        async with asyncio.timeout(timeout):
            return await run.go(trigger)
    except TimeoutError:
        pass
    error = RunError(f"the agent took longer than {timeout:g} seconds")
    return run.failed(error)


@final
class _Run(Calls):
    """One request and its program."""

    def __init__(
        self,
        program: Program,
        payload: Any,
        headers: Mapping[str, str],
        host: Host,
        body: bytes | None,
        authenticated: bool,
    ) -> None:
        self._program = program
        self._payload = payload
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._host = host
        self._body = body
        self._authenticated = authenticated
        self._event: str | None = None
        self._trigger: Trigger | None = None
        self._action: str | None = None
        self._steps: list[Step] = []
        self._results: dict[str, Any] = {}
        self._published: list[dict[str, Any]] = []
        self._notes: list[dict[str, Any]] = []
        self._built_in: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = {
            "validate_signature": self._validate_signature,
            "parse_payload": self._parse_payload,
            "trigger_workflow": self._trigger_workflow,
        }

    # -- the course of it ---------------------------------------------------

    async def go(self, trigger: str | None) -> ActionResult:
        try:
            return await self._go(trigger)
        except RunError as error:
            return self.failed(error)
        except RecursionError:
            return self.failed(RunError("a value here is nested too deeply", kind="exhausted"))

    async def _go(self, trigger: str | None) -> ActionResult:
        program = self._program
        webhook = self._webhook()
        if webhook is not None and webhook.secret is not None:
            await self._verify(webhook.secret, _style_of(webhook.provider))
        if self._payload is None and self._body is not None:
            self._payload = _payload_of(self._body, self._headers)
        self._event = event_of(self._payload, self._headers)
        test = None if webhook is None else webhook.filter
        if test is not None and not passes(test, self._payload):
            return self._skipped("the webhook's filter lets nothing of this kind through")
        if trigger is not None:
            self._trigger = next((t for t in program.triggers if t.name == trigger), None)
            if self._trigger is None:
                raise RunError(f"the agent has no trigger {trigger!r}")
        elif program.triggers:
            self._trigger = next(
                (t for t in program.triggers if fires(t, self._event, self._payload)), None
            )
            if self._trigger is None:
                return self._skipped(f"no trigger waits for the event {self._event!r}")
        names: dict[str, Any] = {
            "payload": self._payload,
            "headers": dict(self._headers),
            "event": self._event,
            "agent": {"id": program.agent_id, "name": program.text("name") or program.agent_id},
            "config": dict(program.properties),
        }
        run = Evaluation(program, self, names)
        await self._bind(run, names)
        run = Evaluation(program, self, names)
        returned, value = await self._enter(run)
        weighed(value)
        return self._completed(returned, value)

    async def _bind(self, run: Evaluation, names: dict[str, Any]) -> None:
        """Give the agent's parameters their values, out of the payload."""
        parameters = self._program.parameters
        payload = self._payload
        members: dict[str, Any] = payload if is_map(payload) else {}
        for parameter in parameters:
            if parameter.name in members:
                names[parameter.name] = members[parameter.name]
            elif parameter.default is not None:
                names[parameter.name] = await run.value(parameter.default)
            else:
                names[parameter.name] = payload if len(parameters) == 1 else None

    async def _enter(self, run: Evaluation) -> tuple[bool, Any]:
        """Run an action, else the with-blocks, else a function."""
        program = self._program
        action = self._chosen()
        if action is not None:
            self._action = action.name
            return await run.block(action.body)
        for each in program.with_blocks:
            try:
                async with asyncio.timeout(each.timeout):
                    returned, value = await run.block(each.body)
            except TimeoutError:
                raise RunError(
                    f"the agent took longer than {each.timeout:g} seconds", each.body.at
                ) from None
            if returned:
                return True, value
        if program.with_blocks:
            return False, None
        function = next((program.functions[n] for n in _MAIN if n in program.functions), None)
        if function is None and len(program.functions) == 1:
            function = next(iter(program.functions.values()))
        if function is None:
            raise RunError("the agent declares nothing to run")
        self._action = function.name
        members: dict[str, Any] = self._payload if is_map(self._payload) else {}
        wanted = [each.name for each in function.parameters]
        named = {name: members[name] for name in wanted if name in members}
        positional: list[Any] = []
        if len(wanted) == 1 and not named:
            positional = [self._payload]
        return True, await run.function(function, positional, named, function.body.at)

    def _chosen(self) -> Action | None:
        actions = self._program.actions
        trigger = self._trigger
        if trigger is not None:
            for name in (trigger.action, trigger.name):
                if name is not None and name in actions:
                    return actions[name]
        return next(iter(actions.values()), None)

    def _webhook(self) -> Webhook | None:
        """Return the agent's webhook; of several, the one whose provider sent this."""
        agent_id = self._program.agent_id
        own = [each for each in self._program.webhooks if each.agent in {None, agent_id}]
        sender = _sender(self._headers)
        return next((each for each in own if each.provider == sender), own[0] if own else None)

    # -- what came of it ----------------------------------------------------

    def _completed(self, returned: bool, value: Any) -> ActionResult:
        if is_map(value):
            output = value
        elif returned:
            output = {"result": value}
        else:
            output = dict(self._results)
        if isinstance(value, str):
            text = value
        else:
            said: object = output.get("response") or output.get("message")
            text = said if isinstance(said, str) else encoded(output)
        return self._result("completed", output=output, text=text)

    def _skipped(self, why: str) -> ActionResult:
        return self._result("skipped", output={"reason": why}, text=why)

    def failed(self, error: RunError) -> ActionResult:
        """Return the result of a run that `error` ended."""
        message = error.message
        if error.line:
            message = f"line {error.line}, column {error.column}: {message}"
        status: Status = "denied" if error.kind == "denied" else "failed"
        code = {"denied": "DENIED", "exhausted": "EXHAUSTED"}.get(error.kind, "FAILED")
        return self._result(
            status, output={"error": message}, text=message, error=message, code=code
        )

    def _result(self, status: Status, **rest: Any) -> ActionResult:
        if self._published:
            rest["output"] = {**rest["output"], "published": self._published}
        return ActionResult(
            status=status,
            steps=self._steps,
            trigger=None if self._trigger is None else self._trigger.name,
            action=self._action,
            **rest,
        )

    # -- what the program may ask -------------------------------------------

    def has(self, name: str) -> bool:
        return name in self._built_in or name in self._host.actions

    def now(self) -> str:
        return self._host.now()

    def new_id(self) -> str:
        return self._host.new_id()

    def publish(self, topic: str, message: object) -> None:
        if len(self._published) >= _MOST_STEPS:
            raise RunError("the program publishes too much", kind="exhausted")
        self._published.append({"topic": topic, "message": message})
        self._host.publish(self._program.agent_id, topic)

    def note(self, level: str, message: str, details: object) -> None:
        self._step(Step(action=f"log.{level}", status="noted", duration_ms=0.0, result=message))

    async def allow(self, name: str, arguments: list[Any], run: Evaluation) -> str | None:
        """Refuse what a policy denies, and what policies speak of and none allows."""
        spoken_of = allowed = False
        for policy in self._program.policies:
            for rule in policy.rules:
                if rule.effect not in {"allow", "deny"}:
                    continue
                said = _spoken_of(rule.subjects, name, arguments)
                if said is None:
                    continue
                holds = await _holds(rule.condition, run, said, unknown=rule.effect == "deny")
                if rule.effect == "deny" and holds:
                    return f"the policy {policy.name!r} denies {name} (line {rule.line})"
                if rule.effect == "allow":
                    spoken_of = True
                    allowed = allowed or holds
        return f"no policy allows {name} here" if spoken_of and not allowed else None

    async def act(
        self, name: str, arguments: list[Any], named: dict[str, Any], at: tree.At
    ) -> object:
        began = time.perf_counter()
        step = Step(action=name, status="failed", line=at.line, duration_ms=0.0)
        self._step(step)
        try:
            built_in = self._built_in.get(name)
            if built_in is not None:
                value = await built_in(arguments, named)
            else:
                value = await self._registered(name, arguments, named)
            weighed(value)
        except RunError as error:
            step.status = "denied" if error.kind == "denied" else "failed"
            step.error = error.message
            if not error.line:
                error.line, error.column = at.line, at.column
            raise
        finally:
            step.duration_ms = round((time.perf_counter() - began) * 1000, 3)
        step.status, step.result = "completed", value
        self._results[name] = value
        return value

    def _step(self, step: Step) -> None:
        if len(self._steps) >= _MOST_STEPS:
            raise RunError(f"the program took more than {_MOST_STEPS} actions", kind="exhausted")
        self._steps.append(step)

    async def _registered(self, name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
        function = self._host.actions[name]
        if _takes_call(function):
            named = {
                **named,
                "call": ActionCall(
                    agent_id=self._program.agent_id,
                    action=name,
                    event=self._event,
                    payload=self._payload,
                    headers=self._headers,
                    results=dict(self._results),
                ),
            }
        kind: str
        try:
            if inspect.iscoroutinefunction(function):
                value = await function(*arguments, **named)
            else:
                value = await self._host.in_thread(partial(function, *arguments, **named))
            return msgspec.json.decode(msgspec.json.encode(value))  # JSON, and nothing shared
        except RunError:
            raise
        except Exception as error:  # noqa: BLE001 - somebody else's code; its message may hold a secret
            kind = type(error).__name__
            _log.error("the action %s failed with %s", name, kind)
        raise RunError(f"{name} failed with {kind}")

    # -- the actions that are always there ----------------------------------

    async def _parse_payload(self, arguments: list[Any], named: dict[str, Any]) -> Any:
        return summary(self._payload, self._event)

    async def _trigger_workflow(self, arguments: list[Any], named: dict[str, Any]) -> Any:
        name: object = arguments[0] if arguments else named.get("name")
        for holder in (self._trigger, self._program):
            if name is None and holder is not None:
                name = holder.properties.get("workflow")
        if name is not None and not isinstance(name, str):
            raise RunError("trigger_workflow takes a workflow's name and its parameters")
        given: object = arguments[1] if len(arguments) > 1 else named.get("parameters")
        parameters: dict[str, Any] = (
            given if is_map(given) else {"event": self._event, "payload": self._payload}
        )
        refusal: HttpRefusal
        try:
            return await self._host.workflow(name, parameters, self._program.agent_id)
        except HttpRefusal as refused:
            refusal = refused
        raise RunError(refusal.message)

    async def _validate_signature(self, arguments: list[Any], named: dict[str, Any]) -> Any:
        webhook = self._webhook()
        name = webhook.secret if webhook is not None else None
        if name is None and self._trigger is not None:
            given = self._trigger.properties.get("secret")
            name = given.removeprefix("secret://") if isinstance(given, str) else None
        provider = webhook.provider if webhook is not None else _sender(self._headers)
        if provider is None and self._trigger is not None:
            provider = next((p for p in _STYLES if p in self._trigger.name), None)
        return await self._verify(
            name or DEFAULT_SECRET, _style_of(provider), required=name is not None
        )

    async def _verify(self, name: str, style: str, *, required: bool = True) -> Any:
        """Check the signature, or where there is no secret that the sender is known otherwise."""
        from ....runtime.webhooks import WebhookVerifier

        problem: str
        try:
            secret = await self._host.secret(self._program.agent_id, name)
        except HttpRefusal as refusal:
            problem = refusal.message
        else:
            if secret is None:
                if self._authenticated and not required:
                    return {"verified": True, "by": "token"}
                if self._host.keyless and not required:
                    return {"verified": False, "by": "nobody: this server asks for no key"}
                problem = f"there is no secret {name!r} of this agent to check it with; store it"
            elif self._body is None:
                problem = "the request's bytes are not known here"
            else:
                try:
                    WebhookVerifier(cast("Any", style), secret).verify(self._headers, self._body)
                except OstiaryError as error:
                    problem = str(error)
                else:
                    return {"verified": True, "by": style}
        raise RunError(f"the signature cannot be accepted: {problem}", kind="denied")


# -- policies ---------------------------------------------------------------


def _spoken_of(
    subjects: tuple[tree.Expression, ...], name: str, arguments: list[Any]
) -> dict[str, Any] | None:
    """Return what a rule calls the arguments, if a call is among what it speaks of; else None."""
    for subject in subjects:
        if isinstance(subject, tree.Literal):
            if subject.value == name:
                return {}
            continue
        said, behind = dotted(subject)
        if said != name:
            continue
        if not behind or not isinstance(behind[0], tree.Call):
            return {}
        names: dict[str, Any] = {}
        for number, each in enumerate(behind[0].arguments):
            given = arguments[number] if number < len(arguments) else None
            if isinstance(each.value, tree.Name):
                names[each.value.name] = given
            elif isinstance(each.value, tree.Literal) and not same(given, each.value.value):
                break
        else:
            return names
    return None


async def _holds(
    condition: tree.Expression | None, run: Evaluation, names: dict[str, Any], *, unknown: bool
) -> bool:
    """Evaluate a rule's condition; `unknown` is the answer where that is not possible."""
    if condition is None:
        return True
    try:
        return bool(await run.value_with(condition, names))
    except RunError as error:
        if error.kind == "exhausted":
            raise
        return unknown


# -- the request ------------------------------------------------------------

_STYLES: Final[dict[str, str]] = {"github": "github", "stripe": "stripe", "slack": "slack"}
_SIGNATURES: Final = {
    "x-hub-signature-256": "github",
    "stripe-signature": "stripe",
    "x-slack-signature": "slack",
}


def _sender(headers: Mapping[str, str]) -> str | None:
    return next((who for name, who in _SIGNATURES.items() if name in headers), None)


def _style_of(provider: str | None) -> str:
    return _STYLES.get(provider or "", "generic")


def _payload_of(body: bytes, headers: Mapping[str, str]) -> Any:
    problem: str
    try:
        return read_payload(body, headers)
    except Unreadable as unreadable:
        problem = str(unreadable)
    raise RunError(problem)


def _takes_call(function: Callable[..., Any]) -> bool:
    try:
        return "call" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False

"""Validators by name: those that come with the server, and those that callers register.

A registration names a kind with its parameters, or a Python function that the server was
started with. One whose function is not there is kept and refuses every change. Neighbour:
`gate` asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol, cast, final

import msgspec

from ....workflow.models import Commit, ValidationResult
from ...http.refusals import HttpRefusal
from .validators import KINDS, Validate, set_up

__all__ = ["Function", "Registration", "Registry"]

Function = Callable[[Commit, Mapping[str, Any]], ValidationResult | bool]
"""What a server may be started with: it gets the change and the registration's parameters."""

_LONGEST_NAME: Final = 128
# Kinds that say something without parameters.
_PLAIN: Final = ("not_null", "monotonic")


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """One registered validator, as it is kept; `owner` is whose gates see it."""

    owner: str
    validator_id: str
    config: dict[str, Any]


class Kept(Protocol):
    """Where registrations are kept; each change is on file when it returns."""

    def get(self, key: str) -> Registration | None: ...

    def put(self, key: str, value: Registration) -> None: ...

    def delete(self, key: str) -> bool: ...

    def all(self) -> list[Registration]: ...


@final
class Registry:
    """The validators of one server. `functions` are its Python functions, by name."""

    def __init__(self, kept: Kept, functions: Mapping[str, Function] | None = None) -> None:
        self._kept = kept
        self._functions = dict(functions or {})
        self._ready: dict[tuple[str, str], Validate | None] = {}
        for one in kept.all():
            self._ready[one.owner, one.validator_id] = self._made(one.config)

    def find(self, name: str, owner: str = "") -> Validate | None:
        """Return a validator by the name a gate has for it; None when none can be run."""
        if (owner, name) in self._ready:
            return self._ready[owner, name]
        if ("", name) in self._ready:
            return self._ready["", name]
        if name in _PLAIN:
            return set_up(name, {})
        if name in {"schema", "schema_check"}:
            # A schema of nothing: what was registered under the name came first.
            return _passes
        function = self._functions.get(name)
        return None if function is None else partial(_called, function, {})

    def register(self, validator_id: str, config: Mapping[str, Any], owner: str) -> dict[str, Any]:
        """Keep a validator under a name; refuses parameters that its kind cannot mean."""
        if not validator_id or len(validator_id) > _LONGEST_NAME or not validator_id.isprintable():
            raise _invalid("validator_id", f"is 1 to {_LONGEST_NAME} printable characters")
        ready = self._made(config)
        key = f"{owner}\n{validator_id}"
        replaced = self._kept.get(key) is not None
        self._kept.put(
            key, Registration(owner=owner, validator_id=validator_id, config=dict(config))
        )
        self._ready[owner, validator_id] = ready
        return {
            "validator_id": validator_id,
            "registered": True,
            "replaced": replaced,
            "type": config.get("type", "custom"),
            "resolved": ready is not None,
        }

    def remove(self, validator_id: str, owner: str) -> None:
        """Forget a registration; refuses a name that is none."""
        if not self._kept.delete(f"{owner}\n{validator_id}"):
            raise HttpRefusal(
                404, "VALIDATOR_NOT_FOUND", "no validator was registered under this name"
            )
        del self._ready[owner, validator_id]

    def listed(self, owner: str) -> list[dict[str, Any]]:
        """Return every validator that a gate of `owner` can name."""
        own = {one.validator_id: one for one in self._kept.all() if one.owner in {"", owner}}
        found: list[dict[str, Any]] = [
            {
                "validator_id": name,
                "type": one.config.get("type", "custom"),
                "resolved": self.find(name, owner) is not None,
                "built_in": False,
                "config": one.config,
            }
            for name, one in own.items()
        ]
        found.extend(
            {"validator_id": name, "type": name, "resolved": True, "built_in": True}
            for name in (*_PLAIN, "schema", "schema_check", *self._functions)
            if name not in own
        )
        return sorted(found, key=lambda one: str(one["validator_id"]))

    def _made(self, config: Mapping[str, Any]) -> Validate | None:
        """Return the validator that a registration describes; None where its function is not."""
        kind = config.get("type", "custom")
        given: Any = config.get("parameters") or {}
        if not isinstance(kind, str):
            raise _invalid("config.type", "is a name")
        if not isinstance(given, dict):
            raise _invalid("config.parameters", "is an object")
        parameters = cast("dict[str, Any]", given)
        if kind == "schema_check":
            kind = "schema"
        if kind in KINDS:
            try:
                return set_up(kind, parameters)
            except ValueError as error:
                problem = str(error)
            raise _invalid("config.parameters", problem)
        if kind != "custom":
            raise _invalid(
                "config.type", f"is one of {', '.join(KINDS)}, custom; {kind!r} is not known"
            )
        logic = config.get("validation_logic")
        if not isinstance(logic, str) or not logic:
            raise _invalid("config.validation_logic", "names a function of the server")
        function = self._functions.get(logic)
        return None if function is None else partial(_called, function, parameters)


def _called(function: Function, parameters: Mapping[str, Any], commit: Commit) -> ValidationResult:
    found = function(commit, parameters)
    if isinstance(found, bool):
        return ValidationResult(
            valid=found, reason=None if found else "the function says no", confidence=1.0
        )
    return found


def _passes(_: Commit) -> ValidationResult:
    return ValidationResult(valid=True, confidence=1.0)


def _invalid(path: str, problem: str) -> HttpRefusal:
    return HttpRefusal(
        422,
        "VALIDATION_ERROR",
        f"{path} {problem}",
        details={"errors": [{"path": path, "message": problem}]},
    )

"""Runs the statements of a program, within bounds.

Values are JSON. How many steps a run takes and how much it builds are bounded, so that every
run ends, whatever the program. Neighbours: `functions` are pure, actions go through `Calls`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast, final

from . import tree
from .durations import UNITS, seconds
from .functions import FUNCTIONS, METHODS, NAMESPACES, WrongUse
from .operators import MOST_BUILT, RunError, as_text, is_ok, operate, same, weighed
from .program import Function, Program
from .values import dotted, is_list, is_map, kind_of, shape

__all__ = ["Calls", "Evaluation"]

_MOST_STEPS: Final = 100_000
_DEEPEST: Final = 120
_BREATH: Final = 500  # steps between two turns of the event loop


class _Return(Exception):
    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class Calls(Protocol):
    """What a run may ask of its surroundings."""

    def has(self, name: str) -> bool:
        """Tell whether there is an action of this name."""
        ...

    async def allow(self, name: str, arguments: list[Any], run: Evaluation) -> str | None:
        """Return why a call is not allowed, or None when it is."""
        ...

    async def act(
        self, name: str, arguments: list[Any], named: dict[str, Any], at: tree.At
    ) -> object: ...

    def now(self) -> str: ...

    def new_id(self) -> str: ...

    def publish(self, topic: str, message: object) -> None: ...

    def note(self, level: str, message: str, details: object) -> None: ...


@final
class Evaluation:
    """One run of one program. `names` are the variables that it begins with."""

    def __init__(self, program: Program, calls: Calls, names: dict[str, Any]) -> None:
        self._program = program
        self._calls = calls
        self._given = names
        self._names = dict(names)
        self._steps = 0
        self._built = 0
        self._depth = 0

    # -- from outside -------------------------------------------------------

    async def block(self, body: tree.Block, **names: Any) -> tuple[bool, object]:
        """Run a block; return whether it returned, and what."""
        self._names.update(names)
        try:
            await self._statements(body)
        except _Return as done:
            return True, done.value
        except (_Break, _Continue):
            raise RunError("'break' and 'continue' stand in loops", body.at) from None
        except RecursionError:
            raise RunError("this is nested too deeply to be run", body.at) from None
        return False, None

    async def function(
        self, function: Function, positional: list[Any], named: dict[str, Any], at: tree.At
    ) -> object:
        """Call a function of the program."""
        names = dict(self._given)
        parameters = {each.name: each for each in function.parameters}
        for name in named:
            if name not in parameters:
                raise RunError(f"{function.name} has no parameter {name!r}", at)
        if len(positional) > len(parameters):
            raise RunError(
                f"{function.name} takes {len(parameters)} arguments, not {len(positional)}", at
            )
        for number, parameter in enumerate(function.parameters):
            if number < len(positional):
                names[parameter.name] = positional[number]
            elif parameter.name in named:
                names[parameter.name] = named[parameter.name]
            elif parameter.default is not None:
                names[parameter.name] = await self.value(parameter.default)
            else:
                raise RunError(f"{function.name} is missing {parameter.name!r}", at)
        outer, self._names = self._names, names
        try:
            self._enter(at)
            await self._statements(function.body)
        except _Return as done:
            return done.value
        except (_Break, _Continue):
            raise RunError("'break' and 'continue' stand in loops", at) from None
        finally:
            self._depth -= 1
            self._names = outer
        return None

    # -- bounds -------------------------------------------------------------

    def _enter(self, at: tree.At) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise RunError("this is nested too deeply to be run", at, kind="exhausted")

    async def _step(self, at: tree.At) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise RunError(
                f"the program took more than {_MOST_STEPS:,} steps", at, kind="exhausted"
            )
        if self._steps % _BREATH == 0:
            await asyncio.sleep(0)

    def _builds(self, size: int, at: tree.At) -> None:
        self._built += size
        if self._built > MOST_BUILT:
            raise RunError("the program builds too much", at, kind="exhausted")

    # -- statements ---------------------------------------------------------

    async def _statements(self, body: tree.Block) -> None:
        self._enter(body.at)
        try:
            for statement in body.statements:
                await self._step(statement.at)
                await self._statement(statement)
        finally:
            self._depth -= 1

    async def _statement(self, each: tree.Statement) -> None:
        if isinstance(each, tree.Evaluate):
            await self._whole(each.value)
        elif isinstance(each, tree.Pair):
            self._names[each.key] = await self._whole(each.value)
        elif isinstance(each, tree.Let):
            self._names[each.name] = None if each.value is None else await self._whole(each.value)
        elif isinstance(each, tree.Assignment):
            await self._assign(each)
        elif isinstance(each, tree.Return):
            raise _Return(None if each.value is None else await self._whole(each.value))
        elif isinstance(each, tree.If):
            for condition, body in each.branches:
                if condition is None or await self.value(condition):
                    await self._statements(body)
                    return
        elif isinstance(each, tree.For | tree.While):
            await self._loop(each)
        elif isinstance(each, tree.Match):
            await self._match(each)
        elif isinstance(each, tree.Try):
            await self._try(each)
        elif isinstance(each, tree.With):
            await self._with(each)
        elif isinstance(each, tree.Break):
            raise _Break
        elif isinstance(each, tree.Continue):
            raise _Continue
        elif isinstance(each, tree.Phrase):
            self._phrase(each)
        elif isinstance(each, tree.Definition) and each.kind == "emit":
            await self._emit(each)
        else:
            raise RunError("this cannot be run here", each.at)

    async def _loop(self, each: tree.For | tree.While) -> None:
        if isinstance(each, tree.For):
            items = await self.value(each.items)
            if is_map(items):
                items = list(items)
            if not is_list(items):
                raise RunError(f"a loop goes over a list, not {shape(items)}", each.items.at)
            for item in list(items):
                self._names[each.name] = item
                if await self._turn(each.body):
                    return
        else:
            while await self.value(each.condition):
                if await self._turn(each.body):
                    return

    async def _turn(self, body: tree.Block) -> bool:
        """Run a loop's body once; True ends the loop."""
        await self._step(body.at)
        try:
            await self._statements(body)
        except _Break:
            return True
        except _Continue:
            pass
        return False

    async def _match(self, each: tree.Match) -> None:
        subject = await self.value(each.subject)
        for arm in each.arms:
            pattern = arm.pattern
            wild = isinstance(pattern, tree.Name) and pattern.name == "_"
            if wild or same(await self.value(pattern), subject):
                await self._statements(arm.body)
                return

    async def _try(self, each: tree.Try) -> None:
        try:
            await self._statements(each.body)
        except RunError as error:
            if error.kind != "failed":
                raise
            found = {"message": error.message, "line": error.line, "kind": error.kind}
        else:
            return
        catch = each.catches[0]
        if catch.name is not None:
            self._names[catch.name] = found
        await self._statements(catch.body)

    async def _with(self, each: tree.With) -> None:
        timeout = None
        for entry in each.attributes:
            if entry.key == "timeout":
                timeout = seconds(await self._whole(entry.value))
        try:
            async with asyncio.timeout(timeout):
                await self._statements(each.body)
        except TimeoutError:
            pass
        else:
            return
        raise RunError(f"this took longer than {timeout:g} seconds", each.at)

    def _phrase(self, each: tree.Phrase) -> None:
        said = [dotted(operand)[0] for operand in each.operands]
        if each.word == "require" and said and said[0] in {"capability", "capabilities"}:
            for name in said[1:]:
                if name not in self._program.capabilities:
                    raise RunError(
                        f"the agent lacks the capability {name!r}", each.at, kind="denied"
                    )
        elif each.word == "check" and len(said) == 2 and said[0] == "policy":
            if not any(policy.name == said[1] for policy in self._program.policies):
                raise RunError(f"there is no policy {said[1]!r}", each.at, kind="denied")
        else:
            raise RunError(f"'{each.word}' cannot be run", each.at)

    async def _emit(self, each: tree.Definition) -> None:
        message: dict[str, Any] = {}
        for entry in each.body.statements:
            if not isinstance(entry, tree.Pair):
                raise RunError("an event holds 'name: value'", entry.at)
            message[entry.key] = await self._whole(entry.value)
        weighed(message, each.at)
        self._calls.publish(" ".join(each.names) or "event", message)

    async def _assign(self, each: tree.Assignment) -> None:
        target = each.target
        value = await self._whole(each.value)
        if isinstance(target, tree.Name):
            if each.operator != "=":
                value = operate(each.operator[0], self._name(target), value, each.at, self._builds)
            self._names[target.name] = value
            return
        if not isinstance(target, tree.Postfix) or not isinstance(
            target.trailers[-1], tree.Member | tree.Index
        ):
            raise RunError("nothing can be assigned to this", target.at)
        trailer = target.trailers[-1]
        holder = await self._postfix(target, len(target.trailers) - 1)
        key: Any = trailer.name if isinstance(trailer, tree.Member) else await self._key(trailer)
        if each.operator != "=":
            value = operate(
                each.operator[0], self._item(holder, key, each.at), value, each.at, self._builds
            )
        self._builds(64, each.at)
        if is_map(holder) and isinstance(key, str):
            holder[key] = value
        elif is_list(holder) and isinstance(key, int) and not isinstance(key, bool):
            items = holder
            if not -len(items) <= key < len(items):
                raise RunError(f"the list has no item {key}", each.at)
            items[key] = value
        else:
            raise RunError(f"{shape(holder)} has no place to assign to", each.at)

    # -- values -------------------------------------------------------------

    async def _whole(self, value: tree.Value) -> Any:
        for tail in value.tails:
            if tail.word != "if":
                raise RunError("this cannot be run; only 'if' may follow a value", tail.at)
            if not await self.value(tail.value):
                return None
        return await self.value(value.expression)

    async def value_with(self, node: tree.Expression, names: Mapping[str, Any]) -> Any:
        """Return the value of an expression that has some names of its own."""
        before, self._names = self._names, {**self._names, **names}
        try:
            return await self.value(node)
        finally:
            self._names = before

    async def value(self, node: tree.Expression) -> Any:
        """Return the value of an expression."""
        await self._step(node.at)
        if isinstance(node, tree.Literal):
            return node.value
        if isinstance(node, tree.Name):
            return self._name(node)
        self._enter(node.at)
        try:
            if isinstance(node, tree.Postfix):
                return await self._postfix(node, len(node.trailers))
            if isinstance(node, tree.Binary):
                return await self._binary(node)
            if isinstance(node, tree.Unary):
                return await self._unary(node)
            if isinstance(node, tree.ListValue):
                self._builds(16 + 8 * len(node.items), node.at)
                return [await self.value(item.value) for item in node.items]
            if isinstance(node, tree.MapValue):
                return await self._map(node)
            if isinstance(node, tree.Quantity):
                return node.number * UNITS[node.unit]
        finally:
            self._depth -= 1
        raise RunError("a function stands only as an argument", node.at)

    def _name(self, node: tree.Name) -> Any:
        if node.name not in self._names:
            raise RunError(f"there is no {node.name!r} here", node.at)
        return self._names[node.name]

    async def _map(self, node: tree.MapValue) -> Any:
        self._builds(32 + 64 * len(node.entries), node.at)
        if node.entries and all(entry.key is None for entry in node.entries):
            return [await self._whole(entry.value) for entry in node.entries]
        found: dict[str, Any] = {}
        for entry in node.entries:
            if entry.key is None:
                raise RunError("a map holds 'key: value'", entry.at)
            found[entry.key] = await self._whole(entry.value)
        return found

    async def _unary(self, node: tree.Unary) -> Any:
        value = await self.value(node.operand)
        for operator in reversed(node.operators):
            if operator == "!":
                value = not value
            elif isinstance(value, int | float) and not isinstance(value, bool):
                value = -value
            else:
                raise RunError(f"'-' goes before a number, not {shape(value)}", node.at)
        return value

    async def _binary(self, node: tree.Binary) -> Any:
        value = await self.value(node.first)
        for operator, right in node.rest:
            if operator == "&&":
                value = bool(value) and bool(await self.value(right))
            elif operator == "||":
                value = bool(value) or bool(await self.value(right))
            else:
                value = operate(operator, value, await self.value(right), node.at, self._builds)
        return value

    async def _postfix(self, node: tree.Postfix, upto: int) -> Any:
        """Evaluate a base and the first `upto` of its trailers."""
        name, behind = dotted(node)
        first = name.partition(".")[0]
        done = 0
        value: Any
        if behind and isinstance(behind[0], tree.Call) and self._is_function(name, first):
            done = len(node.trailers) - len(behind) + 1
            value = await self._call(name, behind[0], node.at)
        elif name and behind and isinstance(behind[0], tree.MapValue) and "." not in name:
            done, value = 1, await self._map(behind[0])  # `Report { id: 1 }`
        else:
            value = await self.value(node.base)
        while done < upto:
            trailer = node.trailers[done]
            following = node.trailers[done + 1] if done + 1 < upto else None
            if isinstance(trailer, tree.Member) and isinstance(following, tree.Call):
                value = await self._method(value, trailer, following)
                done += 2
                continue
            value = await self._trailer(value, trailer)
            done += 1
        return value

    def _is_function(self, name: str, first: str) -> bool:
        """Tell whether a call is of a name, rather than of a value's method."""
        return "." not in name or (
            first not in self._names and (first in NAMESPACES or self._calls.has(name))
        )

    async def _trailer(self, value: Any, trailer: tree.Trailer) -> Any:
        if isinstance(trailer, tree.Member):
            return self._item(value, trailer.name, trailer.at)
        if isinstance(trailer, tree.Index):
            return self._item(value, await self._key(trailer), trailer.at)
        if isinstance(trailer, tree.Generic):
            return value
        if isinstance(trailer, tree.Propagate):
            if is_map(value) and value.get("ok") is False:
                raise _Return(value)
            return value["value"] if is_ok(value) else value
        raise RunError("this cannot be called", trailer.at)

    async def _key(self, index: tree.Index) -> Any:
        if len(index.arguments) != 1:
            raise RunError("one index is given at a time", index.at)
        return await self.value(index.arguments[0].value)

    def _item(self, holder: Any, key: Any, at: tree.At) -> Any:
        if holder is None:
            return None
        if is_map(holder):
            return holder.get(key) if isinstance(key, str) else None
        if is_list(holder) and isinstance(key, int) and not isinstance(key, bool):
            items = holder
            if not -len(items) <= key < len(items):
                raise RunError(f"the list has no item {key}", at)
            return items[key]
        if key == "length" and isinstance(holder, str | list):
            return len(cast("str", holder))
        if isinstance(holder, int | float) and not isinstance(holder, bool):
            length = seconds(f"{holder}.{key}")
            if length is not None:
                return length
        raise RunError(f"{shape(holder)} has no {as_text(key)!r}", at)

    # -- calls --------------------------------------------------------------

    async def _arguments(self, call: tree.Call) -> tuple[list[Any], dict[str, Any]]:
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for each in call.arguments:
            if isinstance(each.value, tree.Lambda):
                raise RunError("only methods of lists take a function", each.at)
            value = await self.value(each.value)
            if each.name is None:
                positional.append(value)
            else:
                named[each.name] = value
        return positional, named

    async def _call(self, name: str, call: tree.Call, at: tree.At) -> Any:
        positional, named = await self._arguments(call)
        refused = await self._calls.allow(name, positional, self)
        if refused is not None:
            raise RunError(refused, at, kind="denied")
        function = self._program.functions.get(name)
        if function is not None:
            return await self.function(function, positional, named, at)
        if self._calls.has(name):
            return await self._calls.act(name, positional, named, at)
        pure = FUNCTIONS.get(name)
        if pure is not None:
            return self._pure(pure, name, positional, named, at)
        return self._effect(name, positional, named, at)

    def _effect(self, name: str, positional: list[Any], named: dict[str, Any], at: tree.At) -> Any:
        given = [*positional, *named.values()]
        if name == "now" and not given:
            return self._calls.now()
        if name == "generate_id" and not given:
            return self._calls.new_id()
        if name == "publish" and len(given) == 2 and isinstance(given[0], str):
            weighed(given[1], at)
            self._calls.publish(given[0], given[1])
            return None
        level = "audit" if name == "audit_log" else name.removeprefix("log.")
        if (
            given
            and len(given) <= 2
            and isinstance(given[0], str)
            and (
                level == "audit" or (level != name and level in {"debug", "info", "warn", "error"})
            )
        ):
            details = given[1] if len(given) == 2 else None
            weighed(details, at)
            self._calls.note(level, given[0][:1000], details)
            return None
        if name in {"now", "generate_id", "publish", "audit_log"} or level != name:
            raise RunError(f"{name} was not given the arguments it takes", at)
        raise RunError(f"there is no action {name!r}", at)

    def _pure(
        self,
        function: Callable[..., object],
        name: str,
        positional: list[Any],
        named: Mapping[str, Any],
        at: tree.At,
    ) -> Any:
        for each in positional:
            self._builds(weighed(each, at), at)
        problem: str
        try:
            value = function(*positional, **named)
        except WrongUse as wrong:
            problem = str(wrong)
        except (TypeError, ValueError, OverflowError, KeyError):
            problem = "other arguments were expected"
        else:
            self._builds(weighed(value, at), at)
            return value
        raise RunError(f"{name}: {problem}", at)

    async def _method(self, value: Any, member: tree.Member, call: tree.Call) -> Any:
        name = member.name
        if is_list(value) and name in {"filter", "map", "any", "all"}:
            return await self._over(value, name, call)
        positional, named = await self._arguments(call)
        if is_list(value) and name in {"append", "push"} and len(positional) == 1:
            self._builds(64, call.at)
            value.append(positional[0])
            return None
        methods: dict[str, Callable[..., object]] = METHODS.get(kind_of(value), {})
        if name not in methods:
            raise RunError(f"{shape(value)} has no method {name!r}", member.at)
        return self._pure(methods[name], name, [value, *positional], named, call.at)

    async def _over(self, items: list[Any], name: str, call: tree.Call) -> Any:
        given = call.arguments[0].value if len(call.arguments) == 1 else None
        if not isinstance(given, tree.Lambda):
            raise RunError(f"{name} takes one function, such as 'x => x.done'", call.at)
        before = self._names
        found: list[Any] = []
        try:
            for item in list(items):
                self._names = {**before, given.parameter: item}
                result = await self.value(given.body)
                if name == "any" and result:
                    return True
                if name == "all" and not result:
                    return False
                if name == "map" or (name == "filter" and result):
                    self._builds(8, call.at)
                    found.append(result if name == "map" else item)
        finally:
            self._names = before
        return found if name in {"map", "filter"} else name == "all"

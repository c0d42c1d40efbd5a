"""What the models of the domains have in common: how one is made, read, shown and sent.

Making one checks every field and names each that is wrong. Reading is lenient: a null is an
absent member, unknown members are kept in `extra`, unknown words are read. The common reply is
decoded without a step of Python; only what does not fit at once is looked at member by member.
"""

# pyright: reportPrivateUsage=false
# The functions below are the models' own: what is told them apart by is for no one else.

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from enum import Enum
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
)

import msgspec
from msgspec import UNSET, UnsetType

from .._decoders import decoder_of, learn
from ..errors import InvalidArgumentError
from ..secret import Secret
from . import instants
from .words import OpenEnum

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Model", "ModelMeta", "Request", "accept", "reader", "wire"]

T = TypeVar("T")
M = TypeVar("M", bound="Model")

_HIDDEN: Final = "**********"
_EXTRA: Final = "_extra"
_NOTHING: Final[Mapping[str, Any]] = types.MappingProxyType({})

Problems = list[tuple[str, str]]


class ModelMeta(msgspec.StructMeta):
    """Has calls of a model go through the checks; decoders make instances without them."""

    if not TYPE_CHECKING:

        def __new__(mcls, *parts: Any, kw_only: bool = True, **options: Any) -> Any:
            return super().__new__(mcls, *parts, kw_only=kw_only, **options)

        def __call__(cls, *args: Any, **given: Any) -> Any:
            problems: Problems = []
            made = None
            if args:
                problems.append(("", "takes its fields by name"))
            else:
                made = _shaped(cls, given, "", problems, strangers=False)
            # They may hold a secret, and a traceback records the locals of what raises.
            del args, given
            if made is None or problems:
                raise _refused(cls, problems)
            return made


@dataclass_transform(kw_only_default=True, field_specifiers=(msgspec.field,))
class Model(msgspec.Struct, metaclass=ModelMeta, forbid_unknown_fields=True, gc=False):
    """A thing of a domain's protocol.

    Raises `InvalidArgumentError`, which names every field that is wrong, when it is made.
    `extra` holds what a server said beyond the fields; what is in it is sent too.
    """

    # No garbage collection: JSON has no cycles, and a page of 100 things would set it off twice.

    # The domain's own class of it.
    _error: ClassVar[type[InvalidArgumentError]] = InvalidArgumentError
    # The decoder is not to pass over what it does not know: that is kept.
    _hidden: ClassVar[frozenset[str]] = frozenset()
    _aliases: ClassVar[Mapping[str, str]] = _NOTHING
    _bounds: ClassVar[Mapping[str, tuple[float, float]]] = _NOTHING
    _filled: ClassVar[tuple[str, ...]] = ()
    _closed: ClassVar[bool] = False

    if TYPE_CHECKING:
        extra: Mapping[str, Any] = {}
    else:
        _extra: dict[str, Any] | UnsetType = UNSET

        @property
        def extra(self) -> Mapping[str, Any]:
            """What the server said beyond the fields; read-only."""
            return _NOTHING if self._extra is UNSET else types.MappingProxyType(self._extra)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Make one of decoded JSON, checked as a call is; unknown members go into `extra`."""
        return accept(cls, raw)

    def to_dict(self) -> dict[str, Any]:
        """Return what is sent for it: plain JSON values, without what is None."""
        try:
            return cast("dict[str, Any]", msgspec.to_builtins(wire(self)))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            problem = type(error).__name__  # its text may show a value
        raise self._error(f"{type(self).__name__} holds what JSON cannot say ({problem})")

    def _rules(self) -> Iterator[tuple[str, str]]:
        """Yield each field that is wrong beyond its type, and why."""
        return iter(())

    @classmethod
    def _adapt(cls, raw: dict[str, Any]) -> dict[str, Any]:
        """Return what another kind of server sent in the form of this one."""
        return raw

    def _shown(self) -> Iterator[tuple[str, object]]:
        for field in _plan(type(self)).fields:
            value = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            if field.name in self._hidden and value:
                names = cast("dict[str, Any]", value) if isinstance(value, dict) else None
                value = _HIDDEN if names is None else dict.fromkeys(names, _HIDDEN)
            yield field.name, value
        if self.extra:
            # The server's, or the caller's: nobody has said that it is no secret.
            yield "extra", dict.fromkeys(self.extra, _HIDDEN) if self._hidden else self.extra

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in self._shown())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return list(self._shown())

    def __reduce__(self) -> tuple[Any, ...]:
        names = type(self).__struct_fields__
        return _rebuilt, (type(self), {name: getattr(self, name) for name in names})


class Request(Model):
    """A model that is sent: words that the protocol does not have are refused in it."""

    _closed = True


class _Field(msgspec.Struct, frozen=True, gc=False):
    name: str
    wire_name: str
    type: Any  # as declared
    required: bool
    default: Any  # NODEFAULT for one that is made anew
    nullable: bool
    inner: Any  # the model that it is, or is a list or a dict of
    many: bool
    keyed: bool
    instant: bool
    words: type[OpenEnum] | None


class _Plan(msgspec.Struct, frozen=True):
    model: Any
    fields: tuple[_Field, ...]
    names: frozenset[str]
    # How a field may be called beside its name: by its name on the wire, or an older one.
    other_names: dict[str, str]
    # For reading, where all names are those of the wire.
    wire_names: frozenset[str]
    other_wire_names: dict[str, str]
    nullable: frozenset[str]
    instants: tuple[tuple[str, bool], ...]  # and whether it is a list of them
    whole: tuple[str, ...]
    nested: tuple[tuple[str, _Plan, bool], ...]  # and whether it is a dict of them
    adapts: bool
    words: tuple[tuple[str, bool, frozenset[str]], ...]  # whether it is a list, the known names
    parts: tuple[tuple[str, bool, bool], ...]  # fields with models: a list of them, a dict
    sending: tuple[tuple[str, str, bool, bool, bool], ...]  # required, with models, with times
    # Nothing in it takes more than its types and the checks of `_made_at_once`: when it is made
    # by its fields, and when it is made of any mapping.
    at_once: bool
    at_once_of_any: bool


_plans: Final[dict[type[Any], _Plan]] = {}


def _plan(model: type[Any]) -> _Plan:
    found = _plans.get(model)
    if found is None:
        found = _plans[model] = _planned(model)
    return found


def _planned(model: type[Any]) -> _Plan:
    learn(model)
    fields: list[_Field] = []
    for info in msgspec.structs.fields(model):
        if info.name == _EXTRA:
            continue
        kinds = _alternatives(info.type)
        core = [kind for kind in kinds if kind is not type(None)]
        only = core[0] if len(core) == 1 else None
        many = get_origin(only) is list
        keyed = get_origin(only) is dict and isinstance(get_args(only)[1], ModelMeta)
        item = get_args(only)[1] if keyed else get_args(only)[0] if many else only
        fields.append(
            _Field(
                name=info.name,
                wire_name=info.encode_name,
                type=info.type,
                required=info.required,
                default=info.default,
                nullable=type(None) in kinds or Any in kinds,
                inner=item if isinstance(item, ModelMeta) else None,
                many=many,
                keyed=keyed,
                instant=item is datetime,
                words=item if isinstance(item, type) and issubclass(item, OpenEnum) else None,
            )
        )
    on_wire = {field.name: field.wire_name for field in fields}
    renamed = {wire: name for name, wire in on_wire.items() if wire != name}
    adapts = any("_adapt" in base.__dict__ for base in model.__mro__ if base is not Model)
    parts = tuple((field.name, field.many, field.keyed) for field in fields if field.inner)
    at_once = not (renamed or model._hidden or any(field.instant for field in fields))
    return _Plan(
        model=model,
        fields=tuple(fields),
        names=frozenset(on_wire),
        other_names={**renamed, **model._aliases},
        wire_names=frozenset(on_wire.values()),
        other_wire_names={other: on_wire[name] for other, name in model._aliases.items()},
        nullable=frozenset(field.wire_name for field in fields if field.nullable),
        instants=tuple((field.wire_name, field.many) for field in fields if field.instant),
        whole=tuple(field.wire_name for field in fields if int in _alternatives(field.type)),
        nested=tuple(
            (field.wire_name, _plan(field.inner), field.keyed)
            for field in fields
            if field.inner is not None
        ),
        adapts=adapts,
        words=tuple(
            (field.name, field.many, frozenset(field.words.__members__))
            for field in fields
            if field.words is not None
        ),
        parts=parts,
        sending=tuple(
            (field.name, field.wire_name, field.required, bool(field.inner), field.instant)
            for field in fields
        ),
        at_once=at_once,
        at_once_of_any=at_once and not (adapts or parts),
    )


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in {Union, types.UnionType} else (kind,)


# Making one.


def accept(model: type[M], value: object, *, name: str = "") -> M:
    """Return `value` as a checked `model`: an instance of it, or a mapping with its fields.

    Members of a mapping that the model has not are kept in `extra`. `name` is what the caller
    calls the value. Raises `InvalidArgumentError`, whose `problems` are pairs of a path and
    what is wrong there.
    """
    problems: Problems = []
    made: M | None = None
    if isinstance(value, model):
        # Its fields may have been set since it was made.
        if _shaped(model, _fields_of(value), "", problems, strangers=False) is not None:
            made = value
    elif isinstance(value, Mapping):
        made = _shaped(model, dict(cast("Mapping[str, Any]", value)), "", problems)
    else:
        problems.append(("", f"is a {model.__name__} or a mapping, not {type(value).__name__}"))
    del value
    if made is None or problems:
        raise _refused(model, problems, name)
    return made


def _fields_of(model: Model) -> dict[str, Any]:
    found = {name: getattr(model, name) for name in type(model).__struct_fields__}
    if found[_EXTRA] is UNSET:
        del found[_EXTRA]
    return found


def _refused(model: type[Model], problems: Problems, name: str = "") -> InvalidArgumentError:
    told = "; ".join(f"{path} {problem}" if path else problem for path, problem in problems)
    error = model._error(f"{name or model.__name__}: {told}")
    error.problems = tuple(problems)
    return error


def _shaped(
    model: type[M],
    given: dict[str, Any],
    path: str,
    problems: Problems,
    *,
    strangers: bool = True,
) -> M | None:
    """Make `model` of its fields, or add to `problems`; `strangers` may come along."""
    plan = _plan(model)
    if plan.at_once_of_any if strangers else plan.at_once:
        made = _made_at_once(plan, given)
        if made is not None:
            return cast("M", made)
    before = len(problems)
    if strangers and plan.adapts:
        given = model._adapt(given)
    for other, name in plan.other_names.items():
        if other in given:
            given.setdefault(name, given[other])
            del given[other]
    extra = given.pop(_EXTRA, UNSET)
    if "extra" in given and not strangers:
        extra = given.pop("extra")
    if isinstance(extra, Mapping):
        extra = dict(cast("Mapping[str, Any]", extra)) or UNSET
    elif extra is not UNSET:
        problems.append((f"{path}extra", "is a mapping of names to JSON values"))
        extra = UNSET
    unknown = given.keys() - plan.names
    if unknown and strangers:
        extra = {**(extra or {}), **{name: given[name] for name in given if name in unknown}}
    elif unknown:
        from difflib import get_close_matches  # for a slip of the pen alone

        for name in sorted(unknown):
            like = get_close_matches(name, plan.names, 1)
            hint = f"; did you mean {like[0]}?" if like else ""
            problems.append((f"{path}{name}", f"is no field of {model.__name__}{hint}"))
    values: dict[str, Any] = {} if extra is UNSET else {_EXTRA: extra}
    for field in plan.fields:
        value = given.get(field.name, UNSET)
        if value is UNSET or (value is None and not field.nullable and not field.required):
            if field.required:
                problems.append((f"{path}{field.name}", "is required"))
            continue
        place, found = f"{path}{field.name}", len(problems)
        value = values[field.name] = _fitted(model, field, value, place, problems)
        if len(problems) == found and value is not None:
            problems.extend(_unfit(model, field.name, value, place))
    if len(problems) > before:
        return None
    made = cast("M", msgspec.StructMeta.__call__(model, **values))
    problems.extend((path + name, problem) for name, problem in made._rules())
    return None if len(problems) > before else made


def _made_at_once(plan: _Plan, given: dict[str, Any]) -> Model | None:
    """Make a model whose fields are all as they should be; None when one is not.

    What is wrong, and what may be meant, is for those who look at each field to say.
    """
    model: type[Model] = plan.model
    for name, many, keyed in plan.parts:
        # Those that are made were checked then; what they would be made of is not checked here.
        part = given.get(name)
        if part is None or isinstance(part, Model):
            continue
        inner: Iterable[object]
        if many and part.__class__ is list:
            inner = part
        elif keyed and part.__class__ is dict:
            inner = part.values()
        else:
            return None
        for one in inner:
            if not isinstance(one, Model):
                return None
    try:
        made = msgspec.convert(given, model)
    except (msgspec.ValidationError, UnicodeError, RecursionError):
        return None
    for name in model._filled:
        filled = getattr(made, name)
        if filled is not None and not filled:
            return None
    for name, (least, most) in model._bounds.items():
        value = getattr(made, name)
        if value is not None and not least <= value <= most:
            return None
    if model._closed:
        for name, many, known in plan.words:
            words = getattr(made, name)
            if words is not None and not known.issuperset(
                [word._name_ for word in words] if many else (words._name_,)
            ):
                return None
    if model._rules is not Model._rules and next(made._rules(), None) is not None:
        return None
    return made


def _fitted(model: type[Model], field: _Field, value: Any, path: str, problems: Problems) -> Any:
    """Return `value` as the field's type has it, or add to `problems`."""
    if value is None and field.nullable:
        return None
    if field.inner is not None:
        return _fitted_models(field, value, path, problems)
    if field.instant:
        return _fitted_instants(field, value, path, problems)
    if isinstance(value, Secret) and field.name in model._hidden:
        try:
            value = value.reveal()
        except InvalidArgumentError as error:
            problems.append((path, f"cannot be read: {error.message}"))
            return None
    if field.words is not None and model._closed:
        words = _items(value) if field.many and _is_list(value) else [value]
        for index, word in enumerate(words):
            if type(word) is str and not field.words(word or "?").is_known:
                place = f"{path}[{index}]" if field.many else path
                problems.append((place, f"is one of {', '.join(field.words)}"))
                return None
    try:
        return msgspec.convert(value, field.type)
    except (msgspec.ValidationError, UnicodeError, RecursionError) as error:
        text = str(error) if isinstance(error, msgspec.ValidationError) else type(error).__name__
    what, _, place = text.partition(" - at `$")
    problems.append((path + place.rstrip("`"), what[:1].lower() + what[1:]))
    return None


def _fitted_models(field: _Field, value: Any, path: str, problems: Problems) -> Any:
    if field.keyed:
        if not isinstance(value, Mapping):
            problems.append((path, f"is a mapping, not {type(value).__name__}"))
            return None
        return {
            name: _fitted_model(field.inner, one, f"{path}.{name}", problems)
            for name, one in _members(value)
        }
    if not field.many:
        return _fitted_model(field.inner, value, path, problems)
    if not _is_list(value):
        problems.append((path, f"is a list, not {type(value).__name__}"))
        return None
    return [
        _fitted_model(field.inner, one, f"{path}[{index}]", problems)
        for index, one in enumerate(value)
    ]


def _fitted_model(model: type[Model], value: Any, path: str, problems: Problems) -> Any:
    if isinstance(value, model):
        return value
    if isinstance(value, Mapping):
        return _shaped(model, dict(cast("Mapping[str, Any]", value)), f"{path}.", problems)
    problems.append((path, f"is a {model.__name__} or a mapping, not {type(value).__name__}"))
    return None


def _fitted_instants(field: _Field, value: Any, path: str, problems: Problems) -> Any:
    if field.many:
        if not _is_list(value):
            problems.append((path, f"is a list, not {type(value).__name__}"))
            return None
        return [_fitted_instant(one, f"{path}[{i}]", problems) for i, one in enumerate(value)]
    return _fitted_instant(value, path, problems)


def _fitted_instant(value: object, path: str, problems: Problems) -> datetime | None:
    found = None if isinstance(value, (int, float)) else instants.understood(value)
    if found is None:
        problems.append((path, "is a datetime, or one as ISO 8601 text"))
    return found


def _items(value: Any) -> Iterable[Any]:
    return cast("Iterable[Any]", value)


def _members(value: Any) -> Iterable[tuple[Any, Any]]:
    return cast("dict[Any, Any]", value).items()


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple, set, frozenset))


def _unfit(model: type[Model], name: str, value: Any, place: str) -> Iterator[tuple[str, str]]:
    if name in model._filled and not value:
        yield place, "is not empty"
    if name in model._bounds:
        least, most = model._bounds[name]
        # Written so that NaN is outside.
        if not least <= value <= most:
            yield place, f"is a number {_span(least, most)}"


def _span(least: float, most: float) -> str:
    return f"from {least:g} to {most:g}" if most != float("inf") else f"of at least {least:g}"


def _rebuilt(model: type[M], values: dict[str, Any]) -> M:
    # What was read once is not checked again: reading is lenient.
    return cast("M", msgspec.StructMeta.__call__(model, **values))


# Reading.

_anything: Final = msgspec.json.Decoder().decode


def reader(kind: type[T]) -> Callable[[Any], T]:
    """Return a lenient decoder of JSON for a model, or for a list of one; make it once.

    What cannot be read at all raises `msgspec.DecodeError`.
    """
    many = get_origin(kind) is list
    model = get_args(kind)[0] if many else kind
    if not isinstance(model, ModelMeta):
        return decoder_of(kind).decode
    # Made with the first reply: a domain has a hundred of them, and a process uses a few.
    fast: Callable[[Any], T] | None = None

    def decode(body: Any) -> T:
        nonlocal fast
        if fast is None:
            fast = decoder_of(kind).decode
        try:
            return fast(body)
        except msgspec.ValidationError:
            raw = _anything(body)
        plan = _plan(model)
        raw = _each(_fitting, plan, raw, many)
        try:
            return msgspec.convert(raw, kind, strict=False)
        except msgspec.ValidationError:
            pass
        # Rare enough to come last: nulls that mean nothing, times in a form of their own, parts of
        # a second where whole ones are due.
        return msgspec.convert(_each(_mended, plan, raw, many), kind, strict=False)

    return decode


Step = Callable[[_Plan, dict[str, Any]], dict[str, Any]]


def _each(step: Step, plan: _Plan, raw: Any, many: bool = True, *, keyed: bool = False) -> Any:
    """Take a step with the object, or with each object of the list or dict, that `raw` is."""
    if raw.__class__ is dict:
        if keyed:
            return {name: _each(step, plan, one, many=False) for name, one in _members(raw)}
        return step(plan, raw)
    if many and raw.__class__ is list:
        return [step(plan, one) if one.__class__ is dict else one for one in raw]
    return raw


def _fitting(plan: _Plan, members: dict[str, Any]) -> dict[str, Any]:
    """Return a decoded object in the form that converts; it is changed in place."""
    if plan.adapts:
        members = plan.model._adapt(members)
    for other, name in plan.other_wire_names.items():
        if other in members:
            members.setdefault(name, members[other])
            del members[other]
    if not members.keys() <= plan.wire_names:
        unknown = members.keys() - plan.wire_names
        members[_EXTRA] = {name: members.pop(name) for name in unknown}
    for name, inner, keyed in plan.nested:
        if name in members:
            members[name] = _each(_fitting, inner, members[name], keyed=keyed)
    return members


def _mended(plan: _Plan, members: dict[str, Any]) -> dict[str, Any]:
    """Return an object without unfitting nulls, times and numbers as they should be.

    It is changed in place.
    """
    for name in [name for name, value in members.items() if value is None]:
        if name not in plan.nullable:
            del members[name]
    for name, many in plan.instants:
        value = members.get(name)
        if many and isinstance(value, list):
            members[name] = [instants.understood(one) or one for one in _items(value)]
        elif value is not None:
            members[name] = instants.understood(value) or value
    for name in plan.whole:
        value = members.get(name)
        if isinstance(value, float) and abs(value) < 2**63:
            members[name] = int(value)
    for name, inner, keyed in plan.nested:
        if name in members:
            members[name] = _each(_mended, inner, members[name], keyed=keyed)
    return members


# Sending.


def wire(value: Any) -> Any:
    """Return what is sent for a model, ready for a JSON encoder.

    Optional fields that are None are left out, date-times without an offset get the local one,
    `extra` comes along. What a field holds that is no model is the caller's and goes as it is.
    Lists, tuples and dicts of models are taken too, and anything else comes back as it is.
    """
    if isinstance(value, Model):
        sent: dict[str, Any] = {}
        for name, wire_name, required, with_models, with_times in _plan(type(value)).sending:
            found = getattr(value, name)
            if found is None:
                if not required:
                    continue
            elif with_models:
                found = wire(found)
            elif with_times:
                found = _sent(found)
            elif isinstance(found, Enum):
                found = found._value_
            sent[wire_name] = found
        extra = getattr(value, _EXTRA)
        if extra is not UNSET:
            for name, found in extra.items():
                sent.setdefault(name, found)
        return sent
    if isinstance(value, (list, tuple)):
        return [wire(one) for one in _items(value)]
    if isinstance(value, dict):
        return {name: wire(one) for name, one in _members(value)}
    return value


def _sent(value: Any) -> Any:
    if isinstance(value, list):
        return [_sent(one) for one in _items(value)]
    return instants.sent(value) if isinstance(value, datetime) else value

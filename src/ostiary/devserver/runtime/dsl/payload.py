"""What a request brought: its payload, the event it tells of, whether a trigger is meant.

Neighbour: `running` asks before anything runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from .program import Filter, Trigger
from .values import is_list, is_map, shape

__all__ = ["Unreadable", "event_of", "fires", "passes", "read_payload", "summary"]

_EVENT_HEADERS: Final = ("x-github-event", "x-gitlab-event", "x-event-type", "x-event-key")
_EVENT_MEMBERS: Final = ("event", "event_type", "type")
_ANY: Final = {"*", "any", "all"}
_LONGEST_EVENT: Final = 200
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[([0-9]{1,6})\]")


class Unreadable(Exception):
    """A body is not what its content type says."""


def read_payload(body: bytes, headers: Mapping[str, str]) -> Any:
    """Return what a body says: JSON, a form as a map, any other text as it is; None if empty.

    A form with the one field `payload`, as GitHub sends it, is the JSON in that. Raises
    `Unreadable`.
    """
    if not body.strip():
        return None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        try:
            fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000)
        except ValueError:
            raise Unreadable("the form cannot be read") from None
        form: dict[str, Any] = dict(fields)
        return _json(form["payload"].encode()) if list(form) == ["payload"] else form
    if kind in {"", "application/json"} or kind.endswith("+json"):
        return _json(body)
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Unreadable("the body is neither JSON nor a text in UTF-8") from None


def _json(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unreadable("the body is not JSON") from None
    except RecursionError:
        raise Unreadable("the body is nested too deeply") from None


def event_of(payload: Any, headers: Mapping[str, str]) -> str | None:
    """Return the word for what happened, as a trigger writes it behind `on_`, or None."""
    found: object = next((headers[name] for name in _EVENT_HEADERS if name in headers), None)
    if found is None and is_map(payload):
        members = payload
        found = next((members[name] for name in _EVENT_MEMBERS if name in members), None)
    if not isinstance(found, str) or not found or len(found) > _LONGEST_EVENT:
        return None
    return re.sub(r"\W", "_", found)


def fires(trigger: Trigger, event: str | None, payload: Any) -> bool:
    """Tell whether a request sets a trigger off.

    A request that names no event sets off every trigger, as does each request a trigger that
    waits for no event in particular.
    """
    if event is None or not trigger.events:
        return True
    return event in trigger.events and _wanted(trigger.events[event], payload)


def _wanted(wanted: object, payload: Any) -> bool:
    if is_list(wanted):
        return any(_wanted(each, payload) for each in wanted)
    if isinstance(wanted, bool):
        return wanted
    if not isinstance(wanted, str) or wanted in _ANY or not is_map(payload):
        return True
    members = payload
    said = [
        str(members[name]).removeprefix("refs/heads/").removeprefix("refs/tags/")
        for name in ("ref", "branch", "action")
        if isinstance(members.get(name), str)
    ]
    return not said or any(fnmatchcase(each, wanted) for each in said)


def passes(test: Filter, payload: Any) -> bool:
    """Tell whether a payload passes a webhook's filter."""
    found = payload
    path = test.json_path.removeprefix("$")
    position = 0
    for step in _STEP.finditer(path):
        if step.start() != position:
            return False
        position = step.end()
        if step[1] is not None and is_map(found):
            found = found.get(step[1])
        elif step[2] is not None and is_list(found):
            items = found
            found = items[int(step[2])] if int(step[2]) < len(items) else None
        else:
            return False
    if position != len(path):
        return False
    if test.contains is not None:
        return isinstance(found, str | list) and test.contains in found
    return bool(found == test.equals and type(found) is type(test.equals))


def summary(payload: Any, event: str | None) -> dict[str, Any]:
    """Return what `parse_payload` tells of a payload: its form, and what a push is about."""
    told: dict[str, Any] = {"event": event}
    if not is_map(payload):
        told["kind"] = shape(payload).removeprefix("a ")
        return told
    members = payload
    told["kind"] = "map"
    told["fields"] = sorted(members)[:100]
    ref = members.get("ref")
    if isinstance(ref, str):
        told["ref"] = ref
        told["branch"] = ref.removeprefix("refs/heads/")
    repository = members.get("repository")
    if is_map(repository):
        named = repository
        told["repository"] = named.get("full_name") or named.get("name")
    commits = members.get("commits")
    if is_list(commits):
        told["commits"] = len(commits)
    return told

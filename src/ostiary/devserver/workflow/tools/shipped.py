"""The tools that come with the server: files of its sandbox, schemas, JMESPath, allowed hosts.

    read_file        path (input.json), format (json, text, base64)      what is in it
    write_file       path (output.json), content (what came from upstream)   path, bytes, sha256
    validate_schema  schema or schema_path (schema.json), data           the data, if it is valid
    transform_data   expression or expression_path (transform.jmespath), data   what it gives
    http_get         url, headers                                        status, content_type, body

`data` is what came from upstream where it is not among the inputs. Neighbour: `sandbox`.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, cast

import msgspec

from ....workflow.enums import FailureTaxonomy
from ...faults import Refusal
from ...outbound import Limits, fetch, parse_target
from ..crv import schemas
from ..crv.expressions import compiled
from . import sandbox
from .call import Tool, ToolCall, ToolError, made

__all__ = ["shipped"]

_MOST_TOLD: Final = 10
_MOST_HEADERS: Final = 32

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def shipped(
    allow_hosts: frozenset[str] = frozenset(), *, limits: Limits | None = None
) -> list[Tool]:
    """Return the tools; http_get reaches the hosts that are named, as `host` or `host:port`.

    A private address is reached where it is named itself: a name that leads to one is not
    enough, for names are changed by others.
    """
    private = frozenset(host for host in allow_hosts if _is_address(host))
    bounds = limits or Limits(seconds=30.0, body=1024 * 1024, allow=private)
    functions: Mapping[str, Callable[[ToolCall], Any]] = {
        "read_file": read_file,
        "write_file": write_file,
        "validate_schema": validate_schema,
        "transform_data": transform_data,
        "http_get": partial(http_get, allow_hosts=allow_hosts, limits=bounds),
    }
    plays: Mapping[str, Callable[[ToolCall], Any]] = {
        "read_file": read_file,
        "write_file": play_write_file,
        "validate_schema": validate_schema,
        "transform_data": transform_data,
    }
    return [made(name, function, simulate=plays.get(name)) for name, function in functions.items()]


def read_file(call: ToolCall) -> Any:
    """Return what is in a file of the sandbox."""
    path = call.inputs.get("path", "input.json")
    content = sandbox.read(call.sandbox, path)
    form = call.inputs.get("format") or ("json" if str(path).endswith(".json") else "text")
    if form == "base64":
        return base64.b64encode(content).decode()
    if form not in {"json", "text"}:
        raise ToolError("format is json, text or base64", retry=False)
    try:
        return _decode(content) if form == "json" else content.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    what = "JSON" if form == "json" else "text in UTF-8"
    raise ToolError(f"{path} is no {what}", retry=False, code=FailureTaxonomy.CONFLICT.value)


def write_file(call: ToolCall) -> dict[str, Any]:
    """Write what came from upstream, or the content given, into a file of the sandbox."""
    about, content = _to_write(call)
    sandbox.write(call.sandbox, about["path"], content)
    return about


def play_write_file(call: ToolCall) -> dict[str, Any]:
    """Return what would be written; nothing is."""
    return {"simulated": True, **_to_write(call)[0]}


def _to_write(call: ToolCall) -> tuple[dict[str, Any], bytes]:
    path = call.inputs.get("path", "output.json")
    value = call.inputs["content"] if "content" in call.inputs else _received(call)
    if isinstance(value, str) and not str(path).endswith(".json"):
        content = value.encode("utf-8", "replace")
    else:
        content = msgspec.json.format(_encode(value), indent=2) + b"\n"
    about = {
        "path": path,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return about, content


def validate_schema(call: ToolCall) -> Any:
    """Return the data if it keeps a JSON Schema."""
    schema = call.inputs.get("schema")
    if schema is None:
        schema = _json_file(call, call.inputs.get("schema_path", "schema.json"))
    data = _data(call)
    if not isinstance(schema, (dict, bool)):
        raise ToolError("a schema is an object", retry=False)
    problem = ""
    errors: list[Any] = []
    try:
        errors = list(schemas.compiled(cast("Any", schema)).iter_errors(data))
    except schemas.SchemaError as error:
        problem = f"the schema is none: {error}"
    except RecursionError:
        problem = "the schema or the data is nested too deeply"
    except Exception as error:  # noqa: BLE001 - a pattern, a reference: the schema's own mistakes
        problem = f"the schema cannot be used: {type(error).__name__}"
    if problem:
        raise ToolError(problem, retry=False)
    if not errors:
        return data
    told = "; ".join(f"{error.json_path} {error.message}" for error in errors[:_MOST_TOLD])
    missing = all(error.validator == "required" for error in errors)
    code = FailureTaxonomy.MISSING_DATA if missing else FailureTaxonomy.CONFLICT
    raise ToolError(f"the data does not keep the schema: {told}", retry=False, code=code.value)


def transform_data(call: ToolCall) -> Any:
    """Return what a JMESPath expression makes of the data."""
    expression = call.inputs.get("expression")
    if expression is None:
        path = call.inputs.get("expression_path", "transform.jmespath")
        expression = sandbox.read(call.sandbox, path).decode("utf-8", "replace")
    if not isinstance(expression, str):
        raise ToolError("an expression is text", retry=False)
    data = _data(call)
    try:
        return compiled(expression.strip())(data)
    except ValueError as error:  # the errors of the language are all this one
        problem = " ".join(str(error).split())
    except RecursionError:
        problem = "it is nested too deeply"
    except Exception as error:  # noqa: BLE001 - a function may be given what it cannot take
        problem = type(error).__name__
    raise ToolError(f"the expression cannot be evaluated: {problem}", retry=False)


def http_get(call: ToolCall, *, allow_hosts: frozenset[str], limits: Limits) -> dict[str, Any]:
    """Return what an allowed host answers to a GET."""
    url = call.inputs.get("url")
    if not isinstance(url, str):
        raise ToolError("inputs.url is the address to get", retry=False)
    try:
        target = parse_target(url)
        if not {target.host, f"{target.host}:{target.port}"} & allow_hosts:
            raise ToolError(
                f"{target.host} is no host that this server may reach; it is started with the "
                "hosts it may",
                retry=False,
                code=FailureTaxonomy.POLICY_VIOLATION.value,
            )
        answer = fetch(target, "GET", _headers(call, target.host_header), b"", limits)
    except Refusal as refusal:
        problem = refusal.message
        again = refusal.code == "UPSTREAM_FAILED"
    else:
        if answer.status < 300:
            return _answer(answer.status, answer.headers, answer.body)
        problem = f"the host answered {answer.status}"
        again = answer.status >= 500 or answer.status in {408, 429}
    raise ToolError(problem, retry=again)


def _is_address(named: str) -> bool:
    for host in (named, named.rpartition(":")[0]):
        if host == "localhost":
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            continue
        return True
    return False


def _headers(call: ToolCall, host: bytes) -> list[tuple[bytes, bytes]]:
    given: Any = call.inputs.get("headers") or {}
    if not isinstance(given, dict) or len(cast("dict[str, Any]", given)) > _MOST_HEADERS:
        raise ToolError(f"headers maps up to {_MOST_HEADERS} names to text", retry=False)
    headers = [(b"Host", host), (b"Accept", b"*/*"), (b"Connection", b"close")]
    for name, value in cast("dict[str, Any]", given).items():
        if not isinstance(value, str) or not str(value).isascii() or not str(name).isascii():
            raise ToolError("a header is text in ASCII", retry=False)
        if str(name).lower() in {"host", "connection", "content-length", "transfer-encoding"}:
            raise ToolError(f"the header {name} is not yours to set", retry=False)
        headers.append((str(name).encode(), value.encode()))
    return headers


def _answer(status: int, headers: list[tuple[str, str]], body: bytes) -> dict[str, Any]:
    kind = next((value for name, value in headers if name.lower() == "content-type"), "")
    read: Any
    try:
        read = _decode(body) if "json" in kind else body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        read = body.decode("utf-8", "replace")
    return {"status": status, "content_type": kind, "body": read}


def _data(call: ToolCall) -> Any:
    return call.inputs["data"] if "data" in call.inputs else _received(call)


def _received(call: ToolCall) -> Any:
    if not call.upstream:
        raise ToolError(
            "there is no data: give it in the inputs, or wait for a task that has a result",
            retry=False,
            code=FailureTaxonomy.MISSING_DATA.value,
        )
    return call.received


def _json_file(call: ToolCall, path: object) -> Any:
    try:
        return _decode(sandbox.read(call.sandbox, path))
    except (msgspec.DecodeError, RecursionError):
        pass
    raise ToolError(f"{path} is no JSON", retry=False)

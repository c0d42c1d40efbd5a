"""What every model of the workflow domain is: `ostiary._model` with the domain's own error.

Members travel under the names they have here; other servers' camelCase is read too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Final

from ... import errors as shared_errors
from ..._model import model as shared
from ..._model.model import accept, reader, wire
from ..errors import InvalidArgumentError

__all__ = ["Model", "Request", "accept", "reader", "wire"]

_HUMP: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")


@cache
def _camel(model: type[Model]) -> Mapping[str, str]:
    """Return the members that camelCase spells differently."""
    names = [name for name in model.__struct_fields__ if "_" in name.strip("_")]
    return {_camelled(name): name for name in names}


def _camelled(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


class Model(shared.Model):
    """A thing of the workflow protocol.

    Raises `InvalidArgumentError`, which names every member that is wrong, when it is made.
    `extra` holds what a server said beyond the members; what is in it is sent too.
    """

    _error: ClassVar[type[shared_errors.InvalidArgumentError]] = InvalidArgumentError

    @classmethod
    def _adapt(cls, raw: dict[str, Any]) -> dict[str, Any]:
        for camel, name in _camel(cls).items():
            if camel in raw:
                raw.setdefault(name, raw.pop(camel))
        return raw


class Request(Model):
    """A model that is sent: words that the protocol does not have are refused in it."""

    _closed = True

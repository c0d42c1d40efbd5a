"""What every model of the runtime is: `ostiary._model` with the runtime's own error."""

from __future__ import annotations

from typing import ClassVar

from ... import errors
from ..._model import model as shared
from ..._model.model import accept, reader, wire
from ..errors import InvalidArgumentError

__all__ = ["Model", "Request", "accept", "reader", "wire"]


class Model(shared.Model):
    """A thing of the runtime's protocol.

    Raises `InvalidArgumentError`, which names every field that is wrong, when it is made.
    `extra` holds what a server said beyond the fields; what is in it is sent too.
    """

    _error: ClassVar[type[errors.InvalidArgumentError]] = InvalidArgumentError


class Request(Model):
    """A model that is sent: words that the protocol does not have are refused in it."""

    _closed = True

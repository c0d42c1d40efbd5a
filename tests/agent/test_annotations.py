"""Annotations resolve at run time: frameworks that inject by type read them."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest

from ostiary import gateway

CLASSES = [
    "AgentContext",
    "AgentInput",
    "AgentOutput",
    "AgentResult",
    "AgentRunner",
    "Edit",
    "Finding",
    "Fix",
    "Location",
    "RepositoryInput",
    "RunRecord",
    "SageSanctumAgent",
    "SarifOutput",
    "Step",
    "TokenUsage",
]


@pytest.mark.parametrize("name", CLASSES)
def test_annotations_resolve(name: str) -> None:
    pytest.importorskip("langchain_core", reason="langchain-core is not installed")
    cls: Any = getattr(gateway, name)
    public = [one for key, one in vars(cls).items() if not key.startswith("_")]
    functions = [one.__func__ if isinstance(one, classmethod) else one for one in public]
    functions = [one.fget if isinstance(one, property) else one for one in functions]
    for function in [cls, cls.__init__, *filter(inspect.isfunction, functions)]:
        typing.get_type_hints(function)

"""Expressions that callers send: JMESPath, which computes nothing but what it is asked about.

What one evaluation does and makes is bounded: a line of text can ask for more than any memory
holds. Neighbours: `validators` asks them about changes, the tools transform data with them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, cast

__all__ = ["LONGEST", "Expression", "compiled"]

Expression = Callable[[Any], Any]

LONGEST: Final = 10_000
"""Characters of one expression; its parser takes a step of recursion for each nesting."""

_STEPS: Final = 2_000_000
_BUILT: Final = 16 * 1024 * 1024
# What these give is new; anything else is a part of the data.
_MAKERS: Final = frozenset(
    {
        *("multi_select_list", "multi_select_dict", "flatten", "slice", "function_expression"),
        *("projection", "value_projection", "filter_projection"),
    }
)


def compiled(text: str) -> Expression:
    """Return an expression ready to be asked; raises ValueError for what is none.

    Asked, it raises ValueError for what it cannot do with the data, or makes too much of.
    """
    import jmespath
    from jmespath.exceptions import JMESPathError

    if len(text) > LONGEST:
        raise ValueError(f"an expression has at most {LONGEST} characters")
    try:
        parsed = jmespath.compile(text).parsed
    except JMESPathError as error:
        problem = " ".join(str(error).split())
    except RecursionError:
        problem = "it is nested too deeply"
    else:
        return lambda data: _interpreter()().visit(parsed, data)
    raise ValueError(f"{problem}; see jmespath.org for the language")


@cache
def _interpreter() -> Callable[[], Any]:
    """Return what makes the library's interpreter, with bounds."""
    from jmespath.functions import Functions, signature
    from jmespath.visitor import Options, TreeInterpreter

    class Bounded(TreeInterpreter):
        """One evaluation: so many steps, so many values and characters in what they make."""

        def __init__(self) -> None:
            super().__init__(Options(custom_functions=BoundedFunctions()))
            self._steps = _STEPS
            self._left = _BUILT
            # By identity: one part may stand in many places. They are kept, so that none is
            # taken for another.
            self._sizes: dict[int, tuple[int, object]] = {}

        def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
            self._steps -= 1
            found = super().visit(node, *args, **kwargs)
            if node["type"] in _MAKERS:
                self._left -= self._size(found)
            if self._steps < 0 or self._left < 0:
                raise ValueError("it makes too much of the data; ask for less")
            return found

        def _size(self, value: Any) -> int:
            """Return how many values and characters would be written."""
            if isinstance(value, str):
                return 1 + len(value)
            if not isinstance(value, list | dict) or not value:
                return 1
            whole = cast("dict[str, Any] | list[Any]", value)
            known = self._sizes.get(id(whole))
            if known is None:
                inside = whole.values() if isinstance(whole, dict) else whole
                known = self._sizes[id(whole)] = (1 + sum(map(self._size, inside)), whole)
            return known[0]

    class BoundedFunctions(Functions):
        @signature({"types": ["string"]}, {"types": ["array-string"]})
        def _func_join(self, separator: str, array: list[str]) -> str:
            if len(separator) * len(array) > _BUILT:
                raise ValueError("it makes too much of the data; ask for less")
            return separator.join(array)

    return Bounded

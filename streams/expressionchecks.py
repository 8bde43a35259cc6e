"""What is wrong with an expression, at its place in the YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streams.engine.conditions import ExpressionError, Scope
from streams.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.yamltext import Node


def compiled(file: str, node: Node, compiler: Any, scope: Scope) -> Iterator[Problem]:
    """What `compiler` finds wrong with the value of `node`, at the character it is about."""
    try:
        compiler(node.plain(), scope)
    except ExpressionError as error:
        for step in error.path:
            node = node.get(step) or node
        line, column = node.place(max(error.column - 1, 0))
        message, _, way_out = error.message.partition("; ")
        if error.suggestion:
            way_out = f"did you mean '{error.suggestion}'?" + (f" {way_out}" if way_out else "")
        yield Problem(file, line, column, message, way_out or "see docs/journey-language.md")


def spoilt(node: Node) -> bool:
    """Whether something in it could not be read, and is reported already."""
    return node.spoilt or any(map(spoilt, node.items)) or any(map(spoilt, node.fields.values()))

"""Why a condition does not hold: which operands of its `&&`, `||` and `? :` are false or absent, and what was found.

Nothing here runs unless somebody asks: it walks the tree and evaluates its parts one by one, in the same context.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from streams.engine.cel_compile import compile_tree
from streams.engine.cel_context import Context
from streams.engine.cel_functions import to_double, to_duration, to_timestamp
from streams.engine.cel_signatures import Type
from streams.engine.cel_syntax import ROOTS, parse
from streams.engine.cel_text import quoted, text
from streams.engine.cel_tree import (
    Binary,
    Call,
    Choice,
    Field,
    Index,
    Logic,
    Macro,
    Member,
    Name,
    Node,
    Whole,
    children,
)
from streams.engine.cel_types import Scope, check
from streams.engine.cel_values import Absent, Duration, Timestamp, to_string, type_name

TRUE, FALSE, ABSENT = "true", "false", "absent"
_KINDS: Final = {
    "bool": "true or false",
    "int": "a number",
    "double": "a number",
    "string": "a text",
    "list": "a list",
    "map": "a map",
    "timestamp": "a time",
    "duration": "a length of time",
}
_OPERATORS: Final = {"-": "minus", "+": "plus"}
# What a text may be read as, the narrowest first.
_READERS: Final = (("timestamp", to_timestamp), ("duration", to_duration), ("double", to_double))
MAX_SHOWN: Final = 100  # characters of a value: enough to know it again


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of a condition that did not hold: `outcome` is false or absent, `values` what stands in it, by name.

    `any_of`: it is a `||`, and none of these holds.
    """

    text: str
    outcome: str
    values: dict[str, str] = {}
    any_of: tuple[Part, ...] = ()


class Checked(NamedTuple):
    """The types of a tree's nodes, and where it stands."""

    types: dict[Node, Type]
    scope: Scope


def why_not(source: str, scope: Scope, context: Context) -> tuple[Part, ...]:
    """What keeps a condition from holding, in the order written; nothing when it holds."""
    tree = parse(source)
    return why(tree, Checked(check(tree, scope), scope), context)


def why(tree: Node, types: Checked, context: Context) -> tuple[Part, ...]:
    """The same of a checked tree. Each part alone would have to be true for the whole to be."""
    outcome = _outcome(tree, types, context)
    if outcome == TRUE:
        return ()
    match tree:
        case Logic(operator="&&", operands=operands):
            return tuple(part for operand in operands for part in why(operand, types, context))
        case Logic(operands=operands):
            parts = tuple(part for operand in operands for part in why(operand, types, context))
            return (Part(text(tree), outcome, any_of=parts),)
        case Choice(condition=condition, yes=yes, no=no):
            chosen = _outcome(condition, types, context)
            if chosen == ABSENT:
                return (_leaf(condition, chosen, types, context),)
            return why(yes if chosen == TRUE else no, types, context)
    return (_leaf(tree, outcome, types, context),)


def _outcome(node: Node, types: Checked, context: Context) -> str:
    try:
        value = compile_tree(node, *types)(context)
    except Absent:
        return ABSENT
    return TRUE if value is True else FALSE if value is False else ABSENT


def _leaf(node: Node, outcome: str, types: Checked, context: Context) -> Part:
    values = {text(each): _shown(each, types, context) for each in _named(node)}
    if outcome == ABSENT and (senseless := _senseless(node, types, context)) is not None:
        values[text(senseless)] = _mismatch(senseless, types, context)
    return Part(text(node), outcome, values)


def _senseless(node: Node, types: Checked, context: Context) -> Binary | None:
    """The operator that makes no sense for the values on its sides, which are all there."""
    for child in children(node) if not isinstance(node, Macro) else ():
        if (found := _senseless(child, types, context)) is not None:
            return found
    if isinstance(node, Binary) and _value(node, types, context) is None:
        sides = (_value(node.left, types, context), _value(node.right, types, context))
        if None not in sides and _kind(sides[0]) != _kind(sides[1]):
            return node
    return None


def _mismatch(node: Binary, types: Checked, context: Context) -> str:
    """The kinds on both sides of an operator, and how a text is read as what it says."""
    said, way_out = [], ""
    for side in (node.left, node.right):
        value = _value(side, types, context)
        said.append(_kind(value))
        for function, read in _READERS if isinstance(value, str) else ():
            try:
                read(value)
            except Absent:
                continue
            way_out = f"; write {function}({text(side)})"
            break
    return f"{said[0]} {_OPERATORS.get(node.operator, node.operator)} {said[1]}{way_out}"


def _kind(value: Any) -> str:
    return _KINDS.get(type_name(value), type_name(value))


def _value(node: Node, types: Checked, context: Context) -> Any:
    """What a part gives; None when that is absent."""
    try:
        return compile_tree(node, *types)(context)
    except Absent:
        return None


def _named(node: Node) -> Iterator[Node]:
    """What a part looks up, outermost first: `event.items[0].price` rather than `event.items`."""
    match node:
        case Field():
            yield node
        case Call(target=Name(name=name), arguments=arguments) if name in ROOTS:
            yield node
            for argument in arguments:
                yield from _named(argument)
        case Call(target=None, name=name) if name in ("split", "open", "case"):
            yield node
        case Name(name="now") | Call(target=Name(name="now")):
            yield node
        case Member() | Index() if _looks_up(node):
            yield node
        case Macro(target=target):  # its body is about elements, each with another outcome
            yield from _named(target)
        case _:
            for child in children(node):
                yield from _named(child)


def _looks_up(node: Node) -> bool:
    while isinstance(node, Member | Index):
        node = node.target
    return isinstance(node, Field | Whole)


def _shown(node: Node, types: Checked, context: Context) -> str:
    try:
        value: Any = compile_tree(node, *types)(context)
    except Absent:
        return ABSENT
    written = to_string(value) if isinstance(value, float | Timestamp | Duration) else quoted(value)
    return written if len(written) <= MAX_SHOWN else f"{written[: MAX_SHOWN - 1]}…"

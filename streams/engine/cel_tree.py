"""Expressions: the syntax tree. Nodes are compared by identity, so that types can be kept beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Source = Literal["event", "properties", "identifiers", "vars", "traits", "journey", "profile"]
MAP_SOURCES: Final = ("properties", "identifiers", "vars", "traits")


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A literal."""

    column: int
    value: bool | int | float | str | None


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """A name alone: `now`, or the element of an enclosing macro."""

    column: int
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """`event.properties` or `event.identifiers`, as a map."""

    column: int
    source: Literal["properties", "identifiers"]


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """What the context holds under a name: a part of the event, a variable, a trait, `journey.stage`, `profile.id`."""

    column: int
    source: Source
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """`target.name` of a map."""

    column: int
    target: Node
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """`target[key]` of a list or a map."""

    column: int
    target: Node
    key: Node


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function, or with a `target` a method."""

    column: int
    target: Node | None
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Macro:
    """`target.exists(variable, body)` or `target.all(variable, body)`; `slot` numbers the enclosing macros from 0."""

    column: int
    kind: Literal["exists", "all"]
    target: Node
    variable: str
    slot: int
    body: Node


@dataclass(frozen=True, slots=True, eq=False)
class ListOf:
    """`[a, b]`."""

    column: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MapOf:
    """`{"a": b}`."""

    column: int
    keys: tuple[Node, ...]
    values: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Unary:
    """`!a` or `-a`."""

    column: int
    operator: Literal["!", "-"]
    operand: Node


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    """Arithmetic, a comparison or `in`; `column` is the operator's."""

    column: int
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True, eq=False)
class Logic:
    """`a && b && ...` or `a || b || ...`: one node however many operands."""

    column: int
    operator: Literal["&&", "||"]
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """`condition ? yes : no`."""

    column: int
    condition: Node
    yes: Node
    no: Node


Node = (
    Constant | Name | Whole | Field | Member | Index | Call | Macro | ListOf | MapOf | Unary | Binary | Logic | Choice
)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    match node:
        case Member(target=target):
            return (target,)
        case Index(target=target, key=key):
            return target, key
        case Call(target=target, arguments=arguments):
            return arguments if target is None else (target, *arguments)
        case Macro(target=target, body=body):
            return target, body
        case ListOf(items=items):
            return items
        case MapOf(keys=keys, values=values):
            return keys + values
        case Unary(operand=operand):
            return (operand,)
        case Binary(left=left, right=right):
            return left, right
        case Logic(operands=operands):
            return operands
        case Choice(condition=condition, yes=yes, no=no):
            return condition, yes, no
        case _:
            return ()


def start(node: Node) -> int:
    """The column where the node's text begins, as far as the tree knows."""
    return min([node.column, *(start(child) for child in children(node)[:1])])

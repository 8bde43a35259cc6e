"""Expressions: a tree as text again, for those who must be told which part of a condition did not hold."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from streams.engine.cel_syntax import EVENT_FIELDS, PRECEDENCE
from streams.engine.cel_tree import (
    Binary,
    Call,
    Choice,
    Constant,
    Field,
    Index,
    ListOf,
    Logic,
    Macro,
    MapOf,
    Member,
    Name,
    Node,
    Unary,
    Whole,
)

_PREFIXES: Final = {"properties": "event", "identifiers": "event.identifiers"}
_KEYED: Final = {"properties": "event.properties"}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Names that mean something else after a dot, or that CEL reserves there.
_WORDS: Final = ("in", "true", "false", "null")
_MEANS_ELSE: Final = {"properties": (*_WORDS, *EVENT_FIELDS, "properties", "identifiers")}
_CHOICE, _SIGN, _WHOLE = 0, 6, 7  # how tightly these bind, as the operators in PRECEDENCE


def text(node: Node) -> str:
    """The expression as one would write it, with the parentheses that it needs."""
    return _text(node, _CHOICE)


def _text(node: Node, least: int) -> str:
    """The text of a node that stands where only what binds at least so tightly needs no parentheses."""
    match node:
        case Unary(operator=operator, operand=operand):
            binds, written = _SIGN, f"{operator}{_text(operand, _SIGN)}"
        case Binary(operator=operator, left=left, right=right):
            binds = PRECEDENCE[operator]
            written = f"{_text(left, binds)} {operator} {_text(right, binds + 1)}"
        case Logic(operator=operator, operands=operands):
            binds = PRECEDENCE[operator]
            written = f" {operator} ".join(_text(each, binds + 1) for each in operands)
        case Choice(condition=condition, yes=yes, no=no):
            binds, written = _CHOICE, f"{_text(condition, 1)} ? {_text(yes, 1)} : {text(no)}"
        case _:
            return _tight(node)
    return written if binds >= least else f"({written})"


def _tight(node: Node) -> str:
    match node:
        case Constant(value=value):
            return quoted(value)
        case Name(name=name):
            return name
        case Whole(source=source):
            return f"event.{source}"
        case Field(source=source, name=name):
            if _NAME.fullmatch(name) and name not in _MEANS_ELSE.get(source, _WORDS):
                return f"{_PREFIXES.get(source, source)}.{name}"
            return f"{_KEYED.get(source, _PREFIXES.get(source, source))}[{quoted(name)}]"
        case Member(target=target, name=name):
            return f"{_inner(target)}.{name}"
        case Index(target=target, key=key):
            return f"{_inner(target)}[{text(key)}]"
        case Call(target=target, name=name, arguments=arguments):
            return f"{'' if target is None else _inner(target) + '.'}{name}({_listed(arguments)})"
        case Macro(kind=kind, target=target, variable=variable, body=body):
            return f"{_inner(target)}.{kind}({variable}, {text(body)})"
        case ListOf(items=items):
            return f"[{_listed(items)}]"
        case MapOf(keys=keys, values=values):
            pairs = (f"{text(key)}: {text(value)}" for key, value in zip(keys, values, strict=True))
            return f"{{{', '.join(pairs)}}}"
        case _:
            return _text(node, _WHOLE)


def quoted(value: Any) -> str:
    """A value as an expression has it: texts in quotes, `true`, `null`."""
    return msgspec.json.encode(value).decode()


def _inner(node: Node) -> str:
    return _text(node, _WHOLE)


def _listed(nodes: tuple[Node, ...]) -> str:
    return ", ".join(map(text, nodes))

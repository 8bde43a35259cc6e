"""Conditions and parameters: expressions compiled to closures, as journeys use them (docs/journey-language.md).

An expression is a pure function of its Context. It reaches nothing else, and its time and memory are bounded by its
text, by the limits in cel_values and by the steps in cel_context. `&&` and `||` absorb what is absent, as in CEL:
`false && absent` is false, `absent || true` is true.

    cel_words -> cel_syntax (makes a cel_tree) -> cel_types (checks it by cel_signatures) -> cel_compile (closures;
    common ones in cel_shapes) -> at run time cel_context, cel_values, cel_functions
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from streams.engine.cel_asking import Asked, asked_in
from streams.engine.cel_compile import compile_tree, truth
from streams.engine.cel_context import Context
from streams.engine.cel_signatures import Type
from streams.engine.cel_syntax import parse
from streams.engine.cel_types import Scope, check, check_condition, check_number, names_in
from streams.engine.cel_values import Absent, plain
from streams.engine.cel_words import ExpressionError

__all__ = [
    "Absent",
    "Asked",
    "Context",
    "ExpressionError",
    "Scope",
    "asked",
    "compile_condition",
    "compile_expression",
    "compile_number",
    "compile_parameter",
    "compile_value",
    "is_expression",
    "names_used",
]

_EXPRESSION = re.compile(r"(?:event|vars|traits|journey|profile)\.|(?:resume|link|split|open|case|best)\(")
_AS_IT_IS = (Type.BOOL, Type.NULL, Type.LINK)


def compile_expression(source: str, scope: Scope) -> Callable[[Context], Any]:
    """The function that computes the expression's value: of JSON's types (or a Link), a copy, and bounded.

    A timestamp becomes its RFC 3339 text, a duration a text such as "1800s"; timestamp() and duration() read both
    back. Raises ExpressionError; the function raises Absent and nothing else.
    """
    tree = parse(source)
    types = check(tree, scope)
    closure = compile_tree(tree, types, scope)
    if types[tree] in _AS_IT_IS:
        return closure
    return lambda context: plain(closure(context))


def compile_value(written: Any, scope: Scope) -> Callable[[Context], Any]:
    """The function that gives a variable's value: of an expression, or of a number, true or false as written."""
    if isinstance(written, str):
        return compile_expression(written, scope)
    value = plain(written)
    return lambda _: value


def compile_condition(source: str, scope: Scope) -> Callable[[Context], bool]:
    """The function that decides the condition. Raises ExpressionError; the function raises Absent and nothing else."""
    tree = parse(source)
    types = check(tree, scope)
    check_condition(tree, types)
    closure = compile_tree(tree, types, scope)
    return closure if types[tree] is Type.BOOL else truth(closure)


def compile_number(source: str, scope: Scope) -> Callable[[Context], Any]:
    """The function that computes a number, or something else that turns out to be none. Raises ExpressionError."""
    tree = parse(source)
    types = check(tree, scope)
    check_number(tree, types)
    return compile_tree(tree, types)


def names_used(source: str) -> set[tuple[str, str]]:
    """Each ("event", property), ("vars", variable), ("traits", trait), ("case", kind) named. Raises ExpressionError."""
    return names_in(parse(source))


def asked(source: str) -> Asked:
    """Everything that a sound expression asks for. Raises ExpressionError."""
    return asked_in(parse(source))


def is_expression(text: str) -> bool:
    """Whether a parameter's text is an expression: it begins with a root and a dot, or calls one of some functions."""
    return _EXPRESSION.match(text) is not None


def compile_parameter(value: Any, scope: Scope) -> Callable[[Context], Any] | Any:
    """An action's parameter: the function that computes it, or the value itself when nothing in it is an expression.

    Texts that begin with a root and a dot, or with `resume(`, `link(`, `split(`, `open(`, `case(` or `best(`, are
    expressions, in lists and maps too; all else is literal. Raises ExpressionError, whose `path` leads to the text; the
    function raises Absent only.
    """
    return _parameter(value, scope, ())


def _parameter(value: Any, scope: Scope, path: tuple[str | int, ...]) -> Callable[[Context], Any] | Any:
    if isinstance(value, str):
        return _text(value, scope, path) if is_expression(value) else value
    if isinstance(value, dict):
        made = {key: _parameter(each, scope, (*path, key)) for key, each in value.items()}
        return (lambda context: _filled(made, context)) if any(map(callable, made.values())) else value
    if isinstance(value, list):
        items = [_parameter(each, scope, (*path, place)) for place, each in enumerate(value)]
        return (lambda context: _filled_list(items, context)) if any(map(callable, items)) else value
    return value


def _text(text: str, scope: Scope, path: tuple[str | int, ...]) -> Callable[[Context], Any]:
    try:
        return compile_expression(text, scope)
    except ExpressionError as error:
        begin = _EXPRESSION.match(text)
        message = f"{error.message} (a text that begins with {begin[0] if begin else ''!r} is an expression)"
        raise ExpressionError(message, error.column, error.suggestion, path) from None


def _filled(made: dict[str, Any], context: Context) -> dict[str, Any]:
    return {key: each(context) if callable(each) else each for key, each in made.items()}


def _filled_list(items: list[Any], context: Context) -> list[Any]:
    return [each(context) if callable(each) else each for each in items]

"""Expressions: from text to words, and the one error that every later step raises too."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_INT: Final = 2**63 - 1
MIN_INT: Final = -(2**63)
MAX_CHARACTER: Final = 0x10FFFF
SURROGATES: Final = range(0xD800, 0xE000)


def suggest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was probably meant to be."""
    return next(iter(difflib.get_close_matches(name, sorted(candidates), 1, 0.6)), None)


class ExpressionError(ValueError):
    """An expression breaks a rule: what and the way out (`message`), and where.

    `column` counts characters from 1 in the expression's text; `path` leads to that text within a nested parameter;
    `suggestion` is the name that was probably meant.
    """

    def __init__(
        self, message: str, column: int, suggestion: str | None = None, path: tuple[str | int, ...] = ()
    ) -> None:
        super().__init__(message, column, suggestion, path)
        self.message = message
        self.column = column
        self.suggestion = suggestion
        self.path = path

    def __str__(self) -> str:
        hint = f" Did you mean {self.suggestion!r}?" if self.suggestion else ""
        return f"column {self.column}: {self.message}{hint}"


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the text: `kind` is int, double, string, name, end, or the operator itself."""

    kind: str
    text: str
    column: int


_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\r\n\f]|//[^\n]*)+)
      |(?P<string>[rR]?(?:"(?:[^"\\\r\n]|\\[^\r\n])*"|'(?:[^'\\\r\n]|\\[^\r\n])*'))
      |(?P<double>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)
      |(?P<int>0[xX][0-9a-fA-F]+|[0-9]+)
      |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
      |(?P<operator>&&|\|\||[=!<>]=|[-+*/%!<>?:,()\[\]{}.])""",
    re.VERBOSE,
)
_WAYS_OUT: Final = {
    "=": "'=' is no operator; write '==' to compare",
    "&": "'&' is no operator; write '&&' for and",
    "|": "'|' is no operator; write '||' for or",
    '"': "the string has no end; close it with '\"' on the same line, and write a '\"' within it as '\\\"'",
    "'": 'the string has no end; close it with "\'" on the same line, and write a "\'" within it as "\\\'"',
    "`": "'`' begins nothing; strings stand in double or single quotes",
}
OTHER_LANGUAGES: Final = {
    "and": "&&",
    "or": "||",
    "not": "!",
    "is": "==",
    "True": "true",
    "False": "false",
    "None": "null",
}


def tokens(source: str) -> list[Token]:
    """The words of `source`, ending with one of kind `end`."""
    found: list[Token] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        column = at + 1
        if match is None:
            raise ExpressionError(_WAYS_OUT.get(source[at], f"{source[at]!r} has no meaning here; remove it"), column)
        text = match[0]
        at = match.end()
        kind = match.lastgroup or ""
        if kind == "space":
            continue
        after = source[at : at + 1]
        if kind in ("int", "double") and (after.isalnum() or after == "_"):
            unsigned = "; there are no unsigned numbers, leave the 'u' out" if after in "uU" else ""
            raise ExpressionError(f"{after!r} cannot follow a number{unsigned or '; put a space or remove it'}", at + 1)
        if kind == "string" and len(text.lstrip("rR")) == 2 and after in ("'", '"') and after == text[-1]:
            raise ExpressionError("strings in triple quotes are left out; use one quote and '\\n'", column)
        if kind == "name" and text in ("b", "B", "br", "rb") and after in ("'", '"') and after:
            raise ExpressionError("there are no bytes; leave the 'b' out for a string", column)
        found.append(Token(text if kind == "operator" else kind, text, column))
    found.append(Token("end", "", len(source) + 1))
    return found


_ESCAPE = re.compile(
    r"\\(?:(?P<plain>[abfnrtv\\?\"'`])|[xX](?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})"
    r"|(?P<octal>[0-3][0-7]{2})|(?P<bad>.))",
    re.DOTALL,
)
_PLAIN: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def unquote(token: Token) -> str:
    """The value of a string literal."""
    if token.text[0] in "rR":
        return token.text[2:-1]

    def replace(match: re.Match[str]) -> str:
        column = token.column + 1 + match.start()
        if plain := match["plain"]:
            return _PLAIN.get(plain, plain)
        if match["bad"]:
            raise ExpressionError(f"{match[0]!r} is no escape; write '\\\\' for a backslash", column)
        code = int(match["octal"], 8) if match["octal"] else int(match["x"] or match["u"] or match["U"], 16)
        if code > MAX_CHARACTER or code in SURROGATES:
            raise ExpressionError(f"{match[0]} is no character of Unicode; the last is \\U0010ffff", column)
        return chr(code)

    return _ESCAPE.sub(replace, token.text[1:-1])

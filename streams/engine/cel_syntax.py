"""Expressions: from text to a syntax tree. The grammar is a subset of CEL (github.com/google/cel-spec, doc/langdef.md).

Everything is bounded: the length of the text, the nesting, and what a tree costs to walk. Nothing but
ExpressionError is ever raised, whatever the text.
"""

from __future__ import annotations

from typing import Final, NoReturn

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
    children,
)
from streams.engine.cel_words import MAX_INT, MIN_INT, OTHER_LANGUAGES, ExpressionError, Token, tokens, unquote

MAX_SOURCE = 2000  # characters
MAX_NESTING = 24  # parentheses, brackets and calls within each other; a level costs the parser 5 to 10 Python frames
MAX_DEPTH = 64  # levels of the tree, so that evaluation needs at most as many frames

ROOTS: Final = ("event", "vars", "traits", "journey", "profile")
EVENT_FIELDS: Final = ("type", "channel", "id", "time")

_RESERVED: Final = frozenset(
    (
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    )
)
_TAKEN: Final = frozenset({*ROOTS, *_RESERVED, "now", "in", "true", "false", "null"})
_MACROS: Final = ("exists", "all")


# ---- grammar --------------------------------------------------------------------------------------------------------

PRECEDENCE: Final = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%"), 5),
}


def parse(source: str) -> Node:
    """The tree of `source`. Raises ExpressionError."""
    if len(source) > MAX_SOURCE:
        raise ExpressionError(
            f"the expression has {len(source)} characters, more than {MAX_SOURCE}; split it, with variables or stages",
            MAX_SOURCE + 1,
        )
    return _Parser(tokens(source)).whole()


class _Parser:
    """Precedence climbing over the tokens."""

    def __init__(self, words: list[Token]) -> None:
        self.words = words
        self.at = 0
        self.nesting = 0
        self.bound: list[str] = []  # elements of the enclosing macros
        self.depths: dict[Node, int] = {}

    @property
    def word(self) -> Token:
        return self.words[self.at]

    def take(self) -> Token:
        word = self.words[self.at]
        self.at = min(self.at + 1, len(self.words) - 1)
        return word

    def accept(self, kind: str) -> Token | None:
        return self.take() if self.word.kind == kind else None

    def expect(self, kind: str, purpose: str) -> Token:
        return self.accept(kind) or self.unexpected(f"{kind!r} is missing {purpose}")

    def unexpected(self, missing: str) -> NoReturn:
        word = self.word
        if word.kind == "end":
            raise ExpressionError(f"the expression ends too early: {missing}", word.column)
        if word.text in OTHER_LANGUAGES:
            raise ExpressionError(f"{word.text!r} is no word of CEL", word.column, OTHER_LANGUAGES[word.text])
        raise ExpressionError(f"{word.text!r} cannot stand here: {missing}", word.column)

    def built(self, node: Node) -> Node:
        """`node`, if the tree stays shallow enough."""
        depth = 1 + max((self.depths[child] for child in children(node)), default=0)
        if depth > MAX_DEPTH:
            raise ExpressionError(
                f"the expression is nested more than {MAX_DEPTH} levels deep; split it, with variables", node.column
            )
        self.depths[node] = depth
        return node

    def whole(self) -> Node:
        node = self.expression()
        if self.word.kind != "end":
            self.unexpected("an operator such as '&&' is missing before it, or remove it")
        return node

    def expression(self) -> Node:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise ExpressionError(
                f"the expression is nested more than {MAX_NESTING} levels deep; split it, with variables",
                self.word.column,
            )
        node = self.binary(1)
        if mark := self.accept("?"):
            yes = self.binary(1)
            self.expect(":", "between the two values of '? :'")
            node = self.built(Choice(mark.column, node, yes, self.expression()))
        self.nesting -= 1
        return node

    def binary(self, least: int) -> Node:
        left = self.unary()
        while True:
            word = self.word
            operator = word.text if word.text == "in" else word.kind
            precedence = PRECEDENCE.get(operator, 0)
            if precedence < least:
                return left
            self.take()
            right = self.binary(precedence + 1)
            if precedence <= 2:
                operands = left.operands if isinstance(left, Logic) and left.operator == operator else (left,)
                left = self.built(Logic(word.column, "&&" if operator == "&&" else "||", (*operands, right)))
            else:
                left = self.built(Binary(word.column, operator, left, right))

    def unary(self) -> Node:
        signs: list[Token] = []
        while self.word.kind in ("!", "-"):
            signs.append(self.take())
        if signs and signs[-1].kind == "-" and self.word.kind in ("int", "double"):
            column = signs.pop().column
            node = self.postfix(self.number(self.take(), column, "-"))
        else:
            node = self.postfix(self.primary())
        for sign in reversed(signs):
            node = self.built(Unary(sign.column, "!" if sign.kind == "!" else "-", node))
        return node

    def postfix(self, node: Node) -> Node:
        while True:
            if self.accept("."):
                word = self.expect("name", "after '.'")
                if word.text in ("in", "true", "false", "null"):
                    raise ExpressionError(
                        f"{word.text!r} cannot follow '.', CEL reserves it; write [\"{word.text}\"]", word.column
                    )
                node = self.method(node, word) if self.word.kind == "(" else self.built(self.member(node, word))
            elif bracket := self.accept("["):
                key = self.expression()
                self.expect("]", "after the index")
                node = self.built(self.index(node, key, bracket.column))
            else:
                return node

    def member(self, target: Node, word: Token) -> Node:
        name = word.text
        match target:
            case Name(name="event") if name in ("properties", "identifiers"):
                return Whole(target.column, "properties" if name == "properties" else "identifiers")
            case Name(name="event"):
                return Field(word.column, "event" if name in EVENT_FIELDS else "properties", name)
            case Name(name="journey"):
                return Field(word.column, "journey", name)
            case Name(name="profile"):
                return Field(word.column, "profile", name)
            case Name(name="vars"):
                return Field(word.column, "vars", name)
            case Name(name="traits"):
                return Field(word.column, "traits", name)
            case Whole(source=source):
                return Field(word.column, source, name)
            case _:
                return Member(word.column, target, name)

    def index(self, target: Node, key: Node, column: int) -> Node:
        if isinstance(key, Constant) and isinstance(key.value, str):
            match target:
                case Whole(source=source):
                    return Field(key.column, source, key.value)
                case Name(name="vars"):
                    return Field(key.column, "vars", key.value)
                case Name(name="traits"):
                    return Field(key.column, "traits", key.value)
        return Index(column, target, key)

    def method(self, target: Node, word: Token) -> Node:
        if word.text in _MACROS:
            return self.macro(target, word)
        return self.built(Call(word.column, target, word.text, self.items("(", ")")))

    def macro(self, target: Node, word: Token) -> Node:
        usage = f"write list.{word.text}(x, <condition on x>)"
        self.expect("(", f"after {word.text!r}; {usage}")
        variable = self.expect("name", f"for the element; {usage}")
        name = variable.text
        if name in _TAKEN or name in self.bound:
            raise ExpressionError(f"{name!r} has a meaning already; give the element another name", variable.column)
        self.expect(",", f"after the element's name; {usage}")
        slot = len(self.bound)
        self.bound.append(name)
        body = self.expression()
        self.bound.pop()
        self.expect(")", f"after the condition; {usage}")
        return self.built(Macro(word.column, "exists" if word.text == "exists" else "all", target, name, slot, body))

    def items(self, opening: str, closing: str) -> tuple[Node, ...]:
        self.expect(opening, "here")
        found: list[Node] = []
        while self.word.kind != closing:
            found.append(self.expression())
            if not self.accept(","):
                break
        self.expect(closing, f"to close {opening!r}")
        return tuple(found)

    def primary(self) -> Node:
        word = self.word
        match word.kind:
            case "(":
                self.take()
                node = self.expression()
                self.expect(")", "to close '('")
            case "[":
                node = self.built(ListOf(word.column, self.items("[", "]")))
            case "{":
                node = self.map()
            case "string":
                node = self.built(Constant(word.column, unquote(self.take())))
            case "int" | "double":
                node = self.number(self.take(), word.column)
            case "name":
                node = self.named()
            case _:
                self.unexpected("a value is missing")
        return node

    def map(self) -> Node:
        column = self.take().column
        keys: list[Node] = []
        values: list[Node] = []
        while self.word.kind != "}":
            keys.append(self.expression())
            self.expect(":", "between a key and its value")
            values.append(self.expression())
            if not self.accept(","):
                break
        self.expect("}", "to close '{'")
        return self.built(MapOf(column, tuple(keys), tuple(values)))

    def number(self, word: Token, column: int, sign: str = "") -> Node:
        if word.kind == "double":
            double = float(sign + word.text)
            if double in (float("inf"), float("-inf")):
                raise ExpressionError(f"{word.text} is too large; the largest double is 1.79e308", column)
            return self.built(Constant(column, double))
        value = int(sign + word.text, 16 if word.text[:2] in ("0x", "0X") else 10)
        if not MIN_INT <= value <= MAX_INT:
            raise ExpressionError("the number does not fit 64 bits; write it as a double, such as 1e19", column)
        return self.built(Constant(column, value))

    def named(self) -> Node:
        word = self.word
        name = word.text
        if name in _RESERVED or name == "in":
            self.unexpected("CEL reserves this word; a name or value is missing")
        self.take()
        match name:
            case "true" | "false":
                return self.built(Constant(word.column, name == "true"))
            case "null":
                return self.built(Constant(word.column, None))
        if self.word.kind == "(":
            return self.built(Call(word.column, None, name, self.items("(", ")")))
        if name in OTHER_LANGUAGES or (self.word.kind == "name" and self.word.text in ("and", "or", "is", "not")):
            odd = word if name in OTHER_LANGUAGES else self.word
            raise ExpressionError(f"{odd.text!r} is no word of CEL", odd.column, OTHER_LANGUAGES[odd.text])
        return self.built(Name(word.column, name))

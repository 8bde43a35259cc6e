"""Conditions against a second evaluator that was written from CEL's rules alone and walks trees of its own.

The trees are made well-typed and written out as text, so that the parser, the type checker, the compiler and its
special shapes are all compared at once.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.engine.conditions import (
    Absent,
    ExpressionError,
    Scope,
    compile_condition,
    compile_expression,
    compile_parameter,
    names_used,
)
from tests.engine.seen import NOW, Seen, event

NAMES = ("a", "b", "c", "d")
LEAST, MOST = -(2**63), 2**63 - 1
ANY = Scope(links=True)
Tree = tuple[Any, ...]


# ---- the second evaluator -------------------------------------------------------------------------------------------


class NoValueError(Exception):
    """CEL would have an error here."""


class Span:
    """A duration of the second evaluator."""

    def __init__(self, ms: int) -> None:
        self.ms = ms


class At:
    """A timestamp of the second evaluator."""

    def __init__(self, ms: int) -> None:
        self.ms = ms


def fail() -> Any:
    """CEL's error."""
    raise NoValueError


def is_number(value: Any) -> bool:
    """An int or a double, but no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(one: Any, other: Any) -> bool:
    """CEL's ==."""
    if is_number(one) and is_number(other):
        return bool(one == other)
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, Span | At):
        return bool(one.ms == other.ms)
    return bool(one == other)


def compare(sign: str, one: Any, other: Any) -> bool:
    """CEL's order."""
    if isinstance(one, Span | At) and type(one) is type(other):
        one, other = one.ms, other.ms
    elif not (is_number(one) and is_number(other)) and not (type(one) is type(other) and isinstance(one, bool | str)):
        fail()
    return bool({"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[sign])


def ms_of(value: Any) -> int:
    """The milliseconds of a time."""
    return int(value.ms)


def arithmetic(sign: str, one: Any, other: Any) -> Any:
    """CEL's arithmetic, with int and double mixed as double."""
    kinds = (type(one), type(other), sign)
    if kinds in ((str, str, "+"), (list, list, "+")):
        return one + other
    if kinds == (At, At, "-"):
        return Span(ms_of(one) - ms_of(other))
    if kinds in ((At, Span, "+"), (Span, At, "+")):
        return At(ms_of(one) + ms_of(other))
    if kinds == (At, Span, "-"):
        return At(ms_of(one) - ms_of(other))
    if kinds in ((Span, Span, "+"), (Span, Span, "-")):
        return Span(ms_of(one) + (ms_of(other) if sign == "+" else -ms_of(other)))
    if not (is_number(one) and is_number(other)):
        fail()
    whole = isinstance(one, int) and isinstance(other, int)
    if sign == "%" and not whole:
        fail()
    if sign in "/%" and other == 0:
        fail()
    if whole:
        quotient = abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1) if sign in "/%" else 0
        result = {"+": one + other, "-": one - other, "*": one * other, "/": quotient, "%": one - quotient * other}[
            sign
        ]
        return result if LEAST <= result <= MOST else fail()
    one, other = float(one), float(other)
    result = {"+": one + other, "-": one - other, "*": one * other}[sign] if sign != "/" else one / other
    return result if math.isfinite(result) else fail()


def fold(sign: str, thunks: list[Any]) -> bool:
    """`&&` or `||` over thunks: the deciding value wins over errors."""
    decisive = sign == "||"
    missing = False
    for thunk in thunks:
        try:
            value = thunk()
        except NoValueError:
            missing = True
            continue
        if not isinstance(value, bool):
            missing = True
        elif value is decisive:
            return decisive
    return fail() if missing else not decisive


def walk(tree: Tree, seen: Seen, elements: dict[str, Any]) -> Any:  # noqa: C901, PLR0911, PLR0912, PLR0915 - a case per kind
    """The value of the tree."""
    kind, *parts = tree

    def of(part: Tree) -> Any:
        return walk(part, seen, elements)

    match kind:
        case "constant":
            return parts[0]
        case "list":
            return [of(part) for part in parts]
        case "map":
            return {key: of(part) for key, part in parts}
        case "element":
            return elements[parts[0]]
        case "property":
            found = seen.event.properties if seen.event else {}
            return found[parts[0]] if parts[0] in found else fail()
        case "variable":
            return seen.vars[parts[0]] if parts[0] in seen.vars else fail()
        case "trait":
            return seen.traits[parts[0]] if parts[0] in seen.traits else fail()
        case "type":
            return seen.event.type if seen.event else fail()
        case "stage":
            return seen.stage
        case "count":
            return seen.count(parts[0])
        case "now":
            return At(seen.now)
        case "time":
            return At(seen.event_time) if seen.event else fail()
        case "span":
            return Span(parts[0] * 1000)
        case "has":
            return seen.event is not None and parts[0] in seen.event.properties
        case "hasvar":
            return parts[0] in seen.vars
        case "member":
            target = of(parts[0])
            return target[parts[1]] if isinstance(target, dict) and parts[1] in target else fail()
        case "index":
            target, key = of(parts[0]), of(parts[1])
            if isinstance(target, list) and type(key) is int and 0 <= key < len(target):
                return target[key]
            return target[key] if isinstance(target, dict) and isinstance(key, str) and key in target else fail()
        case "!":
            value = of(parts[0])
            return not value if isinstance(value, bool) else fail()
        case "negative":
            value = of(parts[0])
            return -value if is_number(value) and (isinstance(value, float) or value != LEAST) else fail()
        case "&&" | "||":
            return fold(kind, [lambda part=part: of(part) for part in parts])
        case "?":
            value = of(parts[0])
            return of(parts[1] if value else parts[2]) if isinstance(value, bool) else fail()
        case "==" | "!=":
            return same(of(parts[0]), of(parts[1])) is (kind == "==")
        case "<" | "<=" | ">" | ">=":
            return compare(kind, of(parts[0]), of(parts[1]))
        case "in":
            value, container = of(parts[0]), of(parts[1])
            if isinstance(container, list):
                return any(same(value, each) for each in container)
            return value in container if isinstance(container, dict) and isinstance(value, str) else fail()
        case "+" | "-" | "*" | "/" | "%":
            return arithmetic(kind, of(parts[0]), of(parts[1]))
        case "startsWith" | "endsWith" | "contains":
            text, part = of(parts[0]), of(parts[1])
            if not (isinstance(text, str) and isinstance(part, str)):
                fail()
            places = {"startsWith": text[: len(part)] == part, "endsWith": text[len(text) - len(part) :] == part}
            return places.get(kind, text.find(part) >= 0) and len(part) <= len(text)
        case "size":
            value = of(parts[0])
            return len(value) if isinstance(value, str | list | dict) else fail()
        case "exists" | "all":
            target = of(parts[0])
            if not isinstance(target, list):
                fail()
            thunks = [lambda each=each: walk(parts[2], seen, elements | {parts[1]: each}) for each in target]
            return fold("||" if kind == "exists" else "&&", thunks)
    raise AssertionError(kind)


# ---- trees and their texts ------------------------------------------------------------------------------------------

LEVELS = {"?": 0, "||": 1, "&&": 2, "in": 3, "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "!": 6, "negative": 6}
LEVELS |= dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), 3)
POSTFIX = 7


def literal(value: Any) -> str:
    """CEL's text for a constant."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str):
        return "'" + "".join(f"\\U{ord(sign):08x}" if sign in "\\'" or sign < " " else sign for sign in value) + "'"
    return repr(value)


def text_of(tree: Tree, least: int = 0) -> str:  # noqa: C901, PLR0912 - a case per kind
    """The tree as CEL, with parentheses only where the grammar needs them."""
    kind, *parts = tree
    level = LEVELS.get(kind, POSTFIX)
    match kind:
        case "constant":
            text = literal(parts[0])
            level = 6 if text[0] == "-" else POSTFIX
        case "list":
            text = f"[{', '.join(text_of(part) for part in parts)}]"
        case "map":
            text = "{" + ", ".join(f"{literal(key)}: {text_of(part)}" for key, part in parts) + "}"
        case "element":
            text = parts[0]
        case "property" | "variable" | "trait":
            text = {"property": "event", "variable": "vars", "trait": "traits"}[kind] + f".{parts[0]}"
        case "type" | "stage" | "now" | "time":
            text = {"type": "event.type", "stage": "journey.stage", "now": "now", "time": "event.time"}[kind]
        case "count":
            text = f"journey.count({'' if parts[0] is None else literal(parts[0])})"
        case "span":
            text = f"duration('{parts[0]}s')"
        case "has" | "hasvar":
            text = f"has({'event' if kind == 'has' else 'vars'}.{parts[0]})"
        case "member":
            text = f"{text_of(parts[0], POSTFIX)}.{parts[1]}"
        case "index":
            text = f"{text_of(parts[0], POSTFIX)}[{text_of(parts[1])}]"
        case "!" | "negative":
            text = f"{'!' if kind == '!' else '- '}{text_of(parts[0], 6)}"
        case "&&" | "||":
            text = f" {kind} ".join(text_of(part, level + 1) for part in parts)
        case "?":
            text = f"{text_of(parts[0], 1)} ? {text_of(parts[1], 1)} : {text_of(parts[2])}"
        case "startsWith" | "endsWith" | "contains":
            text = f"{text_of(parts[0], POSTFIX)}.{kind}({text_of(parts[1])})"
        case "size":
            text = f"size({text_of(parts[0])})"
        case "exists" | "all":
            text = f"{text_of(parts[0], POSTFIX)}.{kind}({parts[1]}, {text_of(parts[2])})"
        case _:
            text = f"{text_of(parts[0], level)} {kind} {text_of(parts[1], level + 1)}"
    return f"({text})" if level < least else text


WORDS = st.sampled_from(["", "a", "ab", "/credit-cards", "page_viewed", "ä'\\\n"])
WHOLE = st.one_of(st.integers(-3, 3), st.sampled_from([LEAST, MOST, 2**62, 10**18]))
BROKEN = st.sampled_from([0.0, -0.0, 1.0, -1.5, 2.5, 1e308, 1e-300, float(2**63)])
SCALARS = st.one_of(st.none(), st.booleans(), WHOLE, BROKEN, WORDS)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
)


@st.composite
def trees(  # noqa: C901, PLR0911 - a case per kind
    draw: st.DrawFn, kind: str, depth: int = 3, elements: tuple[str, ...] = ()
) -> Tree:
    """A well-typed tree of this static type."""

    def sub(wanted: str) -> Tree:
        """A tree of the type, or one whose type is known at run time only."""
        return draw(trees(draw(st.sampled_from([wanted, wanted, "dyn"])), depth - 1, elements))

    leaf = depth <= 0
    choice = draw(st.integers(0, 9))
    match kind:
        case "bool":
            if leaf or choice == 0:
                return ("constant", draw(st.booleans()))
            return boolean(draw, sub, depth, elements)
        case "int" if leaf or choice < 4:
            return ("constant", draw(WHOLE)) if draw(st.booleans()) else ("count", draw(st.sampled_from([None, "a"])))
        case "int":
            if choice == 4:
                return ("size", sub(draw(st.sampled_from(["string", "list"]))))
            return (
                draw(st.sampled_from("+-*/%")),
                draw(trees("int", depth - 1, elements)),
                draw(WHOLES(depth, elements)),
            )
        case "double" if leaf or choice < 4:
            return ("constant", draw(BROKEN))
        case "double":
            pair = [draw(trees("double", depth - 1, elements)), sub(draw(st.sampled_from(["int", "double"])))]
            return (draw(st.sampled_from("+-*/")), *draw(st.permutations(pair)))
        case "string" if leaf or choice < 5:
            return draw(st.sampled_from([("constant", draw(WORDS)), ("type",), ("stage",)]))
        case "string":
            return ("+", draw(trees("string", depth - 1, elements)), draw(trees("string", depth - 1, elements)))
        case "list" if leaf or choice < 7:
            return ("list", *(("constant", each) for each in draw(st.lists(SCALARS, max_size=3))))
        case "list":
            return (
                "list",
                *(sub(draw(st.sampled_from(["int", "string", "list"]))) for _ in range(draw(st.integers(0, 2)))),
            )
        case "time" if leaf or choice < 6:
            return draw(st.sampled_from([("now",), ("time",)]))
        case "time":
            return (
                draw(st.sampled_from("+-")),
                draw(trees("time", depth - 1, elements)),
                draw(trees("span", depth - 1)),
            )
        case "span" if leaf or choice < 6:
            return ("span", draw(st.integers(0, 10_000)))
        case "span":
            wanted = draw(st.sampled_from(["time", "span"]))
            return ("-", draw(trees(wanted, depth - 1, elements)), draw(trees(wanted, depth - 1, elements)))
    return dynamic(draw, sub, depth, elements)


def WHOLES(depth: int, elements: tuple[str, ...]) -> st.SearchStrategy[Tree]:  # noqa: N802 - a strategy, as the others
    """An int, or something that may be one."""
    return trees("int", depth - 1, elements) | trees("dyn", depth - 1, elements)


def boolean(draw: st.DrawFn, sub: Any, depth: int, elements: tuple[str, ...]) -> Tree:
    """A tree that is true or false."""
    sign = draw(
        st.sampled_from(
            ["&&", "||", "&&", "||", "!", "==", "!=", "<", "<=", ">", ">=", "in", "text", "has", "macro", "?"]
        )
    )
    kinds = st.sampled_from(["int", "double", "string", "time", "span", "bool"])
    match sign:
        case "&&" | "||":
            return (sign, *(sub("bool") for _ in range(draw(st.integers(2, 4)))))
        case "!":
            return ("!", sub("bool"))
        case "==" | "!=":
            wanted = draw(st.sampled_from(["int", "double", "string", "list", "time", "span", "bool", "null"]))
            if wanted == "null":
                return (sign, sub("dyn"), ("constant", None))
            return (sign, sub(wanted), sub(wanted))
        case "in":
            return ("in", sub(draw(st.sampled_from(["int", "double", "string", "bool"]))), sub("list"))
        case "text":
            return (draw(st.sampled_from(["startsWith", "endsWith", "contains"])), sub("string"), sub("string"))
        case "has":
            return (draw(st.sampled_from(["has", "hasvar"])), draw(st.sampled_from(NAMES)))
        case "macro":
            name = f"x{len(elements)}"
            body = draw(trees("bool", depth - 1, (*elements, name)))
            return (draw(st.sampled_from(["exists", "all"])), sub("list"), name, body)
        case "?":
            return ("?", sub("bool"), sub("bool"), sub("bool"))
    wanted = draw(kinds)
    return (sign, sub(wanted), sub(wanted))


def dynamic(draw: st.DrawFn, sub: Any, depth: int, elements: tuple[str, ...]) -> Tree:
    """A tree whose type is known at run time only."""
    name = draw(st.sampled_from(NAMES))
    leaves: list[Tree] = [("property", name), ("property", name), ("variable", name), ("trait", name)]
    leaves += [("element", each) for each in elements] * 2
    choice = draw(st.integers(0, 9))
    if depth <= 0 or choice < 6:
        return draw(st.sampled_from(leaves))
    if choice == 6:
        return ("member", sub("dyn"), name)
    if choice == 7:
        return ("index", sub("list"), sub("int"))
    if choice == 8:
        return ("negative", ("property", name))
    return ("+", ("property", name), sub("dyn"))


@st.composite
def contexts(draw: st.DrawFn) -> Seen:
    """Any event, or none, with any variables and traits."""
    some = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4)
    given_event = event(draw(some)) if draw(st.integers(0, 5)) else None
    counts: dict[str | None, int] = {None: draw(st.integers(0, 5)), "a": draw(st.integers(0, 5))}
    return Seen(event=given_event, vars=draw(some), traits=draw(some), counts=counts, stage=draw(WORDS))


def outcome_of(function: Any, *arguments: Any) -> str:
    """A value with its type, or that there is none."""
    try:
        return repr(function(*arguments))
    except (Absent, NoValueError):
        return "absent"


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["bool", "bool", "int", "double", "string", "list", "dyn"]).flatmap(trees), contexts())
@example(("&&", ("property", "a"), ("constant", False)), Seen())
@example(("==", ("property", "a"), ("constant", 1)), Seen(event=event({"a": True})))
def test_same_as_the_second_evaluator(tree: Tree, seen: Seen) -> None:
    """Every well-typed expression passes the checks and has the value that CEL's rules give, or both have none."""
    source = text_of(tree)
    if len(source) > 2000:
        return
    compiled = compile_expression(source, ANY)

    assert outcome_of(compiled, seen) == outcome_of(walk, tree, seen, {}), source


@settings(max_examples=100, deadline=None)
@given(trees("bool"), contexts())
def test_condition_is_true_false_or_absent(tree: Tree, seen: Seen) -> None:
    """A condition gives a bool and nothing else, or is absent."""
    source = text_of(tree)
    if len(source) > 2000:
        return
    assert outcome_of(compile_condition(source, ANY), seen) in ("True", "False", "absent")


ODD = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.binary(max_size=3),
        st.datetimes(),
        st.just(object()),
        st.just(10**400),
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.one_of(st.sampled_from(NAMES), st.integers(0, 3), st.none()), inner, max_size=4)
        | st.tuples(inner)
    ),
    max_leaves=10,
)
SOURCES = [
    "event.a",
    "event.a + event.b",
    "event.a - event.b * event.c / event.d % 3",
    "-event.a",
    "event.a == event.b && event.c != event.d",
    "event.a < event.b || event.c >= event.d",
    "event.a in event.b || event.c in [event.d]",
    "event.a.b.c",
    "event.a[event.b]",
    "event.a.startsWith(event.b) || event.a.endsWith('x') || event.c.contains(event.d) || event.a.startsWith('x')",
    "size(event.a) + event.b.size()",
    "int(event.a)",
    "double(event.a)",
    "string(event.a) + string(event.b)",
    "timestamp(event.a) - now",
    "string(now + duration(event.a))",
    "event.time - timestamp(event.a) < duration(event.b)",
    "event.a.exists(x, x == event.b) && event.c.all(x, x < event.d)",
    "event.a.exists(x, event.b.all(y, x in y))",
    "has(event.a.b) ? event.a.b : [event.properties, event.identifiers]",
    "{'a': event.a, string(event.b): event.c}",
    "journey.count(event.a) + profile.count(event.b)",
    "resume(event.a, event.b)",
    "link(event.a)",
    "event.a == 1 || event.b == 1.5 || event.c == 'x' || event.d == null || event.a == true",
    "event.a < 1 || event.b <= 1.5 || event.c > 2 || event.d >= 3",
    "event.a in ['x', 'y']",
    "event.a ? event.b : event.c",
    "!event.a",
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(SOURCES),
    st.dictionaries(st.sampled_from(NAMES), ODD, max_size=4),
    st.integers() | st.integers(-(10**15), 10**15),
)
def test_nothing_but_absent_is_raised(source: str, properties: dict[str, Any], now: int) -> None:
    """Whatever an event contains, even what no decoder lets through, an expression has a value or is absent."""
    compiled = compile_expression(source, ANY)

    outcome_of(compiled, Seen(event=event(properties), now=now, event_time=now))


def refusal_of(compiler: Any, source: str) -> ExpressionError | None:
    """The error, if there is one."""
    try:
        compiler(source, ANY)
    except ExpressionError as error:
        return error
    return None


WORDS_OF_CEL = r"""
event vars traits journey profile . ( ) [ ] { } , : ? ! && || == != < <= > >= + - * / % in has size exists all x now
count startsWith 'a' "b" 1 2.5 true null timestamp duration int resume link \ ' " = & u 0x e9 properties identifiers
"""
FRAGMENTS = st.sampled_from(WORDS_OF_CEL.split())


@settings(max_examples=500, deadline=None)
@given(
    st.one_of(st.text(max_size=60), st.lists(FRAGMENTS, max_size=25).map("".join), st.lists(FRAGMENTS).map(" ".join))
)
def test_any_text_is_compiled_or_refused(source: str) -> None:
    """Whatever somebody writes, the answer is a function or an ExpressionError with a column in the text."""
    for compiler in (compile_expression, compile_condition, compile_parameter, lambda text, _: names_used(text)):
        refusal = refusal_of(compiler, source)

        assert refusal is None or (refusal.message and 1 <= refusal.column <= len(source) + 1)


@pytest.mark.parametrize(
    ("source", "properties"),
    [
        ("event.a.all(x, event.a.all(y, event.a.all(z, true)))", {"a": list(range(1000))}),
        ("event.a.all(x, event.a.all(y, !event.b.contains(event.c)))", {"a": [1] * 90, "b": "a" * 200_000, "c": "aab"}),
        ("event.a.all(x, event.a == event.a)", {"a": [[n] for n in range(1000)]}),
        ("event.a.all(x, true)", {"a": [1] * 1001}),
        ("-1 in event.a", {"a": list(range(1001))}),
        ("event.a == event.b", {"a": [1] * 1001, "b": [1] * 1001}),
        ("event.a + event.a", {"a": "x" * 5000}),
        ("event.a + event.a", {"a": [1] * 501}),
        ("event.a", {"a": "x" * 8193}),
        ("[event.a, event.a]", {"a": "x" * 5000}),
        ("event.a", {"a": [1] * 1000}),
        ("{event.a: 1}", {"a": "x" * 8193}),
        ("[[[[[[[[[event.a]]]]]]]]]", {"a": 1}),
        ("link(event.a)", {"a": "/" + "x" * 2000}),
        ("resume('/a', event.a)", {"a": "x" * 2001}),
    ],
)
def test_time_and_memory_are_bounded(source: str, properties: dict[str, Any]) -> None:
    """What would take long or grow large is absent."""
    compiled = compile_expression(source, ANY)

    with pytest.raises(Absent):
        compiled(Seen(event=event(properties), now=NOW))


@pytest.mark.parametrize("path", ["//e.example", "/\\e.example", "https://e.example", "", "a", "/a\nb", "/a\tb"])
def test_no_link_leads_elsewhere(path: str) -> None:
    """An event cannot make a link to another site."""
    for source in ("link(event.a)", "resume(event.a, 'x')"):
        compiled = compile_expression(source, ANY)
        with pytest.raises(Absent):
            compiled(Seen(event=event({"a": path})))

"""Conditions: every mistake that is found when a journey is loaded, with its place and the way out."""

from __future__ import annotations

import pytest

from streams.engine.conditions import ExpressionError, Scope, compile_condition, compile_expression, compile_parameter

SCOPE = Scope(
    vars=frozenset({"page", "email"}),
    traits=frozenset({"age"}),
    event_types=frozenset({"page_viewed", "form_left"}),
    splits={"greeting": {"plain": 50, "warm": 50}},
)

# source, column, a part of the message, suggestion
ERRORS: list[tuple[str, int, str, str | None]] = [
    # words
    ("event.x = 1", 9, "'==' to compare", None),
    ("true & false", 6, "'&&' for and", None),
    ("true | false", 6, "'||' for or", None),
    ("true and false", 6, "no word of CEL", "&&"),
    ("not true", 1, "no word of CEL", "!"),
    ("event.x == None", 12, "no word of CEL", "null"),
    ("event.x == True", 12, "no word of CEL", "true"),
    ('"abc', 1, "has no end", None),
    ("'abc", 1, "has no end", None),
    ("'\\q'", 2, "no escape", None),
    ("'\\ud800'", 2, "no character of Unicode", None),
    ("'''a'''", 1, "triple quotes", None),
    ("b'a'", 1, "no bytes", None),
    ("1u", 2, "leave the 'u' out", None),
    ("12abc", 3, "cannot follow a number", None),
    ("9223372036854775808", 1, "64 bits", None),
    ("1e999", 1, "too large", None),
    ("event.x == §", 12, "no meaning", None),
    ("`a`", 1, "double or single quotes", None),
    # grammar
    ("", 1, "ends too early", None),
    ("1 +", 4, "ends too early", None),
    ("(1", 3, "close '('", None),
    ("1)", 2, "operator", None),
    ("[1", 3, "close '['", None),
    ("{'a' 1}", 6, "':' is missing", None),
    ("event.", 7, "after '.'", None),
    ("event.in", 7, "reserves", None),
    ("true ? 1", 9, "':' is missing", None),
    ("for", 1, "reserves", None),
    ("1 2", 3, "operator", None),
    ("event.x.exists(x)", 17, "element's name", None),
    ("event.x.exists(event, true)", 16, "another name", None),
    ("event.x.exists(a, a.exists(a, true))", 28, "another name", None),
    ("event.x.exists(1, true)", 16, "for the element", None),
    # names
    ("evnt.page == 'a'", 1, "there is no 'evnt'", "event"),
    ("page == 'a'", 1, "strings stand in quotes", None),
    ("event == 'a'", 1, "alone has no value", None),
    ("vars == 1", 1, "vars.name", None),
    ("event[event.x] == 1", 6, "event.properties", None),
    ("vars.pge == 1", 6, "no variable 'pge'", "page"),
    ("vars['pge'] == 1", 6, "no variable 'pge'", "page"),
    ("has(vars.emial)", 10, "no variable", "email"),
    ("traits.agee > 1", 8, "no trait", "age"),
    ("journey.stge == 'a'", 9, "journey has no 'stge'", "stage"),
    ("journey.count > 1", 9, 'journey.count("event_type")', None),
    ("journey.conut('page_viewed') > 1", 9, "no method 'conut'", "count"),
    ("journey.count('page_vewed') > 1", 15, "no event has the type", "page_viewed"),
    ("journey.count(1) > 1", 15, "event type", None),
    ("journey.count('page_viewed', 1) > 1", 9, "one event type", None),
    ("event.type == 'page_vewed'", 15, "no event has the type", "page_viewed"),
    ("'page_vewed' != event.type", 1, "no event has the type", "page_viewed"),
    ("event.type in ['form_left', 'frm_left']", 29, "no event has the type", "form_left"),
    ("profile.id.startsWit('a')", 12, "no method 'startsWit'", "startsWith"),
    ("sze('a') > 1", 1, "no function 'sze'", "size"),
    ("startsWith('a', 'b')", 1, "is a method", None),
    ("'a'.int() > 1", 5, "is a function", None),
    ("size > 1", 1, "is a function", None),
    ("event.page.matches('a.*')", 12, "time has no bound", None),
    ("event.items.map(x, x) == []", 13, "map() is left out", None),
    ("event.items.filter('x')", 13, "left out", None),
    ("event.foo() == 1", 1, "no methods", None),
    # windows
    ("profile.count('page_viewed', '7 days') > 1", 30, "is no window", "7d"),
    ("profile.count('page_viewed', 'this months') > 1", 30, "'this month'", "this month"),
    ("profile.count('page_viewed', '367d') > 1", 30, "366d at most", None),
    ("profile.count('page_viewed', '0d') > 1", 30, "is no window", None),
    ("profile.count('page_viewed', 7) > 1", 30, "must stand here in quotes", None),
    ("profile.count(event.kind, '7d') > 1", 21, "must stand here in quotes", None),
    ("profile.count('page_vewed', '7d') > 1", 15, "no event has the type", "page_viewed"),
    ("profile.count('page_viewed', 'x', '7d') > 1", 9, "not 3 arguments", None),
    ("profile.sum('page_viewed', '7d') > 1", 9, "an event type, a property and a window", None),
    ("profile.sum('page_viewed', '', '7d') > 1", 28, "1 to 200 characters", None),
    ("profile.summe('page_viewed', 'x', '7d') > 1", 9, "no method 'summe'", "sum"),
    ("profile.count('page_viewed', '7d', 'x') > 1", 9, "a property and its value, not 3 arguments", None),
    ("profile.count('page_viewed', '7d', 'x', 1, 2) > 1", 9, "not 5 arguments", None),
    ("profile.sum('page_viewed', 'x', '7d', 'y') > 1", 9, "not 4 arguments", None),
    ("profile.count('page_viewed', '7d', event.x, 'x') > 1", 42, "must stand here in quotes", None),
    ("profile.count('page_viewed', '7d', '', 'x') > 1", 36, "1 to 200 characters", None),
    ("profile.count('page_viewed', '7d', 'a\\x1fb', 'x') > 1", 36, "U+001F", None),
    ("profile.count('page_viewed', '7 days', 'x', 1) > 1", 30, "is no window", "7d"),
    ("profile.count('page_viewed', '7d', 'x', [1]) > 1", 41, "this is a list; name a part of it", None),
    ("profile.count('page_viewed', '7d', 'x', event.time) > 1", 47, "a timestamp; convert it, with string()", None),
    ("profile.count('page_viewed', '7d', 'x', null) > 1", 41, "this is null", None),
    ("profile.last('page_viewed', 'x', '7d', 'y', 1) > 1", 40, "the newest value alone is kept", None),
    ("journey.sum('page_viewed', 'x', '7d') > 1", 9, "no method 'sum'", None),
    ("profile.sum > 1", 9, "is a method", None),
    ("profile.sum('page_viewed', 'x', '7d') == 'a'", 39, "never equal", None),
    # splits
    ("split('greting') == 'plain'", 7, "no split 'greting'", "greeting"),
    ("split('greeting') == 'plan'", 22, "has no arm 'plan'", "plain"),
    ("'plan' != split('greeting')", 1, "has no arm 'plan'", "plain"),
    ("split('greeting') in ['warm', 'hot']", 31, "has no arm 'hot'", None),
    ("split('greeting') == 1", 19, "never equal", None),
    ("split(event.x) == 'plain'", 13, "must stand here in quotes", None),
    ("split() == 'plain'", 1, "takes one name", None),
    ("split == 'plain'", 1, "is a function", None),
    # local time
    ("now.hours() > 9", 5, "no method 'hours'", "hour"),
    ("now.getHours() > 9", 5, "x.hour()", None),
    ("now.hour(1) > 9", 5, "takes 0 arguments", None),
    ("now.hour > 9", 5, "parentheses", None),
    ("event.type.hour() > 9", 12, "cannot take a string", None),
    ("now.weekday() == 1", 15, "never equal", None),
    # types
    ("'a'", 1, "a condition must be true or false", None),
    ("1 + 1", 1, "a condition must be true or false", None),
    ("true && 'a'", 9, "each side of '&&'", None),
    ("1 || true", 1, "each side of '||'", None),
    ("!'a'", 2, "follows '!'", None),
    ("-'a' == 'b'", 1, "sign of a number", None),
    ("'a' ? true : false", 1, "before '?'", None),
    ("event.type == 3", 12, "never equal", None),
    ("journey.count() == '3'", 17, "never equal", None),
    ("now == '2023-01-01T00:00:00Z'", 5, "timestamp()", None),
    ("1 < 'a'", 3, "cannot take an int and a string", None),
    ("now < duration('1m')", 5, "cannot take", None),
    ("now - 5 < now", 5, "duration()", None),
    ("1 + 'a' == 1", 3, "convert", None),
    ("1.5 % 2 == 1", 5, "whole numbers", None),
    ("[1] - [2] == []", 5, "cannot take", None),
    ("1 in 2", 6, "looks into a list or a map", None),
    ("'a' in event.type", 14, "contains", None),
    ("1 in event.identifiers", 3, "key of a map", None),
    ("event.type.size == 4", 12, "parentheses", None),
    ("'a'[0] == 'a'", 4, "only lists and maps", None),
    ("[1]['a'] == 1", 5, "number from 0", None),
    ("event.identifiers[1] == 'a'", 19, "map a string", None),
    ("{1: 2} == {}", 2, "in quotes", None),
    ("{'a': 1, 'a': 2} == {}", 10, "stands twice", None),
    ("now.startsWith('a')", 5, 'write text.startsWith("...")', None),
    ("event.page.startsWith()", 12, "takes 1 argument, not 0", None),
    ("size('a', 'b') == 1", 1, "takes 1 argument, not 2", None),
    ("event.type.exists(x, true)", 12, "each element of a list", None),
    ("event.items.all(x, 'a')", 20, "the condition of all", None),
    ("has(event)", 1, "has() asks for one", None),
    ("has(event.type)", 1, "has(event.properties.type)", None),
    ("has('a')", 1, "has() asks for one", None),
    ("timestamp('yesterday') < now", 11, "is no timestamp", None),
    ("timestamp('2023-02-30T00:00:00Z') < now", 11, "is no timestamp", None),
    ("now - event.time > duration('5 minutes')", 29, "is no duration", None),
    ("link('/a') == link('/b')", 1, "only an action's parameter", None),
]


@pytest.mark.parametrize(("source", "column", "part", "suggestion"), ERRORS, ids=[row[0] or "empty" for row in ERRORS])
def test_error(source: str, column: int, part: str, suggestion: str | None) -> None:
    """Each mistake is reported at its place, with what is wrong, the way out and the name that was probably meant."""
    with pytest.raises(ExpressionError) as caught:
        compile_condition(source, SCOPE)

    error = caught.value
    assert (error.column, error.suggestion) == (column, suggestion), str(error)
    assert part in error.message
    assert str(error).startswith(f"column {column}: ")


@pytest.mark.parametrize(
    ("source", "column", "part"),
    [
        ("[link('/a')]", 2, "whole value"),
        ("link('/a') == null", 12, "cannot be compared"),
        ("link('/a') in [1]", 12, "cannot be compared"),
        ("link('//elsewhere.example')", 6, "no path of the site"),
        ("link('https://elsewhere.example')", 6, "no path of the site"),
        ("resume('cards', 1)", 8, "no path of the site"),
        ("resume('/cards')", 1, "takes 2 arguments, not 1"),
        ("resume('/cards', true)", 1, "cannot take"),
    ],
)
def test_link_error(source: str, column: int, part: str) -> None:
    """A link is the whole value of a parameter, and leads to a path of the site."""
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source, Scope(links=True))

    assert (caught.value.column, part in caught.value.message) == (column, True), str(caught.value)


@pytest.mark.parametrize("source", ["event.type == 'a'", "has(event.x)", "event.identifiers.email == ''", "event.x"])
def test_no_event(source: str) -> None:
    """Where no event is, naming it is a mistake, and the way out is a variable."""
    with pytest.raises(ExpressionError, match="no event here; keep what is needed in a variable"):
        compile_condition(source, Scope(event=False))


def test_error_in_parameter_has_its_path() -> None:
    """An error in a nested parameter says in which text it is."""
    with pytest.raises(ExpressionError, match=r"\(a text that begins with 'vars\.' is an expression\)") as caught:
        compile_parameter({"a": 1, "list": ["x", {"to": "vars.emial"}]}, SCOPE)

    assert (caught.value.path, caught.value.column, caught.value.suggestion) == (("list", 1, "to"), 6, "email")


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("1" * 2001, "more than 2000"),
        ("(" * 200 + "1" + ")" * 200, "nested"),
        ("[" * 900, "nested"),
        ("!" * 900 + "true", "levels deep"),
        ("event" + ".a" * 900, "levels deep"),
        ("1" + "+1" * 900, "levels deep"),
        ("true?1:" * 200 + "1", "nested"),
        ("".join(f"event.x.all(a{n}," for n in range(100)), "nested"),
    ],
)
def test_bounds(source: str, part: str) -> None:
    """What is too long or too deep is refused, with the bound."""
    with pytest.raises(ExpressionError, match=part):
        compile_expression(source, Scope())


def test_long_but_flat() -> None:
    """Many terms side by side are no depth."""
    assert compile_condition(" && ".join(["true"] * 245), Scope()) is not None

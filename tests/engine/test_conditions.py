"""Conditions and parameters: what each construct of the expression language gives, and what is absent."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.action import Link
from streams.engine.cel_asking import CALENDAR, Window
from streams.engine.conditions import (
    Absent,
    Scope,
    compile_condition,
    compile_expression,
    compile_parameter,
    compile_value,
    names_used,
)
from tests.engine.seen import NOW, Seen, event

SEEN = Seen(
    event=event(
        {
            "page": "/credit-cards/gold",
            "number": 2,
            "amount": 12.5,
            "done": True,
            "nothing": None,
            "items": [{"sku": "a", "price": 3}, {"sku": "b", "price": 30}],
            "address": {"city": "Turku", "post-code": "20100"},
            "type": "mortgage",
            "empty": [],
            "huge": 2**64,
            "mixed": [1, "x", None],
        }
    ),
    vars={"page": 3, "email": "a@example.org", "since": "2023-11-14T21:13:20Z"},
    traits={"age": 41, "vip": False},
    counts={"page_viewed": 3, None: 9},
    profile_counts={"page_viewed": 30, None: 90},
    windows={
        Window("count", "page_viewed", "", 7 * 86_400_000, ""): 4,
        Window("sum", "paid", "amount", CALENDAR["month"], "month"): 12.5,
    },
    matched={(Window("count", "paid", "", 7 * 86_400_000, "", "sku"), "b"): 3},
)
ANY = Scope(links=True, journey="hello", splits={"greeting": {"plain": 10, "warm": 90}})
ABSENT = object()


def value_of(source: str, seen: Seen = SEEN) -> Any:
    """The expression's value, or ABSENT."""
    try:
        return compile_expression(source, ANY)(seen)
    except Absent:
        return ABSENT


VALUES: list[tuple[str, Any]] = [
    # literals
    ("1", 1),
    ("-9223372036854775808", -(2**63)),
    ("0x1F", 31),
    ("1.5", 1.5),
    (".5", 0.5),
    ("2e3", 2000.0),
    ("true", True),
    ("null", None),
    ('"a\\"b"', 'a"b'),
    ("'a\\'b'", "a'b"),
    ('"\\n\\t\\\\\\x41\\u00e4\\U0001F600\\101"', "\n\t\\Aä😀A"),
    ('r"\\d"', "\\d"),
    ("[1, 'a', [true]]", [1, "a", [True]]),
    ("[1, 2,]", [1, 2]),
    ("[]", []),
    ('{"a": 1, "b": {}}', {"a": 1, "b": {}}),
    ("1 // a note", 1),
    # arithmetic
    ("1 + 2 * 3", 7),
    ("(1 + 2) * 3", 9),
    ("7 - 2 - 1", 4),
    ("-event.number", -2),
    ("- -2", 2),
    ("7 / 2", 3),
    ("-7 / 2", -3),
    ("7 % -3", 1),
    ("-7 % 3", -1),
    ("7.0 / 2", 3.5),
    ("event.amount * 2", 25.0),
    ("event.number * 2", 4),
    ("'a' + 'b'", "ab"),
    ("[1] + [2]", [1, 2]),
    ("9223372036854775807 + 1", ABSENT),
    ("-(-9223372036854775808)", ABSENT),
    ("-9223372036854775808 / -1", ABSENT),
    ("1 / 0", ABSENT),
    ("1 % 0", ABSENT),
    ("1.0 / 0.0", ABSENT),
    ("1e308 * 10.0", ABSENT),
    ("event.done + 1", ABSENT),
    ("event.page + 1", ABSENT),
    ("event.huge + 1", ABSENT),
    ("event.huge", ABSENT),
    # comparison
    ("1 == 1.0", True),
    ("event.done == 1", False),
    ("event.number == true", False),
    ("event.number == 2.0", True),
    ("event.number == '2'", False),
    ("event.number != '2'", True),
    ("event.number != 2", False),
    ("event.nothing == null", True),
    ("event.number == null", False),
    ("1 == null", False),
    ("event.done == true", True),
    ("event.done != true", False),
    ("event.missing == null", ABSENT),
    ("event.missing != 'a'", ABSENT),
    ("[1, 'a'] == [1.0, 'a']", True),
    ("[1] == [true]", False),
    ('event.address == {"post-code": "20100", "city": "Turku"}', True),
    ("event.items[0] == {'sku': 'a', 'price': true}", False),
    ("event.number < 3", True),
    ("event.number < 2.5", True),
    ("event.number <= 2", True),
    ("event.number > 2", False),
    ("event.number >= 2", True),
    ("3 > event.number", True),
    ("event.page < 'a'", True),
    ("false < true", True),
    ("event.page < 3", ABSENT),
    ("event.done < 3", ABSENT),
    ("event.nothing >= 3", ABSENT),
    ("event.items < event.items", ABSENT),
    # membership
    ("event.number in [1, 2]", True),
    ("event.done in [1]", False),
    ("event.page in ['/', '/x']", False),
    ("event.number in ['2']", False),
    ("null in event.mixed", True),
    ("'city' in event.address", True),
    ("'town' in event.address", False),
    ("1 in event.address", ABSENT),
    ("1 in event.page", ABSENT),
    ("'email' in event.identifiers", True),
    # logic
    ("true && true", True),
    ("true && false", False),
    ("!event.done", False),
    ("!event.page", ABSENT),
    ("false && event.missing", False),
    ("event.missing && false", False),
    ("event.missing && true", ABSENT),
    ("true && event.missing", ABSENT),
    ("true || event.missing", True),
    ("event.missing || true", True),
    ("event.missing || false", ABSENT),
    ("event.page && true", ABSENT),
    ("event.page || true", True),
    ("event.missing && true && false", False),
    ("true && event.missing && false", False),
    ("true && event.missing && true", ABSENT),
    ("event.missing && event.missing && event.missing", ABSENT),
    ("event.missing && true && true && false", False),
    ("event.missing && true && true && true", ABSENT),
    ("event.missing || false || true", True),
    ("event.missing || false || false", ABSENT),
    ("false || true && false", False),
    ("event.done ? 1 : event.missing", 1),
    ("event.done ? event.missing : 1", ABSENT),
    ("event.page ? 1 : 2", ABSENT),
    ("false ? 1 : true ? 2 : 3", 2),
    # names
    ("event.type", "page_viewed"),
    ("event.channel", "web"),
    ("event.id", "e-1"),
    ("event.properties.type", "mortgage"),
    ('event.properties["type"]', "mortgage"),
    ("event.identifiers.customer", "7"),
    ("event.identifiers.phone", ABSENT),
    ("event.address.city", "Turku"),
    ('event.address["post-code"]', "20100"),
    ("event.address.town", ABSENT),
    ("event.page.city", ABSENT),
    ("event.items[1].sku", "b"),
    ("event.items[2].sku", ABSENT),
    ("event.items[-1].sku", ABSENT),
    ("event.items[event.done]", ABSENT),
    ("event.mixed[event.number]", None),
    ("[10, 20][1]", 20),
    ("vars.page", 3),
    ('vars["page"]', 3),
    ("vars.other", ABSENT),
    ("traits.age", 41),
    ("traits.other", ABSENT),
    ("journey.stage", "interested"),
    ("profile.id", "customer:7"),
    ("journey.count('page_viewed')", 3),
    # windows
    ("profile.count('page_viewed', '7d')", 4),
    ("profile.count('page_viewed', '7d') >= 4", True),
    ("profile.sum('paid', 'amount', 'this month') + 1", 13.5),
    ("profile.min('paid', 'amount', '24h')", ABSENT),
    ("profile.count('paid', '7d', 'sku', 'b') >= 3", True),
    ("profile.count('paid', '7d', 'sku', event.items[1].sku)", 3),
    ("profile.count('paid', '7d', 'sku', event.missing) >= 0", ABSENT),
    ("event.items.exists(i, profile.count('paid', '7d', 'sku', i.sku) >= 3)", True),
    ("event.items.exists(i, i.price < profile.sum('paid', 'amount', 'this month'))", True),
    # splits
    ("split('greeting')", "warm"),
    ("event.items.exists(i, split('greeting') == 'warm')", True),
    # the customer's clock
    ("now.hour()", 0),
    ("now.weekday()", "wednesday"),
    ("now.date()", "2023-11-15"),
    ("timestamp('2023-11-14T21:59:59Z').date()", "2023-11-14"),
    ("timestamp('1970-01-01T00:00:00Z').weekday()", "thursday"),
    ("timestamp('0001-01-01T00:00:00Z').date()", ABSENT),
    ("timestamp('9999-12-31T00:00:00Z').hour()", ABSENT),
    ("event.page.hour()", ABSENT),
    ("event.items.exists(i, now.hour() == 0)", True),
    ("journey.count()", 9),
    ("journey.count(event.type)", 3),
    ("journey.count(event.number)", ABSENT),
    ("journey.count('page_viewed') >= 3", True),
    ("journey.count('page_viewed') > 3", False),
    ("journey.count('page_viewed') <= 3", True),
    ("journey.count('page_viewed') < 3", False),
    ("journey.count() == 9", True),
    ("profile.count('page_viewed')", 30),
    ("profile.count(event.type)", 30),
    ("profile.count()", 90),
    # has
    ("has(event.page)", True),
    ("has(event.nothing)", True),
    ("has(event.missing)", False),
    ("has(event.properties.type)", True),
    ("has(event.address.city)", True),
    ("has(event.address.town)", False),
    ("has(event.missing.city)", False),
    ("has(event.page.city)", False),
    ("has(event.identifiers.email)", True),
    ("has(vars.page)", True),
    ("has(vars.other)", False),
    ("has(traits.vip)", True),
    ("!has(traits.other) && traits.age > 40", True),
    # text
    ("event.page.startsWith('/credit-cards')", True),
    ("event.page.startsWith('/loans')", False),
    ("event.number.startsWith('/')", ABSENT),
    ("event.missing.startsWith('/')", ABSENT),
    ("event.address.city.startsWith('Tu')", True),
    ("event.address.startsWith('Tu')", ABSENT),
    ("event.page.startsWith(event.page)", True),
    ("event.page.endsWith('gold')", True),
    ("event.items.endsWith('gold')", ABSENT),
    ("event.page.contains('cards')", True),
    ("event.number.contains('cards')", ABSENT),
    ("'gold'.startsWith('go')", True),
    ("size('äö')", 2),
    ("'äö'.size()", 2),
    ("event.items.size()", 2),
    ("size(event.address)", 2),
    ("size(event.number)", ABSENT),
    # conversions
    ("int(2.9)", 2),
    ("int(-2.9)", -2),
    ("int('42')", 42),
    ("int('4_2')", ABSENT),
    ("int('٤')", ABSENT),
    ("int(' 4')", ABSENT),
    ("int('9223372036854775808')", ABSENT),
    ("int(1e19)", ABSENT),
    ("int(timestamp('1970-01-01T00:01:00Z'))", 60),
    ("int(event.done)", ABSENT),
    ("double(2)", 2.0),
    ("double('2.5e1')", 25.0),
    ("double('nan')", ABSENT),
    ("double('1e999')", ABSENT),
    ("string(2)", "2"),
    ("string(2.0)", "2"),
    ("string(2.5)", "2.5"),
    ("string(true)", "true"),
    ("string(event.items)", ABSENT),
    ("string(duration('1m30s'))", "90s"),
    ("string(duration('-1500ms'))", "-1.5s"),
    # time
    ("now", "2023-11-14T22:13:20Z"),
    ("event.time", "2023-11-14T22:08:20Z"),
    ("now - event.time", "300s"),
    ("now - event.time == duration('5m')", True),
    ("now - event.time < duration('30m')", True),
    ("event.time + duration('5m') == now", True),
    ("duration('5m') + event.time == now", True),
    ("now - duration('1d')", "2023-11-13T22:13:20Z"),
    ("duration('1h') + duration('30m') == duration('90m')", True),
    ("duration('1h') - duration('30m') == duration('1.5h') - duration('1h')", True),
    ("duration('1w') == duration('7d')", True),
    ("duration('1500us') == duration('2ms')", False),
    ("timestamp(vars.since) < now - duration('59m')", True),
    ("timestamp('2023-11-14T23:13:20.250+01:00') - now == duration('250ms')", True),
    ("timestamp('2023-11-14') < now", True),
    ("timestamp(event.page)", ABSENT),
    ("timestamp(event.number)", "1970-01-01T00:00:02Z"),
    ("duration(event.page)", ABSENT),
    ("timestamp('9999-12-31T23:59:59Z') + duration('1s')", ABSENT),
    ("now == vars.since", False),
    ("now < vars.page", ABSENT),
    ("now + vars.page", ABSENT),
    # lists
    ("event.items.exists(item, item.price > 20)", True),
    ("event.items.exists(item, item.price > 200)", False),
    ("event.items.all(item, item.price > 2)", True),
    ("event.items.all(item, item.price > 20)", False),
    ("event.empty.exists(x, true)", False),
    ("event.empty.all(x, false)", True),
    ("event.mixed.exists(x, x > 0)", True),
    ("event.mixed.exists(x, x > 1)", ABSENT),
    ("event.mixed.all(x, x > 0)", ABSENT),
    ("event.mixed.all(x, x > 1)", False),
    ("event.page.exists(x, true)", ABSENT),
    ("event.items.exists(a, event.items.all(b, a.price >= b.price))", True),
    ("event.items.all(a, event.items.exists(b, a.price < b.price))", False),
    ("event.items.exists(item, item.sku.startsWith('b') && item.sku in ['b'] && item.price + 1 == 31)", True),
    ("[1, 2].exists(x, vars.page == x + 1) && [3].all(x, x == vars.page)", True),
    # links
    ("link('/cards')", Link("/cards")),
    ("resume('/credit-cards/apply', vars.page)", Link("/credit-cards/apply", "3")),
    ("resume('/a', 'p2')", Link("/a", "p2")),
    ("resume('/a', 2.0)", Link("/a", "2")),
    ("resume('/a', event.nothing)", ABSENT),
    ("resume('/a', event.items)", ABSENT),
    ("link(event.page)", Link("/credit-cards/gold")),
    ("link('/' + event.page)", ABSENT),
    ("event.done ? link('/a') : link('/b')", Link("/a")),
]


@pytest.mark.parametrize(("source", "expected"), VALUES, ids=[source for source, _ in VALUES])
def test_value(source: str, expected: Any) -> None:
    """Each construct gives exactly its value, its type included, or is absent."""
    value = value_of(source)

    assert value is ABSENT if expected is ABSENT else (type(value), value) == (type(expected), expected)


@pytest.mark.parametrize(("source", "expected"), VALUES, ids=[source for source, _ in VALUES])
def test_value_within_a_macro(source: str, expected: Any) -> None:
    """Within a macro, where no special shapes are used, everything has the same truth."""
    if "link(" in source or "resume(" in source or isinstance(expected, Link):
        return
    outside = value_of(f"({source}) == ({source})") if "//" not in source else True
    inside = value_of(f"[0].exists(z, ({source}) == ({source}))") if "//" not in source else True

    assert inside is outside


def test_event_is_absent_without_one() -> None:
    """Without an event, everything of it is absent and has() says no, even where the scope promised one."""
    seen = Seen()
    for source in ("event.type", "event.time", "event.page", "event.identifiers.email", "event.page == 'a'"):
        assert value_of(source, seen) is ABSENT
    for source in ("event.page.startsWith('a')", "event.properties", "'a' in event.identifiers"):
        assert value_of(source, seen) is ABSENT
    assert value_of("has(event.page) || has(event.identifiers.email) || has(event.a.b)", seen) is False


def test_condition_is_bool_or_absent() -> None:
    """A condition whose dynamic value is neither true nor false is absent."""
    assert compile_condition("event.done", ANY)(SEEN) is True
    assert compile_condition("has(event.page)", ANY)(SEEN) is True
    for source in ("event.page", "event.number", "event.nothing", "event.missing"):
        condition = compile_condition(source, ANY)
        with pytest.raises(Absent):
            condition(SEEN)


def test_result_is_a_copy() -> None:
    """What an expression hands out shares nothing with the event it came from."""
    seen = Seen(event=event({"items": [{"a": [1]}]}))
    made = value_of("event.items", seen)
    made[0]["a"].append(2)

    assert seen.event is not None
    assert seen.event.properties == {"items": [{"a": [1]}]}


def test_parameters() -> None:
    """Texts that begin with a root are computed, in lists and maps too; all else is literal."""
    parameter = compile_parameter(
        {
            "template": "resume-application",
            "to": "vars.email",
            "link": 'resume("/credit-cards/apply", vars.page)',
            "note": "eventually",
            "list": ["traits.age", "now", 3, {"deep": "journey.count()"}],
            "flag": True,
        },
        ANY,
    )

    assert parameter(SEEN) == {
        "template": "resume-application",
        "to": "a@example.org",
        "link": Link("/credit-cards/apply", "3"),
        "note": "eventually",
        "list": [41, "now", 3, {"deep": 9}],
        "flag": True,
    }


@pytest.mark.parametrize("value", ["text", "/path", 3, None, True, [1, "a"], {"a": {"b": ["c"]}}, "vars", "eventual."])
def test_constant_parameter(value: Any) -> None:
    """A parameter without expressions is itself."""
    assert compile_parameter(value, ANY) is value


def test_absent_parameter() -> None:
    """A parameter of which one part is absent is absent as a whole."""
    parameter = compile_parameter({"a": "vars.email", "b": ["vars.other"]}, ANY)

    with pytest.raises(Absent):
        parameter(SEEN)


def test_names_used() -> None:
    """Properties, variables and traits are found wherever they stand; other parts of the event are not properties."""
    source = (
        'event.page == "x" && event.type == "t" && has(vars.a) && traits["b"] > 1 && event.properties["c-d"] != null '
        "&& event.items.exists(i, i.sku == vars.sku) && journey.count(event.kind) > size([event.deep.er]) "
        "&& event.identifiers.email != ''"
    )

    assert names_used(source) == {
        ("event", "page"),
        ("vars", "a"),
        ("traits", "b"),
        ("event", "c-d"),
        ("event", "items"),
        ("vars", "sku"),
        ("event", "kind"),
        ("event", "deep"),
    }


def test_now_is_the_only_time() -> None:
    """The same expression at the same moment of the journal gives the same value."""
    expression = compile_expression("string(now) + string(event.time)", ANY)

    assert expression(SEEN) == expression(SEEN)
    assert SEEN.now == NOW


@pytest.mark.parametrize(
    ("written", "value"),
    [(True, True), (False, False), (0, 0), (-7, -7), (2.5, 2.5), ('"text"', "text"), ("vars.page", 3), ("true", True)],
)
def test_what_a_variable_is_set_to(written: Any, value: Any) -> None:
    """An expression, or a number, true or false as they stand."""
    found = compile_value(written, ANY)(SEEN)
    assert found == value
    assert type(found) is type(value)

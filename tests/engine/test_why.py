"""Why a condition did not hold, and what a profile passed over: the parts, the values, and nothing unless one asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from schemas.journal import Activate
from streams.engine.cel_syntax import parse
from streams.engine.cel_text import text
from streams.engine.cel_why import Part, why_not
from streams.engine.conditions import Scope
from streams.engine.partition import Partition
from streams.engine.store import MemoryStore
from streams.simulator import activations
from tests.engine.making import DAY, HOUR, START, event, journey, library
from tests.engine.seen import Seen
from tests.engine.seen import event as seen_event

if TYPE_CHECKING:
    from streams.engine.partition import Output
    from streams.engine.step import PassedOver

EXPRESSIONS = [
    "(1 + 2) * 3 == -event.x - (2 - 1)",
    "!(event.a == 1 && event.b == 2) || vars.x > 3 ? traits.a : has(traits.b)",
    "(event.a || event.b) && event.c",
    '[1, 2.5, "x"].exists(i, i > event.list[0].more)',
    'event.properties["a b"] == event.properties["type"]',
    'journey.count("x") >= 2 && now - timestamp(traits.since) > duration("24h")',
    '{"a": 1, "b": [true, null]}.a == (event.x ? 1 : 2)',
]


@pytest.mark.parametrize("source", EXPRESSIONS)
def test_a_tree_as_text_is_what_was_written(source: str) -> None:
    """Parentheses where they are needed, and nowhere else."""
    assert text(parse(source)) == source


def _found(source: str) -> list[tuple[str, str, dict[str, str]]]:
    context = Seen(
        event=seen_event({"page": "/loans", "items": [{"price": 5}], "amount": 20, "pieces": "7", "long": "x" * 500}),
        traits={"age": 17, "name": "Ann"},
        vars={"limit": 10, "since": "2023-11-14T21:13:20Z"},
        counts={"page_viewed": 1},
    )
    parts: list[Part] = []
    for part in why_not(source, Scope(event=True), context):
        parts += part.any_of or [part]
    return [(part.text, part.outcome, part.values) for part in parts]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("traits.age >= 17", []),
        ("traits.age >= 18", [("traits.age >= 18", "false", {"traits.age": "17"})]),
        ("traits.age >= 18 && traits.name == 'Ann'", [("traits.age >= 18", "false", {"traits.age": "17"})]),
        ("traits.vip == true", [("traits.vip == true", "absent", {"traits.vip": "absent"})]),
        ("has(traits.vip) && traits.vip", [
            ("has(traits.vip)", "false", {"traits.vip": "absent"}), ("traits.vip", "absent", {"traits.vip": "absent"}),
        ]),
        ("event.page == '/cards' || journey.count('page_viewed') >= 2", [
            ('event.page == "/cards"', "false", {"event.page": '"/loans"'}),
            ('journey.count("page_viewed") >= 2', "false", {'journey.count("page_viewed")': "1"}),
        ]),
        ("event.items[0].price > vars.limit", [
            ("event.items[0].price > vars.limit", "false", {"event.items[0].price": "5", "vars.limit": "10"}),
        ]),
        ("event.items.exists(item, item.price > 9)", [
            ("event.items.exists(item, item.price > 9)", "false", {"event.items": '[{"price":5}]'}),
        ]),
        ("traits.age < 18 ? event.amount > 50 : true", [("event.amount > 50", "false", {"event.amount": "20"})]),
        ("traits.vip ? true : false", [("traits.vip", "absent", {"traits.vip": "absent"})]),
        ("!has(traits.age)", [("!has(traits.age)", "false", {"traits.age": "17"})]),
        ("now > timestamp('2030-01-01T00:00:00Z')", [
            ('now > timestamp("2030-01-01T00:00:00Z")', "false", {"now": "2023-11-14T22:13:20Z"}),
        ]),
        ("now - vars.since > duration('1h')", [
            ('now - vars.since > duration("1h")', "absent", {
                "now": "2023-11-14T22:13:20Z", "vars.since": '"2023-11-14T21:13:20Z"',
                "now - vars.since": "a time minus a text; write timestamp(vars.since)",
            }),
        ]),
        ("event.pieces >= 3", [
            ("event.pieces >= 3", "absent", {
                "event.pieces": '"7"', "event.pieces >= 3": "a text >= a number; write double(event.pieces)",
            }),
        ]),
        ("event.amount > traits.name", [
            ("event.amount > traits.name", "absent", {
                "event.amount": "20", "traits.name": '"Ann"', "event.amount > traits.name": "a number > a text",
            }),
        ]),
        ("event.long == 'y'", [('event.long == "y"', "false", {"event.long": '"' + "x" * 98 + "…"})]),
    ],
)  # fmt: skip
def test_the_part_that_did_not_hold_with_what_was_found(source: str, found: list[Any]) -> None:
    """Each operand that is not true; of what it names, the values at that moment."""
    assert _found(source) == found


# ---- what is passed over

OFFER = journey(
    "offer",
    {"first": [{"when": "go", "if": "event.n > 1", "end": True}, {"after": "1d", "if": "traits.vip", "end": True},
               {"after": "9d", "end": True}]},
    enter={"when": "hello", "if": "traits.age >= 18"}, again="after 30d",
)  # fmt: skip


def _played(*events: Any, trace: frozenset[str] | None) -> Output:
    known = library(OFFER, journey("other", {"first": [{"after": "1d", "end": True}]}, enter={"when": "never"}))
    partition = Partition(0, 1, known, MemoryStore(), trace=trace)
    for offset, entry in enumerate([*activations(known), *events]):
        partition.apply(offset, entry)
    return partition.collect()


def _passed(*events: Any) -> list[PassedOver]:
    return _played(*events, trace=frozenset({"offer"})).passed_over


ADULT = event("customer:ann", "e-1", "profile_updated", START, age=18)
HELLO = event("customer:ann", "e-2", "hello", START + 1)


def test_a_condition_that_kept_somebody_out() -> None:
    """With the event, the part and the value; once it holds, nothing."""
    (passed,) = _passed(event("customer:ann", "e-1", "profile_updated", START, age=17), HELLO)
    assert (passed.way, passed.reason, passed.event_id) == ("enter", "condition", "e-2")
    assert passed.parts == (Part("traits.age >= 18", "false", {"traits.age": "17"}),)
    assert _passed(ADULT, HELLO) == []


def test_who_is_in_or_was_lately() -> None:
    """The stage one is in; the end of the last time, and how long one must stay away."""
    inside, later = _passed(
        ADULT,
        HELLO,
        event("customer:ann", "e-3", "hello", START + HOUR),
        event("customer:ann", "e-4", "go", START + 2 * HOUR, n=2),
        event("customer:ann", "e-5", "hello", START + 3 * HOUR),
    )
    assert (inside.reason, inside.value, inside.bound) == ("already-in", "first", str(START + 1))
    assert (later.reason, later.value, later.bound) == ("again-later", str(START + 2 * HOUR), f"{30 * DAY} ms")


def test_handlers_that_did_not_react() -> None:
    """By their paths: of an event and of a timer."""
    passed = _passed(
        ADULT,
        HELLO,
        event("customer:ann", "e-3", "go", START + HOUR, n=1),
        event("customer:ann", "e-4", "other", START + 2 * DAY),
    )
    assert [(each.way, each.event_id, each.parts[0].text) for each in passed] == [
        ("first/0", "e-3", "event.n > 1"),
        ("first/1", None, "traits.vip"),
    ]


def test_who_is_not_of_the_share_of_a_canary() -> None:
    """Their number, and the share."""
    partition = Partition(0, 1, library(OFFER), MemoryStore(), trace=frozenset({"offer"}))
    partition.apply(0, Activate("policy", "shop", 1, "fingerprint-1"))
    partition.apply(1, Activate("journey", "offer", 1, "fingerprint-1", 50, at=1))
    names = [f"customer:c-{number}" for number in range(20)]
    for number, name in enumerate(names):
        partition.apply(2 + 2 * number, event(name, f"a-{number}", "profile_updated", START, age=18))
        partition.apply(3 + 2 * number, event(name, f"b-{number}", "hello", START))
    output = partition.collect()
    out = {passed.profile: passed for passed in output.passed_over}
    inside = {move.profile for move in output.transitions}
    assert out.keys() | inside == set(names)
    assert not out.keys() & inside
    assert {(passed.reason, passed.bound) for passed in out.values()} == {("canary", "50")}
    assert all(int(passed.value) >= 50 for passed in out.values())


@pytest.mark.parametrize("trace", [None, frozenset(), frozenset({"other"})])
def test_nothing_is_said_unless_asked(trace: frozenset[str] | None) -> None:
    """Nor of another journey; and the rest is the same bytes."""
    events = [event("customer:ann", "e-1", "profile_updated", START, age=17), HELLO]
    plain, traced = _played(*events, trace=trace), _played(*events, trace=frozenset({"offer"}))
    assert plain.passed_over == []
    assert traced.passed_over != []
    assert plain.states == traced.states

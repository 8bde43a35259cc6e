"""Windows: what profiles keep so that conditions can look back, over rolling and calendar windows of time."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.journey import Journey
from streams.engine import windows
from streams.engine.cel_asking import Window, read_window
from streams.engine.cel_syntax import parse
from streams.engine.cel_tree import Call
from streams.engine.cel_values import equal
from streams.engine.conditions import Absent
from streams.engine.ids import digest
from streams.engine.profile import FORMAT, Latest, Profile, content, decode, encode, remember
from tests.engine.effort import examples
from tests.engine.making import DAY, HOUR, MINUTE, POLICY, START, Shop, event, journey

ABSENT = "absent"


def window(text: str) -> Window:
    """The window that `profile.<text>` asks for."""
    tree = parse(f"profile.{text}")
    assert isinstance(tree, Call)
    return read_window(tree)


def asking(*texts: str, **more: Any) -> Journey:
    """A journey that says, on `tell`, what each of these gives; `profile.` goes before."""
    says = {f"x{number}": f"profile.{text}" for number, text in enumerate(texts)}
    stages = {
        "open": [{"when": "tell", "do": [{"stop_ads": {"say": "-"} | {name: text}} for name, text in says.items()]}]
    }
    return journey("asking", stages, **more)


def told(shop: Shop, at: int, **more: Any) -> list[Any]:
    """What it says at a time; nothing for what is absent."""
    before = len(shop.actions)
    shop.see("tell", at, **more)
    return [
        next((value for name, value in each.params.items() if name != "say"), ABSENT) for each in shop.actions[before:]
    ]


# (what is asked, what it gives after payments of 10 a day ago, 5 two hours ago, 2.5 a minute ago)
VALUES = [
    ('count("paid", "30m")', 1),
    ('count("paid", "24h")', 2),
    ('count("paid", "2d")', 3),
    ('sum("paid", "amount", "3h")', 7.5),
    ('sum("paid", "amount", "2d")', 17.5),
    ('sum("paid", "amount", "1m")', 0),
    ('min("paid", "amount", "2d")', 2.5),
    ('max("paid", "amount", "2d")', 10),
    ('max("paid", "amount", "30s")', ABSENT),
    ('last("paid", "amount", "2d")', 2.5),
    ('last("paid", "amount", "30s")', ABSENT),
    ('last("paid", "shop", "2d")', "b"),
    ('count("paid", "this day")', 2),  # START is 10:00 in UTC
    ('sum("paid", "amount", "this week")', 7.5),  # and a Monday, so the payment of Sunday is of last week
    ('sum("paid", "amount", "this month")', 17.5),  # the second of March
    ('count("paid", "this year")', 3),
    ('count("never_seen", "366d")', 0),
    ('sum("paid", "nothing", "2d")', 0),
    ('last("paid", "nothing", "2d")', ABSENT),
    ('count("paid", "2d", "shop", "a")', 1),  # the third payment is of no shop
    ('count("paid", "24h", "shop", "a")', 0),
    ('count("paid", "2d", "shop", "c")', 0),
    ('count("paid", "2d", "shop", event.place)', 1),
    ('count("paid", "2d", "shop", "")', 0),
    ('count("paid", "this day", "shop", "b")', 1),
    ('sum("paid", "amount", "2d", "shop", "b")', 5),
    ('sum("paid", "amount", "2d", "shop", "c")', 0),
    ('min("paid", "amount", "2d", "shop", "a")', 10),
    ('max("paid", "amount", "2d", "shop", "c")', ABSENT),
    ('count("paid", "2d", "amount", 5.0)', 1),
    ('sum("paid", "amount", "2d", "amount", 10)', 10),
    ('count("paid", "2d", "shop", event.nothing)', ABSENT),
    ('count("paid", "2d", "shop", traits.nothing)', ABSENT),
    ('count("paid", "2d", "shop", event.places)', ABSENT),
]


@pytest.mark.parametrize(("text", "value"), VALUES, ids=[row[0] for row in VALUES])
def test_what_each_gives(text: str, value: Any) -> None:
    """Over the time that the window says, up to now."""
    shop = Shop(asking(text))
    shop.see("hello", -3 * DAY)
    shop.see("paid", -DAY, amount=10, shop="a")
    shop.see("paid", -2 * HOUR, amount=5, shop="b")
    shop.see("paid", -MINUTE, amount=2.5)
    assert told(shop, 0, place="b", places=["b"]) == [value]


def test_an_event_counts_for_exactly_as_long_as_the_window_is() -> None:
    """As old as the window is long is too old, as with caps."""
    shop = Shop(asking('count("paid", "1h")'))
    shop.see("hello", -1)
    shop.see("paid", 0)
    assert told(shop, HOUR - 1) == [1]
    assert told(shop, HOUR) == [0]


def test_the_event_itself_counts() -> None:
    """A condition on an event sees a window with that event in it."""
    handlers = [{"when": "paid", "if": 'profile.sum("paid", "amount", "1d") >= 10', "to": "big"}]
    shop = Shop(journey("spender", {"small": handlers, "big": [{"after": "9d", "end": True}]}))
    shop.see("hello", 0)
    shop.see("paid", MINUTE, amount=4)
    assert shop.stage("spender") == "small"
    shop.see("paid", 2 * MINUTE, amount=6)
    assert shop.stage("spender") == "big"


def test_a_calendar_window_begins_where_the_customer_is() -> None:
    """Ten at night in UTC is tomorrow in Helsinki: by the trait, else by the policy's zone."""
    evening = 12 * HOUR + 30 * MINUTE  # 22:30 UTC, 00:30 in Helsinki
    for zone, trait, first in (("UTC", None, 2), ("Europe/Helsinki", None, 1), ("UTC", "Europe/Helsinki", 1)):
        shop = Shop(asking('count("paid", "this day")'), POLICY.model_copy(update={"time_zone": zone}))
        shop.see("hello", 0)
        if trait is not None:
            shop.see("profile_updated", 0, time_zone=trait)
        shop.see("paid", HOUR)
        shop.see("paid", evening)
        assert told(shop, evening + MINUTE) == [first]


def test_what_is_no_number_is_not_added_up() -> None:
    """Texts, truths, nothing, lists and what is not finite are left out; `last` keeps texts and truths too."""
    asked = ['sum("paid", "x", "1d")', 'count("paid", "1d")', 'last("paid", "x", "1d")', 'max("paid", "x", "1d")']
    shop = Shop(asking(*asked))
    shop.see("hello", 0)
    for at, value in enumerate(["7", True, None, [1], {"a": 1}, float("nan"), float("inf"), 10**400], 1):
        shop.see("paid", at, x=value)
    assert told(shop, MINUTE) == [0, 8, True, ABSENT]
    shop.see("paid", 2 * MINUTE, x="y" * 2000)
    shop.see("paid", 2 * MINUTE, x=2**63 - 1)
    assert told(shop, 3 * MINUTE) == [float(2**63), 10, 2**63 - 1, float(2**63)]


SAME = [
    (1, 1.0, True),
    (0, -0.0, True),
    (2.5, 2.5, True),
    (2**53, float(2**53), True),
    (2**53 + 1, float(2**53), False),
    (1, True, False),
    (0, False, False),
    (1, "1", False),
    ("true", True, False),
    ("a", "A", False),
    ("", "", True),
    ("\u00e4", "\u00e4", True),
    (10**400, 10**400, True),
    (0.1, 0.1 + 2**-56, False),
]


@pytest.mark.parametrize(("one", "other", "same"), SAME)
def test_values_are_the_same_as_conditions_say(one: Any, other: Any, same: bool) -> None:  # noqa: FBT001 - a row
    """Texts, numbers and truths; a number is the same written either way."""
    assert equal(one, other) is same
    assert (windows.sameness(one) == windows.sameness(other)) is same


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, float("nan"), float("inf")])
def test_anything_else_is_the_same_as_nothing(value: Any) -> None:
    """An event with that is not in the series, and to ask for it is absent."""
    assert windows.sameness(value) is None
    shop = Shop(asking('count("paid", "1d", "x", event.x)'))
    shop.see("hello", 0)
    shop.see("paid", 1, x=value)
    assert told(shop, 2, x=value) == [ABSENT]
    assert shop.profile().series == {}


def test_a_condition_on_an_absent_value_is_false_as_a_whole() -> None:
    """Whichever way it compares."""
    handlers = [
        {"when": "paid", "if": f'profile.count("paid", "1d", "shop", event.shop) {compares}', "to": "next"}
        for compares in ("< 9", ">= 0", "!= 9")
    ]
    shop = Shop(journey("asking", {"first": handlers, "next": [{"after": "9d", "end": True}]}))
    shop.see("hello", 0)
    shop.see("paid", 1, shop=None)
    shop.see("paid", 2)
    assert shop.stage("asking") == "first"
    shop.see("paid", 3, shop="a")
    assert shop.stage("asking") == "next"


def test_a_sum_beyond_all_numbers_is_absent() -> None:
    """And nothing is raised."""
    shop = Shop(asking('sum("paid", "x", "1d")'))
    shop.see("hello", 0)
    for at in range(3):
        shop.see("paid", at, x=1.7e308)
    assert told(shop, MINUTE) == [ABSENT]


def test_a_series_by_a_property_is_kept_once_for_all_its_values() -> None:
    """Beside the others, as compact as they are."""
    texts = ['count("paid", "1h", "shop", "a")', 'count("paid", "2h", "shop", "b")', 'count("paid", "1h")']
    shop = Shop(asking(*texts, 'sum("paid", "amount", "1d", "shop", "a")', 'max("paid", "amount", "1d", "shop", "b")'))
    shop.see("hello", 0)
    for number in range(3):
        shop.see("paid", number, shop="ab"[number % 2], amount=number)
    assert {key: len(kept) for key, kept in shop.profile().series["paid"].items()} == {
        "": 3 * windows.MARK,
        "\x1fshop": 3 * (windows.MARK + windows.MATCH),
        "amount\x1fshop": 3 * (windows.VALUE + windows.MATCH),
    }
    assert told(shop, 10) == [2, 1, 3, 2, 1]


def test_only_what_is_asked_for_is_kept_and_only_as_long() -> None:
    """Types, properties and times: no other event leaves anything."""
    shop = Shop(asking('sum("paid", "amount", "2h")', 'count("paid", "1h")', 'last("seen", "page", "1d")'))
    shop.see("hello", 0)
    for at in range(10):
        shop.see("paid", at * HOUR, amount=1, tip=2)
        shop.see("seen", at * HOUR, page=f"/{at}", depth=3)
        shop.see("other", at * HOUR, amount=1)
    profile = shop.profile()
    assert {kind: {name: len(kept) for name, kept in each.items()} for kind, each in profile.series.items()} == {
        "paid": {"": windows.MARK * 1, "amount": windows.VALUE * 2}
    }
    assert profile.latest == {"seen": {"page": Latest(START + 9 * HOUR, digest("event-30"), "/9")}}


def test_a_window_counts_from_when_its_definition_is_in_force() -> None:
    """What came before was not kept: nobody had asked."""
    old, new = asking('count("paid", "7d")'), asking('count("paid", "7d")', 'count("seen", "7d")', version=2)
    shop = Shop(old)
    shop.see("hello", 0)
    shop.see("seen", MINUTE)
    shop.see("paid", MINUTE)
    assert "seen" not in shop.profile().series
    shop = Shop(old, new)
    shop.see("hello", 0)
    shop.see("seen", MINUTE)
    assert told(shop, HOUR) == [0, 1]


def test_what_nobody_asks_for_any_more_goes() -> None:
    """With the next event that is kept."""
    plan = windows.plan([window('count("paid", "1d")')])
    profile = Profile(FORMAT, "customer:ann", series={"gone": {"": bytes(16)}, "paid": {"amount": bytes(24)}})
    profile.latest = {"gone": {"x": Latest(1, bytes(8), 1)}}
    windows.record(profile, event("customer:ann", "e", "other"), digest("e"), START, plan)
    assert "gone" in profile.series
    windows.record(profile, event("customer:ann", "e", "paid"), digest("e"), START, plan)
    assert profile.series == {"paid": {"": START.to_bytes(8, "big") + digest("e")}}
    assert profile.latest == {}


def test_a_repeat_counts_once_however_late() -> None:
    """A profile remembers 64 ids, a series all of its own."""
    shop = Shop(asking('count("paid", "30d")', 'sum("paid", "amount", "30d")'))
    shop.see("hello", 0)
    shop.see("paid", 1, event_id="twice", amount=3)
    for number in range(100):
        shop.see("other", MINUTE + number)
    shop.see("paid", HOUR, event_id="twice", amount=3)
    assert told(shop, 2 * HOUR) == [1, 3]


def test_a_late_event_counts_when_it_comes() -> None:
    """The journal's time, not the producer's: what was true stays true."""
    shop = Shop(asking('count("paid", "1h")'))
    shop.see("hello", 0)
    shop.see("paid", 2 * HOUR, late=2 * HOUR)
    assert told(shop, 2 * HOUR + MINUTE) == [1]


def test_an_identifier_hands_its_series_over() -> None:
    """Who logs in has paid what the device paid; a forward counts once more, and nothing twice."""
    shop = Shop(asking('count("paid", "1d")', 'sum("paid", "amount", "1d")', 'last("paid", "amount", "1d")'))
    shop.see("paid", 0, ids="device:d", amount=1)
    shop.see("hello", 1)
    shop.see("paid", 2, amount=2)
    shop.see("login", MINUTE, ids="customer:ann,device:d")
    shop.see("paid", 2 * MINUTE, ids="device:d", amount=4)
    assert told(shop, 3 * MINUTE) == [3, 7, 4]
    device = shop.simulator.profile("device:d")
    assert device is not None
    assert shop.simulator.states()["device:d"]
    assert decode(shop.simulator.states()["device:d"]).series == {}


def test_customers_that_merge_unite_their_series() -> None:
    """A merge is a union by event."""
    shop = Shop(asking('count("paid", "1d")', 'max("paid", "amount", "1d")'))
    shop.see("hello", 0)
    for number in range(3):
        shop.see("paid", 1 + number, ids="customer:ann", amount=number)
        shop.see("paid", 1 + number, ids="customer:bea", amount=10 * number)
    names: dict[str, Any] = {"from": "bea", "into": "ann"}
    shop.see("customers_merged", HOUR, ids="customer:bea", **names)
    assert told(shop, HOUR + 1) == [6, 20]


def test_beyond_the_limit_the_oldest_go() -> None:
    """What a series holds is the newest 500; counts and sums are of them."""
    plan = windows.plan([window('count("paid", "30d")'), window('sum("paid", "x", "30d")')])
    profile = Profile(FORMAT, "customer:ann")
    for number in range(windows.MAX_EVENTS + 20):
        one = event("customer:ann", f"e{number}", "paid", x=number)
        windows.record(profile, one, digest(one.event_id), START + number, plan)
    count = windows.value(profile, window('count("paid", "30d")'), START + HOUR, "UTC")
    assert count == windows.MAX_EVENTS
    assert windows.value(profile, window('min("paid", "x", "30d")'), START + HOUR, "UTC") == 20


def test_beyond_the_limit_the_oldest_go_whatever_their_value() -> None:
    """A series by a property is as long as another, over all values of that."""
    asked = window('sum("paid", "x", "30d", "shop", "any")')
    plan, profile = windows.plan([asked]), Profile(FORMAT, "customer:ann")
    for number in range(windows.MAX_EVENTS + 20):
        one = event("customer:ann", f"e{number}", "paid", x=1, shop=f"shop {number % 5}")
        windows.record(profile, one, digest(one.event_id), START + number, plan)
    assert [len(kept) // 32 for kept in profile.series["paid"].values()] == [windows.MAX_EVENTS]
    assert windows.value(profile, asked, START + HOUR, "UTC", "shop 3") == windows.MAX_EVENTS / 5


def test_beyond_the_limit_of_all_series_the_oldest_go() -> None:
    """Nine full series hold no more than eight, and a state of them fits a message many times."""
    asked = [window(f'sum("paid", "x{number}", "30d")') for number in range(12)]
    plan = windows.plan(asked)
    assert plan.crowded
    profile = Profile(FORMAT, "customer:ann")
    properties: dict[str, Any] = {f"x{each}": 1 for each in range(12)}
    for number in range(windows.MAX_EVENTS):
        one = event("customer:ann", f"e{number}", "paid", **properties)
        windows.record(profile, one, digest(one.event_id), START + number, plan)
    kept = sum(len(each) // windows.VALUE for each in profile.series["paid"].values())
    assert kept == windows.MAX_RECORDS
    assert len(encode(profile)) < 100_000


def test_last_values_are_bounded() -> None:
    """A merge of many keeps the newest."""
    many = {f"k{number}": {"x": Latest(number, bytes(8), 1)} for number in range(90)}
    more = {f"m{number}": {"x": Latest(number, bytes(8), 1)} for number in range(90)}
    one, two = Profile(FORMAT, "customer:ann", latest=many), Profile(FORMAT, "customer:bea", latest=more)
    windows.unite_series(one, two)
    assert sum(map(len, one.latest.values())) == windows.MAX_LATEST
    assert {"k89", "m89"} <= one.latest.keys()
    assert "k1" not in one.latest


# ---- merging, and a second way to count ----------------------------------------------------------------------------

KINDS, NAMES = ("paid", "seen"), ("", "x", "y", "\x1fy", "x\x1fy")
TIMES = st.integers(0, 6).map(lambda number: START + number * HOUR)
DIGESTS = st.integers(0, 12).map(lambda number: digest(f"event-{number}"))


def _series(found: list[tuple[int, bytes, float]], name: str) -> bytes:
    value, _, by = name.partition("\x1f")
    made = {
        mark: at.to_bytes(8, "big")
        + mark
        + (windows._double.pack(x) if value else b"")
        + (windows.sameness(x) or b"" if by else b"")
        for at, mark, x in found
    }
    return b"".join(sorted(made.values()))


SERIES = st.dictionaries(
    st.sampled_from(KINDS),
    st.dictionaries(
        st.sampled_from(NAMES),
        st.lists(st.tuples(TIMES, DIGESTS, st.sampled_from([1.0, 2.5])), min_size=1, max_size=6),
        min_size=1,
    ).map(lambda kept: {name: _series(found, name) for name, found in kept.items()}),
)
LATEST = st.dictionaries(
    st.sampled_from(KINDS),
    st.dictionaries(
        st.sampled_from(("x", "y")), st.builds(Latest, TIMES, DIGESTS, st.sampled_from([1, "a", True])), min_size=1
    ),
)
PROFILES = st.builds(Profile, format=st.just(FORMAT), id=st.just("customer:ann"), series=SERIES, latest=LATEST)


def _union(*profiles: Profile) -> Profile:
    first, *others = (decode(encode(profile)) for profile in profiles)
    for other in others:
        windows.unite_series(first, other)
    return decode(content(first))


@pytest.mark.parametrize("limits", [(500, 4000, 100), (3, 7, 2)], ids=["as they are", "small"])
@examples(50)
@given(PROFILES, PROFILES, PROFILES)
def test_uniting_is_associative_commutative_and_idempotent(
    limits: tuple[int, int, int], one: Profile, two: Profile, three: Profile
) -> None:
    """Within the limits and beyond them: what is kept is the greatest by a total order."""
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in zip(("MAX_EVENTS", "MAX_RECORDS", "MAX_LATEST"), limits, strict=True):
            patch.setattr(windows, name, limit)
        bounded = [_union(each, Profile(FORMAT, "")) for each in (one, two, three)]
        one, two, three = (_union(each, each) for each in bounded)
        both = _union(one, two)
        assert _union(one, two, three) == _union(one, _union(two, three))
        assert both == _union(two, one)
        assert both == _union(both, two) == _union(both, one)


SEEN = st.tuples(st.integers(0, 4 * 24 * 60), st.sampled_from(KINDS), st.integers(0, 30))
VALUES_SEEN = [1, 2.5, -3, "x", None]
ASKED = [
    *(f'{what}("paid", "x", "{span}")' for what in ("sum", "min", "max", "last") for span in ("90m", "2d", "this day")),
    *(f'count("{kind}", "{span}")' for kind in KINDS for span in ("90m", "2d", "this week")),
    *(f'{what}("paid", "x", "{span}", "y", 1)' for what in ("sum", "min", "max") for span in ("90m", "this day")),
    *(f'count("{kind}", "{span}", "y", 1)' for kind in KINDS for span in ("90m", "this week")),
]
WANTED = ["a", 1, True, None, "b"]


@examples(50)
@given(st.lists(SEEN, max_size=40), st.integers(0, 5 * 24 * 60))
def test_each_window_gives_what_a_plain_count_gives(seen: list[tuple[int, str, int]], later: int) -> None:
    """Against a list of all that was seen, each event once, looked through from its begin."""
    asked = [window(text) for text in ASKED]
    plan, profile = windows.plan(asked), Profile(FORMAT, "customer:ann")
    first: dict[tuple[str, int], tuple[int, Any, Any]] = {}
    now = START
    for minute, kind, number in sorted(seen):
        now, value = START + minute * MINUTE, VALUES_SEEN[number % len(VALUES_SEEN)]
        one = event("customer:ann", f"{kind}-{number}", kind, x=value, y=WANTED[number % len(WANTED)])
        if remember(profile, digest(one.event_id), now):  # as the engine does; a series forgets with its window
            windows.record(profile, one, digest(one.event_id), now, plan)
        first.setdefault((kind, number), (now, value, WANTED[number % len(WANTED)]))
        profile = decode(encode(profile))
    now += later * MINUTE
    for each, wanted in product(asked, WANTED):
        since = now - each.length + 1
        if each.unit:
            today = datetime.fromtimestamp(now / 1000, UTC).date().toordinal()
            begins = today - (today - 1) % 7 if each.unit == "week" else today
            since = int(datetime.combine(datetime.fromordinal(begins), datetime.min.time(), UTC).timestamp() * 1000)
        within = [
            (at, value)
            for (kind, _), (at, value, y) in first.items()
            if kind == each.kind and at >= since and (not each.by or (type(y) is type(wanted) and y == wanted))
        ]
        numbers = [float(value) for _, value in within if isinstance(value, int | float)]
        expected: Any = {
            "count": len(within),
            "sum": sum(numbers),
            "min": min(numbers, default=ABSENT),
            "max": max(numbers, default=ABSENT),
        }.get(each.what, ABSENT)
        try:
            found = windows.value(profile, each, now, "UTC", wanted)
        except Absent:
            found = ABSENT
        if each.by and wanted is None:
            assert found == ABSENT
        elif each.what == "last":
            usable = [(at, value) for at, value in within if value is not None]
            newest = max((at for at, _ in usable), default=0)
            assert found in [value for at, value in usable if at == newest] or (found == ABSENT and not usable)
        else:
            assert found == expected, each

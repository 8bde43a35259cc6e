"""Splits: sticky, even, and moved by nothing but their own names and percents."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from pydantic import ValidationError

from schemas.journey import Journey
from streams.engine.ids import percent
from streams.engine.splits import arm
from tests.engine.making import HOUR, Shop, journey

ARMS = {"plain": 50, "warm": 30, "none": 20}


def greeting(name: str = "hello", version: int = 1, arms: dict[str, int] | None = None) -> Journey:
    """A journey that tells, when it is entered and when asked, in which arm one is."""
    say = [{"stop_ads": {"say": 'split("greeting")'}}]
    stages = {"open": [{"on arrival": None, "do": say}, {"when": "tell", "do": say}]}
    return journey(name, stages, version=version, splits={"greeting": arms or ARMS}, again="always")


def arms_of(shop: Shop) -> dict[str, str]:
    """The arm of each customer."""
    return {action.profile: str(action.params["say"]) for action in shop.actions if action.journey == "hello"}


def test_arms_are_as_large_as_they_say() -> None:
    """Of 200,000 profiles, within ten standard deviations: chance would miss by that once in 10^23 runs."""
    found = Counter(arm("hello/greeting", f"customer:{number}", ARMS) for number in range(200_000))
    for name, share in ARMS.items():
        expected = 2000 * share
        assert abs(found[name] - expected) < 10 * (expected * (1 - share / 100)) ** 0.5, name


def test_every_whole_percent_is_as_large_as_every_other() -> None:
    """Each of the hundred places, by the same bound."""
    found = Counter(percent("hello/greeting", f"customer:{number}") for number in range(200_000))
    assert sorted(found) == list(range(100))
    assert all(abs(count - 2000) < 10 * (2000 * 0.99) ** 0.5 for count in found.values())


def test_experiments_are_independent() -> None:
    """Who is in one arm here is in either arm there: by the same bound."""
    both = Counter(
        (arm("one/greeting", who, {"a": 50, "b": 50}), arm("two/greeting", who, {"a": 50, "b": 50}))
        for who in (f"customer:{number}" for number in range(100_000))
    )
    assert all(abs(count - 25_000) < 10 * (25_000 * 0.75) ** 0.5 for count in both.values())


def test_changed_percents_move_as_few_as_can_be() -> None:
    """Growing an arm at its neighbour's expense moves those only; the order written means nothing."""
    profiles = [f"customer:{number}" for number in range(2_000)]
    steps = [{"plain": plain, "warm": 100 - plain} for plain in (10, 20, 50, 100)]
    for before, after in pairwise(steps):
        moved = [who for who in profiles if arm("x/y", who, before) != arm("x/y", who, after)]
        assert {arm("x/y", who, after) for who in moved} == {"plain"}
    assert all(arm("x/y", who, ARMS) == arm("x/y", who, dict(reversed(ARMS.items()))) for who in profiles)


def test_nothing_else_moves_anybody() -> None:
    """Another journey, another version, another policy's journeys: all stay in their arms."""
    shops = [
        Shop(greeting()),
        Shop(greeting(), greeting("other")),
        Shop(greeting(), greeting(version=2)),
        Shop(greeting(version=7), greeting("and", arms={"a": 100})),
    ]
    for shop in shops:
        for number in range(60):
            shop.see("hello", number, ids=f"customer:{number}")
    assert len(set(arms_of(shops[0]).values())) == 3
    assert all(arms_of(shop) == arms_of(shops[0]) for shop in shops)


def test_a_merge_moves_nobody() -> None:
    """A device's journey goes on as the customer's, in the arm that the device was in; a new one is the customer's."""
    for number in range(20):
        shop = Shop(greeting())
        shop.see("hello", 0, ids=f"device:{number}")
        shop.see("login", HOUR, ids=f"customer:ann,device:{number}")
        shop.see("tell", 2 * HOUR)
        first, second = [str(action.params["say"]) for action in shop.actions]
        assert first == second == arm("hello/greeting", f"device:{number}", ARMS)


def test_an_entrance_may_ask_for_the_arm() -> None:
    """Only some come in; asked inside, the arm is the same."""
    only_warm = journey(
        "hello",
        {"open": [{"on arrival": None, "do": [{"stop_ads": {"say": 'split("greeting")'}}]}]},
        enter={"when": "hello", "if": 'split("greeting") == "warm"'},
        splits={"greeting": ARMS},
    )
    shop = Shop(only_warm)
    for number in range(60):
        shop.see("hello", number, ids=f"customer:{number}")
    inside = {
        f"customer:{number}" for number in range(60) if arm("hello/greeting", f"customer:{number}", ARMS) == "warm"
    }
    assert arms_of(shop) == dict.fromkeys(inside, "warm")
    assert inside


@pytest.mark.parametrize("arms", [{}, {"a": 50}, {"a": 50, "b": 51}, {"a": 101, "b": -1}, {"a": 99.5, "b": 0.5}])
def test_arms_are_whole_percents_of_a_hundred(arms: dict[str, int]) -> None:
    """Whatever is not, is refused when the journey is read."""
    with pytest.raises(ValidationError):
        journey("hello", {"open": []}, splits={"greeting": arms})

"""A profile with a flood of events, or a journey with a hostile loop, takes nothing from the others."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest

from schemas.journal import TaskMark
from schemas.journey import Journey
from streams.engine.journeys import MAX_ARRIVALS, MAX_STEPS
from streams.engine.partition import Output, Partition
from streams.engine.store import MemoryStore
from streams.simulator import activations
from tests.engine.making import DAY, HOUR, START, Shop, event, journey, library

OTHERS = [f"customer:other-{number}" for number in range(20)]


def _says(text: str) -> list[dict[str, Any]]:
    return [{"stop_ads": {"say": text}}]


GOOD = journey("good", {"one": [{"after": "2h", "do": _says("reminder"), "end": True}]}, enter={"when": "view"})
HOSTILE = {
    "arrivals": journey(
        "hostile",
        {"one": [{"on arrival": None, "do": _says("x"), "to": "two"}], "two": [{"on arrival": None, "to": "one"}]},
    ),
    "timers that lead to each other": journey(
        "hostile", {"one": [{"after": "1s", "do": _says("x"), "to": "two"}], "two": [{"after": "1s", "to": "one"}]}
    ),
    "timers that lead into a circle of arrivals": journey(
        "hostile",
        {
            "one": [{"after": "1s", "to": "two"}],
            "two": [{"on arrival": None, "if": 'profile.count("hello") > 0', "to": "three"}],
            "three": [{"after": "1s", "to": "one"}],
        },
    ),
    "a thousand timers": journey(
        "hostile", {"one": [{"after": f"{number + 1}s", "do": _says("x")} for number in range(1000)]}
    ),
    "more timers than a thousand": journey(
        "hostile", {"one": [{"after": f"{number + 1}s", "do": _says("x")} for number in range(1100)]}
    ),
}


@pytest.mark.parametrize("loop", HOSTILE)
def test_a_hostile_loop_takes_nothing_from_others(loop: str) -> None:
    """Neither from other customers nor from the customer's other journeys; its own work for one entry is bounded.

    (What all journeys together may send a customer in a month has its own limit, which a loop that sends uses up.)
    """
    shop = Shop(GOOD, HOSTILE[loop])
    shop.see("hello", 0)
    shop.see("view", 0)
    for name in OTHERS:
        shop.see("view", 0, ids=name)
    shop.wait(DAY)
    assert {action.profile for action in shop.actions if action.params.get("say") == "reminder"} >= {*OTHERS}
    decided = [each.profile for each in shop.simulator.decisions if each.journey == "good"]
    assert sorted(decided) == sorted(["customer:ann", *OTHERS])
    moves = Counter(each.journey for each in shop.simulator.published.transitions)
    assert moves["good"] == 2 * len(decided)
    assert moves["hostile"] <= MAX_STEPS + MAX_ARRIVALS + 2
    assert len(shop.simulator.decisions) - len(decided) <= MAX_STEPS + 2  # the one beyond, and the end
    said = [each for each in shop.decisions("ended") if each.reason == "step-budget"]
    endless = loop != "a thousand timers"
    assert [(each.profile, each.journey, each.gate) for each in said] == (
        [("customer:ann", "hostile", "limits")] if endless else []
    )
    assert bool(shop.profile().instances["hostile"].ended) is endless


def test_the_budget_is_that_of_an_entry() -> None:
    """A loop that takes its time goes on: what it does between two entries stays within the budget."""
    slow = journey("slow", {"one": [{"after": "1m", "to": "two"}], "two": [{"after": "1m", "to": "one"}]})
    shop = Shop(slow)
    shop.see("hello", 0)
    for hour in range(1, 49):
        shop.wait(hour * HOUR)
    assert shop.decisions("ended") == []
    assert len(shop.simulator.published.transitions) == 1 + 48 * 60


def _effort(partition: Partition, offset: int, entries: list[Any]) -> int:
    """Python functions called to apply entries: the same on every machine."""
    calls = 0

    def count(_: Any, what: str, __: Any) -> None:
        nonlocal calls
        calls += what == "call"

    sys.setprofile(count)
    try:
        for number, entry in enumerate(entries):
            partition.apply(offset + number, entry)
    finally:
        sys.setprofile(None)
    return calls


def _partition(*definitions: Journey) -> tuple[Partition, int]:
    known = library(*definitions)
    partition = Partition(0, 1, known, MemoryStore())
    for offset, entry in enumerate(activations(known)):
        partition.apply(offset, entry)
    return partition, len(activations(known))


def _of(output: Output, profile: str) -> list[Any]:
    found: list[Any] = [*output.actions, *output.decisions, *output.transitions]
    return [each for each in found if each.profile == profile]


BANNERS = journey("banners", {"one": [{"when": "hello", "do": [{"banner": {"link": "/x"}}, *_says("seen")]}]})


def test_a_flood_of_one_customer_costs_no_more_than_others() -> None:
    """Half of all events are one customer's: each costs what another's does, and others get what they got without."""
    kinds = ("view", "hello", "hello")
    others = [event(OTHERS[n % 20], f"o-{n}", kinds[n % 3], START + n) for n in range(1000)]
    flood = [event("customer:flood", f"f-{n}", "hello", START + n) for n in range(4000)]
    (quiet, begin), (flooded, _) = _partition(GOOD, BANNERS), _partition(GOOD, BANNERS)
    alone = _effort(quiet, begin, others)
    _effort(flooded, begin, flood[:3000])
    mixed = [each for pair in zip(flood[3000:], others, strict=True) for each in pair]
    assert _effort(flooded, begin + 3000, mixed) <= 2.2 * alone
    for partition in (quiet, flooded):
        partition.apply(10_000, TaskMark(0, START + DAY))
    without, beside = quiet.collect(), flooded.collect()
    for name in OTHERS:
        assert _of(without, name) == _of(beside, name) != []

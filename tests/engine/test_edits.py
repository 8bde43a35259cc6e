"""Editing live journeys: who moves to a new version, where to, with which timers; and canaries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from schemas.journal import Activate, Merge, TaskMark
from schemas.journey import Journey
from streams.engine.partition import Partition, Slice, WorkRemains
from streams.engine.profile import content, decode, new_profile
from streams.engine.store import MemoryStore
from tests.engine.making import DAY, HOUR, START, Shop, event, journey, library

REMIND = {"after": "1d", "do": [{"message": {"say": "reminder"}}]}
FIRST = journey("card", {"looking": [{"when": "go", "to": "asking"}], "asking": [REMIND, {"after": "9d", "end": True}]})


def later(version: int, stages: dict[str, Any], **more: Any) -> Journey:
    """A later version that those in earlier ones follow."""
    return journey("card", stages, version=version, **({"edits": "follow"} | more))


IN_FORCE = [Activate("policy", "shop", 1, "fingerprint-1"), Activate("journey", "card", 1, "fingerprint-1")]


class Live:
    """A shop in which the first version is in force, and others are put in force by and by."""

    def __init__(self, *versions: Journey) -> None:
        self.shop = Shop(FIRST)
        self.shop.allow("marketing")
        self.shop.see("profile_updated", 0, email="ann@example.com")
        for each in versions:
            self.shop.simulator.library.add(each, f"fingerprint-{each.version}")

    def activate(self, version: int, at: int, **more: Any) -> None:
        """The version takes effect."""
        self.shop.wait(at)
        self.shop.simulator.write(Activate("journey", "card", version, f"fingerprint-{version}", **more))

    @property
    def at(self) -> tuple[int, str]:
        """Version and stage, with a trailing `.` when it has ended."""
        return self.shop.profile().instances["card"].version, self.shop.stage("card")


def test_pinned_is_the_rule() -> None:
    """Without `edits: follow` an instance stays with the version it entered with, and reacts by it."""
    live = Live(journey("card", {"looking": [{"when": "go", "end": True}]}, version=2))
    live.shop.see("hello", HOUR)
    live.activate(2, 2 * HOUR)
    assert live.at == (1, "looking")
    live.shop.see("go", 3 * HOUR)
    assert live.at == (1, "asking")
    live.shop.see("hello", 4 * HOUR, ids="customer:bea")
    live.shop.see("go", 5 * HOUR, ids="customer:bea")
    assert live.shop.stage("card", "customer:bea") == "looking."


@pytest.mark.parametrize(
    ("stages", "more", "found"),
    [
        ({"looking": [{"after": "9d", "end": True}]}, {}, (2, "looking")),
        ({"seen": [{"after": "9d", "end": True}]}, {"moved": {"looking": "seen"}}, (2, "seen")),
        ({"seen": [{"after": "9d", "end": True}]}, {"moved": {"asking": "seen"}}, (1, "looking")),
        ({"looking": [{"after": "9d", "end": True}]}, {"edits": "pinned"}, (1, "looking")),
    ],
    ids=["the stage is there", "mapped", "not mapped", "pinned"],
)
def test_where_one_goes(stages: dict[str, Any], more: dict[str, Any], found: tuple[int, str]) -> None:
    """To the stage of the same name, else where `moved` says, else nowhere."""
    live = Live(later(2, stages, **more))
    live.shop.see("hello", HOUR)
    live.activate(2, 2 * HOUR)
    assert live.at == found


def test_who_cannot_move_stays_and_the_decision_says_so() -> None:
    """An unmapped stage strands nobody: the instance goes on in its version."""
    live = Live(later(2, {"seen": [{"after": "9d", "end": True}]}))
    live.shop.see("hello", HOUR)
    live.activate(2, 2 * HOUR)
    (said,) = live.shop.decisions("pinned")
    assert (said.gate, said.reason, said.value, said.bound, said.stage, said.journey_version) == (
        "edit",
        "stage-not-mapped",
        "looking",
        "version 2",
        "looking",
        1,
    )
    live.shop.see("go", 3 * HOUR)
    assert live.at == (1, "asking")


def test_a_timer_is_that_of_the_new_version() -> None:
    """It counts from the moment the stage was entered; a shorter one comes sooner, without an event of the customer."""
    live = Live(later(2, {"asking": [{"after": "3d", "end": True}]}, enter={"when": "hello"}))
    live.shop.see("hello", 0)
    live.shop.see("go", 0)
    live.activate(2, 2 * DAY)
    live.shop.wait(3 * DAY - 1)
    assert live.at == (2, "asking")
    live.shop.wait(3 * DAY)
    assert live.at == (2, "asking.")
    assert live.shop.profile().instances["card"].ended == START + 3 * DAY


def test_a_timer_where_there_was_none() -> None:
    """Who had nothing to wait for is woken by the new version's timer."""
    live = Live(later(2, {"looking": [{"after": "3d", "end": True}]}))
    live.shop.see("hello", 0)
    assert live.shop.profile().wake == 0
    live.activate(2, DAY)
    live.shop.wait(3 * DAY)
    assert live.at == (2, "looking.")


def test_an_overdue_timer_fires_at_once() -> None:
    """At the moment of the edit, not in the past."""
    live = Live(later(2, {"looking": [{"after": "1h", "do": [{"message": {"say": "hurry"}}]}]}))
    live.shop.see("hello", 0)
    live.activate(2, 5 * HOUR)
    (action,) = live.shop.actions
    assert (action.params, action.proposed_at) == ({"say": "hurry"}, START + 5 * HOUR)
    live.shop.wait(20 * DAY)
    assert len(live.shop.actions) == 1


def test_what_has_fired_does_not_fire_again() -> None:
    """A timer with the same words is the same timer, wherever it stands in the new version and whatever it does."""
    again = {"after": "1d", "do": [{"message": {"say": "again"}}]}
    stages = {"waiting": [{"after": "2d", "do": [{"message": {"say": "second"}}]}, again, {"after": "9d", "end": True}]}
    live = Live(later(2, stages, moved={"asking": "waiting"}))
    live.shop.see("hello", 0)
    live.shop.see("go", 0)
    live.activate(2, DAY + HOUR)
    live.shop.wait(9 * DAY)
    assert live.shop.sent == ["reminder", "second"]
    assert live.at == (2, "waiting.")


def test_nothing_is_sent_because_of_the_edit_itself() -> None:
    """Who moves arrives nowhere: neither arrival nor goal; what was known stays known."""
    arrival = {"on arrival": None, "do": [{"message": {"say": "welcome"}}]}
    kept = {"when": "buy", "if": "vars.page == 7", "end": True}
    first = journey("card", {"looking": [{"when": "page", "set": {"page": "event.page"}}]})
    second = later(2, {"seen": [arrival, kept]}, moved={"looking": "seen"}, goal="seen")
    shop = Shop(first)
    shop.allow("marketing")
    shop.simulator.library.add(second, "fingerprint-2")
    shop.see("hello", 0)
    shop.see("page", 1, page=7)
    shop.simulator.write(Activate("journey", "card", 2, "fingerprint-2"))
    assert shop.actions == []
    assert shop.profile().instances["card"].converted == 0
    shop.see("buy", HOUR)
    assert shop.stage("card") == "seen."


def test_versions_may_be_skipped() -> None:
    """Whoever stayed behind moves with the next version that has a place for them."""
    wait = [{"after": "9d", "end": True}]
    live = Live(later(2, {"seen": wait}), later(3, {"looking": wait}))
    live.shop.see("hello", 0)
    live.activate(2, HOUR)
    assert live.at == (1, "looking")
    live.activate(3, 2 * HOUR)
    assert live.at == (3, "looking")


def test_an_instance_that_is_merged_in_follows() -> None:
    """What an identifier gathered in a partition that heard of the edit later moves when it arrives."""
    known = library(FIRST, later(2, {"seen": [{"after": "3d", "end": True}]}, moved={"looking": "seen"}))
    former = Partition(0, 1, library(FIRST), MemoryStore())
    entries: list[Any] = [*IN_FORCE]
    for offset, entry in enumerate([*entries, event("customer:old", "e", "hello", START)]):
        former.apply(offset, entry)
    gathered = content(decode(former.collect().states["customer:old"]))
    partition = Partition(0, 1, known, MemoryStore())
    entries.append(Activate("journey", "card", 2, "fingerprint-2"))
    for offset, entry in enumerate([*entries, *[Merge("customer:new", "customer:old", gathered)] * 2]):
        partition.apply(offset, entry)
    output = partition.collect()
    instance = decode(output.states["customer:new"]).instances["card"]
    assert (instance.version, instance.stage) == (2, "seen")
    assert [(move.from_stage, move.to_stage) for move in output.transitions] == [("looking", "seen")]
    assert decode(output.states["customer:new"]).wake == START + 3 * DAY
    assert new_profile("x").wake == 0


def slices(size: int) -> Iterator[list[str]]:
    """Fifty customers move, `size` at a time, each time after a crash; who moved, by transaction."""
    known = library(FIRST, later(2, {"looking": [{"after": "3d", "end": True}]}))
    store = MemoryStore()
    partition = Partition(0, 1, known, store)
    entries: list[Any] = [*IN_FORCE]
    entries += [event(f"customer:{number:03}", f"e-{number}", "hello", START) for number in range(50)]
    for offset, entry in enumerate(entries):
        partition.apply(offset, entry)
    store.write(partition.collect(), 0)
    offset, activate = len(entries), Activate("journey", "card", 2, "fingerprint-2")
    for number in range(20):
        partition.apply(offset + number, event(f"device:{number:03}", f"d-{number}", "hello", START))
    offset += 20
    store.write(partition.collect(), 0)
    while True:
        partition = Partition(0, 1, known, store, store.meta, slices=Slice(size, 1_000_000))
        try:
            partition.apply(offset, activate)
            remains = False
        except WorkRemains:
            remains = True
        output = partition.collect()
        store.write(output, 0)
        yield [move.profile for move in output.transitions]
        if not remains:
            break
    partition = Partition(0, 1, known, store, store.meta)
    partition.apply(offset + 1, TaskMark(0, START + 3 * DAY))
    assert {decode(state).instances["card"].ended for state in partition.collect().states.values()} == {START + 3 * DAY}


@pytest.mark.parametrize("size", [1, 7, 70, 1000])
def test_many_move_in_several_transactions(size: int) -> None:
    """Each once, in one order, however many a transaction holds and wherever it crashes; their timers stand."""
    found = list(slices(size))
    assert [name for moved in found for name in moved] == sorted(name for moved in found for name in moved)
    assert sum(map(len, found)) == 70
    assert max(map(len, found)) == min(size, 70)


def test_a_canary_is_for_a_share_of_those_who_enter() -> None:
    """Sticky, growing, and then for all; who is in it stays in it, whatever becomes of the share."""
    second = journey("card", {"looking": [{"when": "leave", "end": True}]}, version=2, again="always")
    first = journey("card", {"looking": [{"when": "leave", "end": True}]}, again="always")
    shop = Shop(first)
    shop.simulator.library.add(second, "fingerprint-2")
    names = [f"customer:{number}" for number in range(200)]

    def round_of(at: int, share: int) -> set[str]:
        shop.wait(at)
        shop.simulator.write(Activate("journey", "card", 2, "fingerprint-2", share, at=at))
        for name in names:
            shop.see("hello", at, ids=name)
        chosen = {name for name in names if shop.profile(name).instances["card"].version == 2}
        for name in names:
            shop.see("leave", at + 1, ids=name)
            assert shop.stage("card", name) == "looking."
        return chosen

    ten, half, none = round_of(HOUR, 10), round_of(2 * HOUR, 50), round_of(3 * HOUR, 0)
    assert 5 <= len(ten) <= 40
    assert 70 <= len(half) <= 130
    assert ten < half
    assert none == set()
    assert round_of(4 * HOUR, 100) == set(names)
    partition = shop.simulator.partitions[0]
    assert partition.canaries == {}
    assert partition.active["journey/card"] == (2, "fingerprint-2")


def test_a_canary_of_a_new_journey_lets_nobody_else_in() -> None:
    """And the event one enters with is not an event in the stage."""
    only = journey("news", {"first": [{"when": "hello", "end": True}]}, enter={"when": "hello"})
    shop = Shop(FIRST)
    shop.simulator.library.add(only, "n")
    shop.simulator.write(Activate("journey", "news", 1, "n", 50, at=1))
    for number in range(100):
        shop.see("hello", HOUR, ids=f"customer:{number}")
    entered = [number for number in range(100) if "news" in shop.profile(f"customer:{number}").instances]
    assert 30 <= len(entered) <= 70
    assert {shop.stage("news", f"customer:{number}") for number in entered} == {"first"}


@pytest.mark.parametrize(
    ("entries", "canaries", "active"),
    [
        ([(2, 10, 1), (2, 50, 2)], {"journey/card": (2, "fingerprint-2", 50, 2)}, 1),
        ([(2, 50, 2), (2, 10, 1)], {"journey/card": (2, "fingerprint-2", 50, 2)}, 1),
        ([(2, 10, 1), (3, 10, 0)], {"journey/card": (3, "fingerprint-3", 10, 0)}, 1),
        ([(3, 10, 1), (2, 10, 5)], {"journey/card": (3, "fingerprint-3", 10, 1)}, 1),
        ([(3, 10, 1), (2, 100, 5)], {"journey/card": (3, "fingerprint-3", 10, 1)}, 2),
        ([(2, 10, 1), (3, 100, 2)], {}, 3),
        ([(2, 100, 1), (2, 10, 2)], {}, 2),
    ],
)
def test_which_word_on_a_version_counts(
    entries: list[tuple[int, int, int]], canaries: dict[str, Any], active: int
) -> None:
    """The later version, then the later word; a version that all have is no canary again."""
    live = Live(*[journey("card", {"looking": [{"after": "1d", "end": True}]}, version=each) for each in (2, 3)])
    for version, share, at in entries:
        live.shop.simulator.write(Activate("journey", "card", version, f"fingerprint-{version}", share, at=at))
    partition = live.shop.simulator.partitions[0]
    assert partition.canaries == canaries
    assert partition.active["journey/card"][0] == active

"""One journal partition: how time enters it, in which order timers fire, and what a restart takes up."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from schemas.journal import OUTCOMES, TOUCHPOINTS, Activate, Mark, Origins, Stop, TaskMark
from streams.engine.partition import CACHED_BASE, CACHED_FACTOR, Meta, Output, Partition
from streams.engine.profile import FORMAT, Profile, StateError, decode, encode
from streams.engine.rules import UnknownDefinition
from streams.engine.store import MemoryStore
from streams.simulator import activations
from tests.engine.making import DAY, HOUR, MINUTE, START, event, journey, library

REMINDER = journey(
    "reminder",
    {
        "waiting": [{"after": "1h", "do": [{"stop_ads": {"say": "hour"}}], "to": "done"}],
        "done": [{"when": "x", "end": True}],
    },
)
KNOWN = library(REMINDER)


class One:
    """A partition, one of `count`, whose entries get their offsets here."""

    def __init__(self, count: int = 1, *, active: bool = True) -> None:
        self.store = MemoryStore()
        self.count, self.offset = count, -1
        self.partition = Partition(0, count, KNOWN, self.store)
        if active:
            self.read(*activations(KNOWN))

    def read(self, *entries: Any) -> None:
        """Apply entries in order."""
        for entry in entries:
            self.offset += 1
            self.partition.apply(self.offset, entry)

    def said(self) -> list[tuple[str, int]]:
        """(profile, time) of the actions since the last call."""
        return [(action.profile, action.proposed_at - START) for action in self.commit().actions]

    def commit(self) -> Output:
        """Everything since the last call, stored."""
        output = self.partition.collect()
        self.store.write(output, self.offset + 1)
        return output

    def restart(self) -> None:
        """Commit, and begin again from what was stored."""
        self.commit()
        self.partition = Partition(0, self.count, KNOWN, self.store, self.store.meta)


def _hello(profile: str, at: int) -> Any:
    return event(profile, f"hello-{profile}-{at}", "hello", START + at)


# ---- marks and the watermark


def test_the_least_mark_is_over_the_recorded_origins() -> None:
    """Unknown while one is missing; marks of the same origin never go back; the set never shrinks."""
    one = One()
    steps = [
        (Mark(TOUCHPOINTS, 0, 10), 0),
        (Origins([2, 1]), 0),
        (Mark(TOUCHPOINTS, 1, 7), 0),
        (Mark(OUTCOMES, 0, 9), 7),
        (Mark(TOUCHPOINTS, 1, 30), 9),
        (Mark(OUTCOMES, 0, 20), 10),
        (Mark(TOUCHPOINTS, 0, 5), 10),
        (Origins([1, 1]), 10),
        (Origins([3]), 0),
        (Mark(TOUCHPOINTS, 2, 8), 8),
    ]
    for entry, least in steps:
        one.read(entry)
        assert one.partition.least_mark == least, entry


def test_the_watermark_is_the_least_mark_of_all_tasks_and_never_goes_back() -> None:
    """It is zero until every task of the journal has spoken."""
    one = One(count=3)
    steps = [
        (TaskMark(0, 10), 0),
        (TaskMark(2, 30), 0),
        (TaskMark(1, 20), 10),
        (TaskMark(0, 25), 20),
        (TaskMark(0, 5), 20),
        (TaskMark(1, 40), 25),
        (TaskMark(0, 50), 30),
    ]
    for entry, watermark in steps:
        one.read(entry)
        assert one.partition.watermark == watermark, entry
    assert one.partition.own_mark == 50


def test_a_mark_of_a_router_moves_no_time() -> None:
    """Only what the tasks have read of each other's marks does: what they forward stands before it."""
    one = One()
    one.read(Origins([1]), _hello("customer:ann", 0), Mark(TOUCHPOINTS, 0, START + DAY))
    assert one.partition.least_mark == START + DAY
    assert (one.partition.watermark, one.said()) == (0, [])
    one.read(TaskMark(0, START + DAY))
    assert one.said() == [("customer:ann", HOUR)]


def test_timers_fire_in_order_of_due_time_and_profile() -> None:
    """Whatever the order in which they were set."""
    one = One()
    one.read(*(_hello(f"customer:{name}", at) for name, at in (("c", 5), ("a", 7), ("b", 5), ("d", 3))))
    one.read(TaskMark(0, START + HOUR + 6))
    assert one.said() == [("customer:d", HOUR + 3), ("customer:b", HOUR + 5), ("customer:c", HOUR + 5)]
    one.read(TaskMark(0, START + HOUR + 7))
    assert one.said() == [("customer:a", HOUR + 7)]
    one.read(TaskMark(0, START + 30 * DAY))
    assert one.said() == []


def test_no_timer_fires_before_its_time_or_twice() -> None:
    """A moment before, nothing; at the moment, once; by an entry or by the watermark, whichever comes first."""
    one = One()
    one.read(_hello("customer:ann", 0), TaskMark(0, START + HOUR - 1))
    assert one.said() == []
    one.read(event("customer:ann", "view", at=START + HOUR))
    assert one.said() == [("customer:ann", HOUR)]
    one.read(TaskMark(0, START + 2 * HOUR), TaskMark(0, START + DAY))
    assert one.said() == []


def test_an_entry_after_the_watermark_is_of_the_watermark() -> None:
    """`now` is the latest of record time, watermark, and the profile's last `now`."""
    one = One()
    one.read(TaskMark(0, START + 10 * MINUTE), _hello("customer:ann", 0), TaskMark(0, START + HOUR + 10 * MINUTE))
    assert one.said() == [("customer:ann", HOUR + 10 * MINUTE)]


# ---- offsets, restarts


def test_an_entry_at_or_below_the_profiles_offset_is_skipped() -> None:
    """What is read again after a crash changes nothing and says nothing."""
    one = One()
    entries = [_hello("customer:ann", 0), TaskMark(0, START + 2 * HOUR), event("customer:ann", "view", at=START + HOUR)]
    one.read(*entries)
    one.said()
    before, one.offset = dict(one.store.states), one.offset - len(entries)
    one.restart()
    one.read(*entries)
    output = one.commit()
    assert (output.actions, output.decisions, output.states, output.meta) == ([], [], {}, None)
    assert one.store.states == before


def test_a_restart_takes_up_timers_marks_definitions_and_stops() -> None:
    """From the stored states and the partition's own record."""
    one = One()
    one.read(Origins([1, 1]), Mark(0, 0, 9), TaskMark(0, 4), Stop("journey:other"), _hello("customer:ann", 0))
    before = one.partition
    one.restart()
    after = one.partition
    assert (after.watermark, after.origins, after.active, after.own_mark) == (
        before.watermark,
        before.origins,
        before.active,
        before.own_mark,
    )
    assert after.rules.stops == {"journey:other"}
    assert one.store.due(None, START + DAY, 10) == [(START + HOUR, "customer:ann")]
    one.read(TaskMark(0, START + HOUR))
    assert one.said() == [("customer:ann", HOUR)]


def test_a_definition_that_is_not_known_here_stops_before_it_changes_anything() -> None:
    """The task waits until it is published; then the same entry goes through."""
    one = One(active=False)
    with pytest.raises(UnknownDefinition, match="journey reminder version 1 with fingerprint other is not known here"):
        one.read(Activate("journey", "reminder", 1, "other"))
    assert one.partition.active == {}
    assert one.partition.collect().meta is None
    one.offset -= 1
    one.read(Activate("journey", "reminder", 1, "fingerprint-1"))
    assert one.partition.active == {"journey/reminder": (1, "fingerprint-1")}


def test_a_state_of_a_later_format_is_refused_not_guessed_at() -> None:
    """Of a profile and of the partition; damage is named as such."""
    with pytest.raises(StateError, match="upgrade first"):
        decode(encode(Profile(FORMAT + 1, "customer:ann")))
    with pytest.raises(StateError, match="cannot be read"):
        decode(b"\x93\x01\x02")
    with pytest.raises(StateError, match="reads up to"):
        Partition(0, 1, KNOWN, MemoryStore(), msgspec.msgpack.encode(Meta(FORMAT + 1)))


def test_each_touched_state_is_encoded_once_and_untouched_ones_not_at_all() -> None:
    """However many entries came; the partition's own record only when it changed."""
    one = One()
    one.said()
    one.read(_hello("customer:ann", 0), event("customer:ann", "view", at=START + 1), _hello("customer:bea", 2))
    output = one.partition.collect()
    assert sorted(output.states) == ["customer:ann", "customer:bea"]
    assert output.meta is None
    assert decode(output.states["customer:ann"]).offset == one.offset - 1
    assert one.partition.collect().states == {}


def test_what_is_not_collected_yet_is_not_trimmed() -> None:
    """A touched state lives in the cache until it is in the store."""
    one = One()
    one.read(_hello("customer:ann", 0))
    one.partition.trim(0)
    one.read(event("customer:ann", "view", at=START + 1))
    one.said()
    assert decode(one.store.states["customer:ann"]).total(None) == 2
    one.partition.trim(0)
    assert one.partition._cache == {}


# ---- the cache


class Counting(MemoryStore):
    """A store that counts what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: Counter[str] = Counter()

    def load(self, profile: str) -> tuple[bytes, int] | None:
        """Count, and load."""
        self.loads[profile] += 1
        return super().load(profile)


LIMIT = 100_000


def test_the_cache_is_bounded_by_bytes_and_keeps_what_is_used() -> None:
    """Of a thousand profiles, each used once, and one used all the time, that one is loaded once."""
    one = One()
    one.store = Counting()
    one.partition = Partition(0, 1, KNOWN, one.store)
    largest = 0.0
    for number in range(1000):
        one.read(_hello(f"customer:{number}", number), event("customer:hot", f"hot-{number}", "hello", START + number))
        one.commit()
        one.partition.trim(LIMIT)
        cached = one.partition._cache.keys() | one.partition._older.keys()
        largest = max(largest, sum(CACHED_BASE + CACHED_FACTOR * len(one.store.states[name]) for name in cached))
    assert LIMIT / 2 < largest < LIMIT + 2 * (CACHED_BASE + CACHED_FACTOR * 2000)
    assert set(one.store.loads.values()) == {1}
    for names in (one.partition._sizes, one.partition._timers._alarms):
        assert names.keys() <= cached
    one.read(event("customer:0", "back", at=START + 1000), event("customer:999", "back", at=START + 1000))
    assert (one.store.loads["customer:0"], one.store.loads["customer:999"]) == (2, 1)


def test_one_profile_larger_than_the_cache_is_not_kept() -> None:
    """Nor is a batch that takes more than all of it: what has been committed goes."""
    one = One()
    one.read(_hello("customer:ann", 0))
    one.commit()
    one.partition.trim(1)
    assert one.partition._cache | one.partition._older == {}

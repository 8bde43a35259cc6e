"""Timers: found in order whatever was stored meanwhile, and fired in slices that nobody can tell from one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.journal import Entry, TaskMark
from streams.engine.partition import Output, Partition, Slice, WorkRemains
from streams.engine.step import Step
from streams.engine.store import MemoryStore
from streams.engine.timers import Timers
from streams.simulator import activations
from tests.engine.effort import examples
from tests.engine.making import DAY, HOUR, MINUTE, START, event, journey, library

OUTAGE = 33_334  # customers, of whom each has three timers
CHAIN = journey(
    "chain",
    {
        "waiting": [{"after": "1h", "do": [{"stop_ads": {"say": "hour"}}], "to": "more"}],
        "more": [{"after": "1h", "to": "silent"}],
        "silent": [{"after": "3h of silence", "do": [{"stop_ads": {"say": "silence"}}], "end": True}],
    },
)
LOOP = journey("loop", {"one": [{"after": "1m", "to": "two"}], "two": [{"after": "1m", "to": "one"}]})
encode = msgspec.msgpack.Encoder().encode


class Sleepers:
    """Profiles that are only woken, and what is known of them outside the cache."""

    def __init__(self) -> None:
        self.store, self.now = MemoryStore(), 0
        self.timers = Timers(self.store)
        self.wakes: dict[str, int] = {}
        self.alarms: dict[str, int] = {}
        self.cached: set[str] = set()
        self.touched: set[str] = set()
        self.flight: list[Output] = []

    def load(self, name: str) -> None:
        """As a partition does: an alarm in the past says nothing."""
        if name not in self.cached and self.alarms.get(name, 0) > self.now:
            self.timers.learn(name, self.alarms[name])
        self.cached.add(name)

    def set(self, name: str, wait: int) -> None:
        """A profile wants to be woken, earlier or later than it said, or at a time that has passed."""
        self.load(name)
        self.touched.add(name)
        self.wakes[name] = max(1, self.now + wait)
        self.timers.schedule(name, self.wakes[name])

    def collect(self) -> None:
        """A transaction begins; the one before has ended."""
        self.stored()
        self.alarms |= {name: self.timers.alarm(name) for name in self.touched}
        self.touched.clear()
        self.flight.append(Output(Step(), {}, None, {}, self.timers.collect()))

    def stored(self) -> None:
        """A transaction has ended."""
        while self.flight:
            self.store.write(self.flight.pop(), 0)

    def forget(self) -> None:
        """Everything leaves the cache."""
        self.collect()
        self.stored()
        self.timers.forget(self.cached)
        self.cached.clear()

    def pass_to(self, moment: int) -> list[tuple[int, str]]:
        """Time passes; who was woken."""
        heard = []
        while (timer := self.timers.take(moment)) is not None:
            due, name = timer
            self.load(name)
            if self.timers.rang(timer, self.wakes.get(name, 0)):
                heard.append((due, name))
                self.touched.add(name)
                del self.wakes[name]
        self.now = moment
        return heard


@examples(300)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.sampled_from("abcdef"), st.integers(-5, 30)),
            st.tuples(st.sampled_from(["collect", "stored", "forget"])),
            st.tuples(st.just("pass"), st.integers(1, 8)),
        ),
        max_size=40,
    )
)
def test_each_profile_is_woken_when_it_wants_and_in_order(steps: list[tuple[Any, ...]]) -> None:
    """Whatever was collected, stored or forgotten in between, and however often it changed its mind."""
    all_ = Sleepers()
    for step, *arguments in steps:
        if step == "pass":
            moment = all_.now + arguments[0]
            expected = sorted((wake, name) for name, wake in all_.wakes.items() if wake <= moment)
            assert all_.pass_to(moment) == expected
        else:
            getattr(all_, step)(*arguments)
    all_.forget()
    expected = sorted((wake, name) for name, wake in all_.wakes.items())
    assert all_.pass_to(all_.now + 100) == expected


def test_a_timer_that_every_event_moves_is_written_once() -> None:
    """Until it is due: then it is written for later."""
    all_ = Sleepers()
    all_.set("a", 10)
    for _ in range(5):
        all_.collect()
        assert all_.pass_to(all_.now + 1) == []
        all_.set("a", 10)
    all_.collect()
    all_.stored()
    assert all_.store.due(None, 100, 10) == [(10, "a")]
    assert all_.pass_to(14) == []
    all_.collect()
    all_.stored()
    assert all_.store.due(None, 100, 10) == [(15, "a")]


# ---- slices


class Published:
    """A partition's outputs in order, and what it leaves, when its timers fire in slices of `slices`."""

    def __init__(self, entries: list[Entry], slices: Slice | None, *, crash: bool = False, trim: bool = False) -> None:
        self.store, self.slices, self.transactions, self.largest = MemoryStore(), slices, 0, (0, 0)
        self.effects: dict[str, list[bytes]] = {}
        self._begin()
        for offset, entry in enumerate(entries):
            while True:
                try:
                    self.partition.apply(offset, entry)
                    break
                except WorkRemains:
                    self.commit(offset)
                    if crash:
                        self._begin()
                    elif trim:
                        self.partition.trim(0)
        self.commit(len(entries))

    def _begin(self) -> None:
        self.partition = Partition(0, 1, KNOWN, self.store, self.store.meta, slices=self.slices)

    def commit(self, offset: int) -> None:
        """One transaction."""
        self.transactions += 1
        timers, size = self.partition.fired
        self.largest = max(self.largest[0], timers), max(self.largest[1], size)
        output = self.partition.collect()
        self.store.write(output, offset)
        for name in ("actions", "decisions", "withdrawals", "entries", "transitions"):
            self.effects.setdefault(name, []).extend(map(encode, getattr(output, name)))


KNOWN = library(CHAIN, LOOP)


def _outage(customers: int) -> list[Entry]:
    """Everyone says hello within half an hour, some again; then a day passes at once."""
    names = [f"customer:{number * 7919 % customers}" for number in range(customers)]
    entries: list[Entry] = list(activations(library(CHAIN)))
    entries += [event(name, f"e-{n}", "hello", START + n * HOUR // (2 * customers)) for n, name in enumerate(names)]
    entries.append(TaskMark(0, START + HOUR // 2))
    entries += [event(name, f"again-{name}", "again", START + HOUR // 2) for name in names[::5]]
    return [*entries, TaskMark(0, START + DAY), event(names[0], "last", "last", START + DAY)]


def test_a_hundred_thousand_timers_after_an_outage_give_the_bytes_of_one_transaction() -> None:
    """In transactions of 500 timers, each begun anew from what the last one stored, the offset before the mark."""
    entries = _outage(OUTAGE)
    whole = Published(entries, None)
    sliced = Published(entries, Slice(500, 16_000_000), crash=True)
    assert (whole.transactions, len(whole.effects["actions"])) == (1, 2 * OUTAGE)
    assert sliced.transactions >= 3 * OUTAGE // 500
    assert sliced.largest[0] == 500
    for name, effects in whole.effects.items():
        assert sliced.effects[name] == effects, name
    assert (sliced.store.states, sliced.store.meta) == (whole.store.states, whole.store.meta)
    assert sliced.store.due(None, START + 30 * DAY, 10) == []


@pytest.mark.parametrize("how", [{"crash": True}, {"trim": True}, {}], ids=["crash", "trim", "go on"])
@pytest.mark.parametrize("slices", [Slice(1, 1_000_000), Slice(7, 1_000_000), Slice(1000, 1), Slice(1000, 3000)])
def test_slices_are_cut_by_number_and_by_bytes(slices: Slice, how: dict[str, bool]) -> None:
    """Whichever comes first; the worker goes on, or begins anew, or has dropped what it had cached."""
    entries = _outage(30)
    whole, sliced = Published(entries, None), Published(entries, slices, **how)
    assert sliced.effects == whole.effects
    assert (sliced.store.states, sliced.store.meta) == (whole.store.states, whole.store.meta)
    timers, size = sliced.largest
    assert timers <= slices.timers
    assert size <= slices.bytes + 2000  # one timer's worth beyond
    assert sliced.transactions >= max(90 / slices.timers, whole.transactions)


def test_the_step_budget_is_that_of_the_mark_not_of_a_slice() -> None:
    """A loop that goes round too often by one mark ends at the same turn, wherever the mark was cut."""
    entries: list[Entry] = [
        *activations(library(LOOP)),
        event("customer:ann", "e", "hello"),
        event("customer:bea", "f", "hello"),
    ]
    entries += [TaskMark(0, START + 600 * MINUTE), TaskMark(0, START + 5000 * MINUTE)]
    whole = Published(entries, None)
    assert len(whole.effects["decisions"]) == 2
    for slices in (Slice(3, 1_000_000), Slice(997, 1_000_000)):
        sliced = Published(entries, slices, crash=True)
        assert sliced.effects == whole.effects
        assert (sliced.store.states, sliced.store.meta) == (whole.store.states, whole.store.meta)


def test_a_mark_counts_when_all_of_it_has_been_applied() -> None:
    """Until then time stands where it stood."""
    store = MemoryStore()
    partition = Partition(0, 1, KNOWN, store, slices=Slice(1, 1_000_000))
    for offset, entry in enumerate(
        [*activations(library(CHAIN)), event("customer:a", "a", "hello"), event("customer:b", "b", "hello")]
    ):
        partition.apply(offset, entry)
    with pytest.raises(WorkRemains):
        partition.apply(3, TaskMark(0, START + HOUR))
    assert (partition.watermark, partition.own_mark, partition.fired[0]) == (0, 0, 1)
    partition.apply(3, TaskMark(0, START + HOUR))
    assert (partition.watermark, partition.own_mark, partition.fired[0]) == (START + HOUR, START + HOUR, 2)

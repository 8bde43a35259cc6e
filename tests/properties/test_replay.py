"""Same journal, same bytes: whatever the batches, restarts and crashes, and however often states are written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.journal import Activate, Entry, Mark, Origins, ProfileEntry, encode, partition_of
from schemas.journal import decode as decode_entry
from streams.engine.partition import Partition, Slice
from streams.engine.profile import decode
from streams.engine.profile import encode as encode_state
from streams.engine.step import Effects
from streams.engine.store import MemoryStore
from streams.simulator import replay
from tests.engine.effort import examples
from tests.properties.logs import ANYONE, DEFINITIONS, OUTCOMES, Seen, logs, play, run

LOGS = logs(ANYONE, switches=True)


def _without_outcomes(log: list[Seen]) -> list[Seen]:
    """Outcomes name an action by its number, and so by the order of partitions."""
    return [step for step in log if step.kind not in OUTCOMES]


def _journals(log: list[Seen], partitions: int = 2) -> list[list[Entry]]:
    return play(log, partitions).simulator.journal


@examples(40)
@given(LOGS)
def test_the_size_of_batches_changes_nothing(log: list[Seen]) -> None:
    """One entry at a time, seven, or all at once: the same bytes published and left."""
    journals = _journals(log)
    for index, journal in enumerate(journals):
        whole = run(journal, index, len(journals), DEFINITIONS, collect=lambda _: False)
        for size in (1, 7, 5000):
            some = run(journal, index, len(journals), DEFINITIONS, collect=lambda at, n=size: at % n == n - 1)  # type: ignore[misc]
            assert some == whole


@examples(60)
@given(LOGS)
def test_a_state_may_go_through_its_codec_after_every_step(log: list[Seen]) -> None:
    """Nothing lives in memory alone."""
    journals = _journals(log)
    for index, journal in enumerate(journals):
        whole = run(journal, index, len(journals), DEFINITIONS, collect=lambda _: False)
        assert run(journal, index, len(journals), DEFINITIONS, collect=lambda _: True, trim=True) == whole


@examples(40)
@given(LOGS, st.data())
def test_a_crash_at_any_entry_changes_nothing(log: list[Seen], data: st.DataObject) -> None:
    """Begin anew from what was stored, after every entry, and after any choice of them."""
    journals = _journals(log)
    for index, journal in enumerate(journals):
        whole = run(journal, index, len(journals), DEFINITIONS, collect=lambda _: False)
        everywhere = run(journal, index, len(journals), DEFINITIONS, collect=lambda _: False, restart=lambda _: True)
        assert everywhere == whole
        cuts = data.draw(st.sets(st.integers(0, len(journal) - 1), max_size=3), label="crashes after")
        assert (
            run(journal, index, len(journals), DEFINITIONS, collect=lambda _: False, restart=cuts.__contains__) == whole
        )


@examples(40)
@given(LOGS, st.integers(1, 3))
def test_a_crash_after_any_slice_of_timers_changes_nothing(log: list[Seen], timers: int) -> None:
    """Begin anew after every few timers of a mark, with the offset before it."""
    journals = _journals(log)
    for index, journal in enumerate(journals):
        whole = run(journal, index, len(journals), DEFINITIONS, collect=lambda _: False)
        few = Slice(timers, 1_000_000)
        for slices in (few, Slice(1000, 1)):  # by number and by bytes
            assert run(journal, index, len(journals), DEFINITIONS, collect=lambda _: False, slices=slices) == whole


@examples(40)
@given(LOGS, st.data())
def test_what_is_read_again_after_a_crash_says_nothing_new(log: list[Seen], data: st.DataObject) -> None:
    """Where output is acknowledged before state, entries repeat: what they say has been said, with the same bytes."""
    journals = _journals(log)
    for index, journal in enumerate(journals):
        whole = run(journal, index, len(journals), DEFINITIONS, collect=lambda _: False)
        cut = data.draw(st.integers(0, len(journal)), label="crash after")
        lost = data.draw(st.integers(0, cut), label="last stored after")
        before = run(journal[:cut], index, len(journals), DEFINITIONS, collect=lambda _: False)
        again = run(
            journal,
            index,
            len(journals),
            DEFINITIONS,
            collect=lambda _: False,
            restart=lambda at, n=lost: at == n - 1,  # type: ignore[misc]
        )
        assert set(before.published) <= set(again.published)
        assert again == whole


@examples(40)
@given(LOGS)
def test_a_dumped_journal_gives_what_was_published(log: list[Seen]) -> None:
    """Oracle (2): entries through their bytes, and the same actions, decisions, states and entries for others."""
    simulator = play(log, 2).simulator
    dumped = {
        index: [(offset, decode_entry(encode(entry))) for offset, entry in enumerate(journal)]
        for index, journal in enumerate(simulator.journal)
    }
    published, states = replay(dumped, 2, DEFINITIONS, every=3)
    assert states == simulator.states()
    for name in ("actions", "decisions", "withdrawals", "suppressions", "identities"):
        for index in range(2):
            ours, theirs = (
                [each for each in getattr(source, name) if partition_of(_profile(each), 2) == index]
                for source in (simulator.published, published)
            )
            if name != "suppressions":
                assert ours == theirs, name
        assert sorted(map(repr, getattr(simulator.published, name))) == sorted(map(repr, getattr(published, name)))
    assert published.entries == simulator.published.entries


def _profile(effect: object) -> str:
    return effect[0] if isinstance(effect, tuple) else effect.profile  # type: ignore[attr-defined,no-any-return]


@examples(60)
@given(LOGS)
def test_a_state_survives_its_codec(log: list[Seen]) -> None:
    """Decoded and encoded again, it is the same bytes."""
    for state in play(log, 1).simulator.states().values():
        assert encode_state(decode(state)) == state


@examples(30)
@given(logs().map(_without_outcomes), st.integers(1, 7))
def test_the_number_of_partitions_changes_no_action(log: list[Seen], partitions: int) -> None:
    """For customers with one identifier each, ids and order per profile are the same on any number of partitions."""
    one, many = play(log, 1), play(log, partitions)

    def by_profile(effects: list[object]) -> dict[str, list[object]]:
        found: dict[str, list[object]] = {}
        for each in effects:
            found.setdefault(_profile(each), []).append(each)
        return found

    assert by_profile(list(one.actions)) == by_profile(list(many.actions))
    assert by_profile(list(one.simulator.decisions)) == by_profile(list(many.simulator.decisions))


def _effects(partition: Partition) -> tuple[list[list[bytes]], dict[str, bytes], bytes | None]:
    output = partition.collect()
    kinds = [[msgspec.msgpack.encode(each) for each in getattr(output, kind)] for kind in Effects.KINDS]
    return kinds, output.states, output.meta


@examples(60)
@given(LOGS, st.data())
def test_profiles_may_be_applied_one_after_the_other(log: list[Seen], data: st.DataObject) -> None:
    """As one does to keep a profile at hand: the same effects in the same order, and the same states."""
    journals = _journals(log)
    # Without the tasks' marks, whole logs stand between two entries that touch profiles.
    kept = data.draw(st.sampled_from([(Entry,), (ProfileEntry, Mark, Activate, Origins)]), label="entries")
    for index, each in enumerate(journals):
        journal = [entry for entry in each if isinstance(entry, kept)]
        one = Partition(index, len(journals), DEFINITIONS, MemoryStore())
        other = Partition(index, len(journals), DEFINITIONS, MemoryStore())
        cuts = data.draw(st.sets(st.integers(0, len(journal)), max_size=3), label="cuts")
        profiles: dict[str, list[Any]] = {}

        def flush(machine: Partition = other, waiting: dict[str, list[Any]] = profiles) -> None:
            for name, records in waiting.items():
                machine.apply_profile(name, records)
            waiting.clear()

        for offset, entry in enumerate(journal):
            one.apply(offset, entry)
            if offset in cuts:
                flush()
            if isinstance(entry, ProfileEntry):
                record = SimpleNamespace(offset=offset, value=encode(entry))
                profiles.setdefault(entry.profile, []).append(record)
            else:
                if other.touches_profiles(entry):
                    flush()
                other.apply(offset, entry)
        flush()
        assert _effects(other) == _effects(one)

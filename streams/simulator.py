"""Router and engine on a journal in memory: the same computation as a running installation, without Kafka.

`Simulator` plays touchpoints, as `polku simulate --events`, `polku test` and the explanations do. `replay` feeds the
entries of a journal that was dumped from Kafka, partition by partition, and gives what was published, byte for byte.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schemas.definition import KINDS
from schemas.identifiers import DEFAULT_KINDS
from schemas.journal import (
    OUTCOMES,
    TOUCHPOINTS,
    Activate,
    Entry,
    Mark,
    Origin,
    Origins,
    ProfileEntry,
    TaskMark,
    partition_of,
)
from streams.engine.partition import Output, Partition
from streams.engine.profile import Profile, decode
from streams.engine.routing import Router
from streams.engine.store import MemoryStore

if TYPE_CHECKING:
    from schemas.action import Action, Identity, Suppression, Withdrawal
    from schemas.decision import Decision
    from schemas.outcome import Outcome
    from schemas.touchpoint import Touchpoint
    from streams.engine.rules import Library
    from streams.engine.step import Transition


@dataclass(slots=True)
class Published:
    """Everything that a run published, in order per source partition."""

    actions: list[Action] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    withdrawals: list[Withdrawal] = field(default_factory=list)
    suppressions: list[tuple[str, Suppression | None]] = field(default_factory=list)
    identities: list[tuple[str, Identity | None]] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    entries: dict[tuple[int, int], list[ProfileEntry]] = field(default_factory=dict)

    def take(self, source: int, count: int, output: Output) -> None:
        """Add what journal partition `source` of `count` wants done."""
        self.actions += output.actions
        self.decisions += output.decisions
        self.withdrawals += output.withdrawals
        self.suppressions += output.suppressions
        self.identities += output.identities
        self.transitions += output.transitions
        for entry in output.entries:
            target = partition_of(entry.profile, count)
            self.entries.setdefault((source, target), []).append(entry)


def activations(library: Library) -> list[Activate]:
    """The entries that put the newest version of every definition of a library in force, in the order of KINDS."""
    newest: dict[tuple[str, str], tuple[int, str]] = {}
    for kind in KINDS:
        for (name, version), (fingerprint, _) in library.of(kind).items():
            newest[kind, name] = max(newest.get((kind, name), (0, "")), (version, fingerprint))
    return [Activate(kind, name, version, fingerprint) for (kind, name), (version, fingerprint) in newest.items()]


class Simulator:
    """A whole installation in memory: one origin partition per topic, `partitions` journal partitions.

    Time is that of the records (ms): each touchpoint comes `at` a time, and what is due before it happens before it.
    """

    def __init__(
        self, library: Library, partitions: int = 4, kinds: tuple[str, ...] = DEFAULT_KINDS, *, activate: bool = True
    ) -> None:
        """With `activate`, the newest version of every definition in `library` is in force from the start."""
        self.count, self.library = partitions, library
        self.stores = [MemoryStore() for _ in range(partitions)]
        self.partitions = [Partition(index, partitions, library, self.stores[index]) for index in range(partitions)]
        self.journal: list[list[Entry]] = [[] for _ in range(partitions)]
        self.published = Published()
        self.now = 0
        self._router = Router(kinds)
        self._offsets = [0, 0]
        self._queues: list[deque[tuple[int, Entry]]] = [deque() for _ in range(partitions)]
        self.broadcast(Origins([1, 1]))
        if activate:
            for entry in activations(library):
                self.broadcast(entry)
        self._run()

    def touchpoint(self, touchpoint: Touchpoint, at: int) -> None:
        """A touchpoint is recorded at `at`; times never go back."""
        self._arrive(at)
        origin = Origin(TOUCHPOINTS, 0, self._offsets[TOUCHPOINTS], self.now)
        self._offsets[TOUCHPOINTS] += 1
        self._route(self._router.touchpoint(origin, touchpoint))

    def outcome(self, outcome: Outcome, at: int) -> None:
        """An outcome is recorded at `at`."""
        self._arrive(at)
        origin = Origin(OUTCOMES, 0, self._offsets[OUTCOMES], self.now)
        self._offsets[OUTCOMES] += 1
        self._route(self._router.outcome(origin, outcome))

    def advance_to(self, at: int) -> None:
        """Time passes; what is due by `at` happens."""
        self.now = max(self.now, at)
        for topic in (TOUCHPOINTS, OUTCOMES):
            self.broadcast(Mark(topic, 0, self.now))
        self._run()
        for index, partition in enumerate(self.partitions):
            self.broadcast(TaskMark(index, partition.least_mark))
        self._run()

    def write(self, entry: Entry) -> None:
        """Write an entry to every journal partition, and let it take effect."""
        self.broadcast(entry)
        self._run()

    def broadcast(self, entry: Entry) -> None:
        """Write an entry to every journal partition."""
        for index in range(self.count):
            self._append(index, entry)

    @property
    def actions(self) -> list[Action]:
        """The actions published so far."""
        return self.published.actions

    @property
    def decisions(self) -> list[Decision]:
        """The decisions published so far."""
        return self.published.decisions

    @property
    def withdrawals(self) -> list[Withdrawal]:
        """The withdrawals published so far."""
        return self.published.withdrawals

    def profile(self, name: str) -> Profile | None:
        """The state of profile kind:id as it stands, or of the customer it has become part of."""
        while True:
            state = self.stores[partition_of(name, self.count)].states.get(name)
            if state is None:
                return None
            profile = decode(state)
            follow = profile.alias or profile.owner
            if follow is None:
                return profile
            name = follow

    def states(self) -> dict[str, bytes]:
        """Every profile's encoded state."""
        return {name: state for store in self.stores for name, state in store.states.items()}

    def _arrive(self, at: int) -> None:
        if at > self.now:
            # What is due before the new record happens first, as in a worker that has read its logs to their ends.
            self.advance_to(at - 1)
        self.now = max(self.now, at)

    def _route(self, entries: Iterable[ProfileEntry]) -> None:
        for entry in entries:
            self._append(partition_of(entry.profile, self.count), entry)
        self._run()

    def _append(self, index: int, entry: Entry) -> None:
        self._queues[index].append((len(self.journal[index]), entry))
        self.journal[index].append(entry)

    def _run(self) -> None:
        while any(self._queues):
            for index, queue in enumerate(self._queues):
                partition = self.partitions[index]
                while queue:
                    offset, entry = queue.popleft()
                    partition.apply(offset, entry)
                output = partition.collect()
                self.stores[index].write(output, 0)
                self.published.take(index, self.count, output)
                for sent in output.entries:
                    self._append(partition_of(sent.profile, self.count), sent)


def replay(
    journal: Mapping[int, Iterable[tuple[int, Entry]]], count: int, library: Library, every: int = 1000
) -> tuple[Published, dict[str, bytes]]:
    """What a dumped journal of `count` partitions gives: all that was published, and the final states.

    `journal` maps a partition to its (offset, entry) in order. `every` is how many entries are collected at once; it
    changes nothing but speed and memory.
    """
    published, states = Published(), dict[str, bytes]()
    for index in sorted(journal):
        store = MemoryStore()
        for output in replay_partition(journal[index], index, count, library, store, every):
            published.take(index, count, output)
        states |= store.states
    return published, states


def replay_partition(
    entries: Iterable[tuple[int, Entry]],
    index: int,
    count: int,
    library: Library,
    store: MemoryStore,
    every: int = 1000,
) -> Iterator[Output]:
    """Replay one partition; `store` receives what it leaves."""
    partition = Partition(index, count, library, store)
    pending = 0
    for offset, entry in entries:
        partition.apply(offset, entry)
        pending += 1
        if pending >= every:
            output = partition.collect()
            store.write(output, offset + 1)
            pending = 0
            yield output
    output = partition.collect()
    store.write(output, store.offset)
    yield output

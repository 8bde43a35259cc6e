"""One journal partition: the order of its entries, its time, its timers, and the rules in force.

A journeys task feeds it the entries of its partition, the simulator those of a journal in memory; both carry out what
`collect` returns. The same entries give the same bytes, however they are cut into batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

import msgspec

from schemas.journal import Activate, Entry, Mark, Origins, ProfileEntry, Stop, TaskMark
from schemas.journal import decode as decode_entry
from streams.engine import journeys
from streams.engine.advance import advance
from streams.engine.profile import FORMAT, Profile, StateError, decode, encode, new_profile
from streams.engine.rules import Library, Rules
from streams.engine.step import OFFSET, Effects, Step

META_KEY = b"\x00partition"
SLACK = 1000  # timers that were moved to earlier are left in the heap, up to so many and as many as there are profiles


class Store(Protocol):
    """Encoded profile states, as of the last commit."""

    def get(self, profile: str) -> bytes | None:
        """The profile's encoded state, or None."""


class Meta(msgspec.Struct, array_like=True):
    """What a partition knows beyond its profiles: marks read, the watermark, definitions in force, stops."""

    format: int = FORMAT
    offset: int = -1
    origins: list[int] = []
    marks: dict[str, int] = {}
    tasks: dict[int, int] = {}
    watermark: int = 0
    active: dict[str, tuple[int, str]] = {}
    stops: list[str] = []


_encode_meta = msgspec.msgpack.Encoder().encode
_decode_meta = msgspec.msgpack.Decoder(Meta).decode


class Record(Protocol):
    """A record of the journal as it is read."""

    offset: int
    value: Any


class Output(Effects):
    """The effects since the last `collect`, the states they left, and the partition's own state if it changed."""

    __slots__ = ("meta", "states", "stats")

    def __init__(self, step: Step, states: dict[str, bytes], meta: bytes | None) -> None:
        super().__init__(sorted(step.effects, key=OFFSET))
        self.states, self.meta, self.stats = states, meta, step.stats


class Partition:
    """The pure machine of one journal partition, one of `count`."""

    def __init__(self, index: int, count: int, library: Library, store: Store, meta: bytes | None = None) -> None:
        """Start from a recovered `meta`, or from nothing. Raises StateError when it was written by a later format."""
        self.index, self.count = index, count
        self._library, self._store = library, store
        self._meta = _decode_meta(meta) if meta is not None else Meta()
        if self._meta.format > FORMAT:
            raise StateError(f"partition state of format {self._meta.format}; this version reads up to {FORMAT}")
        self.rules = Rules(library, self._meta.active, self._meta.stops)
        self._cache: dict[str, Profile] = {}
        self._touched: dict[str, Profile] = {}
        self._meta_touched = False
        self._timers: list[tuple[int, str]] = []
        self._scheduled: dict[str, int] = {}
        self._step = Step(self._meta.watermark)

    @property
    def watermark(self) -> int:
        """All that stands before this moment (ms) has been read, here and wherever it is forwarded from."""
        return self._meta.watermark

    @property
    def least_mark(self) -> int:
        """The least mark read over the recorded origin partitions (ms); 0 while one is missing."""
        meta = self._meta
        if not meta.origins:
            return 0
        marks = meta.marks
        return min(
            marks.get(f"{topic}/{partition}", 0)
            for topic, partitions in enumerate(meta.origins)
            for partition in range(partitions)
        )

    @property
    def own_mark(self) -> int:
        """The newest mark of this very task that it has read back (ms)."""
        return self._meta.tasks.get(self.index, 0)

    @property
    def next_wake(self) -> int | None:
        """When to look for the next timer (ms), if any: it is due then or later."""
        return self._timers[0][0] if self._timers else None

    @property
    def timers_pending(self) -> int:
        """How many profiles have a timer."""
        return len(self._scheduled)

    @property
    def origins(self) -> list[int]:
        """Partition counts of the origin topics, as recorded; empty before they are."""
        return list(self._meta.origins)

    @property
    def active(self) -> dict[str, tuple[int, str]]:
        """`kind/name` to (version, fingerprint) of the definitions in force."""
        return dict(self._meta.active)

    def restore(self, profile: str, state: bytes) -> None:
        """Take up the timers of a recovered state."""
        wake = decode(state).wake
        if wake:
            self._schedule(profile, wake)

    def apply(self, offset: int, entry: Entry) -> None:
        """Apply the entry at `offset`. Raises UnknownDefinition, changing nothing, when it activates one not known."""
        if not isinstance(entry, ProfileEntry):
            if offset > self._meta.offset:
                self._step.offset = offset
                _FOR_PARTITION[type(entry)](self, entry)
                self._meta.offset = offset
                self._meta_touched = True
            return
        name = entry.profile
        profile = self._cache.get(name) or self._load(name)
        if offset <= profile.offset:
            return
        profile.offset = self._step.offset = offset
        advance(profile, entry, self.rules, self._step)
        self._touched[name] = profile
        if profile.wake:
            self._schedule(name, profile.wake)

    def apply_profile(self, name: str, records: Sequence[Record]) -> None:
        """Apply a profile's entries, as they stand one after the other between two entries for the whole partition.

        Profiles do not see each other, so theirs may be applied in any order; `collect` gives the effects in the order
        of the journal all the same. A profile's state is some forty objects: to fetch them into the processor's cache
        for each event by itself takes half as long again as to apply the event.
        """
        profile = self._cache.get(name) or self._load(name)
        last, rules, step = profile.offset, self.rules, self._step
        for record in records:
            offset = record.offset
            if offset > last:
                profile.offset = step.offset = last = offset
                entry = decode_entry(record.value)
                assert isinstance(entry, ProfileEntry), "only a profile's entries have a key"
                advance(profile, entry, rules, step)
                self._touched[name] = profile
        if profile.wake:
            self._schedule(name, profile.wake)

    def collect(self) -> Output:
        """The effects since the last call; encodes each touched state once."""
        states = {name: encode(profile) for name, profile in self._touched.items()}
        meta = _encode_meta(self._meta) if self._meta_touched else None
        output = Output(self._step, states, meta)
        self._step, self._touched, self._meta_touched = Step(self._meta.watermark), {}, False
        return output

    def trim(self, limit: int) -> None:
        """Drop decoded states when more than `limit` are cached. Only while everything collected is in the store."""
        if len(self._cache) > limit:
            self._cache = dict(self._touched)

    def _load(self, name: str) -> Profile:
        profile = self._cache.get(name)
        if profile is None:
            state = self._store.get(name)
            profile = self._cache[name] = decode(state) if state is not None else new_profile(name)
        return profile

    def _schedule(self, name: str, wake: int) -> None:
        known = self._scheduled.get(name)
        if known is not None and known <= wake:
            return  # when that is due, the profile says when it wants to be woken now: silence moves at every event
        self._scheduled[name] = wake
        if len(self._timers) > SLACK + 2 * len(self._scheduled):
            self._timers[:] = [(due, each) for each, due in self._scheduled.items()]
            heapify(self._timers)
        else:
            heappush(self._timers, (wake, name))

    def on_mark(self, mark: Mark) -> None:
        """A router has routed all of an origin partition up to a time."""
        key = f"{mark.topic}/{mark.partition}"
        self._meta.marks[key] = max(mark.time, self._meta.marks.get(key, 0))

    def on_task_mark(self, mark: TaskMark) -> None:
        """A task has forwarded all from before a time; the least over all tasks is the watermark."""
        tasks = self._meta.tasks
        tasks[mark.partition] = max(mark.time, tasks.get(mark.partition, 0))
        if len(tasks) == self.count:
            self._advance_to(min(tasks.values()))

    def _advance_to(self, watermark: int) -> None:
        if watermark <= self._meta.watermark:
            return
        self._meta.watermark = self._step.watermark = watermark
        timers, taken = self._timers, Counter[str]()
        while timers and timers[0][0] <= watermark:
            due, name = heappop(timers)
            if self._scheduled.get(name) != due:
                continue
            del self._scheduled[name]
            profile = self._load(name)
            if profile.wake != due:
                if profile.wake:
                    self._schedule(name, profile.wake)
                continue
            self._step.stats.late_timers_ms.append(watermark - due)
            journeys.fire(profile, self.rules, due, self._step, taken)
            self._touched[name] = profile
            if profile.wake:
                self._schedule(name, profile.wake)

    def on_activate(self, entry: Activate) -> None:
        """A definition takes effect; an older version never replaces a newer."""
        key = f"{entry.kind}/{entry.name}"
        known = self._meta.active.get(key)
        if known is not None and known[0] >= entry.version:
            return
        self._library.require(entry.kind, entry.name, entry.version, entry.fingerprint)
        self._meta.active[key] = (entry.version, entry.fingerprint)
        self.rules = Rules(self._library, self._meta.active, self._meta.stops)

    def on_stop(self, entry: Stop) -> None:
        """A stop begins or ends."""
        stops = set(self._meta.stops)
        self._meta.stops = sorted(stops | {entry.scope} if entry.on else stops - {entry.scope})
        self.rules = Rules(self._library, self._meta.active, self._meta.stops)

    def on_origins(self, entry: Origins) -> None:
        """The set of origin partitions grows; it never shrinks."""
        self._meta.origins = [max(pair) for pair in _pairs(self._meta.origins, entry.partitions)]


def _pairs(mine: list[int], theirs: list[int]) -> list[tuple[int, int]]:
    length = max(len(mine), len(theirs))
    return list(zip(mine + [0] * (length - len(mine)), theirs + [0] * (length - len(theirs)), strict=True))


_FOR_PARTITION: dict[type[Entry], Callable[[Partition, Any], None]] = {
    Mark: Partition.on_mark,
    TaskMark: Partition.on_task_mark,
    Activate: Partition.on_activate,
    Stop: Partition.on_stop,
    Origins: Partition.on_origins,
}

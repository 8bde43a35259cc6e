"""One journal partition: the order of its entries, its time, its timers, and the rules in force.

A journeys task feeds it the entries of its partition, the simulator those of a journal in memory; both carry out what
`collect` returns. The same entries give the same bytes, however they are cut into batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from schemas.journal import EVERYBODY, Activate, Entry, Mark, Origins, ProfileEntry, Stop, TaskMark
from schemas.journal import decode as decode_entry
from streams.engine import edits, journeys
from streams.engine.advance import advance
from streams.engine.offers import Capacity
from streams.engine.profile import FORMAT, Profile, StateError, decode, encode, new_profile
from streams.engine.rules import Canaries, CompiledJourney, Library, Rules
from streams.engine.step import OFFSET, Effects, Step
from streams.engine.store import Store, Timer
from streams.engine.timers import Timers

# What a cached profile takes in memory: so many bytes, and so many times its encoding. By tracemalloc, decoded profiles
# of 0.1 to 4.5 kB take 1.1 kB and 4.2 times their length; keys and places in dictionaries take 0.4 kB.
CACHED_BASE, CACHED_FACTOR = 1500, 4.2
PAGE = 1000  # profiles read from the store at once


# Profiles looked at in one `apply`, for instances that an edit moves: some 20 ms.
SCAN = 5000


class WorkRemains(Exception):
    """An entry asks for more than one transaction should hold: commit, then apply it again.

    More timers are due by a task's mark, or more instances move to a version that is activated.
    """


@dataclass(frozen=True, slots=True)
class Slice:
    """How many timers fire, or instances move, in one `apply`, and what they leave before a `collect`.

    `bytes` are those of states and effects.
    """

    timers: int
    bytes: int


class Meta(msgspec.Struct, array_like=True):
    """What a partition knows beyond its profiles: marks, watermark, definitions in force, stops, capacity taken.

    `words` are the times (ms) of the newest word on each stop. `cursor` is the last profile that was looked at for an
    activation under way, so that a commit may fall in between. `taken` is how often each offer was made.
    """

    format: int = FORMAT
    offset: int = -1
    origins: list[int] = []
    marks: dict[str, int] = {}
    tasks: dict[int, int] = {}
    watermark: int = 0
    active: dict[str, tuple[int, str]] = {}
    stops: list[str] = []
    canaries: Canaries = {}
    words: dict[str, int] = {}
    cursor: str = ""
    taken: dict[str, int] = {}
    # The offset of the newest policy: of profiles not heard of since, timers may be due at another time.
    retimed: int = -1


_encode = msgspec.msgpack.Encoder().encode
_decode_meta = msgspec.msgpack.Decoder(Meta).decode


class Record(Protocol):
    """A record of the journal as it is read."""

    offset: int
    value: Any


class Output(Effects):
    """The effects since the last `collect`, the states they left, and the partition's own state if it changed.

    `alarms` and `timers` are the store's business alone: of each state, and what stands from now on or does not.
    """

    __slots__ = ("alarms", "meta", "states", "stats", "timers")

    def __init__(
        self,
        step: Step,
        states: dict[str, bytes],
        meta: bytes | None,
        alarms: dict[str, int],
        timers: dict[Timer, bool],
    ) -> None:
        super().__init__(sorted(step.effects, key=OFFSET))
        self.states, self.meta, self.stats, self.alarms, self.timers = states, meta, step.stats, alarms, timers


class Partition:
    """The pure machine of one journal partition, one of `count`."""

    def __init__(
        self,
        index: int,
        count: int,
        library: Library,
        store: Store,
        meta: bytes | None = None,
        *,
        slices: Slice | None = None,
        trace: frozenset[str] | None = None,
    ) -> None:
        """Start from a recovered `meta`, or from nothing. Raises StateError when it was written by a later format.

        With `slices`, `apply` of a task's mark and of an activation may raise WorkRemains. With `trace`, steps say of
        these journeys what was passed over.
        """
        self.index, self.count = index, count
        self._library, self._store = library, store
        self._meta = _decode_meta(meta) if meta is not None else Meta()
        if self._meta.format > FORMAT:
            raise StateError(f"partition state of format {self._meta.format}; this version reads up to {FORMAT}")
        self._capacity = Capacity(index, count, self._meta.taken)
        self._rule()
        # Decoded states, used lately and before; the bytes of their encodings, and of those used lately in all.
        self._cache: dict[str, Profile] = {}
        self._older: dict[str, Profile] = {}
        self._sizes: dict[str, int] = {}
        self._cached_bytes = 0
        self._touched: dict[str, Profile] = {}
        self._meta_touched = False
        self._timers = Timers(store)
        self._schedule = self._timers.schedule
        self._slices = slices
        self._fired, self._fired_bytes = 0, 0
        # Of an activation under way: the rules that it brings, and the profiles not looked at yet.
        self._coming: Rules | None = None
        self._sweep: Iterator[tuple[str, bytes | None]] | None = None
        self._trace = trace
        self._step = Step(self._meta.watermark, trace=trace)

    def _rule(self) -> None:
        meta = self._meta
        self.rules = Rules(self._library, meta.active, meta.stops, self._capacity, meta.canaries)

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
    def fired(self) -> tuple[int, int]:
        """How many timers were taken since the last `collect`, and the bytes they left: counted with slices only."""
        return self._fired, self._fired_bytes

    @property
    def origins(self) -> list[int]:
        """Partition counts of the origin topics, as recorded; empty before they are."""
        return list(self._meta.origins)

    @property
    def active(self) -> dict[str, tuple[int, str]]:
        """`kind/name` to (version, fingerprint) of the definitions in force."""
        return dict(self._meta.active)

    @property
    def in_force(self) -> dict[str, Any]:
        """What is in force: definitions by `kind/name`, canaries and stops with `canary/` and `stop/` before theirs."""
        canaries = {f"canary/{key}": each for key, each in self._meta.canaries.items()}
        return {**self._meta.active, **canaries, **{f"stop/{scope}": each for scope, each in self.stops.items()}}

    @property
    def canaries(self) -> Canaries:
        """`kind/name` to (version, fingerprint, share, when) of versions that a share of those who enter come into."""
        return dict(self._meta.canaries)

    @property
    def stops(self) -> dict[str, tuple[bool, int]]:
        """Scope to (whether it is stopped, when that was said in ms)."""
        on = self._meta.stops
        return {scope: (scope in on, at) for scope, at in {**dict.fromkeys(on, 0), **self._meta.words}.items()}

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
        if profile.offset < self._meta.retimed:
            self._retime(profile)
        profile.offset = self._step.offset = offset
        advance(profile, entry, self.rules, self._step)
        self._touched[name] = profile
        if profile.wake:
            self._schedule(name, profile.wake)

    def touches_profiles(self, entry: Entry) -> bool:
        """Whether an entry for the whole partition changes what profiles see: what stands before it is applied first.

        A router's mark moves no time by itself, nor does a task's that is not the last to come.
        """
        if isinstance(entry, TaskMark):
            tasks = self._meta.tasks | {entry.partition: entry.time}
            return len(tasks) == self.count and min(tasks.values()) > self._meta.watermark
        return not isinstance(entry, Mark | Origins)

    def apply_profile(self, name: str, records: Sequence[Record]) -> None:
        """Apply a profile's entries, as they stand one after the other between two that `touches_profiles`.

        Profiles do not see each other, so theirs may be applied in any order, unless `rules.ordered` says that they
        share an offer's capacity; `collect` gives the effects in the order of the journal all the same. A profile's
        state is some forty objects: to fetch them into the processor's cache for each event by itself takes half as
        long again as to apply the event.
        """
        profile = self._cache.get(name) or self._load(name)
        last, rules, step = profile.offset, self.rules, self._step
        first = last
        if last < self._meta.retimed and records[-1].offset > last:
            self._retime(profile)
        for record in records:
            offset = record.offset
            if offset > last:
                profile.offset = step.offset = last = offset
                entry = decode_entry(record.value)
                assert isinstance(entry, ProfileEntry), "only a profile's entries have a key"
                advance(profile, entry, rules, step)
        if last > first:
            self._touched[name] = profile
        if profile.wake:
            self._schedule(name, profile.wake)

    def _retime(self, profile: Profile) -> None:
        """A profile is heard of for the first time under a policy: what is overdue by that fires now."""
        profile.now = max(self._meta.watermark, profile.now)
        profile.wake = journeys.next_due(profile, self.rules)

    def collect(self) -> Output:
        """The effects since the last call, whose own are in the store by now; encodes each touched state once."""
        alarm, sizes = self._timers.alarm, self._sizes
        states = {name: encode(profile) for name, profile in self._touched.items()}
        for name, state in states.items():
            self._cached_bytes += len(state) - sizes.get(name, 0)
            sizes[name] = len(state)
        meta = _encode(self._meta) if self._meta_touched or self._capacity.touched else None
        output = Output(self._step, states, meta, {name: alarm(name) for name in states}, self._timers.collect())
        self._step, self._touched, self._meta_touched = Step(self._meta.watermark, trace=self._trace), {}, False
        self._fired, self._fired_bytes, self._capacity.touched = 0, 0, False
        return output

    def trim(self, limit: int) -> None:
        """Keep decoded states of `limit` bytes in memory, roughly. Only while everything collected is in the store.

        There are two generations: when the younger takes half of that, the older, not used since, goes. What is not
        collected yet stays.
        """
        used = CACHED_BASE * len(self._cache) + CACHED_FACTOR * self._cached_bytes
        if 2 * used <= limit:
            return
        evicted, touched = self._older, self._touched
        if used > limit:  # one batch alone takes more
            evicted, self._cache = evicted | self._cache, {}
        self._older, self._cache, self._cached_bytes = self._cache, {}, 0
        for name in evicted.keys() & touched.keys():
            self._older[name] = evicted.pop(name)
        self._timers.forget(evicted)
        for name in evicted:
            self._sizes.pop(name, None)

    def _load(self, name: str) -> Profile:
        profile = self._cache.get(name)
        if profile is None:
            profile = self._older.pop(name, None)
            if profile is None:
                profile = self._fetch(name)
            self._cache[name] = profile
            self._cached_bytes += self._sizes.get(name, 0)
        return profile

    def _fetch(self, name: str) -> Profile:
        stored = self._store.load(name)
        if stored is None:
            return new_profile(name)
        state, alarm = stored
        self._sizes[name] = len(state)
        if alarm > self._meta.watermark:  # else its timer was taken, and set again for later or not at all
            self._timers.learn(name, alarm)
        return decode(state)

    def on_mark(self, mark: Mark) -> None:
        """A router has routed all of an origin partition up to a time."""
        key = f"{mark.topic}/{mark.partition}"
        self._meta.marks[key] = max(mark.time, self._meta.marks.get(key, 0))

    def on_task_mark(self, mark: TaskMark) -> None:
        """A task has forwarded all from before a time; the least over all tasks is the watermark."""
        # The mark counts when all timers due by it have fired, so that it can be applied again after a slice.
        tasks = self._meta.tasks | {mark.partition: max(mark.time, self._meta.tasks.get(mark.partition, 0))}
        if len(tasks) == self.count:
            self._advance_to(min(tasks.values()))
        self._meta.tasks = tasks

    def _advance_to(self, watermark: int) -> None:
        if watermark <= self._meta.watermark:
            return
        self._step.watermark = watermark
        timers, slices = self._timers, self._slices
        left = slices.timers if slices is not None else -1
        while True:
            if slices is not None and (left == 0 or self._fired_bytes >= slices.bytes):
                if timers.any(watermark):
                    raise WorkRemains
                break
            timer = timers.take(watermark)
            if timer is None:
                break
            left -= 1
            self._ring(timer, watermark)
        self._meta.watermark = watermark

    def _ring(self, timer: Timer, watermark: int) -> None:
        due, name = timer
        profile = self._load(name)
        self._fired += 1
        if not self._timers.rang(timer, profile.wake):
            return
        step = self._step
        before = len(step.effects)
        step.stats.late_timers_ms.append(watermark - due)
        journeys.fire(profile, self.rules, due, step, profile.steps)
        if not 0 < profile.wake <= watermark:
            profile.steps = {}  # it does not fire again in this passing of time
        self._touched[name] = profile
        if profile.wake:
            self._schedule(name, profile.wake)
        if self._slices is not None:
            self._fired_bytes += len(encode(profile)) + len(_encode(step.effects[before:]))

    def on_activate(self, entry: Activate) -> None:
        """A definition takes effect, for all or for a share; an older version never replaces a newer.

        Instances that follow move before anything else of this partition happens, profile by profile in order.
        """
        meta, key = self._meta, f"{entry.kind}/{entry.name}"
        known, canary = meta.active.get(key), meta.canaries.get(key)
        if known is not None and known[0] >= entry.version:
            return
        if entry.share < EVERYBODY:
            said = (entry.version, entry.at)
            if canary is not None and (canary[0], canary[3]) > said:
                return
            self._library.require(entry.kind, entry.name, entry.version, entry.fingerprint)
            meta.canaries[key] = (entry.version, entry.fingerprint, entry.share, entry.at)
            self._rule()
            return
        self._library.require(entry.kind, entry.name, entry.version, entry.fingerprint)
        active = meta.active | {key: (entry.version, entry.fingerprint)}
        canaries = {name: each for name, each in meta.canaries.items() if name != key or each[0] > entry.version}
        rules = self._coming = self._coming or Rules(self._library, active, meta.stops, self._capacity, canaries)
        if entry.kind == "journey" and entry.name in rules.follows:
            self._follow(rules.follows[entry.name], rules)
        self.rules, self._coming = rules, None
        meta.active, meta.canaries = active, canaries
        if entry.kind == "policy":
            meta.retimed = self._step.offset

    def _follow(self, journey: CompiledJourney, rules: Rules) -> None:
        """Move instances of earlier versions; raises WorkRemains after a slice."""
        meta, slices = self._meta, self._slices
        sweep = self._sweep = self._sweep or self._profiles(meta.cursor)
        needle, moved = journey.name.encode(), 0
        for looked, (name, state) in enumerate(sweep, 1):
            # Most profiles are not in the journey, and the bytes of those who are have its name.
            if (state is None or needle in state) and self._move(name, state, journey, rules):
                moved += 1
            if slices is not None and (
                moved >= slices.timers or looked >= SCAN or (moved and self._fired_bytes >= slices.bytes)
            ):
                meta.cursor, self._meta_touched = name, True
                raise WorkRemains
        meta.cursor, self._sweep = "", None

    def _move(self, name: str, state: bytes | None, journey: CompiledJourney, rules: Rules) -> bool:
        found = self._load(name) if state is None else decode(state)
        if not edits.concerns(found.instances.get(journey.name), journey):
            return False
        profile = self._load(name)
        step = self._step
        before = len(step.effects)
        edits.follow(profile, journey, rules, step)
        self._touched[name] = profile
        if profile.wake:
            self._schedule(name, profile.wake)
        self._fired += 1
        if self._slices is not None:
            self._fired_bytes += len(encode(profile)) + len(_encode(step.effects[before:]))
        return True

    def _profiles(self, after: str) -> Iterator[tuple[str, bytes | None]]:
        """All profiles behind `after`, in order, each once, with its state where only the store has it.

        A profile is in the cache from its first entry until its state is in the store.
        """
        cached = sorted(name for name in self._cache.keys() | self._older.keys() if name > after)
        at = 0
        for name, state in self._stored(after):
            while at < len(cached) and cached[at] < name:
                yield cached[at], None
                at += 1
            if at < len(cached) and cached[at] == name:
                at += 1
                yield name, None
            else:
                yield name, state
        for name in cached[at:]:
            yield name, None

    def _stored(self, after: str) -> Iterator[tuple[str, bytes]]:
        while page := self._store.scan(after, PAGE):
            yield from page
            after = page[-1][0]

    def on_stop(self, entry: Stop) -> None:
        """A stop begins or ends."""
        meta = self._meta
        if entry.at < meta.words.get(entry.scope, 0):
            return
        meta.words[entry.scope] = entry.at
        stops = set(meta.stops)
        meta.stops = sorted(stops | {entry.scope} if entry.on else stops - {entry.scope})
        self._rule()

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

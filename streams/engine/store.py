"""What a partition asks of whoever keeps its profiles, and the keeper in memory.

A store holds what was committed: states by profile, and *timers*, (due time, profile) in that order. Beside each state
stands its *alarm*: the timer under which the profile is to be found. A profile that wants to be woken has a timer due
then or earlier; timers that no state stands behind any more may be left, and are dropped when they are due.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from streams.engine.partition import Output

META_KEY = b"\x00partition"  # under which the partition's own state stands among the profiles
Timer = tuple[int, str]
SLACK = 1000  # timers that are no more are left in the heap, up to so many and twice as many as there are


class _Head(msgspec.Struct, array_like=True, gc=False):
    """The first fields of a profile's encoding."""

    format: int
    id: str
    offset: int = -1
    now: int = 0
    activity: int = 0
    wake: int = 0


_decode_head = msgspec.msgpack.Decoder(_Head).decode


def wake_of(state: bytes) -> int:
    """When the profile encoded in `state` wants to be woken (ms; 0: never), without decoding the rest."""
    return _decode_head(state).wake


class Store(Protocol):
    """Profiles and timers as of the last commit."""

    def load(self, profile: str) -> tuple[bytes, int] | None:
        """Return a profile's encoded state and its alarm (ms; 0: none), or None."""

    def due(self, after: Timer | None, until: int, limit: int) -> list[Timer]:
        """Return the first `limit` timers behind `after` (None: all) that are due by `until` (ms), in order."""

    def scan(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        """Return the first `limit` profiles behind `after` with their states, in order of the names' bytes."""


class MemoryStore:
    """A store in memory; `offset` and `meta` are kept for whoever reads them back."""

    def __init__(self) -> None:
        self.offset, self.failed = 0, False
        self.meta: bytes | None = None
        self.states: dict[str, bytes] = {}
        self._alarms: dict[str, int] = {}
        self._bytes = 0
        self._scanned: list[str] = []
        # Timers due by the latest moment asked for are sorted, the others in a heap. Dropped ones are left in either.
        self._live: set[Timer] = set()
        self._sorted: list[Timer] = []
        self._heap: list[Timer] = []
        self._asked = 0

    def load(self, profile: str) -> tuple[bytes, int] | None:
        """Return a profile's encoded state and its alarm."""
        state = self.states.get(profile)
        return None if state is None else (state, self._alarms.get(profile, 0))

    def due(self, after: Timer | None, until: int, limit: int) -> list[Timer]:
        """Return the first `limit` timers behind `after` that are due by `until`, in order."""
        ready, heap, live = self._sorted, self._heap, self._live
        if until > self._asked:
            self._asked = until
            while heap and heap[0][0] <= until:
                ready.append(heappop(heap))
            # Those that came in late were sorted in before; the rest came out of the heap in order.
            ready[:] = [timer for timer in dict.fromkeys(ready) if timer in live]
        found: list[Timer] = []
        for index in range(bisect_right(ready, after) if after is not None else 0, len(ready)):
            timer = ready[index]
            if timer[0] > until or len(found) == limit:
                break
            if timer in live:
                found.append(timer)
        return found

    def scan(self, after: str, limit: int) -> list[tuple[str, bytes]]:
        """Return the first `limit` profiles behind `after` with their states, in order.

        Profiles that are new since the first page, from the start, are not among the others.
        """
        if not after or not self._scanned:
            self._scanned = sorted(self.states)
        found: list[tuple[str, bytes]] = []
        for index in range(bisect_right(self._scanned, after), len(self._scanned)):
            state = self.states.get(self._scanned[index])
            if state is not None:
                found.append((self._scanned[index], state))
                if len(found) == limit:
                    return found
        self._scanned = []
        return found

    def write(self, output: Output, offset: int) -> None:
        """Keep what an output changes, and the offset it includes."""
        for profile, state in output.states.items():
            self._bytes += len(state) - len(self.states.get(profile, b""))
            self.states[profile] = state
            self._alarms[profile] = output.alarms.get(profile, 0)
        for timer, stands in output.timers.items():
            self._set(timer, stands=stands)
        if output.meta is not None:
            self.meta = output.meta
        self.offset = offset

    def ingest(
        self,
        records: Iterable[tuple[bytes, bytes | None]],
        offset: int,
        *,
        bulk: bool = False,  # noqa: ARG002 - what is replaced is at hand
    ) -> None:
        """Keep states by profile (None: gone) as the changelog has them, and the offset they include."""
        for key, state in records:
            if key == META_KEY:
                self.meta = state
                continue
            profile = key.decode()
            self._bytes += len(state or b"") - len(self.states.pop(profile, b""))
            self._set((self._alarms.pop(profile, 0), profile), stands=False)
            if state is not None:
                self.states[profile] = state
                if wake := wake_of(state):
                    self._alarms[profile] = wake
                    self._set((wake, profile), stands=True)
        self.offset = offset

    def _set(self, timer: Timer, *, stands: bool) -> None:
        if not stands:
            self._live.discard(timer)
        elif timer not in self._live:
            self._live.add(timer)
            if timer[0] <= self._asked:
                place = bisect_left(self._sorted, timer)
                if self._sorted[place : place + 1] != [timer]:  # else it was dropped, and stands again
                    self._sorted.insert(place, timer)
            else:
                heappush(self._heap, timer)
                if len(self._heap) > SLACK + 2 * len(self._live):
                    self._heap = sorted(timer for timer in self._live if timer[0] > self._asked)

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Iterate over all profiles."""
        return iter(list(self.states.items()))

    def size(self) -> tuple[int, int]:
        """Return the number of profiles and the bytes of their states."""
        return len(self.states), self._bytes

    def close(self) -> None:
        """Forget."""

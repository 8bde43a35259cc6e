"""Who wants to be woken, and when: the timers that a store holds, and over them what is not in the store yet.

A profile has one timer, due when it first wanted to be woken or earlier: when that is due, the profile says when it
wants to be woken now. So a timer of silence, which every event moves, is written once, not at every event.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.engine.store import Store, Timer

PAGE = 1000  # timers read from the store at once


class Timers:
    """The timers of one partition. Of its profiles it knows those that are cached, by `learn` and `forget`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._alarms: dict[str, int] = {}
        # What the store is to change, and heaps of timers that may not be in it yet: those set since the last
        # `collect`, and those collected then, which are in the store by the next.
        self._changes: dict[Timer, bool] = {}
        self._fresh: list[Timer] = []
        self._sent: list[Timer] = []
        # The passing of time under way: all timers up to `_last` have been taken; a page of what follows in the store.
        self._until = 0
        self._last: Timer | None = None
        self._page: list[Timer] = []
        self._exhausted = False

    def learn(self, profile: str, alarm: int) -> None:
        """A profile was loaded that has a timer due at `alarm`."""
        self._alarms[profile] = alarm

    def forget(self, profiles: Iterable[str]) -> None:
        """Profiles have left the cache."""
        for profile in profiles:
            self._alarms.pop(profile, None)

    def alarm(self, profile: str) -> int:
        """When the timer of a cached profile is due (ms); 0: it has none, or none that is known."""
        return self._alarms.get(profile, 0)

    def schedule(self, profile: str, wake: int) -> None:
        """A profile wants to be woken at `wake` (ms)."""
        known = self._alarms.get(profile)
        if known is not None:
            if known <= wake:
                return
            self._changes[known, profile] = False
        self._alarms[profile] = wake
        timer = wake, profile
        self._changes[timer] = True
        heappush(self._fresh, timer)

    def any(self, until: int) -> bool:
        """Whether `take` would return a timer."""
        return self._first(until)[0] is not None

    def take(self, until: int) -> Timer | None:
        """Return the next timer due at or before `until` (ms); each once, in order, until `until` grows."""
        timer, heap = self._first(until)
        if heap is not None:
            heappop(heap)
        elif timer is not None:
            self._page.pop()
        if timer is not None:
            self._last = timer
        return timer

    def _first(self, until: int) -> tuple[Timer | None, list[Timer] | None]:
        """The next timer, and the heap that it is in, None when it is in the store."""
        if until != self._until:
            self._until, self._last, self._page, self._exhausted = until, None, [], False
        if not self._page and not self._exhausted:
            self._page = self._store.due(self._last, until, PAGE)
            self._exhausted = len(self._page) < PAGE
            self._page.reverse()
        first, source = (self._page[-1] if self._page else None), None
        for heap in (self._fresh, self._sent):
            if heap and heap[0][0] <= until and (first is None or heap[0] <= first):
                first, source = heap[0], heap
        return first, source

    def rang(self, timer: Timer, wake: int) -> bool:
        """Drop a timer that was taken, of a cached profile that wants to be woken at `wake`; whether that is now."""
        due, profile = timer
        self._changes[timer] = False
        if wake == due or self._alarms.get(profile, due) == due:
            self._alarms.pop(profile, None)
            if wake == due:
                return True
            if wake:
                self.schedule(profile, wake)
        return False

    def collect(self) -> dict[Timer, bool]:
        """What the store is to change: timers that stand from now on, and timers that do not.

        All that was collected before is in the store by now.
        """
        changes, self._changes = self._changes, {}
        self._sent, self._fresh = self._fresh, []
        self._page, self._exhausted = [], False
        return changes

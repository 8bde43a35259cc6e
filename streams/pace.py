"""The pace at which a worker's tasks begin their transactions.

A transaction costs the same whatever it holds, so many tasks that each begin the next as soon as the last has ended
share the processor with nothing but transactions, and all of them wait for each other. Taken in turns, at a bounded
rate and few at once, each task's next transaction holds what came meanwhile. A task that is alone never waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Hashable

LASTS_LONG = 0.5
"""Seconds after which a transaction keeps others waiting no more: it may be one that cannot be had at all."""


class Pace:
    """Gives out beginnings at least 1/`rate` seconds apart, first come, first served, and `at_once` under way at most.

    With a rate of 0 the beginnings are at once, with `at_once` of 0 any number may be under way.
    """

    def __init__(self, rate: float, at_once: int = 0) -> None:
        self._gap = 1 / rate if rate else 0.0
        self._next = 0.0
        self._at_once = at_once
        self._begun: dict[Hashable, float] = {}
        self._waiting: dict[Hashable, asyncio.Event] = {}
        self._called: set[Hashable] = set()

    def take(self, now: float) -> float:
        """Return the moment of the next turn, `now` or later; it is taken."""
        turn = max(now, self._next)
        self._next = turn + self._gap
        return turn

    def begin(self, who: Hashable, now: float, wake: asyncio.Event) -> bool:
        """Tell whether the transaction of `who` may begin; if not, `wake` is set when its place is kept for it."""
        if who not in self._called and self._full(now):
            self._waiting.setdefault(who, wake)
            return False
        self._called.discard(who)
        self._waiting.pop(who, None)
        self._begun[who] = now
        return True

    def end(self, who: Hashable, now: float) -> None:
        """The transaction of `who` has ended, well or not: who has waited longest takes its place."""
        self._begun.pop(who, None)
        if self._waiting and not self._full(now):
            called = next(iter(self._waiting))
            self._begun[called] = now
            self._called.add(called)
            self._waiting.pop(called).set()

    def _full(self, now: float) -> bool:
        under_way = sum(now - since < LASTS_LONG for since in self._begun.values())
        return 0 < self._at_once <= under_way

"""The pace at which a worker's tasks begin their transactions.

A transaction costs the same whatever it holds, so many tasks that each begin the next as soon as the last has ended
share the processor with nothing but transactions, and all of them wait for each other. Taken in turns, at a bounded
rate, each task's next transaction holds what came meanwhile. A task that is alone never waits.
"""

from __future__ import annotations


class Pace:
    """Gives out beginnings at least 1/`rate` seconds apart, first come, first served; with a rate of 0, at once."""

    def __init__(self, rate: float) -> None:
        self._gap = 1 / rate if rate else 0.0
        self._next = 0.0

    def take(self, now: float) -> float:
        """Return the moment of the next turn, `now` or later; it is taken."""
        turn = max(now, self._next)
        self._next = turn + self._gap
        return turn

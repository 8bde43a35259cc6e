"""How fast the machine itself is at a moment: on a shared one the same loop takes up to twice as long for a while.

A run counts when the loop was nearly at its best before the run and after it. What was disturbed is kept beside, and
counts only where nothing else was measured.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ITERATIONS, REPEATS = 400_000, 5
# A loop slower than the best by more than this was disturbed: measured are 1.00 to 1.06 and 1.6 to 1.9, little between.
TOLERATED = 1.2
TRIES = 3


def loop_ns() -> float:
    """Nanoseconds that one iteration of a fixed loop takes now: the median of some tenths of a second."""
    found = []
    for _ in range(REPEATS):
        began, total = time.perf_counter_ns(), 0
        for number in range(ITERATIONS):
            total += number & 7
        found.append((time.perf_counter_ns() - began) / ITERATIONS)
    return round(sorted(found)[REPEATS // 2], 1)


@dataclass(slots=True)
class Machine:
    """What runs are measured on; `best` is the fastest that it has been seen."""

    now: Callable[[], float] = loop_ns
    best: float = math.inf

    def watched(self, run: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
        """Run with these arguments, and note the slower of the loop's times before and after: `loop_ns`."""
        before = self.now()
        found = run(*arguments)
        after = self.now()
        self.best = min(self.best, before, after)
        return found | {"loop_ns": max(before, after)}

    def counts(self, run: dict[str, Any]) -> bool:
        """Tell whether a run was undisturbed."""
        return bool(run["loop_ns"] <= TOLERATED * self.best)

    def steadily(self, run: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
        """Run what gives its `loop_ns` until it was undisturbed, `TRIES` times at most; return the least disturbed."""
        found: list[dict[str, Any]] = []
        while len(found) < TRIES and not (found and self.counts(found[-1])):
            found.append(run(*arguments))
        return min(found, key=lambda each: float(each["loop_ns"]))

    def steady(self, runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the runs that were undisturbed, all when none was."""
        return [run for run in runs if self.counts(run)] or list(runs)

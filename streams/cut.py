"""A journal up to a moment: what takes effect at or before it, and nothing later.

An entry takes effect at the time of its record, or at the time that its partition or its profile has reached, whichever
is latest; a timer at its due time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from schemas.journal import (
    Answer,
    Claim,
    Entry,
    Event,
    Forward,
    Merge,
    Outcome,
    ProfileEntry,
    TaskMark,
    Unite,
    Unlink,
)

if TYPE_CHECKING:
    from streams.journaldump import Journal


def up_to(journal: Journal, count: int, at: int) -> Journal:
    """What of a journal of `count` partitions takes effect at or before `at` (ms)."""
    # A merge has no time of its own: it came of a union that stands in the journal of its source.
    united = {
        entry.profile
        for entries in journal.values()
        for _, entry in entries
        if isinstance(entry, Unite) and entry.origin.time <= at
    }
    return {index: list(_partition(entries, count, at, united)) for index, entries in journal.items()}


def _partition(entries: list[tuple[int, Entry]], count: int, at: int, united: set[str]) -> Iterator[tuple[int, Entry]]:
    marks: dict[int, int] = {}
    later: set[str] = set()  # profiles whose own time has passed the moment
    for offset, entry in entries:
        if isinstance(entry, TaskMark):
            marks[entry.partition] = max(entry.time, marks.get(entry.partition, 0))
            yield offset, TaskMark(entry.partition, min(entry.time, at))
            if len(marks) == count and min(marks.values()) > at:
                return  # what stands behind this takes effect later
        elif not isinstance(entry, ProfileEntry):
            yield offset, entry
        elif entry.profile in later or not _by(entry, at, united):
            later.add(entry.profile)
        else:
            yield offset, entry


def _by(entry: ProfileEntry, at: int, united: set[str]) -> bool:
    match entry:
        case Event() | Outcome() | Unite():
            return entry.origin.time <= at
        case Forward():
            return entry.entry.origin.time <= at
        case Claim() | Answer() | Unlink():
            return entry.time <= at
        case Merge():
            return entry.source in united
    return True

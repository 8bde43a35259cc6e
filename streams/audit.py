"""The audit: what was put in force, for whom, what was stopped, when, by whom and why, from the journal itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from schemas.journal import EVERYBODY, Activate, Stop, decode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.records import Record


class Act(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One act: `what` is activate, canary, stop or resume; `at` (ms) when the first partition had it."""

    at: int
    what: str
    subject: str
    by: str = ""
    why: str = ""
    version: int = 0
    share: int = EVERYBODY
    partitions: int = 0


def acts(records: Iterable[Record]) -> list[Act]:
    """Every act in the records of a journal, in order of time, with the number of partitions that have it."""
    found: dict[Any, tuple[int, Activate | Stop, set[int]]] = {}
    for record in records:
        # Entries for a whole partition have no key.
        if record.key is not None or record.value is None:
            continue
        entry = decode(record.value)
        if isinstance(entry, Activate | Stop):
            at, _, partitions = found.get(entry, (record.timestamp, entry, set()))
            found[entry] = (min(at, record.timestamp), entry, partitions | {record.partition})
    told = [_act(at, entry, len(partitions)) for at, entry, partitions in found.values()]
    return sorted(told, key=lambda act: (act.at, act.subject, act.version))


def _act(at: int, entry: Activate | Stop, partitions: int) -> Act:
    if isinstance(entry, Stop):
        what, subject = "stop" if entry.on else "resume", entry.scope.replace(":", "/", 1)
        return Act(at=at, what=what, subject=subject, by=entry.by, why=entry.why, partitions=partitions)
    return Act(
        at=at,
        what="activate" if entry.share == EVERYBODY else "canary",
        subject=f"{entry.kind}/{entry.name}",
        by=entry.by,
        why=entry.why,
        version=entry.version,
        share=entry.share,
        partitions=partitions,
    )

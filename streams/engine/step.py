"""What the engine wants done: the effects of entries, collected in order. The shell carries them out."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from schemas.action import Action, Identity, Suppression, Withdrawal
from schemas.decision import Decision
from schemas.journal import ProfileEntry


class Transition(msgspec.Struct, frozen=True, gc=False):
    """An instance moved: for explanations and funnels. `from_stage` is None on entry, `to_stage` None on end."""

    profile: str
    journey: str
    version: int
    instance: str
    from_stage: str | None
    to_stage: str | None
    why: str
    at: int
    event_id: str | None
    converted: bool = False


@dataclass(slots=True)
class Stats:
    """Counts for metrics; never part of the rules."""

    events: int = 0
    duplicates: int = 0
    stale: int = 0
    timers: int = 0
    late_timers_ms: list[int] = field(default_factory=list)
    absent: int = 0
    parked: int = 0


@dataclass(slots=True)
class Step:
    """The effects of some entries; `watermark` (ms) is the partition's, as of the entry being applied."""

    watermark: int = 0
    actions: list[Action] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    withdrawals: list[Withdrawal] = field(default_factory=list)
    suppressions: list[tuple[str, Suppression | None]] = field(default_factory=list)
    identities: list[tuple[str, Identity | None]] = field(default_factory=list)
    entries: list[ProfileEntry] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    stats: Stats = field(default_factory=Stats)

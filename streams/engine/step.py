"""What the engine wants done: the effects of entries, collected in order. The shell carries them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from schemas.action import Action, Identity, Suppression, Withdrawal
from schemas.decision import Decision
from schemas.journal import ProfileEntry

if TYPE_CHECKING:
    from streams.engine.profile import Held, Instance
from streams.engine.cel_why import Part


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


class PassedOver(msgspec.Struct, frozen=True, gc=False):
    """A way that was open to a profile and was not taken, and the rule that kept it: only for who asks (`Step.trace`).

    `way` is `enter`, or the path of a handler. `value`, `bound`: what was found and what was asked for; `parts`: what
    did not hold of a condition.
    """

    profile: str
    journey: str
    version: int
    way: str
    reason: str
    at: int
    event_id: str | None
    event: str | None
    value: str = ""
    bound: str = ""
    parts: tuple[Part, ...] = ()


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


class Contender(NamedTuple):
    """A proposed action that passed the gates and competes with what else is proposed at this moment."""

    instance: Instance
    held: Held


class Effects:
    """What is wanted, by kind and in order; `effects`: of all kinds together, as it happened."""

    KINDS = (
        "actions",
        "decisions",
        "entries",
        "identities",
        "passed_over",
        "suppressions",
        "transitions",
        "withdrawals",
    )
    __slots__ = (*KINDS, "effects")

    def __init__(self, effects: Sequence[tuple[int, str, Any]]) -> None:
        self.effects = effects
        self.actions: list[Action] = []
        self.decisions: list[Decision] = []
        self.withdrawals: list[Withdrawal] = []
        self.suppressions: list[tuple[str, Suppression | None]] = []
        self.identities: list[tuple[str, Identity | None]] = []
        self.entries: list[ProfileEntry] = []
        self.transitions: list[Transition] = []
        self.passed_over: list[PassedOver] = []
        add = {kind: getattr(self, kind).append for kind in self.KINDS}
        for _, kind, effect in effects:
            add[kind](effect)


@dataclass(slots=True)
class Step:
    """The effects of some entries as (offset, kind, effect); kinds are the fields of `Effects`.

    `watermark` (ms) is the partition's, `offset` the entry's being applied. `trace`: the journeys of which somebody
    asks why they were not entered and what in them did not react; None: nobody asks. `contenders` are this moment's.
    """

    watermark: int = 0
    offset: int = 0
    effects: list[tuple[int, str, Any]] = field(default_factory=list)
    stats: Stats = field(default_factory=Stats)
    trace: frozenset[str] | None = None
    contenders: list[Contender] = field(default_factory=list)

    def add(self, kind: str, effect: Any) -> None:
        """Want one more thing done."""
        self.effects.append((self.offset, kind, effect))

    @property
    def wanted(self) -> Effects:
        """The effects by kind, in the order of their entries, whatever the order in which these were applied."""
        return Effects(sorted(self.effects, key=OFFSET))


OFFSET = itemgetter(0)

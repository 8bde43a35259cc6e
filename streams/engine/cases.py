"""Cases: what is open with a customer across channels (a conversation, a complaint), and what it carries along.

All that opens, moves, pauses and closes a case lives here. Times are those of the events, so that channels may report
late and in any order: the newest word stands, and one profile's cases unite with another's as maxima.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streams.engine.bounds import (
    MAX_CASE_CHANNELS,
    MAX_KEPT,
    MAX_KEPT_BYTES,
    bound_dossiers,
    greatest,
    kept_rank,
    size,
)
from streams.engine.cel_values import Absent, Timestamp
from streams.engine.profile import Dossier, Kept, Profile

if TYPE_CHECKING:
    from schemas.journal import Event
    from schemas.policy import Policy
    from streams.engine.rules import Rules

CHANNEL = "channel"  # kept of every case: the channel it is on
MOVES = ("opens", "closes", "pauses", "resumes", "moves")
_NEW = Dossier()


@dataclass(frozen=True, slots=True)
class Move:
    """What an event of one type does with cases of one kind: some of `MOVES`."""

    kind: str
    does: frozenset[str]
    number: str
    keeps: tuple[str, ...]


def case_moves(policy: Policy) -> dict[str, tuple[Move, ...]]:
    """By type of event, what it does with the policy's cases."""
    does: dict[str, dict[str, set[str]]] = {}
    for name, kind in policy.cases.items():
        for what in MOVES:
            types = getattr(kind, what) or ()
            for each in (types,) if isinstance(types, str) else types:
                does.setdefault(each, {}).setdefault(name, set()).add(what)
    return {
        each: tuple(
            Move(name, frozenset(what), policy.cases[name].number, tuple(policy.cases[name].keeps))
            for name, what in kinds.items()
        )
        for each, kinds in does.items()
    }


def on_event(profile: Profile, event: Event, now: int, rules: Rules) -> None:
    """Open, move, pause, resume or close the cases that the event is about."""
    moves = rules.cases_by_type.get(event.type, ())
    for move in moves:
        key = _about(profile, move, event)
        if key is not None:
            known = profile.dossiers.get(key, _NEW)
            profile.dossiers[key] = _moved(known, move, event, min(event.occurred_at, now))
    if moves:
        bound_dossiers(profile)


def _about(profile: Profile, move: Move, event: Event) -> str | None:
    """The case that the event is about: that of its number, else the newest open one; None: there is none."""
    found = event.properties.get(move.number)
    number = str(found)[:200] if isinstance(found, str | int | float) else ""
    key = f"{move.kind}/{number}"
    if not number:
        key = newest_open(profile, move.kind) or key
    # What closes a case may come before what opened it; whatever else comes for one that is not known is ignored.
    return key if key in profile.dossiers or move.does & {"opens", "closes"} else None


def _moved(known: Dossier, move: Move, event: Event, at: int) -> Dossier:
    does, since = move.does, known.since
    closed = max(known.closed, at) if "closes" in does else known.closed
    if closed >= since:
        since = 0
    if "opens" in does and at > closed:
        since = min(since, at) if since else at
    keeps = dict(known.keeps)
    for name, value in ((CHANNEL, event.channel), *((name, event.properties.get(name)) for name in move.keeps)):
        kept = Kept(value, at, event.event_id)
        former = keeps.get(name)
        if value is None or (former is not None and kept_rank(former) >= kept_rank(kept)):
            continue
        if size(value) <= MAX_KEPT_BYTES:
            keeps[name] = kept
    channels = known.channels | {event.channel: max(known.channels.get(event.channel, 0), at)}
    return Dossier(
        opened=max(known.opened, at) if "opens" in does else known.opened,
        closed=closed,
        paused=max(known.paused, at) if "pauses" in does else known.paused,
        resumed=max(known.resumed, at) if "resumes" in does else known.resumed,
        since=since,
        keeps=greatest(keeps, MAX_KEPT, kept_rank),
        channels=greatest(channels, MAX_CASE_CHANNELS, int),
    )


def unite(mine: Dossier, theirs: Dossier) -> Dossier:
    """One case of which two profiles know: of each time the maximum, of each thing kept the newest."""
    # Who knows of the latest closing knows what opened it again; of those who know of the same, the first opening.
    since = [each.since for each in (mine, theirs) if each.since and each.closed == max(mine.closed, theirs.closed)]
    keeps = {
        name: max((each.keeps[name] for each in (mine, theirs) if name in each.keeps), key=kept_rank)
        for name in sorted(mine.keeps.keys() | theirs.keeps.keys())
    }
    channels = {
        name: max(mine.channels.get(name, 0), theirs.channels.get(name, 0))
        for name in sorted(mine.channels.keys() | theirs.channels.keys())
    }
    return Dossier(
        opened=max(mine.opened, theirs.opened),
        closed=max(mine.closed, theirs.closed),
        paused=max(mine.paused, theirs.paused),
        resumed=max(mine.resumed, theirs.resumed),
        since=min(since, default=0),
        keeps=greatest(keeps, MAX_KEPT, kept_rank),
        channels=greatest(channels, MAX_CASE_CHANNELS, int),
    )


def is_open(case: Dossier) -> bool:
    """Whether a case is open; opened and closed at the same moment is closed."""
    return case.opened > case.closed


def is_paused(case: Dossier) -> bool:
    """Whether an open case rests until it is resumed."""
    return is_open(case) and case.paused > max(case.resumed, case.closed)


def opened(case: Dossier) -> int:
    """Since when an open case is open (ms)."""
    return case.since or case.opened


def newest_open(profile: Profile, kind: str) -> str | None:
    """The open case of this kind that was opened last."""
    start = f"{kind}/"
    found = [(case.opened, key) for key, case in profile.dossiers.items() if key.startswith(start) and is_open(case)]
    return max(found)[1] if found else None


def part(profile: Profile, kind: str, name: str, event: Event | None) -> Any:
    """What a case of this kind carries under `name`: of the case that `event` moved, else of the newest open one.

    So what closes a case is answered with what the case carried. Raises Absent.
    """
    key = _moved_by(profile, kind, event) or newest_open(profile, kind)
    if key is None:
        raise Absent("no open case")
    case = profile.dossiers[key]
    if name == "opened":
        return Timestamp(opened(case))
    if name == "paused":
        return is_paused(case)
    if name == "channels":
        return channels(key, case)
    number = key.partition("/")[2]
    if name == "number" and number:
        return number
    kept = case.keeps.get(name)
    if kept is None or kept.at <= _begins(key, case):
        raise Absent(name)
    return kept.value


def channels(key: str, case: Dossier) -> list[str]:
    """The channels that a case was on, in the order in which it was last on them."""
    begins = _begins(key, case)
    return sorted((each for each, at in case.channels.items() if at > begins), key=lambda each: case.channels[each])


def carried(key: str, case: Dossier) -> dict[str, Any]:
    """The properties that a case carries, without the channel."""
    begins = _begins(key, case)
    return {name: kept.value for name, kept in case.keeps.items() if name != CHANNEL and kept.at > begins}


def _begins(key: str, case: Dossier) -> int:
    """What a case carries is newer than this (ms). One without a number is another one each time that it opens."""
    return case.closed if key.endswith("/") and is_open(case) else -1


def _moved_by(profile: Profile, kind: str, event: Event | None) -> str | None:
    """The case of this kind whose newest event this is."""
    if event is None:
        return None
    start = f"{kind}/"
    for key, case in profile.dossiers.items():
        if key.startswith(start) and CHANNEL in case.keeps and case.keeps[CHANNEL].event_id == event.event_id:
            return key
    return None

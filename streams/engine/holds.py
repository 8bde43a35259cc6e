"""Holds: cases of the customer that make actions wait, or drop them, while they are open.

A case is opened by an event and closed by another, or is over by itself when it has lasted as long as its hold says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from schemas.policy import Hold
from streams.engine.profile import Case, Profile
from streams.engine.rules import Rules


class OpenHold(NamedTuple):
    """An open case that holds an action: the hold's name, the case, whether it drops what it holds."""

    name: str
    number: str
    drops: bool


def is_open(case: Case, now: int) -> bool:
    """Whether a case is open; opened and closed at the same moment is closed."""
    return case.opened > case.closed and (not case.until or now < case.until)


def _covering(profile: Profile, purpose: str, topic: str, rules: Rules, now: int) -> Iterator[tuple[str, Hold, Case]]:
    for key, case in profile.cases.items():
        if is_open(case, now):
            name, _, number = key.partition("/")
            hold = rules.policy.holds.get(name)
            if hold is not None and purpose in hold.holds and (not hold.matching or (topic and topic == number)):
                yield key, hold, case


def open_hold(profile: Profile, purpose: str, topic: str, rules: Rules, now: int) -> OpenHold | None:
    """The first open case that holds actions of this purpose and topic; one that drops them goes first."""
    found = None
    for key, hold, _ in _covering(profile, purpose, topic, rules, now):
        if found is None or hold.then == "drop":
            name, _, number = key.partition("/")
            found = OpenHold(name, number, hold.then == "drop")
            if found.drops:
                break
    return found


def next_end(profile: Profile, purpose: str, topic: str, rules: Rules, now: int) -> int:
    """When (ms) the first of the open cases that hold such actions is over by itself; 0: none is."""
    return min((case.until for _, _, case in _covering(profile, purpose, topic, rules, now) if case.until), default=0)

"""Holds: cases of the customer that make actions of some purposes wait while they are open."""

from __future__ import annotations

from streams.engine.profile import Case, Profile
from streams.engine.rules import Rules


def is_open(case: Case) -> bool:
    """Whether a case is open; opened and closed at the same moment is closed."""
    return case.opened > case.closed


def open_hold(profile: Profile, purpose: str, rules: Rules) -> tuple[str, str] | None:
    """(hold, case) of the first open case that holds this purpose."""
    for key, case in profile.cases.items():
        if is_open(case):
            name, _, number = key.partition("/")
            hold = rules.policy.holds.get(name)
            if hold is not None and purpose in hold.holds:
                return name, number
    return None

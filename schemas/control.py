"""The control topic: what is stopped now, for sinks, which follow it, and for workers, which write it to the journal.

Compacted, one partition; a record's key is its scope: `marketing`, `journey:<name>`, or `offer:<name>`, which only the
engine knows: it chooses that offer no more.
"""

from __future__ import annotations

import msgspec

MARKETING = "marketing"
_JOURNEY = "journey:"


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The newest word on one scope: stopped or not, since when (ms), by whom and why. A later word has a later `at`."""

    scope: str
    stopped: bool
    at: int
    by: str = ""
    why: str = ""


def journey_scope(name: str) -> str:
    """The scope of one journey."""
    return _JOURNEY + name


def scopes_of(basis: str, journey: str) -> tuple[str, ...]:
    """The scopes whose stop covers an action: marketing is what needs the customer's consent."""
    mine = _JOURNEY + journey
    return (MARKETING, mine) if basis == "consent" else (mine,)

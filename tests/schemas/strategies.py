"""Hypothesis strategies for records: what the contract allows, from its own words rather than from the code."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from schemas.action import Action, Link
from schemas.decision import Decision
from schemas.outcome import KINDS, Outcome
from schemas.touchpoint import Touchpoint

TEXT = st.text(st.characters(codec="utf-8"), max_size=80)
LONG_TEXT = st.one_of(TEXT, st.integers(0, 40).map(lambda n: "häst" * n))
NAME = st.text(st.characters(codec="utf-8"), min_size=1, max_size=50)
PRINTABLE = st.text(st.characters(codec="utf-8", categories=("L", "M", "N", "P", "S")), min_size=1, max_size=50)
WORD = st.from_regex(r"[a-z][a-z0-9_.-]{0,70}", fullmatch=True)
LONG = st.integers(-(2**63), 2**63 - 1)
TIME = st.integers(0, 253_402_300_799_999)
SCALAR = st.one_of(
    st.none(), st.booleans(), LONG, st.floats(allow_nan=False, allow_infinity=False), LONG_TEXT, st.integers(-70, 70)
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAME, inner, max_size=4)),
    max_leaves=25,
)
ID = st.one_of(
    st.from_regex(r"[A-Za-z0-9@._+-]{1,80}[1-9][a-z]{0,4}", fullmatch=True),
    st.builds("{}ö{}7".format, PRINTABLE, PRINTABLE).map(str.strip),
)


def depth(value: Any) -> int:
    """How deep lists and objects nest in a value."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def count(value: Any) -> int:
    """How many values a value holds."""
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return len(parts) + sum(map(count, parts))


def allowed(tree: dict[str, Any]) -> bool:
    """Whether properties keep within the limits."""
    return depth(tree) <= 8 and count(tree) <= 200


VALUES = st.dictionaries(NAME, VALUE, max_size=6).filter(allowed)
TOUCHPOINTS = st.builds(
    Touchpoint,
    event_id=PRINTABLE,
    type=WORD,
    channel=WORD,
    occurred_at=TIME,
    identifiers=st.dictionaries(st.sampled_from(("customer", "device", "email", "phone", "social")), ID, min_size=1),
    properties=VALUES,
).filter(lambda event: event.type not in ("consent_given", "consent_withdrawn", "customers_merged", "logged_out"))

SOME = st.one_of(st.none(), LONG_TEXT)
ACTIONS = st.builds(
    Action,
    action_id=TEXT,
    action=TEXT,
    channel=TEXT,
    profile=TEXT,
    customer=SOME,
    purpose=TEXT,
    basis=TEXT,
    journey=TEXT,
    journey_version=LONG,
    instance_id=TEXT,
    stage=TEXT,
    event_id=SOME,
    proposed_at=LONG,
    expires_at=LONG,
    priority=LONG,
    to=SOME,
    template=SOME,
    link=st.one_of(st.none(), st.builds(Link, path=TEXT, position=SOME)),
    params=VALUES,
    traits=VALUES,
    reason=LONG_TEXT,
    if_uncertain=TEXT,
    standing=st.booleans(),
    traceparent=SOME,
    quiet_from=st.one_of(st.none(), LONG),
)
DECISIONS = st.builds(
    Decision,
    decision_id=TEXT,
    profile=TEXT,
    customer=SOME,
    verdict=TEXT,
    gate=TEXT,
    reason=TEXT,
    at=LONG,
    action_id=SOME,
    action=SOME,
    channel=SOME,
    purpose=SOME,
    journey=SOME,
    journey_version=st.one_of(st.none(), LONG),
    instance_id=SOME,
    stage=SOME,
    event_id=SOME,
    value=SOME,
    bound=SOME,
)
OUTCOMES = st.builds(
    Outcome,
    outcome_id=PRINTABLE,
    action_id=PRINTABLE,
    profile=PRINTABLE,
    kind=st.sampled_from(KINDS),
    channel=PRINTABLE,
    at=TIME,
    permanent=st.booleans(),
    detail=LONG_TEXT,
)

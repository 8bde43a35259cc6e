"""Nothing that the codec accepts can stop a partition: whatever stands in its properties, the engine goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec, journal
from schemas.outcome import KINDS as OUTCOME_KINDS
from schemas.outcome import Outcome
from streams import definitions
from streams.checks import check_directory
from streams.engine.profile import decode
from streams.engine.rules import Library
from streams.problems import errors
from streams.simulator import Simulator
from tests.engine.effort import examples
from tests.engine.making import HOUR, MINUTE, START, journey, library
from tests.schemas.strategies import VALUE

ROOT = Path(__file__).parents[2]
MESSAGE = 1_000_000  # what a broker takes by default, and a little less

# A journey that hands what events say to every place that takes it, whatever it is.
TRUSTING = journey(
    "trusting",
    {
        "open": [
            {
                "on arrival": None,
                "do": [
                    {"banner": {"link": "vars.a", "reason": "vars.b", "say": "vars.c", "all": ["vars.a", "vars.b"]}},
                    {"message": {"to": "vars.b", "channel": "email", "traits": ["a", "b", "c", "vars.a"]}},
                    {"mail": {"template": "resume", "purpose": "resume", "to": "vars.a", "link": "vars.c"}},
                    {"stop_ads": {"link": 'resume("/x", vars.c)', "to": "vars.b", "priority": 2**63 - 1}},
                ],
            },
            {
                "when": "said",
                "if": "event.a == vars.b || vars.c in event.b || traits.a < event.c",
                "set": {"a": "event.b", "b": "event.a + vars.b", "c": "event.a"},
                "do": [
                    {"banner": {"link": "event.a", "traits": ["b"], "event_b": "event.b", "nested": {"x": "event.c"}}}
                ],
            },
            {"at": "2w before traits.a 09:00", "do": [{"banner": {"say": "traits.a"}}]},
            {"at": "9999w after vars.a 09:00", "do": [{"banner": {"say": "vars.a"}}]},
            {"at": "vars.b 23:59", "do": [{"banner": {"say": "vars.b"}}]},
            {"at": "each traits.a 02:30", "do": [{"banner": {"say": "traits.a"}}]},
            {"after": "999999w at 09:00", "do": [{"banner": {"say": "traits.a"}}]},
            {"after": "999 working days at 09:00", "do": [{"banner": {"say": "traits.a"}}]},
            {"after": "1h of silence", "do": [{"banner": {"say": "traits.a"}}], "end": True},
        ],
    },
    enter={"when": "said", "set": {"a": "event.a", "b": "event.b", "c": "event.c"}},
    again="always",
    stale_after="999999w",
    **{"any stage": [{"when": "profile_updated", "do": [{"message": {"to": "traits.email", "channel": "email"}}]}]},
)


def _library(folder: Path) -> Library:
    assert not errors(check_directory(folder))
    return definitions.library(definitions.load(folder).loaded())


KNOWN = {
    "seeds": _library(ROOT / "seeds"),
    "random_bank": _library(ROOT / "tests" / "support" / "random_bank"),
    "trusting": library(TRUSTING),
}

ODD = st.one_of(
    VALUE,
    st.sampled_from(
        ["marketing", "personalisation", "email", "sms", "/credit-cards", "credit-card", "ann", "bea", "/x"]
    ),
    st.sampled_from(
        ["//evil.example", "https://evil.example", "a@example.com", "\r\nBcc: x", "\x00", "\ud800", "é" * 9000]
    ),
    st.sampled_from(
        ["2026-02-29", "2028-02-29", "02-29", "0001-01-01", "9999-12-31T00:00:00Z", "Europe/Helsinki", "Asia"]
    ),
    st.sampled_from([2**63 - 1, -(2**63), 2**63, 1e308, -0.0, 5e-324, [], {}, [[]], ["x"] * 190, [{"a": [{}]}]]),
)
# The types that the engine and the definitions listen to, with the properties that they read.
READ: dict[str, tuple[str, ...]] = {
    "said": ("a", "b", "c"),
    "profile_updated": ("a", "time_zone", "email", "phone", "preferred_channel", "x" * 200, "\u00e4\u2028", "vars.a"),
    "consent_given": ("purpose",),
    "consent_withdrawn": ("purpose",),
    "contact_forbidden": (),
    "contact_allowed": (),
    "customers_merged": ("from", "into"),
    "logged_out": (),
    "complaint_opened": ("case_id",),
    "complaint_closed": ("case_id",),
    "page_viewed": ("page",),
    "form_started": ("form",),
    "form_page_submitted": ("page_number", "email"),
    "form_left": ("page_number",),
    "form_submitted": (),
    "basket_updated": ("value", "basket_id"),
    "order_placed": (),
    "application_approved": ("product",),
    "card_activated": (),
    "t" * 200: (),
}
KINDS = st.one_of(st.sampled_from(sorted(READ)), st.sampled_from(["said", "profile_updated", "page_viewed"]))
IDS = st.sampled_from(
    [
        *({"customer": "ann"}, {"customer": "ann"}, {"customer": "bea"}, {"device": "d"}, {"email": "a@example.com"}),
        *({"customer": "ann", "device": "d"}, {"customer": "bea", "device": "d", "phone": "+35840"}),
        {"customer": "ü" * 100, "device": "#0~"},
    ]
)
# Else the consent gate would refuse nearly all.
REACHABLE: list[tuple[str, dict[str, Any]]] = [
    ("consent_given", {"purpose": "marketing"}),
    ("consent_given", {"purpose": "personalisation"}),
    ("profile_updated", {"email": "ann@example.com", "phone": "+35840", "push_token": "t"}),
]
MOMENTS = st.sampled_from([0, 1, MINUTE, 31 * MINUTE, 3 * HOUR, 40 * 24 * HOUR])


def _touchpoint(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "event_id": st.one_of(st.sampled_from(["e1", "e2"]), st.uuids().map(str), st.just("é" * 100)),
            "type": st.just(kind),
            "channel": st.just("web"),
            "occurred_at": st.sampled_from([0, START, START + HOUR, 253_402_300_799_999]),
            "identifiers": IDS,
            "properties": st.fixed_dictionaries(
                dict.fromkeys(READ[kind][:3], ODD), optional=dict.fromkeys(READ[kind][3:], ODD)
            ),
        }
    )


TOUCHPOINTS = KINDS.flatmap(_touchpoint)
OUTCOMES = st.builds(
    Outcome,
    outcome_id=st.one_of(st.just("o1"), st.uuids().map(str)),
    action_id=st.just("unknown"),
    profile=st.sampled_from(["customer:ann", "customer:bea", "device:d", "customer:", ":", "nobody", "x:" + "y" * 390]),
    kind=st.sampled_from(OUTCOME_KINDS),
    channel=st.sampled_from(["email", "no such channel"]),
    at=st.sampled_from([0, START, 253_402_300_799_999]),
    permanent=st.booleans(),
    detail=st.sampled_from(["", "x" * 9000]),
)
LOGS = st.lists(
    st.tuples(MOMENTS, st.one_of(TOUCHPOINTS, TOUCHPOINTS, TOUCHPOINTS, OUTCOMES), st.integers(0, 9)), max_size=25
)


def _accepted(tree: dict[str, Any]) -> Any:
    """The touchpoint as a worker reads it from JSON; None when it is a dead letter."""
    try:
        return codec.decode_touchpoint(msgspec.json.encode(tree))
    except (codec.InvalidRecord, UnicodeEncodeError):  # the latter: no UTF-8 can say it
        return None


def _fits(value: bytes) -> None:
    assert len(value) < MESSAGE


def _writable(simulator: Simulator) -> None:
    """All that a task would write can be encoded, read back, and fits a message."""
    published = simulator.published
    for action in published.actions:
        value = codec.encode_action(action)
        assert codec.decode_action(value) == action
        _fits(value)
        codec.encode_action_json(action)
    for decision in published.decisions:
        _fits(codec.encode_decision(decision))
    for each in (*published.withdrawals, *published.suppressions, *published.identities):
        _fits(codec.encode_json(each))
    for entries in simulator.journal:
        for entry in entries:
            value = journal.encode(entry)
            assert journal.decode(value) == entry
            _fits(value)
    for name, state in simulator.states().items():
        assert decode(state).id == name
        _fits(state)


@pytest.mark.parametrize("known", KNOWN)
@examples(60)
@given(log=LOGS)
def test_no_accepted_record_raises(known: str, log: list[tuple[int, Any, int]]) -> None:
    """Reserved types with any property values, outcomes of anything for anyone, in any order."""
    simulator, now = Simulator(KNOWN[known], 2), START
    for number, (kind, properties) in enumerate(REACHABLE):
        said = {
            "event_id": f"r{number}",
            "type": kind,
            "channel": "web",
            "occurred_at": START,
            "properties": properties,
        }
        simulator.touchpoint(_accepted(said | {"identifiers": {"customer": "ann"}}), now)
    for later, record, number in log:
        now += later
        if isinstance(record, Outcome):
            if simulator.actions and number:
                action = simulator.actions[number % len(simulator.actions)]
                outcome = msgspec.structs.replace(record, action_id=action.action_id, profile=action.profile)
            else:
                outcome = record
            simulator.outcome(codec.decode_outcome(codec.encode_outcome(outcome)), now)
        elif (touchpoint := _accepted(record)) is not None:
            simulator.touchpoint(touchpoint, now)
    simulator.advance_to(now + 400 * 24 * HOUR)
    _writable(simulator)

"""The router: whose journal an event goes to, and which claims it makes."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.journal import OUTCOMES, TOUCHPOINTS, Claim, Event, Origin, Unite
from schemas.journal import Outcome as OutcomeEntry
from schemas.outcome import Outcome
from schemas.touchpoint import LOGGED_OUT
from streams.engine import routing
from streams.engine.routing import CLAIM_EVERY, Router
from tests.engine.making import MINUTE, START, touchpoint


def _at(time: int, offset: int = 7, partition: int = 3) -> Origin:
    return Origin(TOUCHPOINTS, partition, offset, time)


@pytest.mark.parametrize(
    ("identifiers", "profile"),
    [
        ({"customer": "c1"}, "customer:c1"),
        ({"device": "d1", "customer": "c1"}, "customer:c1"),
        ({"phone": "+358", "device": "d1"}, "device:d1"),
        ({"social": "@a", "email": "a@example.com"}, "email:a@example.com"),
    ],
)
def test_whose_event_it_is(identifiers: dict[str, str], profile: str) -> None:
    """An event is its customer's, else the first other identifier's by declared order."""
    entries = Router().touchpoint(_at(START), touchpoint("e1", "page_viewed", identifiers=identifiers))
    assert [entry.profile for entry in entries if isinstance(entry, Event)] == [profile]


def test_the_declared_order_of_kinds_decides() -> None:
    """Kinds may be declared in another order, and others may be declared."""
    router = Router(("customer", "till", "device"))
    entry = router.touchpoint(_at(START), touchpoint("e", "sold", identifiers={"device": "d", "till": "t"}))[0]
    assert isinstance(entry, Event)
    assert entry.profile == "till:t"


def test_an_event_of_customer_and_identifiers_claims_each_of_them() -> None:
    """The entry names the claims; each identifier's journal gets one with record time and event id."""
    identifiers = {"phone": "+358", "customer": "c", "device": "d"}
    event, *claims = Router().touchpoint(_at(START), touchpoint("e1", "page_viewed", identifiers=identifiers), "00-ab")
    assert isinstance(event, Event)
    assert event.claims == ["device:d", "phone:+358"]
    assert event.traceparent == "00-ab"
    assert claims == [
        Claim("device:d", "customer:c", START, "e1"),
        Claim("phone:+358", "customer:c", START, "e1"),
    ]


CLAIMED_AGAIN = [
    ("within a minute", "c", MINUTE - 1, False),
    ("after a minute", "c", MINUTE, True),
    ("by another", "b", 1, True),
]


@pytest.mark.parametrize(("customer", "after", "again"), [pytest.param(*row[1:], id=row[0]) for row in CLAIMED_AGAIN])
def test_the_same_pair_is_claimed_once_a_minute(customer: str, after: int, again: bool) -> None:  # noqa: FBT001
    """What the router left out, the entry does not name: its customer would wait for no answer."""
    router = Router()
    router.touchpoint(_at(START), touchpoint("e1", "page_viewed", identifiers={"customer": "c", "device": "d"}))
    event, *claims = router.touchpoint(
        _at(START + after), touchpoint("e2", "page_viewed", identifiers={"customer": customer, "device": "d"})
    )
    assert isinstance(event, Event)
    assert (event.claims == ["device:d"], len(claims) == 1) == (again, again)


def test_a_claim_by_another_in_between_makes_the_first_ask_again() -> None:
    """It is the last pair written for the identifier that counts, or the first customer's return would go unseen."""
    router = Router()
    claimed = [
        len(router.touchpoint(_at(START + at), touchpoint(f"e{at}", "x", identifiers={"customer": c, "device": "d"})))
        for at, c in enumerate(["a", "b", "a", "a"])
    ]
    assert claimed == [2, 2, 2, 1]


def test_logging_out_claims_for_nobody_and_waits_for_no_answer() -> None:
    """`logged_out` always claims, and the next event of the same customer claims again."""
    router = Router()
    both = {"customer": "c", "device": "d"}
    router.touchpoint(_at(START), touchpoint("e1", "page_viewed", identifiers=both))
    for number in (2, 3):
        event, claim = router.touchpoint(_at(START + number), touchpoint(f"e{number}", LOGGED_OUT, identifiers=both))
        assert isinstance(event, Event)
        assert event.claims == []
        assert claim == Claim("device:d", None, START + number, f"e{number}")
    assert len(router.touchpoint(_at(START + 4), touchpoint("e4", "page_viewed", identifiers=both))) == 2


def test_a_record_time_that_goes_back_claims_again() -> None:
    """CreateTime may go back; a claim is rather written once too often."""
    router = Router()
    both = {"customer": "c", "device": "d"}
    router.touchpoint(_at(START), touchpoint("e1", "x", identifiers=both))
    assert len(router.touchpoint(_at(START - MINUTE), touchpoint("e2", "x", identifiers=both))) == 2


@pytest.mark.parametrize(("source", "into"), [("a", "b"), ("b", "a")])
def test_customers_merged_goes_to_the_larger_id(source: str, into: str) -> None:
    """By bytes, whichever of the two is named first; actions will carry `into`."""
    names: dict[str, Any] = {"from": source, "into": into}
    event = touchpoint("e1", "customers_merged", identifiers={"customer": "a"}, **names)
    assert Router().touchpoint(_at(START), event) == [
        Unite("customer:b", _at(START), "e1", f"customer:{source}", f"customer:{into}", into)
    ]


def test_an_outcome_goes_to_the_profile_of_its_action() -> None:
    """With its origin, for the time."""
    outcome = Outcome(
        outcome_id="o1", action_id="a1", profile="device:d", kind="bounced", channel="email", at=1, permanent=True
    )
    origin = Origin(OUTCOMES, 0, 1, START)
    (entry,) = Router().outcome(origin, outcome)
    assert isinstance(entry, OutcomeEntry)
    assert (entry.profile, entry.origin, entry.permanent) == ("device:d", origin, True)


def test_what_is_remembered_is_bounded_by_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims of a minute ago are dropped once there are many, and change nothing."""
    monkeypatch.setattr(routing, "REMEMBERED", 10)
    router = Router()
    for number in range(100):
        event = touchpoint(f"e{number}", "x", identifiers={"customer": "c", "device": f"d{number}"})
        router.touchpoint(_at(START + number * CLAIM_EVERY // 4), event)
    assert len(router._claimed) <= 20


def test_dropping_costs_a_constant_time_per_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many identifiers come within a minute, the remembered claims are looked through a few times only."""
    monkeypatch.setattr(routing, "REMEMBERED", 10)
    router = Router()
    looked = 0
    for number in range(10_000):
        before = router._drop_at
        router._claim(f"device:{number}", "customer:c", START)
        looked += router._drop_at != before
    assert looked == 10  # 10 claims remembered, then 20, 40, ... 10,240

"""Timers by the customer's clock, by working time and by dates: when they fire, how often, and what moves them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from schemas.journal import Activate
from schemas.policy import Policy
from streams.engine.localtime import EPOCH
from streams.simulator import Simulator
from tests.engine.making import DAY, POLICY, START, Shop, journey, library

MINUTE = 60_000


def ms(text: str) -> int:
    """A moment, written with its offset."""
    return round((datetime.fromisoformat(text) - EPOCH).total_seconds() * 1000)


def policy(version: int = 1, **more: Any) -> Policy:
    """The shop's policy, in Helsinki."""
    written = POLICY.model_dump(by_alias=True, exclude_defaults=True)
    return Policy.model_validate(written | {"version": version, "time_zone": "Europe/Helsinki"} | more)


HOLIDAYS: dict[str, Any] = {"calendar": {"holidays": ["2026-03-06"]}}


class Clocked(Shop):
    """A shop whose times are written out. One journey: into stage `one` by hello, and `timer` says so."""

    def __init__(self, timer: dict[str, Any], *, more: list[dict[str, Any]] | None = None, **keys: Any) -> None:
        handler = {**timer, "do": [{"stop_ads": {"say": "rang"}}]}
        stages = {
            "one": [handler, *(more or [])],
            "two": [{"when": "back", "to": "one"}, {"after": "900d", "end": True}],
        }
        super().__init__(journey("j", stages, **keys), policy(**HOLIDAYS), partitions=1)

    def at(self, moment: str, kind: str, **more: Any) -> None:
        """A touchpoint."""
        self.see(kind, ms(moment) - START, **more)

    def until(self, moment: str) -> None:
        """Time passes."""
        self.wait(ms(moment) - START)

    @property
    def rang(self) -> list[str]:
        """When the timer fired, by the clock of UTC."""
        return [
            f"{datetime.fromtimestamp(each.proposed_at / 1000, EPOCH.tzinfo):%Y-%m-%dT%H:%M}" for each in self.actions
        ]


# 2 March 2026 is a Monday; Helsinki is two hours ahead of UTC then.
ENTERED = "2026-03-02T10:30+02:00"
ROWS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("the next such time", {"at": "09:00"}, {}, "2026-03-03T07:00"),
    ("later on the same day", {"at": "18:30"}, {}, "2026-03-02T16:30"),
    ("strictly after it was entered", {"at": "10:30"}, {}, "2026-03-03T08:30"),
    ("on a weekday", {"at": "friday 09:00"}, {}, "2026-03-06T07:00"),
    ("on today's weekday", {"at": "monday 09:00"}, {}, "2026-03-09T07:00"),
    ("on a working day", {"at": "working day 10:00"}, {}, "2026-03-03T08:00"),
    ("by the customer's clock", {"at": "09:00"}, {"time_zone": "America/New_York"}, "2026-03-02T14:00"),
    ("a zone that is none", {"at": "09:00"}, {"time_zone": "Nowhere/Land"}, "2026-03-03T07:00"),
    ("at least two days later", {"after": "2d at 09:00"}, {}, "2026-03-05T07:00"),
    ("exactly two days later", {"after": "2d at 10:30"}, {}, "2026-03-04T08:30"),
    ("working hours", {"after": "8 working hours"}, {}, "2026-03-03T08:30"),
    ("working hours over a week-end", {"after": "33 working hours"}, {}, "2026-03-09T09:30"),  # Friday is a holiday
    ("working days", {"after": "3 working days"}, {}, "2026-03-05T08:30"),
    ("working days over a holiday", {"after": "4 working days"}, {}, "2026-03-09T08:30"),
    ("working days and a time", {"after": "2 working days at 09:00"}, {}, "2026-03-05T07:00"),
    ("working days and a time over a holiday", {"after": "3 working days at 09:00"}, {}, "2026-03-09T07:00"),
    ("working time is the policy's", {"after": "2 working hours"}, {"time_zone": "Asia/Tokyo"}, "2026-03-02T10:30"),
    ("a date", {"at": "traits.renewal 09:00"}, {"renewal": "2026-04-10"}, "2026-04-10T06:00"),
    ("the date of a time", {"at": "traits.renewal 09:00"}, {"renewal": "2026-04-10T23:59:59Z"}, "2026-04-10T06:00"),
    ("before a date", {"at": "7d before traits.renewal 09:00"}, {"renewal": "2026-04-10"}, "2026-04-03T06:00"),
    ("weeks before it", {"at": "2w before traits.renewal 09:00"}, {"renewal": "2026-04-10"}, "2026-03-27T07:00"),
    ("after a variable", {"at": "2d after vars.sent 12:00"}, {}, "2026-03-06T10:00"),
    ("every year", {"at": "each traits.born 09:00"}, {"born": "1980-03-05"}, "2026-03-05T07:00"),
    ("every year, next year", {"at": "each traits.born 09:00"}, {"born": "1980-03-01"}, "2027-03-01T07:00"),
    ("every year, without a year", {"at": "each traits.born 09:00"}, {"born": "03-05"}, "2026-03-05T07:00"),
    ("every year, as ISO 8601 had it", {"at": "each traits.born 09:00"}, {"born": "--03-05"}, "2026-03-05T07:00"),
    ("29 February", {"at": "each traits.born 09:00"}, {"born": "2000-02-29"}, "2027-02-28T07:00"),
]


@pytest.mark.parametrize(("timer", "traits", "due"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_when_it_fires(timer: dict[str, Any], traits: dict[str, Any], due: str) -> None:
    """Once, at that moment and not a millisecond before."""
    shop = Clocked(timer, enter={"when": "hello", "set": {"sent": "event.sent"}})
    shop.at("2026-03-02T10:00+02:00", "profile_updated", **traits)
    shop.at(ENTERED, "hello", sent="2026-03-04")
    shop.wait(ms(f"{due}+00:00") - 1 - START)
    assert shop.rang == []
    shop.wait(ms(f"{due}+00:00") - START)
    assert shop.rang == [due]
    shop.wait(ms(f"{due}+00:00") + 300 * DAY - START)
    assert shop.rang == [due]


def test_a_birthday_comes_every_year() -> None:
    """On 28 February in years without a 29th; once a year."""
    shop = Clocked({"at": "each traits.born 09:00"})
    shop.at(ENTERED, "profile_updated", born="2000-02-29")
    shop.at(ENTERED, "hello")
    shop.until("2031-01-01T00:00+02:00")
    assert [each[:10] for each in shop.rang] == ["2027-02-28", "2028-02-29", "2029-02-28", "2030-02-28"]


NEVER: list[tuple[str, dict[str, Any], Any]] = [
    ("there is no such trait", {"at": "traits.renewal 09:00"}, None),
    ("it is no date", {"at": "traits.renewal 09:00"}, "soon"),
    ("it is a number", {"at": "traits.renewal 09:00"}, 20260410),
    ("it passed before the stage was entered", {"at": "traits.renewal 09:00"}, "2026-03-02"),
    ("it is beyond the calendar", {"at": "2d after traits.renewal 09:00"}, "9999-12-31"),
    ("it is before the calendar", {"at": "9999d before traits.renewal 09:00"}, "0001-01-01"),
    ("a birthday that is no day", {"at": "each traits.renewal 09:00"}, "02-30"),
]


@pytest.mark.parametrize(("timer", "value"), [pytest.param(*row[1:], id=row[0]) for row in NEVER])
def test_when_it_never_fires(timer: dict[str, Any], value: Any) -> None:
    """What says no day, or one that has passed, wakes nobody."""
    shop = Clocked(timer)
    shop.at("2026-03-02T10:00+02:00", "profile_updated", renewal=value)
    shop.at(ENTERED, "hello")
    assert shop.profile().wake == 0
    shop.until("2029-03-02T10:00+02:00")
    assert shop.rang == []


# ---- what moves them


def test_a_date_that_moves_moves_its_timer() -> None:
    """Later, and earlier; and where it goes away, the timer does."""
    shop = Clocked({"at": "traits.renewal 09:00"})
    shop.at(ENTERED, "hello")
    assert shop.profile().wake == 0
    for renewal, wake in [("2026-03-20", "20"), ("2026-03-25", "25"), ("2026-03-10", "10"), ("2026-03-12", "12")]:
        shop.at("2026-03-02T11:00+02:00", "profile_updated", renewal=renewal)
        assert shop.profile().wake == ms(f"2026-03-{wake}T09:00+02:00")
    shop.until("2026-03-11T00:00+02:00")
    assert shop.rang == []
    shop.until("2026-03-13T00:00+02:00")
    assert shop.rang == ["2026-03-12T07:00"]
    shop.at("2026-03-14T00:00+02:00", "profile_updated", renewal=None)
    assert shop.profile().wake == 0


def test_a_date_that_moves_on_fires_again_for_its_new_moment() -> None:
    """Each day once, in one stay in the stage: a renewal that is put off by a year is another renewal."""
    shop = Clocked({"at": "traits.renewal 09:00"})
    shop.at(ENTERED, "profile_updated", renewal="2026-03-10")
    shop.at(ENTERED, "hello")
    for said in ("2026-03-10", "2026-03-09", "2026-03-10", "2027-03-10", "2026-03-10", "2027-03-10"):
        shop.at("2026-03-10T12:00+02:00", "profile_updated", renewal=said)
    shop.until("2028-01-01T00:00+02:00")
    assert shop.rang == ["2026-03-10T07:00", "2027-03-10T07:00"]


def test_a_date_that_had_passed_when_it_became_known_never_fires() -> None:
    """Also where the word of it is late, and was true in time when it was said."""
    for timer in ("traits.renewal 09:00", "2d before traits.renewal 09:00"):
        shop = Clocked({"at": timer})
        shop.at(ENTERED, "hello")
        shop.at("2026-03-10T09:00:00.001+02:00", "profile_updated", renewal="2026-03-10", late=DAY)
        assert shop.profile().wake == 0
        shop.until("2028-01-01T00:00+02:00")
        assert shop.rang == []


def test_a_birthday_that_had_passed_when_it_became_known_is_next_year() -> None:
    """And one that moves within the year is not kept twice."""
    shop = Clocked({"at": "each traits.born 09:00"})
    shop.at(ENTERED, "hello")
    shop.at("2026-06-01T12:00+03:00", "profile_updated", born="1980-05-31")
    shop.until("2027-06-01T00:00+03:00")
    assert shop.rang == ["2027-05-31T06:00"]
    shop.at("2027-06-01T12:00+03:00", "profile_updated", born="1980-09-01")
    shop.until("2028-12-01T12:00+02:00")
    assert shop.rang == ["2027-05-31T06:00", "2028-09-01T06:00"]


def test_a_variable_that_is_set_in_the_stage_moves_its_timer() -> None:
    """To what comes; a day that has passed comes too late."""
    shop = Clocked({"at": "vars.day 09:00"}, more=[{"when": "said", "set": {"day": "event.day"}}])
    shop.at(ENTERED, "hello")
    for day, wake in [("2026-03-20", "2026-03-20T09:00+02:00"), ("2026-03-04", "2026-03-04T09:00+02:00")]:
        shop.at("2026-03-03T12:00+02:00", "said", day=day)
        assert shop.profile().wake == ms(wake)
    shop.at("2026-03-03T13:00+02:00", "said", day="2026-03-03")
    assert shop.profile().wake == 0
    shop.until("2026-04-01T00:00+03:00")
    assert shop.rang == []


def test_a_customer_who_moves_to_another_zone() -> None:
    """It is the first such time there from then on: neither twice, nor in the night because it has passed."""
    shop = Clocked({"after": "2d at 09:00"})
    shop.at(ENTERED, "hello")
    assert shop.profile().wake == ms("2026-03-05T09:00+02:00")
    shop.at("2026-03-03T12:00+02:00", "profile_updated", time_zone="America/New_York")
    assert shop.profile().wake == ms("2026-03-04T09:00-05:00")
    shop.at("2026-03-04T15:59+02:00", "profile_updated", time_zone="Asia/Tokyo")
    assert shop.profile().wake == ms("2026-03-05T09:00+09:00")
    shop.at("2026-03-05T02:00+02:00", "profile_updated", time_zone="America/New_York")
    shop.until("2026-04-01T00:00+03:00")
    assert shop.rang == ["2026-03-05T00:00"]  # it had fired in Tokyo


def test_the_same_zone_said_again_moves_nothing() -> None:
    """However often: a customer's data may be sent every hour."""
    shop = Clocked({"at": "09:00"})
    shop.at(ENTERED, "hello")
    for hour in range(11, 24):
        shop.at(f"2026-03-02T{hour}:00+02:00", "profile_updated", time_zone="Europe/Helsinki")
        assert shop.profile().wake == ms("2026-03-03T09:00+02:00")


def test_a_date_fires_once_also_when_the_zone_changes_after_it() -> None:
    """It is the same day there, an hour that comes again."""
    shop = Clocked({"at": "traits.renewal 09:00"})
    shop.at(ENTERED, "profile_updated", renewal="2026-03-10")
    shop.at(ENTERED, "hello")
    shop.at("2026-03-10T10:00+02:00", "profile_updated", time_zone="America/New_York")
    assert shop.rang == ["2026-03-10T07:00"]
    assert shop.profile().wake == 0


def test_coming_back_into_the_stage_is_another_visit() -> None:
    """A timer is due anew, for what is still to come."""
    shop = Clocked({"at": "09:00"}, more=[{"when": "away", "to": "two"}])
    shop.at(ENTERED, "hello")
    shop.at("2026-03-03T09:00+02:00", "away")
    shop.at("2026-03-03T09:00+02:00", "back")
    shop.until("2026-03-05T00:00+02:00")
    assert shop.rang == ["2026-03-03T07:00", "2026-03-04T07:00"]
    dated = Clocked({"at": "traits.renewal 09:00"}, more=[{"when": "away", "to": "two"}])
    dated.at(ENTERED, "profile_updated", renewal="2026-03-10")
    dated.at(ENTERED, "hello")
    for moment in ("2026-03-03T09:00+02:00", "2026-03-10T09:00+02:00", "2026-03-10T10:00+02:00"):
        dated.at(moment, "away")
        dated.at(moment, "back")
    dated.until("2026-04-01T00:00+03:00")
    assert dated.rang == ["2026-03-10T07:00"]


def test_a_stage_that_leads_back_to_itself_fires_once_a_day() -> None:
    """At the very moment it is entered again, it is due on the next day."""
    shop = Shop(journey("j", {"one": [{"at": "09:00", "do": [{"stop_ads": {"say": "x"}}], "to": "one"}]}), policy())
    shop.see("hello", 0)
    shop.wait(10 * DAY)
    assert len(shop.actions) == 10
    assert len({each.action_id for each in shop.actions}) == 10


def test_two_timers_of_one_moment_fire_in_their_order() -> None:
    """And one that leads on ends the others."""
    more = [
        {"at": "friday 09:00", "do": [{"stop_ads": {"say": "second"}}], "to": "two"},
        {"at": "traits.renewal 09:00", "do": [{"stop_ads": {"say": "third"}}]},
    ]
    shop = Clocked({"after": "3d at 09:00"}, more=more)
    shop.at(ENTERED, "profile_updated", renewal="2026-03-06")
    shop.at(ENTERED, "hello")
    shop.until("2026-04-01T00:00+03:00")
    assert shop.sent == ["rang", "second"]
    assert [each.why for each in shop.simulator.published.transitions] == ["entered", "at friday 09:00"]


# ---- a new policy


def _activated(timer: dict[str, Any], new: Policy, *, seen: bool) -> list[str]:
    """When a timer fires that was set before a new policy took effect on Monday noon; `seen`: an event came then."""
    made = journey("j", {"one": [{**timer, "do": [{"stop_ads": {"say": "rang"}}]}]})
    shop, known = Shop(), library(made, policy())
    shop.simulator = Simulator(known, 1)
    shop.see("hello", ms(ENTERED) - START)
    shop.wait(ms("2026-03-02T12:00+02:00") - START)
    known.add(new, "fingerprint-2")
    shop.simulator.broadcast(Activate("policy", "shop", 2, "fingerprint-2"))
    if seen:
        shop.see("anything", ms("2026-03-02T12:00+02:00") - START)
    shop.wait(40 * DAY)
    return [f"{datetime.fromtimestamp(each.proposed_at / 1000, EPOCH.tzinfo):%Y-%m-%dT%H:%M}" for each in shop.actions]


LATER = policy(2, calendar={"holidays": ["2026-03-03"]})
EARLIER = policy(2, calendar={"working": {"monday": "00:00-24:00"}})
NEW_POLICIES = [
    ("later", {"after": "8 working hours"}, LATER, "2026-03-04T08:30", "2026-03-04T08:30"),
    ("earlier", {"after": "8 working hours"}, EARLIER, "2026-03-03T08:30", "2026-03-02T16:30"),
    (
        "another zone, later",
        {"at": "20:00"},
        policy(2, time_zone="Europe/London"),
        "2026-03-02T20:00",
        "2026-03-02T20:00",
    ),
    (
        "another zone, earlier",
        {"at": "20:00"},
        policy(2, time_zone="Asia/Tokyo"),
        "2026-03-02T18:00",
        "2026-03-02T11:00",
    ),
    (
        "another zone, passed",
        {"at": "18:00"},
        policy(2, time_zone="Asia/Tokyo"),
        "2026-03-02T16:00",
        "2026-03-02T10:00",
    ),
]


@pytest.mark.parametrize(
    ("timer", "new", "unseen", "seen"), [pytest.param(*row[1:], id=row[0]) for row in NEW_POLICIES]
)
def test_a_new_policy_moves_timers(timer: dict[str, Any], new: Policy, unseen: str, seen: str) -> None:
    """To later at once; to earlier when the customer is next heard of; what has passed by then fires at once."""
    assert _activated(timer, new, seen=False) == [unseen]
    assert _activated(timer, new, seen=True) == [seen]

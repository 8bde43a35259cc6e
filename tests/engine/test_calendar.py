"""Working time: hours and days by a calendar, over holidays, week-ends and both changes of the clock."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.policy import Calendar as Model
from schemas.zones import zone
from streams.engine.calendar import Calendar, Delay, calendar_of, delay, working_after
from streams.engine.localtime import EPOCH, LAST, local
from tests.engine.effort import examples
from tests.engine.making import DAY, HOUR, POLICY

HELSINKI = zone("Europe/Helsinki")
assert HELSINKI is not None
WEEK = dict.fromkeys(["monday", "tuesday", "wednesday", "thursday", "friday"], "09:00-17:00")
HOLIDAYS = ["2026-12-24", "2026-12-25", "12-06", "01-01"]


def calendar(working: dict[str, Any] | None = None, holidays: list[str] | None = None) -> Calendar:
    """Monday to Friday, nine to five, with a few holidays, unless said otherwise."""
    model = Model.model_validate({"working": working or WEEK, "holidays": HOLIDAYS if holidays is None else holidays})
    return calendar_of(POLICY.model_copy(update={"calendar": model}))


def ms(text: str) -> int:
    """A local time in Helsinki."""
    return round((datetime.fromisoformat(text).replace(tzinfo=HELSINKI) - EPOCH).total_seconds() * 1000)


WEEKEND = {"saturday": "10:00-14:00"}
LUNCH: dict[str, Any] = {**WEEK, "monday": ["09:00-12:00", "13:00-17:00"], "friday": "09:00-15:00"}
ALWAYS: dict[str, Any] = dict.fromkeys([*WEEK, "saturday", "sunday"], "00:00-24:00")
ROWS = [
    ("a plain time", "36h", "2026-03-06T16:00", "2026-03-08T04:00", {}),
    ("hours within a day", "3 working hours", "2026-03-02T10:00", "2026-03-02T13:00", {}),
    ("to the very end of a day", "8 working hours", "2026-03-02T09:00", "2026-03-02T17:00", {}),
    ("over a week-end", "2 working hours", "2026-03-06T16:00", "2026-03-09T10:00", {}),
    ("begun at night", "1 working hour", "2026-03-02T22:00", "2026-03-03T10:00", {}),
    ("begun on a Sunday", "8 working hours", "2026-03-08T12:00", "2026-03-09T17:00", {}),
    ("over Christmas", "2 working hours", "2026-12-23T16:00", "2026-12-28T10:00", {}),
    ("over lunch", "3 working hours", "2026-03-02T11:00", "2026-03-02T15:00", LUNCH),
    ("days", "3 working days", "2026-03-02T10:00", "2026-03-05T10:00", {}),
    ("days, begun on a Sunday: from Monday's begin", "1 working day", "2026-03-08T12:00", "2026-03-10T09:00", {}),
    ("days, begun in the evening: from the next morning", "1 working day", "2026-03-02T17:00", "2026-03-04T09:00", {}),
    ("days over Christmas", "2 working days", "2026-12-23T11:30", "2026-12-29T11:30", {}),
    ("to a shorter day: its end", "1 working day", "2026-03-05T16:00", "2026-03-06T15:00", LUNCH),
    ("into lunch: its end", "1 working day", "2026-03-06T12:30", "2026-03-09T13:00", LUNCH),
    ("6 December every year", "1 working day", "2024-12-05T10:00", "2024-12-09T10:00", {}),  # it is a Friday
    ("only on Saturdays", "3 working days", "2026-03-07T11:00", "2026-03-28T11:00", WEEKEND),
    ("the clock is put forward", "24 working hours", "2026-03-28T12:00", "2026-03-29T13:00", ALWAYS),
    ("the clock is put back", "24 working hours", "2026-10-24T12:00", "2026-10-25T11:00", ALWAYS),
    ("a day, and the clock is put forward", "1 working day", "2026-03-28T12:00", "2026-03-29T12:00", ALWAYS),
    ("a day to a time that the clock skips", "1 working day", "2026-03-28T03:30", "2026-03-29T04:00", ALWAYS),
]


@pytest.mark.parametrize(("text", "since", "due", "working"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_working_time(text: str, since: str, due: str, working: dict[str, Any]) -> None:
    """Working hours count while somebody works, working days by the day."""
    assert HELSINKI is not None
    assert local(working_after(ms(since), delay(text), calendar(working), HELSINKI), HELSINKI).isoformat()[:16] == due


def test_without_a_calendar_it_is_monday_to_friday_from_nine_to_five() -> None:
    """What most offices do."""
    usual = calendar_of(POLICY)
    assert usual.is_working(date(2026, 12, 24))
    assert not usual.is_working(date(2026, 3, 7))
    assert usual.hours[0] == ((540, 1020),)


def test_working_time_that_never_comes() -> None:
    """Each Monday a holiday, or the end of the calendar: never, and quickly."""
    assert HELSINKI is not None
    mondays = [date.fromordinal(date(2026, 1, 5).toordinal() + 7 * number).isoformat() for number in range(600)]
    never = calendar({"monday": "09:00-17:00"}, mondays)
    for text in ("1 working hour", "1 working day", "999 working days"):
        assert working_after(ms("2026-01-01T00:00"), delay(text), never, HELSINKI) == 0
        assert working_after(LAST * 10, delay(text), never, HELSINKI) == 0
    assert working_after(ms("2026-01-01T00:00"), delay("999 working days"), calendar(), HELSINKI) > 0
    assert working_after(ms("2026-01-01T00:00"), delay("999 working days"), calendar(ALWAYS, []), HELSINKI) > 0


@given(
    st.integers(0, 4_102_444_800_000),
    st.builds(Delay, st.integers(1, 60), st.just(2)) | st.builds(Delay, st.integers(1, 60 * HOUR), st.just(1)),
    st.sampled_from([{}, LUNCH, WEEKEND, ALWAYS]),
    st.sampled_from(["Europe/Helsinki", "America/New_York", "Australia/Lord_Howe"]),
)
@examples(300)
def test_working_time_ends_while_somebody_works(since: int, wait: Delay, working: dict[str, Any], name: str) -> None:
    """Never early, at a working moment (or its end), and not later for less."""
    where, by = zone(name), calendar(working)
    assert where is not None
    due = working_after(since, wait, by, where)
    assert due > since
    shown = local(due - 1, where)
    assert by.is_working(shown.date())
    minute = shown.hour * 60 + shown.minute
    assert any(begin - 1 <= minute < end for begin, end in by.hours[shown.weekday()]) or DAY - due % DAY < HOUR
    less = Delay(max(1, wait.amount - 1), wait.unit)
    assert working_after(since, less, by, where) <= due


WRONG = [
    ({"monday": "9-17"}, []),
    ({"monday": "17:00-09:00"}, []),
    ({"monday": "09:00-25:00"}, []),
    ({"monday": ["13:00-17:00", "09:00-12:00"]}, []),
    ({"monday": []}, []),
    ({"someday": "09:00-17:00"}, []),
    ({}, []),
    (WEEK, ["02-30"]),
    (WEEK, ["2026-2-3"]),
    (WEEK, ["20260203"]),
    (WEEK, ["Christmas"]),
]


@pytest.mark.parametrize(("working", "holidays"), WRONG)
def test_what_is_no_calendar(working: dict[str, Any], holidays: list[str]) -> None:
    """Hours that are none, days that there are not, nobody who works."""
    with pytest.raises(ValidationError):
        Model.model_validate({"working": working, "holidays": holidays})
    assert Model.model_validate({"working": WEEK, "holidays": ["02-29"]})

"""The policy: purposes with their legal bases, channels, kinds of action, holds and cases, as written in YAML."""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from schemas.zones import UTC, zone

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
EventType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,199}$", examples=["form_started", "order.placed"])]
EventTypes = EventType | Annotated[list[EventType], Field(min_length=1, max_length=50)]
# A time, or working time: what a `working hour` or `working day` is, the policy's calendar says.
DELAY = r"(?:[1-9][0-9]{0,5}[smhdw]|[1-9][0-9]{0,2} working (?:hour|day)s?)"
DurationText = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}(s|m|h|d|w)$", examples=["30m", "24h", "30d"])]

DelayText = Annotated[
    str,
    Field(
        pattern=f"^{DELAY}$",
        description="a time, or a time by the working calendar",
        examples=["24h", "8 working hours", "3 working days"],
    ),
]


def wrong(message: str, way_out: str) -> PydanticCustomError:
    """What a validator raises for a value that its type does not rule out: the rule broken, and the way out."""
    return PydanticCustomError("wrong", "{message}; {way_out}", {"message": message, "way_out": way_out})


def _zone(name: str) -> str:
    if zone(name) is None:
        raise wrong(f"there is no time zone '{name}'", "write an IANA name, such as 'Europe/Helsinki'")
    return name


TimeZone = Annotated[
    str,
    AfterValidator(_zone),
    Field(description="IANA time zone of customers without the trait time_zone", examples=["Europe/Helsinki"]),
]


# As many names or words as one wants, or one by itself.
OneOrMoreNames = Name | Annotated[list[Name], Field(min_length=1, max_length=50)]
OneOrMoreWords = Word | Annotated[list[Word], Field(min_length=1, max_length=50)]
Percent = Annotated[int, Field(ge=1, le=99, description="whole percent")]
# How far back limits may look: what was sent is remembered for so long.
MEMORY_DAYS = 31
_DAYS = {"s": 86_400, "m": 1440, "h": 24, "d": 1, "w": 1 / 7}


def several(written: str | list[str] | None) -> tuple[str, ...]:
    """All that is written where one may write one, several or none."""
    return () if written is None else (written,) if isinstance(written, str) else tuple(written)


def _remembered(text: str) -> str:
    if text[-1] in _DAYS and int(text[:-1]) > MEMORY_DAYS * _DAYS[text[-1]]:
        message = f"'{text}' is longer than what was sent is remembered, {MEMORY_DAYS} days"
        raise wrong(message, f"write at most '{MEMORY_DAYS}d'")
    return text


def _day(text: str) -> str:
    try:
        date.fromisoformat(text if len(text) > len("12-25") else f"2000-{text}")
    except ValueError as error:
        raise wrong(f"there is no day '{text}'", "write '2026-12-24', or '12-25' for every year") from error
    return text


Within = Annotated[
    str,
    Field(
        pattern=r"^(day|week|month|[1-9][0-9]{0,5}(s|m|h|d|w))$",
        description="a rolling time, or the day, week or month of the customer's calendar",
        examples=["24h", "7d", "day", "week", "month"],
    ),
    AfterValidator(lambda text: text if text in ("day", "week", "month") else _remembered(text)),
]
Holiday = Annotated[
    str,
    Field(
        pattern=r"^([0-9]{4}-)?[0-9]{2}-[0-9]{2}$",
        description="one day, or the same day of every year",
        examples=["2026-12-24", "12-25"],
    ),
    AfterValidator(_day),
]


class Model(BaseModel):
    """Base: unknown keys are errors, values are never coerced, models never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_by_name=True, validate_by_alias=True)


class Purpose(Model):
    """Why a message may be sent: its legal basis and, for contract and request, its templates and ceiling.

    `consent`: only with the profile's consent to this purpose. `contract` and `request` need none, but only listed
    templates may use them, at most `ceiling` times a day; `request` sends only to the address given in the very
    instance. `internal` addresses nobody (ads suppression, tasks for staff).
    """

    basis: Literal["consent", "contract", "request", "internal"]
    consent: Literal["person", "cookie"] = "person"
    templates: list[Name] = []
    ceiling: Annotated[int, Field(ge=1, le=100)] = 5


class Channel(Model):
    """A way to reach a customer: the trait with the address (none: no address needed), and how long an action lives."""

    address: Word | None = None
    standing: bool = False
    expires: DurationText = "7d"


class ActionKind(Model):
    """A kind of action: the channels it may take, in the order tried, its purpose and what a sink does in doubt."""

    channels: Annotated[list[Word], Field(min_length=1)]
    purpose: Name | None = None
    if_uncertain: Literal["drop", "repeat"] = "drop"


class Hold(Model):
    """While a case is open, actions of these purposes wait, or with `then: drop` are refused.

    `begins` and `ends` are event types, `case` is the property that tells one case from another. A case that `lasts`
    is over by itself after that time. With `matching: topic`, only actions whose topic is the case are held.
    """

    begins: EventTypes
    ends: EventTypes | SkipJsonSchema[None] = None
    lasts: DurationText | SkipJsonSchema[None] = None
    case: Word = "case_id"
    matching: Literal["topic"] | SkipJsonSchema[None] = None
    holds: Annotated[list[Name], Field(min_length=1)]
    then: Literal["wait", "drop"] = "wait"

    @model_validator(mode="after")
    def _comes_to_an_end(self) -> Self:
        if self.ends is None and self.lasts is None:
            raise wrong("this hold never ends", "say which event 'ends' it, or how long it 'lasts'")
        return self


def _hours(text: str) -> str:
    found = re.fullmatch(HOURS, text)
    if found is None:
        raise wrong(f"'{text}' is no span of hours", "write from and to, such as '09:00-17:00'")
    if found[1] >= found[2]:
        way_out = f"write two days: '{found[1]}-24:00', and '00:00-{found[2]}' on the next"
        raise wrong(f"the working hours '{text}' end before they begin", way_out)
    return text


def _spans(spans: object) -> object:
    """Spans that follow each other; one may stand without a list."""
    spans = [spans] if isinstance(spans, str) else spans
    if isinstance(spans, list) and all(isinstance(each, str) for each in spans):
        for former, later in pairwise(spans):
            if former[-5:] > later[:5]:
                raise wrong(f"'{later}' begins before '{former}' ends", "write the hours of a day in their order")
    return spans


WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
HOURS = rf"({CLOCK})-({CLOCK}|24:00)"
_SPAN = {"type": "string", "pattern": f"^{HOURS}$"}

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Spans = Annotated[
    list[Annotated[str, AfterValidator(_hours)]],
    BeforeValidator(_spans),
    Field(min_length=1, max_length=10),
    WithJsonSchema(
        {
            "anyOf": [_SPAN, {"type": "array", "items": _SPAN, "minItems": 1, "maxItems": 10}],
            "examples": ["09:00-17:00", ["09:00-12:00", "13:00-17:00"]],
        }
    ),
]


class Calendar(Model):
    """When the business works, by the clock of the policy's time zone: hours of the week, and holidays."""

    working: Annotated[
        dict[Weekday, Spans],
        Field(min_length=1, description="working hours by day of the week; else Monday to Friday from 09:00 to 17:00"),
    ] = {
        "monday": ["09:00-17:00"],
        "tuesday": ["09:00-17:00"],
        "wednesday": ["09:00-17:00"],
        "thursday": ["09:00-17:00"],
        "friday": ["09:00-17:00"],
    }
    holidays: Annotated[list[Holiday], Field(max_length=1000, description="days on which nobody works")] = []


# What `case("complaint", ...)` gives of every case, so that no property can be kept under these names.
CASE_PARTS = ("channels", "number", "opened", "paused")


class CaseKind(Model):
    """A kind of case (a conversation, a complaint, an application): what opens and closes it, on whatever channel.

    `moves` are further events that belong to it. `number` is the property that tells one case from another; an event
    without it is about the newest open one. `keeps` are the properties that a case carries, each from the newest event
    that has it; the channel it is on, and those it was on, it carries always.
    """

    opens: Annotated[EventTypes, Field(description="the type, or types, of event that open it")]
    closes: Annotated[EventTypes, Field(description="the type, or types, of event that close it")]
    pauses: Annotated[
        EventTypes | SkipJsonSchema[None], Field(description="the type, or types, of event that pause it")
    ] = None
    resumes: Annotated[
        EventTypes | SkipJsonSchema[None], Field(description="the type, or types, of event that resume it")
    ] = None
    moves: Annotated[
        EventTypes | SkipJsonSchema[None], Field(description="the type, or types, of event that go on with it")
    ] = None
    number: Annotated[Word, Field(description="the property that tells one case from another")] = "case_id"
    keeps: Annotated[list[Word], Field(max_length=10, description="properties of its events that it carries")] = []


def _span(text: str) -> str:
    begin, _, end = text.partition("-")
    if begin == end or (begin, end) == ("00:00", "24:00"):
        raise wrong(f"'{text}' is all day", "write the hours that are meant; for whole days, 'days' without 'hours'")
    return text


Hours = Annotated[
    str,
    Field(
        pattern=f"^{HOURS}$",
        description="from and until, perhaps over midnight",
        examples=["21:00-08:00", "09:00-17:00"],
    ),
    AfterValidator(_span),
]


class _Limit(Model):
    """Which messages a limit is for, and counts; filters that are left out let all pass."""

    purpose: OneOrMoreNames | SkipJsonSchema[None] = None
    channel: OneOrMoreWords | SkipJsonSchema[None] = None
    journey: OneOrMoreNames | SkipJsonSchema[None] = None
    topic: OneOrMoreNames | SkipJsonSchema[None] = None
    per: Annotated[
        Literal["topic", "journey", "channel", "purpose"] | SkipJsonSchema[None],
        Field(description="each topic, journey, channel or purpose by itself"),
    ] = None


class Cap(_Limit):
    """No more messages than these to one customer; what would be more is refused."""

    at_most: Annotated[int, Field(ge=1, le=300)]
    within: Within


class Distance(_Limit):
    """The least time between two messages to one customer; what comes too early waits."""

    least: Annotated[DurationText, AfterValidator(_remembered)]


class Quiet(Model):
    """When nothing goes out, by the customer's clock and calendar.

    `hours` alone are those of each day, `days` and `holidays` without hours are the whole day; with hours, the hours
    that begin on such a day.
    """

    hours: Hours | SkipJsonSchema[None] = None
    days: Annotated[list[Weekday], Field(min_length=1)] | SkipJsonSchema[None] = None
    holidays: bool = False
    channels: OneOrMoreWords | SkipJsonSchema[None] = None
    purposes: OneOrMoreNames | SkipJsonSchema[None] = None
    then: Literal["wait", "drop"] = "wait"

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.hours is None and self.days is None and not self.holidays:
            raise wrong("this never is quiet", "say 'hours: 21:00-08:00', 'days: [sunday]' or 'holidays: true'")
        if self.hours is None and self.days is not None and len(set(self.days)) == len(WEEKDAYS):
            raise wrong("this is quiet for ever: all hours of all days", "leave some 'days' out, or write 'hours'")
        return self


class Holdout(Model):
    """A share of the customers, in percent, who get nothing of these purposes, to compare them with the others."""

    share: Percent
    purposes: OneOrMoreNames | SkipJsonSchema[None] = None


class Competition(Model):
    """Of actions of these kinds that are proposed at the same moment, the best `winners` by score go out."""

    actions: Annotated[list[Word], Field(min_length=1)]
    winners: Annotated[int, Field(ge=1, le=50)] = 1


class Policy(Model):
    """The rules every journey is bound by."""

    policy: Name
    version: Annotated[int, Field(ge=1)]
    purposes: dict[Name, Purpose]
    channels: dict[Word, Channel]
    actions: dict[Word, ActionKind]
    holds: dict[Name, Hold] = {}
    cases: dict[Name, CaseKind] = {}
    time_zone: TimeZone = UTC
    calendar: Calendar = Calendar()
    caps: dict[Name, Cap] = {}
    distances: dict[Name, Distance] = {}
    quiet: dict[Name, Quiet] = {}
    holdouts: dict[Name, Holdout] = {}
    compete: dict[Name, Competition] = {}

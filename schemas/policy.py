"""The policy: purposes with their legal bases, channels, kinds of action, holds and cases, as written in YAML."""

from __future__ import annotations

import re
from datetime import date
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
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


def _day(text: str) -> str:
    try:
        date.fromisoformat(text if len(text) > len("12-25") else f"2000-{text}")
    except ValueError as error:
        raise wrong(f"there is no day '{text}'", "write '2026-12-24', or '12-25' for every year") from error
    return text


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
    """While a case is open, actions of these purposes wait.

    `begins` and `ends` are event types, `case` is the property that tells one case from another.
    """

    begins: EventType
    ends: EventType
    case: Word = "case_id"
    holds: Annotated[list[Name], Field(min_length=1)]


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

"""The policy: purposes and their legal bases, channels, kinds of action, and holds, as people write them in YAML."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from schemas.zones import UTC, zone

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
EventType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,199}$", examples=["form_started", "order.placed"])]
DurationText = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}(s|m|h|d|w)$", examples=["30m", "24h", "30d"])]


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


class Calendar(Model):
    """Days that are not like others."""

    holidays: list[Holiday] = []


class Policy(Model):
    """The rules every journey is bound by."""

    policy: Name
    version: Annotated[int, Field(ge=1)]
    purposes: dict[Name, Purpose]
    channels: dict[Word, Channel]
    actions: dict[Word, ActionKind]
    holds: dict[Name, Hold] = {}
    time_zone: TimeZone = UTC
    calendar: Calendar = Calendar()

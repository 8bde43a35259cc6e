"""The offer: what may be proposed to a customer, to whom, when, how often in all, and how it looks in each place."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator
from pydantic.json_schema import SkipJsonSchema

from schemas.journey import SCORE, Expression
from schemas.policy import Model, Name, Word, wrong

MAX_TEXT = 2000  # characters of an expression
MAX_FACTOR = 1_000_000_000  # of a score: so the product of four stays a number
# What a creative cannot say: it is the offer's, or the action's that asks for one.
OF_THE_OFFER = ("place", "offers", "purpose", "topic", *SCORE)


def _date(text: str) -> str:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or not date(1970, 1, 1) <= day < date(3000, 1, 1):
        raise wrong(f"there is no day '{text}'", "write it as year, month, day: '2026-01-31'") from None
    return text


def _listed(variants: object) -> object:
    return variants if isinstance(variants, list) else [variants]


Day = Annotated[
    str,
    Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2026-01-31"]),
    AfterValidator(_date),
]


def _factor(value: object) -> object:
    if isinstance(value, str) and 0 < len(value) <= MAX_TEXT:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_FACTOR:
        return value
    raise wrong(f"this must be a number from 0 to {MAX_FACTOR}, or an expression", "write a number such as 1.5")


def _chance(value: object) -> object:
    if isinstance(value, int | float) and value > 1:
        raise wrong(f"a propensity is a chance, from 0 to 1, and this is {value}", "write 0.25 for one in four")
    return value


_NUMBER: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": MAX_FACTOR}
_TEXT = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "description": "CEL expression"}
Factor = Annotated[Any, PlainValidator(_factor), WithJsonSchema({"anyOf": [_NUMBER, _TEXT]})]
Propensity = Annotated[
    Any,
    PlainValidator(lambda value: _chance(_factor(value))),
    WithJsonSchema({"anyOf": [{**_NUMBER, "maximum": 1}, _TEXT]}),
]


class Validity(Model):
    """The days on which an offer may be made, by the clock of the policy's time zone, both included."""

    from_: Annotated[Day | SkipJsonSchema[None], Field(alias="from", description="the first day")] = None
    until: Annotated[Day | SkipJsonSchema[None], Field(description="the last day")] = None

    @model_validator(mode="after")
    def _days(self) -> Self:
        if self.from_ is not None and self.until is not None and self.from_ > self.until:
            raise wrong(f"there is no day from {self.from_} until {self.until}", "write the earlier day first")
        return self


class Offer(Model):
    """An offer: an action with `place:` takes the best one for its place, by propensity x context x value x lever.

    In `places`, each place has the parameters that the action gets, or a list of such variants of which the first
    whose `if` holds is taken. Expressions see traits, counts and time; neither an event nor a journey.
    """

    offer: Annotated[Name, Field(description="the name; versions of one offer share it")]
    title: Annotated[str, Field(max_length=200, description="what people call it")] = ""
    version: Annotated[int, Field(ge=1, le=1_000_000, description="raised with every published change")]
    topic: Annotated[Name | SkipJsonSchema[None], Field(description="what it is about, for caps and holds")] = None
    purpose: Annotated[
        Name | SkipJsonSchema[None], Field(description="the purpose of what it sends; else the action's")
    ] = None
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000, description="between equal scores, the greater")] = 0
    propensity: Annotated[Propensity, Field(description="how likely it is taken, 0 to 1; 0 when it cannot be had")] = 1
    context: Annotated[Factor, Field(description="how well it fits now")] = 1
    value: Annotated[Factor, Field(description="what it is worth")] = 1
    lever: Annotated[Factor, Field(description="the business's thumb on the scale")] = 1
    eligible: Annotated[Expression | SkipJsonSchema[None], Field(description="who may get it; all when left out")] = (
        None
    )
    valid: Annotated[Validity | SkipJsonSchema[None], Field(description="when it may be made")] = None
    capacity: Annotated[
        Annotated[int, Field(ge=1, le=1_000_000_000)] | SkipJsonSchema[None],
        Field(description="how often it is made in all, each journal partition its share"),
    ] = None
    places: Annotated[
        dict[
            Name,
            Annotated[
                list[dict[Word, Any]],
                BeforeValidator(_listed, json_schema_input_type=dict[Word, Any] | list[dict[Word, Any]]),
                Field(min_length=1, max_length=50),
            ],
        ],
        Field(min_length=1, max_length=50, description="where it can be made, and with which parameters"),
    ]

"""The journey language: what people write in YAML, as typed models. The reference is docs/journey-language.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from schemas.policy import CLOCK, WEEKDAYS, DelayText, DurationText, EventType, Model, Name, Percent, Word, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_EXPRESSION = 2000  # characters
Expression = Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION, description="CEL expression")]
Again = Annotated[
    str,
    Field(
        pattern=r"^(never|always|after [1-9][0-9]{0,5}(s|m|h|d|w))$",
        description="may a customer come back: never, always, or after a time since the last one ended",
        examples=["never", "always", "after 30d"],
    ),
]
After = Annotated[
    str,
    Field(
        pattern=rf"^([1-9][0-9]{{0,5}}(s|m|h|d|w)( of silence| at {CLOCK})?"
        rf"|[1-9][0-9]{{0,2}} working (hours?|days?( at {CLOCK})?))$",
        description="a time since the stage was entered, perhaps until it is a local time, or working time; "
        "or a time of silence: without any event of this customer",
        examples=[
            "24h",
            "30m of silence",
            "2d at 09:00",
            "8 working hours",
            "3 working days",
            "3 working days at 09:00",
        ],
    ),
]
# A local time, perhaps on a day; or on, before or after the day that a trait or variable says.
AT = (
    rf"((?P<day>working day|{'|'.join(WEEKDAYS)}) )?(?P<clock>{CLOCK})"
    rf"|((?P<each>each )|(?P<shift>[1-9][0-9]{{0,3}}[dw]) (?P<side>before|after) )?"
    rf"(?P<root>traits|vars)\.(?P<name>[A-Za-z_][A-Za-z0-9_]{{0,199}}) (?P<time>{CLOCK})"
)
At = Annotated[
    str,
    Field(
        pattern="^({})$".format(re.sub(r"\?P<\w+>", "", AT)),
        description="a time by the customer's clock: the next there is, on a weekday or a working day, "
        "or on the day that a trait or variable says",
        examples=[
            *("09:00", "monday 09:00", "working day 09:00", "traits.renewal 09:00", "7d before traits.renewal 09:00"),
            *("2d after vars.delivery 09:00", "each traits.birthday 09:00"),
        ],
    ),
]
Params = dict[Word, Any]

MAX_WHOLE = 2**53  # beyond it JSON's readers do not agree on a number
_SET_TYPES: list[dict[str, Any]] = [
    {"type": "boolean"},
    {"type": "number", "minimum": -MAX_WHOLE, "maximum": MAX_WHOLE},
    {"type": "string", "minLength": 1, "maxLength": MAX_EXPRESSION, "description": "CEL expression"},
]


def _settable(value: object) -> object:
    if isinstance(value, str) and 0 < len(value) <= MAX_EXPRESSION:
        return value
    if isinstance(value, bool) or (isinstance(value, int | float) and -MAX_WHOLE <= value <= MAX_WHOLE):
        return value
    raise wrong(
        f"a variable is set to an expression of at most {MAX_EXPRESSION} characters, a number, true or false",
        "write one; a text of your own stands in quotes within quotes: '\"text\"'",
    )


Settable = Annotated[Any, PlainValidator(_settable), WithJsonSchema({"anyOf": _SET_TYPES})]

PERCENT = 100

TRIGGERS = ("when", "after", "at", "on arrival", "as soon as", "at risk", "broken")
# The parts of a score: their product is what actions and offers are ranked by.
SCORE = ("propensity", "context", "value", "lever")
# Parameters with a meaning of their own; every other one is handed to the channel.
PARAMETERS = (
    *("purpose", "template", "channel", "expires", "priority", "to", "link", "reason", "traits"),
    *("place", "offers", *SCORE),
)
# Of these, the ones that stand as they are written and are never computed.
FIXED = ("purpose", "template", "channel", "expires", "priority", "traits", "place", "offers")


class BrokenRule(NamedTuple):
    """A rule between the keys of one object: the key it is about (None: the object), what is wrong, the way out."""

    key: str | None
    message: str
    way_out: str


def handler_rules(handler: Mapping[str, Any]) -> Iterator[BrokenRule]:
    """Find the broken rules of one handler as written: one trigger, something to do, one way on."""
    triggers = [key for key in handler if key in TRIGGERS]
    if not triggers:
        yield BrokenRule(
            None,
            "this handler never runs: it has no trigger, such as 'when', 'after', 'at' or 'on arrival'",
            "begin it with 'when: <event type>', 'after: <time>', 'at: <local time>', 'on arrival:', ...",
        )
    for key in triggers[1:]:
        yield BrokenRule(
            key, f"a handler has one trigger, and this one has '{triggers[0]}' and '{key}'", "make two handlers of it"
        )
    if "as soon as" in handler and "if" in handler:
        yield BrokenRule(
            "if", "'as soon as' has its condition, and this handler has an 'if' too", "join them with '&&'"
        )
    for key, value in handler.items():
        if value is None and key != "on arrival":
            yield BrokenRule(key, f"'{key}' has no value", "write its value, or leave the key out")
    if not any(handler.get(key) for key in ("set", "promise", "keep", "do", "to")) and "end" not in handler:
        way_out = "give it 'set', 'promise', 'keep', 'do', 'to' or 'end: true', or leave it out"
        yield BrokenRule(None, "this handler does nothing", way_out)
    if handler.get("to") and handler.get("end") is True:
        yield BrokenRule(
            "end",
            "a handler goes 'to' a stage or ends the journey, not both",
            "put 'end: true' into an 'on arrival' handler of that stage, or leave one out",
        )
    if handler.get("end") is False:
        yield BrokenRule("end", "'end: false' says nothing", "leave it out, or write 'end: true'")


def _one_kind(action: object) -> object:
    if isinstance(action, dict) and len(action) != 1:
        raise PydanticCustomError(
            "one_kind",
            "an action is one kind with its parameters, and this one has {count} keys",
            {"count": len(action)},
        )
    return action


class Entry(Model):
    """How a customer comes into a journey: an event, perhaps with a condition."""

    when: Annotated[EventType, Field(description="the type of the event")]
    if_: Annotated[
        Expression | SkipJsonSchema[None], Field(alias="if", description="only if this holds of the event")
    ] = None
    set: Annotated[dict[Word, Settable], Field(description="variables to set from the event")] = {}  # noqa: RUF012 - pydantic copies it
    to: Annotated[
        Name | SkipJsonSchema[None], Field(description="the stage one comes into; the first when left out")
    ] = None


class Terms(Model):
    """What is promised: something *within* a time, *at risk* after a shorter one, and who owns it."""

    within: Annotated[DelayText, Field(description="the time in which it is kept; after it, it is broken")]
    at_risk: Annotated[
        DelayText | SkipJsonSchema[None], Field(alias="at risk", description="the time after which it is at risk")
    ] = None
    owner: Annotated[
        Annotated[str, Field(min_length=1, max_length=2000)] | SkipJsonSchema[None],
        Field(description="who has to keep it: a name, or an expression that gives one"),
    ] = None


Keeps = Name | Annotated[list[Name], Field(min_length=1, max_length=20)]


class Handler(Model):
    """A reaction of a stage: its trigger; *if*; *set*, *promise*, *keep*, *do*, *to*, *end*.

    The trigger is *when* an event comes, *after* a time, *at* a local time, *on arrival*, *as soon as* a condition is
    true, or a promise that is *at risk* or *broken*.
    """

    when: Annotated[
        EventType | Annotated[list[EventType], Field(min_length=1, max_length=50)] | SkipJsonSchema[None],
        Field(description="the type of the event, or several types"),
    ] = None
    after: After | SkipJsonSchema[None] = None
    at: At | SkipJsonSchema[None] = None
    arrival: Annotated[None, Field(alias="on arrival", description="when the stage is entered; has no value")] = None
    soon: Annotated[
        Expression | SkipJsonSchema[None],
        Field(alias="as soon as", description="the moment this is true, whatever made it so, once in each visit"),
    ] = None
    at_risk: Annotated[
        Name | SkipJsonSchema[None], Field(alias="at risk", description="when this promise is at risk")
    ] = None
    broken: Annotated[Name | SkipJsonSchema[None], Field(description="when this promise is broken")] = None
    if_: Annotated[Expression | SkipJsonSchema[None], Field(alias="if", description="only if this holds")] = None
    set: Annotated[dict[Word, Settable], Field(description="variables of the journey to set, before `do`")] = {}  # noqa: RUF012 - pydantic copies it
    promise: Annotated[
        dict[Name, Terms], Field(max_length=20, description="promises to make, by name; one that is open stays")
    ] = {}  # noqa: RUF012 - pydantic copies it
    keep: Annotated[Keeps | SkipJsonSchema[None], Field(description="the promise, or promises, that are kept")] = None
    do: Annotated[
        list[
            Annotated[
                dict[Word, Params],
                BeforeValidator(_one_kind),
                Field(
                    description="one kind and its parameters",
                    json_schema_extra={"minProperties": 1, "maxProperties": 1},
                ),
            ]
        ],
        Field(description="actions, in order", max_length=50),
    ] = []  # noqa: RUF012 - pydantic copies it
    to: Annotated[Name | SkipJsonSchema[None], Field(description="the stage to go to")] = None
    end: Annotated[bool, Field(description="the journey ends")] = False

    @property
    def on_arrival(self) -> bool:
        """Whether the handler runs when its stage is entered: a key without a value, so only its presence tells."""
        return "arrival" in self.model_fields_set

    @model_validator(mode="after")
    def _rules(self) -> Self:
        written = self.model_dump(by_alias=True, exclude_unset=True)
        for rule in handler_rules(written):
            raise PydanticCustomError("rule", "{rule}; {way_out}", {"rule": rule.message, "way_out": rule.way_out})
        return self

    @model_serializer(mode="wrap")
    def _keep_arrival(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = serialise(self)
        written.pop("on arrival", None)
        written.pop("arrival", None)
        if self.on_arrival:
            written = {"on arrival": None, **written}
        return written


def _whole(arms: dict[str, int]) -> dict[str, int]:
    if sum(arms.values()) != PERCENT:
        raise wrong(
            f"the arms of a split are {PERCENT} percent in all, and these are {sum(arms.values())}",
            "change the percents; a remainder is an arm of its own",
        )
    return arms


Arms = Annotated[
    dict[Name, Annotated[int, Field(ge=0, le=100)]],
    Field(min_length=1, max_length=PERCENT, examples=[{"plain": 50, "warm": 50}]),
    AfterValidator(_whole),
]


class Journey(Model):
    """One journey: how one enters, its stages in order, what holds in any stage, its goal and when one may come again.

    Actions (`do`) are one-key objects: the kind of action, with its parameters. Parameters `purpose`, `template`,
    `channel`, `expires`, `priority`, `to`, `link`, `reason` and `traits` (names of traits that go along) have a meaning
    of their own; the others are handed to the channel.
    """

    journey: Annotated[Name, Field(description="the name; versions of one journey share it")]
    title: Annotated[str, Field(max_length=200, description="what people call it")] = ""
    version: Annotated[int, Field(ge=1, le=1_000_000, description="raised with every published change")]
    purpose: Annotated[
        Name | SkipJsonSchema[None],
        Field(description="the purpose of its actions, unless the action or its kind says otherwise"),
    ] = None
    topic: Annotated[
        Name | SkipJsonSchema[None],
        Field(description="what its actions are about, for caps and holds, unless the action says otherwise"),
    ] = None
    holdout: Annotated[
        Percent | SkipJsonSchema[None],
        Field(description="percent of those who enter to whom it sends nothing, to compare them with the others"),
    ] = None
    goal: Annotated[
        Name | Annotated[list[Name], Field(min_length=1)] | SkipJsonSchema[None],
        Field(description="the stage, or stages, whose reaching is a conversion"),
    ] = None
    enter: Annotated[
        Entry | Annotated[list[Entry], Field(min_length=1, max_length=50)],
        Field(description="the way in, or several; the first that fits counts"),
    ]
    again: Again = "never"
    stale_after: Annotated[
        DurationText, Field(description="an event older than this on arrival enters and sends nothing")
    ] = "1d"
    edits: Annotated[
        Literal["pinned", "follow"],
        Field(description="what those in earlier versions do when this one is put in force: stay there, or move here"),
    ] = "pinned"
    moved: Annotated[
        dict[Name, Name],
        Field(description="with `edits: follow`: a stage that is gone, and the one that those in it move to"),
    ] = {}  # noqa: RUF012 - pydantic copies it
    splits: Annotated[
        dict[Name, Arms],
        Field(description="the arms of each split, in whole percent, 100 in all; split(<name>) gives a profile's arm"),
    ] = {}  # noqa: RUF012 - pydantic copies it
    stages: Annotated[
        dict[Name, list[Handler]],
        Field(min_length=1, max_length=200, description="the stages, in the order of progress, with their handlers"),
    ]
    any_stage: Annotated[
        list[Handler], Field(alias="any stage", description="handlers of every stage, after the stage's own")
    ] = []  # noqa: RUF012 - pydantic copies it

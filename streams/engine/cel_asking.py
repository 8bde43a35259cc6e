"""Expressions: what they ask of a profile by literal words alone, so that it is known before any event comes.

Windows over series (`profile.sum("card_payment", "amount", "this month")`), the arms of splits, cases. What definitions
ask for here decides what profiles keep, and which events can change the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from streams.engine.cel_signatures import COUNTERS
from streams.engine.cel_tree import Call, Constant, Field, Name, Node, children, start
from streams.engine.cel_words import ExpressionError, suggest
from streams.engine.durations import DAY, duration

MAX_WINDOW: Final = 366 * DAY
# How long each lasts at most, with a change of the clock and of the customer's zone within it.
CALENDAR: Final = {"day": 3 * DAY, "week": 9 * DAY, "month": 33 * DAY, "year": 368 * DAY}
MAX_PROPERTY: Final = 200  # characters of a property's name
BETWEEN: Final = "\x1f"  # the two names of a series of one property by another, so none of them has it
_ROLLING = re.compile(r"[1-9][0-9]{0,5}[smhdw]")
_KIND = re.compile(r"[a-z][a-z0-9_.-]{0,199}")
_WORDY = re.compile(r"(?:the )?(?:last |past )?([1-9][0-9]{0,5}) *([smhdw])[a-z]*")


class Window(NamedTuple):
    """What is made (`count`, `sum`, `min`, `max`, `last`) of a property of the events of a type, over which time.

    Rolling: `length` ms up to now, `unit` empty. Calendar: the `unit` that now lies in, `length` the longest it can be.
    A count is of events, and its `name` empty. `by`: only events count whose property of this name equals what the call
    says last; empty where all count.
    """

    what: str
    kind: str
    name: str
    length: int
    unit: str
    by: str = ""


class Asked(NamedTuple):
    """Everything that one expression asks: windows, traits, variables, counted types, and cases (kinds).

    A type that is counted is None for all types, and "" for one known at run time only.
    """

    windows: frozenset[Window]
    traits: frozenset[str]
    vars: frozenset[str]
    journey_counts: frozenset[str | None]
    profile_counts: frozenset[str | None]
    cases: frozenset[str]
    local: bool  # whether it reads the customer's clock or calendar


def is_window(node: Node) -> bool:
    """Whether the node is a method of `profile` over a window."""
    return (
        isinstance(node, Call)
        and isinstance(node.target, Name)
        and node.target.name == "profile"
        and (node.name != "count" or len(node.arguments) > 1)
    )


def literals(node: Call, usage: str) -> tuple[str, ...]:
    """The arguments of a call that takes nothing but words in quotes. Raises ExpressionError for others."""
    for argument in node.arguments:
        if not isinstance(argument, Constant) or not isinstance(argument.value, str):
            raise ExpressionError(
                f"what {node.name}() asks for must stand here in quotes, so that it is known before any event comes; "
                f"write {usage}",
                start(argument),
            )
    return tuple(argument.value for argument in node.arguments if isinstance(argument, Constant))  # type: ignore[misc]


def read_window(node: Call, kinds: frozenset[str] | None = None) -> Window:
    """The window that a call asks for; `kinds` are the known event types. Raises ExpressionError."""
    known = COUNTERS["profile"][0]
    if node.name not in known:
        listed = ", ".join(f"profile.{name}()" for name in known)
        raise ExpressionError(
            f"profile has no method {node.name!r}; it has {listed}", node.column, suggest(node.name, known)
        )
    counting, given = node.name == "count", len(node.arguments)
    plain = 2 if counting else 3
    usage = _usage(node.name, filtered=given > plain)
    if given not in (plain, plain + 2):
        takes = "an event type and a window" if counting else "an event type, a property and a window"
        more = ", and to look at some events only a property and its value" if given > plain else ""
        raise ExpressionError(
            f"profile.{node.name}() takes {takes}{more}, not {given} arguments; write {usage}", node.column
        )
    if given > plain and node.name == "last":
        raise ExpressionError(
            "profile.last() looks at all events of a type, because the newest value alone is kept; "
            f"write {_usage('last', filtered=False)}, or take count, sum, min or max",
            start(node.arguments[plain]),
        )
    words = literals(replace(node, arguments=node.arguments[: plain + (given > plain)]), usage)
    kind, name, text, by = words[0], "" if counting else words[1], words[plain - 1], (*words, "")[plain]
    if kinds is not None and kind not in kinds:
        raise ExpressionError(
            f"no event has the type {kind!r}; use a type that is declared",
            node.arguments[0].column,
            suggest(kind, kinds),
        )
    if not _KIND.fullmatch(kind):
        raise ExpressionError(
            f"{kind[:60]!r} is no event type; use lower-case letters, digits, '_', '.' and '-'",
            node.arguments[0].column,
            kind.lower() if _KIND.fullmatch(kind.lower()) else None,
        )
    for place in range(1, len(words)):
        if place != plain - 1 and (not 1 <= len(words[place]) <= MAX_PROPERTY or BETWEEN in words[place]):
            raise ExpressionError(
                f"a property's name has 1 to {MAX_PROPERTY} characters, and no separator U+001F; write {usage}",
                node.arguments[place].column,
            )
    length, unit = _span(text, node.arguments[plain - 1].column)
    return Window(node.name, kind, name, length, unit, by)


def _usage(what: str, *, filtered: bool) -> str:
    amount = "" if what == "count" else '"property", '
    one = ', "category", event.category' if filtered else ""
    return f'profile.{what}("event_type", {amount}"7d"{one})'


def _span(text: str, column: int) -> tuple[int, str]:
    calendar, unit = text.removeprefix("this "), text.removeprefix("this ")
    if calendar != text and unit in CALENDAR:
        return CALENDAR[unit], unit
    if _ROLLING.fullmatch(text):
        length = duration(text)
        if length > MAX_WINDOW:
            raise ExpressionError(
                f"{text!r} is too long for a window; profiles keep events for 366d at most, write a shorter one", column
            )
        return length, ""
    known = [f"this {each}" for each in CALENDAR]
    meant = suggest(text.lower(), known)
    if meant is None and (wordy := _WORDY.fullmatch(text.lower())):
        meant = wordy[1] + wordy[2]
    raise ExpressionError(
        f"{text[:60]!r} is no window; write a time up to now, such as '30m', '24h' or '7d', or one of "
        + ", ".join(repr(each) for each in known),
        column,
        meant,
    )


def read_split(node: Call, splits: Mapping[str, Mapping[str, int]]) -> str:
    """The split whose arm a call asks for. Raises ExpressionError."""
    usage = 'split("name")'
    if len(node.arguments) != 1:
        raise ExpressionError(f"split() takes one name, not {len(node.arguments)}; write {usage}", node.column)
    (name,) = literals(node, usage)
    if name not in splits:
        way = f"the splits are {', '.join(splits)}" if splits else "declare it in the journey, under `splits:`"
        raise ExpressionError(
            f"there is no split {name!r} here; {way}", node.arguments[0].column, suggest(name, splits)
        )
    return name


_LOCAL: Final = ("hour", "weekday", "date")


def asked_in(tree: Node) -> Asked:
    """Everything that a checked tree asks for."""
    windows: set[Window] = set()
    fields: dict[str, set[str]] = {"traits": set(), "vars": set()}
    counts: dict[str, set[str | None]] = {"journey": set(), "profile": set()}
    cases: set[str] = set()
    local = False
    todo = [tree]
    while todo:
        node = todo.pop()
        todo.extend(children(node))
        match node:
            case Field(source="traits" | "vars" as source, name=name):
                fields[source].add(name)
            case Call() if is_window(node):
                window = read_window(node)
                windows.add(window)
                local |= bool(window.unit)
            case Call(target=Name(name="journey" | "profile" as root), name="count"):
                counts[root].add(_counted(node))
            case Call(target=None, name="open" | "case", arguments=(Constant(value=str(kind)), *_)):
                cases.add(kind)
            case Call(target=target, name=name) if target is not None and name in _LOCAL:
                local = True
    return Asked(
        frozenset(windows),
        frozenset(fields["traits"]),
        frozenset(fields["vars"]),
        frozenset(counts["journey"]),
        frozenset(counts["profile"]),
        frozenset(cases),
        local,
    )


def _counted(node: Call) -> str | None:
    match node.arguments:
        case ():
            return None
        case (Constant(value=str() as kind),):
            return kind
        case _:
            return ""

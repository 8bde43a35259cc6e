"""What a picture of a journey shows: cards (ways in, stages, any stage) with a row for each handler, in words.

Everything is read from the definition as written, so a key that this module has no words for is shown as it stands.
`streams.layout` places the cards, `streams.svg` and `streams.mermaid` write them down.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from schemas.journey import PARAMETERS, Journey

if TYPE_CHECKING:
    from schemas.policy import Policy

WAY_IN, STAGE, ANY_STAGE = "way-in", "stage", "any-stage"
LONGEST = 110  # characters of a condition; the definition has the rest
# Keys of a handler that are no trigger.
_REACTIONS = ("if", "set", "promise", "keep", "do", "to", "end")
# Keys of a journey that the cards show, or that say nothing when they are at their default.
_SHOWN = ("journey", "title", "version", "enter", "stages", "any stage", "goal")
_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_HOLDER = "\x00{}\x00"
_HELD = re.compile("\x00([0-9]+)\x00")
# Of an expression to words, literals held aside; what none of them fits stays as it is written.
_WORDS = (
    (re.compile(r"\s+"), " "),
    (re.compile(r"!\s*has\(([\w.]+)\)"), r"\1 is not known"),
    (re.compile(r"\bhas\(([\w.]+)\)"), r"\1 is known"),
    (re.compile(r"\.startsWith\(([^()]*)\)"), r" begins with \1"),
    (re.compile(r"\.endsWith\(([^()]*)\)"), r" ends with \1"),
    (re.compile(r"\.contains\(([^()]*)\)"), r" contains \1"),
    (re.compile(r"\bvars\.(?=[a-z_])"), "remembered "),
    (re.compile(r"\b(event|traits)\.(?=[a-z_])"), ""),
    (re.compile(r"\s*&&\s*"), " and "),
    (re.compile(r"\s*\|\|\s*"), " or "),
    (re.compile(r"\s*==\s*"), " is "),
    (re.compile(r"\s*!=\s*"), " is not "),
    (re.compile(r"\s*>=\s*"), " ≥ "),
    (re.compile(r"\s*<=\s*"), " ≤ "),
    (re.compile(r"!(?=[\w(])"), "not "),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One handler or one way in: its trigger, condition, what it keeps and sends, and where it leads."""

    trigger: str
    condition: str = ""
    notes: tuple[str, ...] = ()
    sends: tuple[str, ...] = ()
    to: str | None = None
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """A box: the ways in, a stage or any stage. `key` is unique within the drawing."""

    key: str
    title: str
    kind: str
    goal: bool
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A journey to be drawn: the cards in the order of progress, the ways in first, any stage last."""

    name: str
    title: str
    about: tuple[str, ...]
    cards: tuple[Card, ...]


def drawing(journey: Journey, policy: Policy | None = None) -> Drawing:
    """Read a journey; the policy tells the channels of its actions."""
    written = journey.model_dump(mode="json", by_alias=True, exclude_unset=True)
    enter = written["enter"] if isinstance(written["enter"], list) else [written["enter"]]
    goal = written.get("goal") or []
    goals = {goal} if isinstance(goal, str) else set(goal)
    first = next(iter(journey.stages))
    cards = [Card(WAY_IN, "Way in", WAY_IN, False, tuple(_row({"to": first, **entry}, policy) for entry in enter))]
    cards += [
        Card(f"stage {name}", name, STAGE, name in goals, tuple(_row(handler, policy) for handler in handlers))
        for name, handlers in written["stages"].items()
    ]
    if written.get("any stage"):
        rows = tuple(_row(handler, policy) for handler in written["any stage"])
        cards.append(Card(ANY_STAGE, "In any stage", ANY_STAGE, False, rows))
    return Drawing(journey.journey, journey.title or journey.journey, tuple(_about(written)), tuple(cards))


def in_words(expression: str) -> str:
    """A condition as one would say it, shortened."""
    held: list[str] = []

    def hold(found: re.Match[str]) -> str:
        held.append(found[0])
        return _HOLDER.format(len(held) - 1)

    text = _LITERAL.sub(hold, expression.replace("\x00", " ").strip())
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return _shortened(_HELD.sub(lambda found: held[int(found[1])], text))


def _shortened(text: str, longest: int = LONGEST) -> str:
    text = " ".join(text.split())
    if len(text) <= longest:
        return text
    cut = text[: longest - 1]
    return cut[: cut.rfind(" ") if " " in cut[longest // 2 :] else None].rstrip(" ,") + " …"


def _about(written: dict[str, Any]) -> list[str]:
    said = [f"{written['journey']}, version {written['version']}"]
    for key, value in written.items():
        if key in _SHOWN or value in (None, [], {}):
            continue
        if key == "again":
            said.append("comes once" if value == "never" else f"comes again {value}")
        elif key == "holdout":
            said.append(f"{value} % get nothing (holdout)")
        elif key == "splits" and isinstance(value, dict):
            said += [f"split {name}: {_plain(arms)}" for name, arms in value.items()]
        else:
            said.append(f"{key.replace('_', ' ')} {_plain(value)}")
    return said


def _row(handler: dict[str, Any], policy: Policy | None) -> Row:
    triggers = [key for key in handler if key not in _REACTIONS]
    key = triggers[0] if triggers else "always"
    condition = handler.get("if")
    return Row(
        trigger=_shortened(_TRIGGERS.get(key, _as_written)(key, handler.get(key))),
        condition=in_words(str(condition)) if condition else "",
        notes=tuple(said for name, words in _NOTES.items() if handler.get(name) for said in words(handler[name])),
        sends=tuple(
            _sends(kind, params or {}, policy) for action in handler.get("do", ()) for kind, params in action.items()
        ),
        to=handler.get("to"),
        ends=handler.get("end") is True,
    )


def _as_written(key: str, value: Any) -> str:
    return key if value is None else f"{key} {_plain(value)}"


_TRIGGERS: dict[str, Callable[[str, Any], str]] = {
    "as soon as": lambda key, value: f"{key} {in_words(str(value))}",
    "when": lambda key, value: f"{key} {_listed([value] if isinstance(value, str) else value)}",
    "at risk": lambda _, value: f"when promise {_plain(value)} is at risk",
    "broken": lambda _, value: f"when promise {_plain(value)} is broken",
}


def _promises(promised: Any) -> list[str]:
    if not isinstance(promised, dict):
        return [f"promises {_plain(promised)}"]
    said = []
    for name, terms in promised.items():
        within = terms.get("within") if isinstance(terms, dict) else terms
        said.append(f"promises {name} within {_plain(within)}")
    return said


_NOTES: dict[str, Callable[[Any], list[str]]] = {
    "set": lambda kept: [f"remembers {', '.join(kept)}"],
    "promise": _promises,
    "keep": lambda kept: [f"promise {_plain(kept)} is kept"],
}


def _sends(kind: str, params: dict[str, Any], policy: Policy | None) -> str:
    """One action: its kind, what of it is sent, and by which channels."""
    what = params.get("template") or next(
        (value for name, value in params.items() if name not in PARAMETERS and isinstance(value, str)), None
    )
    if place := params.get("place"):
        what = f"the best offer for {place}"
        if offers := params.get("offers"):
            what += f" of {_plain(offers)}"
    known = policy.actions.get(kind) if policy is not None else None
    channels = [params["channel"]] if params.get("channel") else list(known.channels) if known is not None else []
    said = kind.replace("_", " ")
    if what:
        said += f": {in_words(str(what))}"
    if channels:
        said += f" (by {_listed(channels)})"
    return _shortened(said)


def _listed(items: list[Any]) -> str:
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    return msgspec.json.encode(value).decode()

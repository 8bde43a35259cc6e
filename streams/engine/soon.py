"""`as soon as`: a handler that acts the moment a condition is true, whatever made it so.

Which events can make it so is worked out here, when the journey is compiled, so that no other event costs anything.
What an expression reads is listed in `cel_asking.Asked`; for each part of that there is a row in `CHANGES`, and a new
thing to read needs one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from schemas.touchpoint import PROFILE_UPDATED
from streams.engine.cases import case_moves
from streams.engine.conditions import Asked, asked

if TYPE_CHECKING:
    from schemas.journey import Handler, Journey
    from schemas.policy import Policy
    from streams.engine.rules import Reaction


@dataclass(frozen=True, slots=True)
class Soon:
    """A compiled `as soon as`. `mark` is by what an instance remembers that it has acted: its words, not its place.

    `types`: the events that can change it. `quiet`: nothing is sent by it, nor by where it leads at once.
    """

    reaction: Reaction
    mark: bytes
    types: frozenset[str]
    vars: bool
    quiet: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a condition stands: its journey, the handlers that may set variables there, the policy, the types heard."""

    journey: Journey
    handlers: tuple[Handler, ...]
    policy: Policy
    heard: frozenset[str]


def _traits(found: Asked, _: Place) -> Iterable[str]:
    return (PROFILE_UPDATED,) if found.traits or found.local else ()


def _windows(found: Asked, _: Place) -> Iterable[str]:
    return (window.kind for window in found.windows)


def _counts(found: Asked, place: Place) -> Iterable[str]:
    # Without a type profile.count is refused here, and journey.count counts what the journey listens to.
    every = place.heard if None in found.journey_counts else frozenset[str]()
    return every.union(kind for kind in found.journey_counts | found.profile_counts if kind)


def _variables(found: Asked, place: Place) -> Iterable[str]:
    for handler in place.handlers:
        if handler.when is not None and not found.vars.isdisjoint(handler.set):
            yield from (handler.when,) if isinstance(handler.when, str) else handler.when


def _cases(found: Asked, place: Place) -> Iterable[str]:
    if found.cases:
        for each, moves in case_moves(place.policy).items():
            if any(move.kind in found.cases for move in moves):
                yield each


CHANGES: Final[tuple[Callable[[Asked, Place], Iterable[str]], ...]] = (_traits, _windows, _counts, _variables, _cases)


def changed_by(text: str, place: Place) -> frozenset[str]:
    """The types of the events that can change what a condition gives."""
    found = asked(text)
    return frozenset(each for row in CHANGES for each in row(found, place))


def reads_variables(text: str) -> bool:
    """Whether it can change when a timer sets a variable."""
    return bool(asked(text).vars)

"""What was passed over, in words: why a journey was not entered, and why a handler did not react."""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import TYPE_CHECKING

from streams.engine.trace import ENTER
from streams.reasons import MEANINGS, WAYS_OUT, facts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.engine.cel_why import Part
    from streams.engine.step import PassedOver

HANDLER = "handler"


def sentence(passed: PassedOver, clock: tzinfo = UTC) -> str:
    """What was passed over, and why."""
    journey = f"{passed.journey} v{passed.version}"
    if passed.way == ENTER:
        return f"{journey} not entered: {meaning(passed, clock)}"
    where, _, number = passed.way.rpartition("/")
    place = where if where == "any stage" else f"stage {where}"
    return f"{journey}: handler {int(number) + 1} of {place} did not react: {meaning(passed, clock)}"


def meaning(passed: PassedOver, clock: tzinfo = UTC) -> str:
    """The rule, with what was found."""
    return MEANINGS[_gate(passed), passed.reason].format_map(_facts(passed, clock))


def would_change(passed: PassedOver, clock: tzinfo = UTC) -> str:
    """What would have made it otherwise."""
    return WAYS_OUT[_gate(passed), passed.reason].format_map(_facts(passed, clock))


def _gate(passed: PassedOver) -> str:
    return ENTER if passed.way == ENTER else HANDLER


def _facts(passed: PassedOver, clock: tzinfo) -> dict[str, str]:
    found = facts(passed.value, passed.bound, clock)
    return found | {"parts": " and ".join(map(told, passed.parts)), "wanted": wanted(passed.parts)}


def told(part: Part) -> str:
    """`traits.age >= 18 is false: traits.age is 17`."""
    if part.any_of:
        return f"none of these holds: {'; '.join(map(told, part.any_of))}"
    said = f"{part.text} is {part.outcome}"
    values = ", ".join(f"{name} is {value}" for name, value in part.values.items())
    return said if not values or values == said else f"{said}: {values}"


def wanted(parts: Iterable[Part]) -> str:
    """What would have to be true instead: `traits.age >= 18 and (event.page == "/" or event.amount > 3)`."""
    return " and ".join(
        f"({' or '.join(each.text for each in part.any_of)})" if part.any_of else part.text for part in parts
    )

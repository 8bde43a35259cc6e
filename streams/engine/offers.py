"""Offers as the engine chooses among them: compiled, and who may get them, where and when."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from schemas.journey import SCORE
from schemas.offer import OF_THE_OFFER, Offer
from schemas.zones import zone
from streams.engine.conditions import ExpressionError, Scope, compile_condition, compile_number, compile_parameter
from streams.engine.localtime import moment as local_moment
from streams.engine.moment import holds
from streams.engine.parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.engine.moment import Moment

SCOPE = Scope(event=False, vars=frozenset(), traits=None, offer=True)
FOREVER = 1 << 62  # ms; no moment of the engine is as late

# Why an offer may not be made, in the order in which it is asked.
STOPPED, EARLY, OVER, CONDITION, NO_CREATIVE, CAPACITY = (
    *("stopped", "not-yet-valid", "no-longer-valid", "not-eligible", "no-creative", "capacity"),
)


@dataclass(frozen=True, slots=True)
class Creative:
    """How an offer looks in a place: the parameters of the action, and when it looks so (None: always)."""

    condition: Callable[[Any], bool] | None
    params: Parameters


@dataclass(frozen=True, slots=True)
class CompiledOffer:
    """An offer as the engine runs it. It is valid from `first` until before `last` (ms); factors are as in SCORE."""

    name: str
    version: int
    title: str
    topic: str | None
    purpose: str | None
    priority: int
    factors: tuple[Any, ...]  # numbers and functions
    eligible: Callable[[Any], bool] | None
    first: int
    last: int
    capacity: int | None
    places: dict[str, tuple[Creative, ...]]

    def creative(self, place: str, moment: Moment) -> Creative | str:
        """How it looks in `place`, or why it may not be made to this customer at this moment."""
        now, rules = moment.now, moment.rules
        if f"offer:{self.name}" in rules.stops:
            return STOPPED
        if not self.first <= now < self.last:
            return EARLY if now < self.first else OVER
        if not holds(self.eligible, moment):
            return CONDITION
        found = next((each for each in self.places[place] if holds(each.condition, moment)), None)
        if found is None:
            return NO_CREATIVE
        return found if rules.capacity.left(self.name, self.capacity) else CAPACITY


def compile_offer(offer: Offer, time_zone: str) -> CompiledOffer:
    """The offer as the engine runs it; its days are those of `time_zone`. A bad expression raises ExpressionError."""
    where = zone(time_zone)
    assert where is not None, "the policy's time zone is checked when it is loaded"
    first, last = (offer.valid.from_, offer.valid.until) if offer.valid is not None else (None, None)
    factors = [getattr(offer, name) for name in SCORE]
    return CompiledOffer(
        name=offer.offer,
        version=offer.version,
        title=offer.title,
        topic=offer.topic,
        purpose=offer.purpose,
        priority=offer.priority,
        factors=tuple(compile_number(each, SCOPE) if isinstance(each, str) else float(each) for each in factors),
        eligible=compile_condition(offer.eligible, SCOPE) if offer.eligible else None,
        first=local_moment(date.fromisoformat(first), 0, where) if first else 0,
        last=local_moment(date.fromisoformat(last) + timedelta(days=1), 0, where) if last else FOREVER,
        capacity=offer.capacity,
        places={name: tuple(map(_creative, variants)) for name, variants in offer.places.items()},
    )


def _creative(variant: dict[str, Any]) -> Creative:
    condition = variant.get("if")
    if condition is not None and not isinstance(condition, str):
        raise ExpressionError("'if' is a condition, and this is none; write one, or leave 'if' out", 1)
    params = []
    for name, value in sorted(variant.items()):
        if name != "if" and name not in OF_THE_OFFER:
            made = compile_parameter(value, replace(SCOPE, links=name == "link"))
            params.append((name, made, callable(made)))
    return Creative(compile_condition(condition, SCOPE) if condition else None, tuple(params))


class Capacity:
    """How often offers were made in one journal partition, of `count`; each partition has its share of a capacity.

    Shares are not lent and nothing is given back, so that all partitions together never exceed the whole, whatever the
    order in which they work. `taken` is the partition's own record of it; `touched` says that it changed.
    """

    __slots__ = ("count", "index", "taken", "touched")

    def __init__(self, index: int = 0, count: int = 1, taken: dict[str, int] | None = None) -> None:
        self.index, self.count = index, count
        self.taken = {} if taken is None else taken
        self.touched = False

    def share(self, whole: int) -> int:
        """The partition's share of a capacity: the first partitions get what an even split leaves over."""
        return whole // self.count + (self.index < whole % self.count)

    def left(self, name: str, whole: int | None) -> bool:
        """Whether an offer of this capacity (None: without bound) may be made once more."""
        return whole is None or self.taken.get(name, 0) < self.share(whole)

    def take(self, name: str, whole: int | None) -> None:
        """An offer is made."""
        if whole is not None:
            self.taken[name] = self.taken.get(name, 0) + 1
            self.touched = True

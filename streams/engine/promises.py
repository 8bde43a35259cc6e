"""Promises: what a journey promises the customer, by when, who owns it; when it is at risk, broken or kept.

A promise lives in its journey's instance and ends with it. Its moments are timers: exact, each once, never early, and
none after it was kept. All that becomes of a promise is told by a decision of the gate `promise`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from streams.engine.calendar import delay, working_after
from streams.engine.conditions import Absent, Scope, compile_parameter
from streams.engine.ids import uuid5
from streams.engine.profile import Instance, Profile, Promise
from streams.engine.timing import clock_of
from streams.engine.verdicts import Verdict, decide_instance

if TYPE_CHECKING:
    from schemas.journey import Terms
    from schemas.policy import Policy
    from streams.engine.moment import Moment
    from streams.engine.step import Step

MADE, AT_RISK, BROKEN, KEPT, ENDED = "made", "at-risk", "broken", "kept", "ended"
MAX_OWNER = 200  # characters
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Vow:
    """A promise as a handler makes it: `within` and `at_risk` lead from when it is made to its moments (ms; 0: never).

    `owner` is a text, or a function if `computed`.
    """

    name: str
    within: Callable[[int], int]
    at_risk: Callable[[int], int] | None
    owner: Any
    computed: bool


def compile_promise(name: str, terms: Terms, policy: Policy, scope: Scope) -> Vow:
    """The terms of a promise as the engine runs them; a bad expression raises ExpressionError."""
    owner = compile_parameter(terms.owner, scope)
    return Vow(
        name,
        _later(terms.within, policy),
        _later(terms.at_risk, policy) if terms.at_risk is not None else None,
        owner,
        callable(owner),
    )


def _later(text: str, policy: Policy) -> Callable[[int], int]:
    wait, clock = delay(text), clock_of(policy)
    return lambda since: working_after(since, wait, clock.calendar, clock.where)


def make(instance: Instance, vow: Vow, moment: Moment) -> None:
    """Make a promise. While it is open it stays as it was made, so that who asks again is not answered later."""
    if vow.name in instance.promises:
        return
    now = moment.now
    due, risk = vow.within(now), vow.at_risk(now) if vow.at_risk is not None else 0
    instance.promised += 1
    instance.promises[vow.name] = Promise(
        instance.promised, now, due, risk if risk > 0 and (not due or risk < due) else 0, _owner(vow, moment)
    )
    _tell(instance, vow.name, MADE, moment)


def _owner(vow: Vow, moment: Moment) -> str:
    try:
        owner = vow.owner(moment) if vow.computed else vow.owner
    except Absent:
        moment.step.stats.absent += 1
        return ""
    return str(owner)[:MAX_OWNER] if isinstance(owner, str | int) else ""


def keep(instance: Instance, name: str, moment: Moment) -> None:
    """A promise is kept, if it is open."""
    if name in instance.promises:
        _tell(instance, name, KEPT, moment)
        del instance.promises[name]


def moments(instance: Instance) -> Iterator[tuple[int, str, str]]:
    """When the open promises are at risk or broken next: (ms, name, AT_RISK or BROKEN) of each."""
    for name, promise in instance.promises.items():
        if promise.risk:
            yield promise.risk, name, AT_RISK
        elif promise.due:
            yield promise.due, name, BROKEN


def come(instance: Instance, name: str, what: str, moment: Moment) -> None:
    """A promise is at risk, or broken."""
    _tell(instance, name, what, moment)
    if what == AT_RISK:
        instance.promises[name] = replace(instance.promises[name], risk=0)
    else:
        del instance.promises[name]


def first(instance: Instance, until: int) -> tuple[str, str] | None:
    """(name, AT_RISK or BROKEN) of the earliest of these moments that is at or before `until`."""
    found = min(moments(instance), default=None)
    return found[1:] if found is not None and found[0] <= until else None


def end(profile: Profile, instance: Instance, now: int, step: Step, event_id: str | None) -> None:
    """The instance ends: nobody waits any more for what it promised."""
    for name in instance.promises:
        _decide(profile, instance, (name, ENDED), now, step, event_id)
    instance.promises = {}


def _tell(instance: Instance, name: str, verdict: str, moment: Moment) -> None:
    event_id = moment.event.event_id if moment.event is not None else None
    _decide(moment.profile, instance, (name, verdict), moment.now, moment.step, event_id)


def _decide(
    profile: Profile, instance: Instance, became: tuple[str, str], now: int, step: Step, event_id: str | None
) -> None:
    name, verdict = became
    promise = instance.promises[name]
    said = Verdict(verdict, "promise", name, promise.owner, _moment(promise.due) if promise.due else "")
    key = uuid5("decision", instance.id, "promise", name, promise.number, verdict)
    decide_instance(profile, instance, said, now, step, key, event_id)


def _moment(time: int) -> str:
    return f"{_EPOCH + timedelta(milliseconds=time):%Y-%m-%dT%H:%M:%SZ}"

"""What was passed over, and by which rule: said only to who asks (`Step.trace`), in the state of that very moment.

So "why did they never enter?" and "why did nothing happen?" are answered by the journal, without a record of each
condition that ever failed. A rule without an event that it kept out says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from streams.engine.cel_why import why_not
from streams.engine.moment import Moment
from streams.engine.step import PassedOver

if TYPE_CHECKING:
    from schemas.journal import Event
    from streams.engine.profile import Profile
    from streams.engine.rules import Rules, Written
    from streams.engine.step import Step

ENTER = "enter"


class Barred(NamedTuple):
    """A rule that keeps a profile from a journey whatever the event, with what was found and what was asked for."""

    reason: str
    value: str = ""
    bound: str = ""


def barred(name: str, version: int, bar: Barred, moment: Moment) -> None:
    """A rule kept the profile from entering."""
    step = moment.step
    if step.trace is not None and name in step.trace:
        step.add("passed_over", _passed(name, version, ENTER, bar, moment))


def condition(name: str, version: int, way: str, written: Written | None, moment: Moment) -> None:
    """A condition kept the profile from entering (`way` is ENTER), or a handler from reacting (its path)."""
    step = moment.step
    if written is not None and step.trace is not None and name in step.trace:
        passed = _passed(name, version, way, Barred("condition", bound=written.text), moment)
        step.add("passed_over", replace(passed, parts=why_not(written.text, written.scope, moment)))


def shut(profile: Profile, event: Event, now: int, rules: Rules, step: Step) -> None:
    """Who is in a journey cannot enter it, nor who is not of the share that comes into its canary, where it is all."""
    moment = Moment(profile, event, now, rules, step)
    for journey in rules.listeners.get(event.type, ()):
        if event.type not in journey.enter:
            continue
        instance = profile.instances.get(journey.name)
        if instance is not None and not instance.ended:
            barred(journey.name, journey.version, Barred("already-in", instance.stage, str(instance.started)), moment)
        elif journey.name in rules.canaries and rules.entered(journey, profile.id) is None:
            found, share = rules.of_canary(journey.name, profile.id)
            barred(journey.name, journey.version, Barred("canary", str(found), str(share)), moment)


def _passed(name: str, version: int, way: str, bar: Barred, moment: Moment) -> PassedOver:
    event = moment.event
    return PassedOver(
        profile=moment.profile.id,
        journey=name,
        version=version,
        way=way,
        reason=bar.reason,
        at=moment.now,
        event_id=event.event_id if event is not None else None,
        event=event.type if event is not None else None,
        value=bar.value,
        bound=bar.bound,
    )

"""Editing live journeys: how instances move on to a version that is put in force. All rules of that stand here.

An instance stays with the version it entered with, unless the new version says `edits: follow`: then every running
instance of an earlier version moves where that version is activated, whenever its customer is heard of next. It keeps
all it has gathered and the time it has been in its stage; nothing is sent because of the edit itself. Timers are those
of the new version: one that fired before under the same words does not fire again, one that is overdue fires at once,
but for days that had passed when a version first asked for them.
A stage that is gone leads where `moved` says; an instance in one that is not mapped stays where it is, and the decision
says so: nobody is ever in a stage that their version does not have.
"""

from __future__ import annotations

from typing import NamedTuple

from streams.engine import journeys
from streams.engine.ids import uuid5
from streams.engine.profile import Instance, Profile
from streams.engine.rules import CompiledJourney, Rules, Stage
from streams.engine.step import Step, Transition
from streams.engine.verdicts import Verdict, decide_instance


class Move(NamedTuple):
    """An instance that was in `stage` and is to be in version `version`; `mapped` says whether it could move there."""

    instance: Instance
    stage: str
    version: int
    mapped: bool


def concerns(instance: Instance | None, journey: CompiledJourney) -> bool:
    """Whether an instance is to move to this version."""
    return instance is not None and not instance.ended and instance.version < journey.version


def destination(stage: str, journey: CompiledJourney) -> str | None:
    """The stage of the new version for those who are in `stage` of an earlier one."""
    return stage if stage in journey.stages else journey.moved.get(stage)


def follow(profile: Profile, journey: CompiledJourney, rules: Rules, step: Step) -> None:
    """Move a profile's instance to a version that is put in force, at the partition's time; what is overdue fires."""
    now = profile.now = max(step.watermark, profile.now)
    tell(profile, move(profile, profile.instances[journey.name], journey, rules, now), now, step)
    journeys.notice(profile, None, now, rules, step, quiet=True)
    profile.wake = journeys.next_due(profile, rules)
    journeys.fire(profile, rules, step.watermark, step)


def follow_merged(profile: Profile, rules: Rules, now: int) -> list[Move]:
    """Move the instances of a profile that comes to be merged, without a word, so that equals are compared."""
    return [
        move(profile, instance, journey, rules, now)
        for name, journey in rules.follows.items()
        if (instance := profile.instances.get(name)) is not None and concerns(instance, journey)
    ]


def move(profile: Profile, instance: Instance, journey: CompiledJourney, rules: Rules, now: int) -> Move:
    """Move an instance to another version, if that has a stage for it."""
    stage = instance.stage
    to = destination(stage, journey)
    if to is None:
        return Move(instance, stage, journey.version, mapped=False)
    former = rules.journey(instance.journey, instance.version).stages[stage]
    instance.fired = _fired(instance, former, journey.stages[to])
    if to != stage:
        # Another visit, so that its actions have ids of their own.
        instance.visits[to] = instance.visits.get(to, 0) + 1
        instance.done, instance.noticed = {}, []
    instance.version, instance.stage, instance.order = journey.version, to, journey.stages[to].order
    waited = {timer.text for timer in former.timers}
    for dated in journey.stages[to].dated:
        if dated.text not in waited:
            dated.pass_over(profile, instance, now)
    return Move(instance, stage, journey.version, mapped=True)


def _fired(instance: Instance, former: Stage, stage: Stage) -> dict[int, int]:
    """What has fired under the same words in the former stage has fired in this one."""
    bases: dict[str, list[int | None]] = {}
    for timer in former.timers:
        bases.setdefault(timer.text, []).append(instance.fired.get(timer.index))
    fired = {}
    for timer in stage.timers:
        known = bases.get(timer.text)
        base = known.pop(0) if known else None
        if base is not None:
            fired[timer.index] = base
    return fired


def tell(profile: Profile, found: Move, now: int, step: Step) -> None:
    """Say that an instance moved, or why it did not."""
    instance = found.instance
    if found.mapped:
        why = f"moved to version {found.version}"
        effect = Transition(
            profile.id,
            instance.journey,
            instance.version,
            instance.id,
            found.stage,
            instance.stage,
            why,
            now,
            None,
        )
        step.add("transitions", effect)
        return
    verdict = Verdict("pinned", "edit", "stage-not-mapped", found.stage, f"version {found.version}")
    decide_instance(profile, instance, verdict, now, step, uuid5("decision", instance.id, "edit", found.version))

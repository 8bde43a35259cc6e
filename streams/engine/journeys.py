"""The life of journey instances: entry, reactions, arrival, timers, goals, ends. All that moves a stage lives here.

An event is offered to the current stage's handlers first; the first whose condition holds reacts. Unless that moved
or ended the instance, the handlers of *any stage* are asked in the same way. So one event takes at most one branch.
Then `as soon as` of the stage that one is in by now: what the event has made true acts, each once in a visit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from schemas.control import journey_scope
from schemas.decision import Decision
from schemas.journal import Event
from streams.engine import contacts, promises, proposals, trace, waiting
from streams.engine.bounds import MAX_VARS_BYTES, size
from streams.engine.conditions import Absent
from streams.engine.ids import action_id, instance_id, uuid5
from streams.engine.moment import Moment, holds
from streams.engine.parameters import filled
from streams.engine.profile import Held, Instance, Profile
from streams.engine.rules import ALWAYS, NEVER, CompiledJourney, Concern, Entrance, Reaction, Rules, Stage
from streams.engine.soon import Soon
from streams.engine.step import Step, Transition
from streams.engine.trace import ENTER, Barred
from streams.engine.verdicts import Verdict, decide_instance

# The step budget: what one instance may do within one entry of the journal. One that exceeds it is in a loop and ends,
# with a decision that says so; the profile's other instances, and other profiles, go on.
# Stages it arrives at while no time passes. Stories arrive once or twice.
MAX_ARRIVALS = 20
# Timers fired, and stages arrived at after each, when an entry brings a long time at once. A week of hourly reminders
# takes 168.
MAX_STEPS = 1000
STEP_BUDGET = "step-budget"
SOON = "as soon as"


def _assign(instance: Instance, sets: tuple[tuple[str, Any], ...], moment: Moment) -> None:
    for name, value in sets:
        try:
            found = value(moment)
        except Absent:
            moment.step.stats.absent += 1
            continue
        if isinstance(found, str | list | dict) and size(instance.vars | {name: found}) > MAX_VARS_BYTES:
            moment.step.stats.absent += 1
        else:
            instance.vars[name] = found


def on_event(profile: Profile, event: Event, concern: Concern, now: int, rules: Rules, step: Step) -> bool:
    """Offer a touchpoint to every journey it could concern; whether one entered or reacted."""
    kind, instances = event.type, profile.instances
    moment: Moment | None = None
    stirred = False
    if step.trace is not None:
        trace.shut(profile, event, now, rules, step)
    for journey in concern.listeners:
        instance = instances.get(journey.name)
        if instance is None or instance.ended:
            chosen = rules.entered(journey, profile.id) if journey.name in rules.canaries else journey
            if chosen is not None and kind in chosen.enter:
                moment = moment or Moment(profile, event, now, rules, step)
                stirred = _enter(chosen, instance, moment) or stirred
        elif instance.version == journey.version:
            if journey.counting and kind in journey.types:
                instance.counts[kind] = instance.counts.get(kind, 0) + 1
            reactions = journey.stages[instance.stage].reactions.get(kind)
            if reactions is not None:
                moment = moment or Moment(profile, event, now, rules, step)
                stirred = _react(journey, instance, reactions, moment) or stirred
    for name in concern.former:
        instance = instances.get(name)
        if instance is None or instance.ended or instance.version == rules.active.get(name):
            continue
        # Pinned to the version it entered with, perhaps a canary, and perhaps a moment ago.
        journey = rules.journey(name, instance.version)
        if kind not in journey.types or instance.event_id == event.event_id:
            continue
        if journey.counting:
            instance.counts[kind] = instance.counts.get(kind, 0) + 1
        reactions = journey.stages[instance.stage].reactions.get(kind)
        if reactions is not None:
            moment = moment or Moment(profile, event, now, rules, step)
            stirred = _react(journey, instance, reactions, moment) or stirred
    if concern.watched:
        moment = moment or Moment(profile, event, now, rules, step)
        stirred = _look(concern.watched, kind, moment) or stirred
    return stirred


def _look(names: Iterable[str], kind: str, moment: Moment) -> bool:
    """Let what an event of this type may have made true in these journeys act; whether anything did."""
    stirred = False
    for name in names:
        instance = moment.profile.instances.get(name)
        if instance is not None and not instance.ended:
            journey = moment.rules.journey(name, instance.version)
            soons = journey.stages[instance.stage].soon_by_type.get(kind)
            if soons is not None:
                stirred = _notice(journey, instance, soons, moment) or stirred
    return stirred


def notice(profile: Profile, event: Event | None, now: int, rules: Rules, step: Step, *, quiet: bool) -> bool:
    """Let every `as soon as` that is true act, after what may have made any of them so: a merge, an edit.

    `quiet`: those alone that send nothing; the others act with the profile's next event, whatever it is.
    """
    profile.unnoticed = False
    stirred = False
    for name in sorted(profile.instances):
        instance = profile.instances[name]
        if instance.ended:
            continue
        journey = rules.journey(name, instance.version)
        soons = journey.stages[instance.stage].soon
        if soons:
            moment = Moment(profile, event, now, rules, step)
            moment.quiet = quiet
            stirred = _notice(journey, instance, soons, moment) or stirred
    return stirred


def _notice(journey: CompiledJourney, instance: Instance, soons: Iterable[Soon], moment: Moment) -> bool:
    """Let what is true by now act; whether anything did. An event that came too late sends nothing."""
    event, stage = moment.event, journey.stages[instance.stage]
    moment.instance = instance
    quiet, unnoticed = moment.quiet, moment.profile.unnoticed
    if event is not None and event.origin.time - event.occurred_at > journey.stale_after:
        moment.quiet, moment.profile.unnoticed = True, False
    acted, to = _act(stage, soons, instance, moment)
    if to is not None:
        _move(journey, instance, to, moment, SOON)
    if moment.quiet and not quiet and event is not None:
        if moment.profile.unnoticed and event.type not in stage.reactions:  # else these have said it
            _stale(journey, instance, event, moment)
        moment.quiet = quiet
    moment.profile.unnoticed |= unnoticed
    return acted


def _act(stage: Stage, soons: Iterable[Soon], instance: Instance, moment: Moment) -> tuple[bool, str | None]:
    """Whether any of them acted, and the stage that the first that moves leads to."""
    acted, ahead = False, list(soons)
    while ahead:
        soon = ahead.pop(0)
        reaction = soon.reaction
        if soon.mark in instance.noticed:
            continue
        if not holds(reaction.condition, moment):
            if moment.step.trace is not None:
                trace.condition(instance.journey, instance.version, reaction.path, reaction.written, moment)
            continue
        if moment.quiet and not soon.quiet:
            moment.profile.unnoticed = True
            continue
        acted = True
        instance.noticed.append(soon.mark)
        _do(instance, reaction, moment)
        if reaction.to is not None:
            return True, reaction.to
        if reaction.end:
            _end_by(instance, SOON, moment)
            return True, None
        if reaction.sets:
            ahead += [each for each in stage.soon if each.vars]
    return acted, None


def _stale(journey: CompiledJourney, instance: Instance | None, event: Event, moment: Moment) -> bool:
    """Say that an event came too late to do anything here; so nothing entered or reacted."""
    age = event.origin.time - event.occurred_at
    moment.step.stats.stale += 1
    profile = moment.profile
    moment.step.add(
        "decisions",
        Decision(
            decision_id=uuid5("decision", profile.id, journey.name, event.event_id, "stale"),
            profile=profile.id,
            customer=profile.customer,
            verdict="ignored",
            gate="stale",
            reason="older-on-arrival-than-stale-after",
            at=moment.now,
            journey=journey.name,
            journey_version=journey.version,
            instance_id=instance.id if instance is not None else None,
            stage=instance.stage if instance is not None else None,
            event_id=event.event_id,
            value=f"{age} ms",
            bound=f"{journey.stale_after} ms",
        ),
    )
    return False


def barred(journey: CompiledJourney, former: Instance | None, moment: Moment) -> Barred | None:
    """What keeps a customer who is not in a journey from entering it, whatever the event."""
    if former is not None:
        if journey.again == NEVER:
            return Barred("again-never", str(former.ended), "never")
        if journey.again != ALWAYS and moment.now < former.ended + journey.again:
            return Barred("again-later", str(former.ended), f"{journey.again} ms")
    if journey_scope(journey.name) in moment.rules.stops:
        return Barred("stopped", f"journey:{journey.name}")
    return None


def _enter(journey: CompiledJourney, former: Instance | None, moment: Moment) -> bool:
    event = moment.event
    assert event is not None
    bar = barred(journey, former, moment)
    if bar is not None:
        if moment.step.trace is not None:
            trace.barred(journey.name, journey.version, bar, moment)
        return False
    for entrance in journey.enter[event.type]:
        moment.instance = None
        if not holds(entrance.condition, moment):
            if moment.step.trace is not None:
                trace.condition(journey.name, journey.version, ENTER, entrance.written, moment)
            continue
        if event.origin.time - event.occurred_at > journey.stale_after:
            return _stale(journey, None, event, moment)
        _begin(journey, entrance, moment)
        return True
    return False


def _begin(journey: CompiledJourney, entrance: Entrance, moment: Moment) -> None:
    event, profile, now = moment.event, moment.profile, moment.now
    assert event is not None
    instance = Instance(
        id=instance_id(profile.id, journey.name, event.event_id),
        journey=journey.name,
        version=journey.version,
        stage="",
        order=0,
        started=now,
        entered=now,
        profile=profile.id,
        event_id=event.event_id,
        counts={event.type: 1} if journey.counting else {},
    )
    profile.instances[journey.name] = instance
    moment.instance = instance
    _assign(instance, entrance.sets, moment)
    _move(journey, instance, entrance.to, moment, "entered")


def _react(
    journey: CompiledJourney, instance: Instance, reactions: tuple[tuple[Reaction, ...], ...], moment: Moment
) -> bool:
    """Let the stage's own handlers react, then those of any stage: of each the first whose condition holds."""
    event = moment.event
    assert event is not None
    moment.instance = instance
    if event.origin.time - event.occurred_at > journey.stale_after:
        return _stale(journey, instance, event, moment)
    return _handle(journey, instance, reactions, moment, event.type)


def _handle(
    journey: CompiledJourney,
    instance: Instance,
    reactions: tuple[tuple[Reaction, ...], ...],
    moment: Moment,
    why: str,
) -> bool:
    reacted = False
    for handlers in reactions:
        for reaction in handlers:
            if reaction.condition is None or holds(reaction.condition, moment):
                _run(journey, instance, reaction, moment, why)
                if reaction.to is not None or reaction.end:
                    return True
                reacted = True
                break
            if moment.step.trace is not None:
                trace.condition(journey.name, journey.version, reaction.path, reaction.written, moment)
    return reacted


def _run(journey: CompiledJourney, instance: Instance, reaction: Reaction, moment: Moment, why: str) -> None:
    _do(instance, reaction, moment)
    if reaction.to is not None:
        _move(journey, instance, reaction.to, moment, why)
    if reaction.end and not instance.ended:
        _end_by(instance, why, moment)


def _do(instance: Instance, reaction: Reaction, moment: Moment) -> None:
    """All that a handler does where it stands."""
    if reaction.sets:
        _assign(instance, reaction.sets, moment)
        if moment.rules.timed_traits:
            stages = moment.rules.journey(instance.journey, instance.version).stages
            for dated in stages[instance.stage].dated:
                if dated.root == "vars":
                    dated.pass_over(moment.profile, instance, moment.now)
    if reaction.promises or reaction.keeps:
        _promise(instance, reaction, moment)
    for proposal in reaction.proposals:
        _propose(instance, proposal, moment)


def _promise(instance: Instance, reaction: Reaction, moment: Moment) -> None:
    for vow in reaction.promises:
        promises.make(instance, vow, moment)
    for name in reaction.keeps:
        promises.keep(instance, name, moment)


def _propose(instance: Instance, proposal: Any, moment: Moment) -> None:
    params = filled(proposal.params, moment)
    params["purpose"] = proposal.purpose
    nth = instance.done.get(proposal.path, 0) + 1
    instance.done[proposal.path] = nth
    visit = instance.visits.get(instance.stage, 1)
    priority = params.get("priority")
    held = Held(
        action_id=action_id(instance.id, instance.stage, visit, proposal.path, nth, 0),
        path=proposal.path,
        stage=instance.stage,
        visit=visit,
        at=moment.now,
        event_id=moment.event.event_id if moment.event is not None else None,
        kind=proposal.kind,
        params=params,
        priority=priority if isinstance(priority, int) else 0,
        traceparent=moment.event.traceparent if moment.event is not None else None,
    )
    proposals.propose(moment.profile, instance, held, moment.rules, moment.now, moment.step)


def _move(journey: CompiledJourney, instance: Instance, to: str, moment: Moment, why: str) -> None:
    """Arrive at a stage, and at those that its arrival leads to."""
    for _ in range(MAX_ARRIVALS):
        stage = journey.stages[to]
        converted = to in journey.goals and not instance.converted
        if converted:
            instance.converted = moment.now
        moment.step.add(
            "transitions",
            Transition(
                moment.profile.id,
                journey.name,
                journey.version,
                instance.id,
                instance.stage or None,
                to,
                why,
                moment.now,
                moment.event.event_id if moment.event is not None else None,
                converted,
            ),
        )
        instance.stage, instance.order, instance.entered = to, stage.order, moment.now
        instance.visits[to] = instance.visits.get(to, 0) + 1
        # Mostly nothing has fired or been done yet: new containers cost more than a look.
        if instance.fired:
            instance.fired = {}
        if instance.done:
            instance.done = {}
        if instance.noticed:
            instance.noticed = []
        following, why = _arrive(stage, instance, moment), "arrival"
        if following is None and stage.soon and not instance.ended:
            following, why = _act(stage, stage.soon, instance, moment)[1], SOON
        if following is None:
            return
        to = following
    _exceed(instance, moment, MAX_ARRIVALS, "arrivals without time")


def _exceed(instance: Instance, moment: Moment, most: int, what: str) -> None:
    """End an instance that exceeded the step budget, and say so."""
    event_id = moment.event.event_id if moment.event is not None else None
    _end_by(instance, STEP_BUDGET, moment)
    verdict = Verdict("ended", "limits", STEP_BUDGET, f"more than {most} {what}", str(most))
    name = uuid5("decision", instance.id, STEP_BUDGET)
    decide_instance(moment.profile, instance, verdict, moment.now, moment.step, name, event_id)


def _arrive(stage: Stage, instance: Instance, moment: Moment) -> str | None:
    """Run a stage's arrival handlers; the stage the first that moves leads to."""
    for reaction in stage.arrival:
        if not holds(reaction.condition, moment):
            if moment.step.trace is not None:
                trace.condition(instance.journey, instance.version, reaction.path, reaction.written, moment)
            continue
        _do(instance, reaction, moment)
        if reaction.to is not None:
            return reaction.to
        if reaction.end:
            _end_by(instance, "completed", moment)
            return None
    return None


def _end_by(instance: Instance, why: str, moment: Moment) -> None:
    """End an instance by an event or a timer, whose own actions stay: they are the last word."""
    mine = moment.step.effects[moment.sent_before :]
    last = {effect.action_id for _, kind, effect in mine if kind == "actions"}
    last.update(each.held.action_id for each in moment.step.contenders[moment.queued_before :])
    event_id = moment.event.event_id if moment.event is not None else None
    end(instance, why, moment.profile, moment.now, moment.step, event_id, last)


def end(
    instance: Instance,
    why: str,
    profile: Profile,
    now: int,
    step: Step,
    event_id: str | None = None,
    last: Collection[str] = (),
) -> None:
    """End an instance: what it holds is dropped; what it sent, is not delivered and not in `last`, is withdrawn."""
    instance.ended, instance.why = now, why
    step.add(
        "transitions",
        Transition(
            profile.id,
            instance.journey,
            instance.version,
            instance.id,
            instance.stage,
            None,
            why,
            now,
            event_id,
        ),
    )
    if instance.promises:
        promises.end(profile, instance, now, step, event_id)
    waiting.drop_held(profile, instance, "instance-ended", now, step)
    if step.contenders:
        proposals.drop_contenders(profile, instance, "instance-ended", now, step, last)
    ended = f"journey {instance.journey} ended: {why}"
    cause = contacts.Cause(ended, ended)
    contacts.withdraw(
        profile,
        lambda action_id, contact: (
            cause if contact.instance == instance.id and contact.basis != "internal" and action_id not in last else None
        ),
        now,
        step,
    )


def next_due(profile: Profile, rules: Rules) -> int:
    """When the profile's next timer is due (ms); 0: never."""
    wake = 0
    for instance in profile.instances.values():
        if instance.ended:
            continue
        stage = rules.journey(instance.journey, instance.version).stages[instance.stage]
        for timer in stage.timers:
            due = timer.due(profile, instance)
            if due and (not wake or due < wake):
                wake = due
        for held in instance.held:
            due = waiting.due(profile, held, rules)
            if due and (not wake or due < wake):
                wake = due
        if instance.promises:
            for due, _, _ in promises.moments(instance):
                if not wake or due < wake:
                    wake = due
    return wake


def fire(profile: Profile, rules: Rules, until: int, step: Step, taken: dict[str, int] | None = None) -> None:
    """Fire the profile's timers due at or before `until`, each at its due time, earliest first.

    `taken` holds the steps that its instances, by id, have taken already because of the same entry.
    """
    taken = {} if taken is None else taken
    while profile.wake and profile.wake <= until:
        due = profile.wake
        now = profile.now = max(due, profile.now)
        for name in sorted(profile.instances):
            _fire_instance(profile, profile.instances[name], due, now, rules, step, taken)
        if waiting.any_held(profile):
            _release(profile, now, rules, step, taken)
        if step.contenders:
            proposals.settle(profile, rules, now, step)
        profile.wake = next_due(profile, rules)


def _release(profile: Profile, now: int, rules: Rules, step: Step, taken: dict[str, int]) -> None:
    """Let what has waited long enough pass the gates again: one step of each instance that it is of."""
    for instance in {each.id: each for each in waiting.release(profile, rules, now, step)}.values():
        steps = taken[instance.id] = taken.get(instance.id, 0) + 1
        if not instance.ended and steps > MAX_STEPS:
            _exceed(instance, Moment(profile, None, now, rules, step), MAX_STEPS, "timers at once")


def _fire_instance(
    profile: Profile, instance: Instance, due: int, now: int, rules: Rules, step: Step, taken: dict[str, int]
) -> None:
    if instance.ended:
        return
    journey = rules.journey(instance.journey, instance.version)
    visits = dict(instance.visits)
    # First, so that what is broken is told, also when the stage's own timer leads on or ends the journey.
    while instance.promises and (came := promises.first(instance, due)) is not None:
        name, what = came
        step.stats.timers += 1
        moment = Moment(profile, None, now, rules, step)
        moment.instance = instance
        before = len(step.effects)
        promises.come(instance, name, what, moment)
        reactions = journey.stages[instance.stage].reactions.get(f"{what} {name}", ())
        _handle(journey, instance, reactions, moment, f"promise {name} {what}")
        if _moved_on(instance, visits, before, moment, taken):
            return
    for timer in journey.stages[instance.stage].timers:
        when = timer.due(profile, instance)
        if not when or when > due:
            continue
        instance.fired[timer.index] = timer.mark(profile, instance, when)
        step.stats.timers += 1
        moment = Moment(profile, None, now, rules, step)
        moment.instance = instance
        before = len(step.effects)
        if holds(timer.reaction.condition, moment):
            _run(journey, instance, timer.reaction, moment, timer.why)
        elif step.trace is not None:
            trace.condition(journey.name, journey.version, timer.reaction.path, timer.reaction.written, moment)
        if _moved_on(instance, visits, before, moment, taken):
            return


def _moved_on(instance: Instance, visits: dict[str, int], before: int, moment: Moment, taken: dict[str, int]) -> bool:
    """Count the steps that a timer took; whether the instance ended or left the stage that its other timers are of."""
    journey = moment.rules.journey(instance.journey, instance.version)
    if not instance.ended and (soon := journey.stages[instance.stage].soon):
        # A timer may have set variables; nothing else that it could read.
        _notice(journey, instance, [each for each in soon if each.vars], moment)
    arrived = sum(kind == "transitions" for _, kind, _ in moment.step.effects[before:])
    steps = taken[instance.id] = taken.get(instance.id, 0) + max(1, arrived)
    if not instance.ended and steps > MAX_STEPS:
        _exceed(instance, moment, MAX_STEPS, "timers at once")
    return bool(instance.ended) or instance.visits != visits

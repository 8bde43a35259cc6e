"""One entry, one step: `advance` is the whole engine seen from outside.

It applies an entry of the journal to the state of the profile it is for, at a time it is given, under rules it is
given. The state is changed in place (one writer per profile owns it); every effect is appended to the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.decision import Decision
from schemas.identifiers import CUSTOMER
from schemas.journal import Event, Forward, Outcome, ProfileEntry, Unite
from schemas.touchpoint import (
    CONSENT_GIVEN,
    CONSENT_WITHDRAWN,
    CONTACT_ALLOWED,
    PROFILE_UPDATED,
)
from streams.engine import (
    bounds,
    cases,
    consents,
    contacts,
    holds,
    identity,
    journeys,
    proposals,
    timing,
    waiting,
    windows,
)
from streams.engine.durations import duration
from streams.engine.ids import digest, uuid5
from streams.engine.merge import settle
from streams.engine.profile import MAX_TOPIC, Case, Consent, Profile, Trait, remember

if TYPE_CHECKING:
    from streams.engine.rules import Rules
    from streams.engine.step import Step


def advance(profile: Profile, entry: ProfileEntry, rules: Rules, step: Step) -> None:
    """Apply `entry` to `profile`, its owner's state, at `step.watermark`."""
    if (
        type(entry) is Event
        and not entry.claims
        and not profile.parked
        and profile.alias is None
        and profile.id.startswith("customer:")
    ):
        # Most entries by far: nothing to ask or wait for. The general way would do the same, 2 us later.
        apply(profile, entry, rules, step)
        return
    if not isinstance(entry, Event | Outcome | Forward | Unite):
        # These carry no time of their own; they act at the time the profile has reached.
        profile.now = max(step.watermark, profile.now)
    protocol = identity.customer if profile.is_customer else identity.identifier
    protocol(profile, entry, rules, step, apply)


def apply(profile: Profile, entry: Event | Outcome, rules: Rules, step: Step) -> None:
    """Apply an event or outcome whose turn has come, after the timers due by its `now`."""
    now = entry.origin.time
    now = now if now > step.watermark else step.watermark  # noqa: FURB136 - a call of max() takes three times as long
    now = now if now > profile.now else profile.now  # noqa: FURB136 - as above
    wake = profile.wake
    if wake and wake <= now:
        journeys.fire(profile, rules, now, step)
    profile.now = now
    if isinstance(entry, Outcome):
        _outcome(profile, entry, now, rules, step)
    elif _event(profile, entry, now, rules, step) or rules.silence:
        # Else no stage changed and no timer counts from the last touchpoint: the next is due when it was.
        profile.wake = journeys.next_due(profile, rules)


def _outcome(profile: Profile, entry: Outcome, now: int, rules: Rules, step: Step) -> None:
    if not remember(profile, digest(entry.outcome_id), now):
        step.stats.duplicates += 1
        return
    contact = profile.contacts.get(entry.action_id)
    contacts.outcome(profile, entry, now, step)
    if contact is not None and entry.kind in {"unsubscribed", "complained"}:
        word = Consent(False, min(entry.at, now), entry.outcome_id, consents.source_of_outcome(entry))
        consents.say(profile, contact.purpose, word, rules)
        settle(profile, rules, now, step)


def _event(profile: Profile, event: Event, now: int, rules: Rules, step: Step) -> bool:
    """Apply a touchpoint; whether an instance may have changed."""
    mark = digest(event.event_id)
    if not remember(profile, mark, now):
        step.stats.duplicates += 1
        return False
    step.stats.events += 1
    kind = event.type
    source = f"{profile.id}#{profile.generation}" if profile.generation else profile.id
    counts = profile.counts.get(source)
    if counts is not None and kind in counts:
        counts[kind] += 1
    else:
        bounds.count(profile, source, kind)
    profile.activity = now if now > profile.activity else profile.activity  # noqa: FURB136 - as above
    stirred = False
    concern = rules.concerns.get(kind)
    if concern is not None:
        if concern.recorded:
            windows.record(profile, event, mark, now, rules.plan_for(profile))
        if concern.understood:
            stirred = _understand(profile, event, now, rules, step)
            if "time_zone" in event.properties and waiting.any_held(profile):
                waiting.reconsider(profile, rules, now, step)
                stirred = True
        if concern.cases:
            cases.on_event(profile, event, now, rules)
            _cases(profile, event, now, rules, step)
        if concern.journeys and journeys.on_event(profile, event, concern, now, rules, step):
            stirred = True
    if profile.unnoticed and journeys.notice(profile, event, now, rules, step, quiet=False):
        stirred = True
    if profile.cases and waiting.any_held(profile) and waiting.release(profile, rules, now, step):
        # Not only when a case closes: a merge or a new policy may end a hold, and send nothing themselves.
        stirred = True
    if step.contenders:
        proposals.settle(profile, rules, now, step)
    return stirred


def _understand(profile: Profile, event: Event, now: int, rules: Rules, step: Step) -> bool:
    """What the event says of the profile itself: traits, consents, contact. Whether timers may have moved."""
    at = min(event.occurred_at, now)
    known = CUSTOMER in event.identifiers
    if event.type == PROFILE_UPDATED:
        timed = _traits(profile, event, at, now, rules, step, known=known)
        if profile.contact is not None and not profile.contact.granted:
            contacts.suppress(profile, rules, now, step)  # addresses that were not known when contact was forbidden
        return timed
    if event.type in {CONSENT_GIVEN, CONSENT_WITHDRAWN}:
        word = Consent(event.type == CONSENT_GIVEN, at, event.event_id, consents.source_of(event))
        consents.say(profile, str(event.properties.get("purpose")), word, rules, person=known)
        settle(profile, rules, now, step)
    else:
        word = Consent(event.type == CONTACT_ALLOWED, at, event.event_id, consents.source_of(event))
        if consents.say_of_contact(profile, word):
            contacts.suppress(profile, rules, now, step)
        settle(profile, rules, now, step)
    return False


def _traits(profile: Profile, event: Event, at: int, now: int, rules: Rules, step: Step, *, known: bool) -> bool:
    """Take over what the event says; whether timers may have moved: one that reads a trait that came, or that went."""
    too_large = ""
    timed: list[str] = []
    before = profile.traits
    for name, value in event.properties.items():
        if isinstance(value, str | list | dict) and bounds.size(value) > bounds.MAX_TRAIT_BYTES:
            too_large = too_large or name
            continue
        trait, former = Trait(value, int(known), at, event.event_id), profile.traits.get(name)
        if former is None or bounds.trait_rank(trait) > bounds.trait_rank(former):
            profile.traits[name] = trait
            if name in rules.timed_traits:
                timed.append(name)
    bounds.bound_traits(profile)
    if timed:
        timing.learn(profile, rules, timed, now)
    if too_large:
        step.add(
            "decisions",
            Decision(
                decision_id=uuid5("decision", profile.id, "limits", event.event_id),
                profile=profile.id,
                customer=profile.customer,
                verdict="ignored",
                gate="limits",
                reason="trait-too-large",
                at=now,
                event_id=event.event_id,
                value=too_large,
                bound=f"{bounds.MAX_TRAIT_BYTES} bytes",
            ),
        )
    return bool(timed) or (bool(rules.timed_traits) and len(profile.traits) < len(before))


def _cases(profile: Profile, event: Event, now: int, rules: Rules, step: Step) -> None:
    """Cases that begin or end with the event."""
    for name, begins in rules.holds_by_type.get(event.type, ()):
        hold = rules.policy.holds[name]
        number = str(event.properties.get(hold.case, ""))[:MAX_TOPIC]
        key = f"{name}/{number}"
        case = profile.cases.get(key, Case())
        if begins:
            until = now + duration(hold.lasts) if hold.lasts else 0
            profile.cases[key] = Case(max(case.opened, now), case.closed, until)
            settle(profile, rules, now, step)
        elif holds.is_open(case, now):
            profile.cases[key] = Case(case.opened, max(case.closed, now), case.until)
    for key in [key for key, case in profile.cases.items() if 0 < case.until <= now]:
        del profile.cases[key]  # over by itself
    bounds.bound_cases(profile)

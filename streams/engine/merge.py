"""Merging two profiles into one: each field a maximum or a union under a total order.

So merging is associative and repeating it changes nothing. Nothing is sent because of a merge itself; what the united
profile may not keep (a second instance of a journey, contacts under an open hold) ends with a decision.
"""

from __future__ import annotations

from typing import Any

from streams.engine import cases, consents, contacts, edits, gates, holds, journeys, timing, waiting
from streams.engine.bounds import bound_merged, trait_rank
from streams.engine.ids import uuid5
from streams.engine.profile import RECENT_EVENTS, Case, Contact, Instance, Profile
from streams.engine.rules import ALWAYS, NEVER, Rules
from streams.engine.step import Step
from streams.engine.verdicts import Verdict, decide_instance
from streams.engine.windows import unite_series

FOREVER = 2**63  # later than any moment


def _united(mine: dict[str, Any], theirs: dict[str, Any], choose: Any) -> dict[str, Any]:
    """Both dicts by key, in sorted order; where both have a key, `choose` says which value stays."""
    return {
        key: choose(mine[key], theirs[key])
        if key in mine and key in theirs
        else mine[key]
        if key in mine
        else theirs[key]
        for key in sorted(mine.keys() | theirs.keys())
    }


def _later(rank: Any) -> Any:
    return lambda mine, theirs: theirs if rank(theirs) > rank(mine) else mine


def _case(mine: Case, theirs: Case) -> Case:
    last = max(mine, theirs, key=lambda case: (case.opened, case.until or FOREVER))
    return Case(last.opened, max(mine.closed, theirs.closed), last.until)


def _contact(mine: Contact, theirs: Contact) -> Contact:
    return theirs if theirs.status > mine.status else mine


def _counts(mine: dict[str, int], theirs: dict[str, int]) -> dict[str, int]:
    return _united(mine, theirs, max)


def _recent(mine: bytes, theirs: bytes) -> bytes:
    both = {blob[at : at + 16] for blob in (mine, theirs) for at in range(0, len(blob), 16)}
    newest: dict[bytes, bytes] = {}
    for each in sorted(both):
        newest[each[8:]] = each
    return b"".join(sorted(newest.values())[-RECENT_EVENTS:])


def instance_rank(instance: Instance, rules: Rules, now: int) -> tuple[Any, ...]:
    """The later version, else the ended one within its re-entry window, else the further, else the earlier entry."""
    again = rules.journey(instance.journey, instance.version).again
    barred = bool(instance.ended) and (again == NEVER or (again != ALWAYS and now < instance.ended + again))
    return (
        instance.version,
        barred,
        not instance.ended,
        instance.order,
        -instance.started,
        instance.id,
        instance.entered,
        instance.ended,
    )


def merge(profile: Profile, other: Profile, rules: Rules, now: int, step: Step) -> None:
    """Unite `other` into `profile`; end and withdraw what the united profile may not keep."""
    for instance in other.instances.values():
        if not instance.ended and instance.version != rules.active.get(instance.journey):
            rules.adopt(instance.journey, instance.version)
    moves = edits.follow_merged(other, rules, now) if rules.follows else []
    dates = timing.dates(profile, rules) | timing.dates(other, rules) if rules.timed_traits else {}
    known = {instance.id for instance in profile.instances.values()}
    for loser in unite(profile, other, rules, now):
        if not loser.ended:
            _end_loser(profile, loser, profile.instances[loser.journey], now, step)
    for each in moves:
        if each.instance.id not in known and profile.instances[each.instance.journey] is each.instance:
            edits.tell(profile, each, now, step)
    if rules.timed_traits:
        timing.united(profile, rules, dates, now)
    settle(profile, rules, now, step)
    journeys.notice(profile, None, now, rules, step, quiet=True)
    profile.wake = journeys.next_due(profile, rules)


def unite(profile: Profile, other: Profile, rules: Rules, now: int) -> list[Instance]:
    """Unite each field of `other` into `profile`, without effects. The instances that gave way to another."""
    profile.activity = max(profile.activity, other.activity)
    profile.counts = _united(profile.counts, other.counts, _counts)
    profile.traits = _united(profile.traits, other.traits, _later(trait_rank))
    consents.unite(profile, other)
    profile.cases = _united(profile.cases, other.cases, _case)
    profile.dossiers = _united(profile.dossiers, other.dossiers, cases.unite)
    profile.contacts = _united(profile.contacts, other.contacts, _contact)
    profile.dead = _united(profile.dead, other.dead, max)
    profile.recent = _recent(profile.recent, other.recent)
    profile.held = _united(profile.held, other.held, _later(lambda hold: (hold.time, hold.event_id)))
    if other.carried is not None and (
        profile.carried is None
        or (other.carried.time, other.carried.event_id) > (profile.carried.time, profile.carried.event_id)
    ):
        profile.carried = other.carried
    unite_series(profile, other)
    bound_merged(profile)
    return _instances(profile, other, rules, now)


def _instances(profile: Profile, other: Profile, rules: Rules, now: int) -> list[Instance]:
    losers: list[Instance] = []
    united: dict[str, Instance] = {}
    for name in sorted(profile.instances.keys() | other.instances.keys()):
        mine, theirs = profile.instances.get(name), other.instances.get(name)
        if mine is None or theirs is None:
            united[name] = mine or theirs  # type: ignore[assignment]  # the name is in one of the two
            continue
        winner, loser = mine, theirs
        if instance_rank(theirs, rules, now) > instance_rank(mine, rules, now):
            winner, loser = theirs, mine
        united[name] = winner
        if loser.id != winner.id:
            losers.append(loser)
        elif instance_rank(loser, rules, now) == instance_rank(winner, rules, now):
            # One visit seen twice: what has fired on either side has fired.
            fired = sorted(winner.fired.keys() | loser.fired.keys())
            winner.fired = {each: max(winner.fired.get(each, 0), loser.fired.get(each, 0)) for each in fired}
    profile.instances = united
    return losers


def _end_loser(profile: Profile, loser: Instance, winner: Instance, now: int, step: Step) -> None:
    verdict = Verdict("merged", "merge", "another-instance-stays", winner.id)
    decide_instance(profile, loser, verdict, now, step, uuid5("decision", loser.id, "merged", winner.id))
    journeys.end(loser, "merged", profile, now, step)


def settle(profile: Profile, rules: Rules, now: int, step: Step) -> None:
    """Withdraw what is emitted but not delivered and no longer allowed: its consent is gone, or a hold covers it."""

    def disallowed(_: str, contact: Contact) -> contacts.Cause | None:
        if contact.basis == "internal":
            return None
        if profile.contact is not None and not profile.contact.granted:
            return contacts.Cause("do-not-contact", "do-not-contact", str(profile.contact.at))
        if contact.basis != "consent":
            return None
        consent = profile.consents.get(gates.consent_key(contact.purpose, rules, person=True))
        if consent is None:
            return contacts.Cause(f"no consent to {contact.purpose}", "no-consent", None, contact.purpose)
        if not consent.granted:
            told = f"consent to {contact.purpose} withdrawn"
            return contacts.Cause(told, "consent-withdrawn", str(consent.at), contact.purpose)
        held = holds.open_hold(profile, contact.purpose, contact.topic, rules, now)
        if held is None:
            return None
        case = f", case {held.number}" if held.number else ""
        return contacts.Cause(f"hold {held.name}{case}", "hold", held.number, held.name)

    contacts.withdraw(profile, disallowed, now, step)
    if rules.dropping and profile.cases:
        waiting.drop_covered(profile, rules, now, step)

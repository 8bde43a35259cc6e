"""Who is who: claims, answers, unlinks, forwards, aliases. Everything that links profiles lives here.

The owner of an identifier's profile is the authority on it. A customer's event that claims an identifier the customer
does not hold is parked in the customer's state until the identifier's owner answers; later entries queue behind it.
Answers, unlinks and merges never queue, and identifiers never wait, so nothing waits in a circle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from schemas.action import Identity
from schemas.decision import Decision
from schemas.journal import Answer, Claim, Event, Forward, Merge, Outcome, Unite, Unlink
from schemas.journal import encode as encode_entry
from streams.engine import contacts
from streams.engine.ids import digest, uuid5
from streams.engine.merge import merge
from streams.engine.profile import (
    ESSENTIAL,
    Carried,
    Hold,
    Profile,
    clear,
    content,
    decode,
    hand_over,
    is_empty,
    pass_on,
    was_passed_on,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.engine.rules import Rules
    from streams.engine.step import Step

MAX_PARKED = 500
MAX_PARKED_BYTES = 256 * 1024
MAX_GATHERED_BYTES = 512 * 1024  # below the broker's default 1 MiB message, with room for the frame
MAX_HELD = 100
SHARED_CUSTOMERS = 3
SHARED_WINDOW = 30 * 86_400_000

Queued = Event | Outcome | Forward | Unite


def identifier(profile: Profile, entry: object, rules: Rules, step: Step, apply: Callable[..., None]) -> None:
    """An entry for an identifier's profile."""
    if isinstance(entry, Claim):
        _claim(profile, entry, step)
    elif isinstance(entry, Event | Outcome):
        mark = digest(entry.event_id if isinstance(entry, Event) else entry.outcome_id)
        if profile.owner is not None and not _shared_until(profile, entry.origin.time):
            # A repeat of what another holder got is not the present holder's either.
            if pass_on(profile, mark):
                step.add("entries", Forward(profile.owner, profile.id, entry))
            else:
                step.stats.duplicates += 1
        elif was_passed_on(profile, mark):
            step.stats.duplicates += 1
        else:
            apply(profile, entry, rules, step)
    elif isinstance(entry, Forward):
        apply(profile, entry.entry, rules, step)


def _shared_until(profile: Profile, now: int) -> int:
    """Until when (ms) more than three customers have claimed this identifier within 30 days; 0: it is not shared."""
    newest = sorted(profile.claimants.values(), reverse=True)
    if len(newest) <= SHARED_CUSTOMERS:
        return 0
    until = newest[SHARED_CUSTOMERS] + SHARED_WINDOW
    return until if until > now else 0


def _claim(profile: Profile, claim: Claim, step: Step) -> None:
    held = profile.claim
    newest = held is None or (claim.time, claim.event_id) > (held.time, held.event_id)
    if claim.customer is not None:
        profile.claimants[claim.customer] = max(claim.time, profile.claimants.get(claim.customer, 0))
        # The newest four tell whether more than three claimed it within 30 days; who else did, changes nothing.
        newest_few = sorted(profile.claimants.items(), key=lambda item: (-item[1], item[0]))[: SHARED_CUSTOMERS + 1]
        profile.claimants = dict(newest_few)
    if not newest:
        if claim.customer is not None:
            step.add("entries", Answer(claim.customer, profile.id, claim.time, claim.event_id, won=False))
        return
    former, profile.owner, profile.claim = profile.owner, claim.customer, Hold(claim.time, claim.event_id)
    if former != claim.customer:
        if former is not None:
            step.add("entries", Unlink(former, profile.id, claim.time, claim.event_id))
        holder = (
            Identity(identifier=profile.id, customer=claim.customer.partition(":")[2], since=claim.time)
            if claim.customer is not None
            else None
        )
        step.add("identities", (profile.id, holder))
    if claim.customer is None:
        return
    shared = _shared_until(profile, claim.time)
    gathered = b""
    if not shared and not is_empty(profile):
        gathered = content(profile)
        if len(gathered) > MAX_GATHERED_BYTES:
            _say(
                profile,
                "merge",
                "too-large-to-hand-over",
                claim.event_id,
                claim.time,
                step,
                value=f"{len(gathered)} bytes",
            )
            gathered = b""
        else:
            hand_over(profile)
    step.add(
        "entries",
        Answer(
            claim.customer, profile.id, claim.time, claim.event_id, won=True, gathered=gathered, shared_until=shared
        ),
    )


def customer(profile: Profile, entry: object, rules: Rules, step: Step, apply: Callable[..., None]) -> None:
    """An entry for a customer's profile."""
    if profile.alias is not None:
        _pass_on(profile, entry, step)
    elif isinstance(entry, Answer):
        _answer(profile, entry, rules, step, apply)
    elif isinstance(entry, Unlink):
        _unlink(profile, entry, step)
    elif isinstance(entry, Merge):
        _unite_content(profile, entry.gathered, rules, step)
    elif isinstance(entry, Event | Outcome | Forward | Unite):
        if profile.waiting or profile.parked:
            _park(profile, entry, rules, step, apply)
        else:
            _handle(profile, entry, rules, step, apply)
            _drain(profile, rules, step, apply)


def _unite_content(profile: Profile, gathered: bytes, rules: Rules, step: Step) -> None:
    if gathered:
        merge(profile, decode(gathered), rules, profile.now, step)
        _let_go(profile, step)


def _let_go(profile: Profile, step: Step) -> None:
    """Over 100 held identifiers, the oldest are claimed for nobody; their owners' unlinks end the holds."""
    excess = len(profile.held) - MAX_HELD
    if excess <= 0:
        return
    oldest = sorted(profile.held.items(), key=lambda item: (item[1].time, item[1].event_id, item[0]))
    for name, hold in oldest[:excess]:
        # The smallest claim that is newer than this hold: any later claim by anyone still wins.
        step.add("entries", Claim(name, None, hold.time, hold.event_id + "\x00"))


def _pass_on(profile: Profile, entry: object, step: Step) -> None:
    target = profile.alias
    assert target is not None
    if isinstance(entry, Unite):
        one, other = (target if each == profile.id else each for each in (entry.one, entry.other))
        step.add("entries", msgspec.structs.replace(entry, profile=max(one, other), one=one, other=other))
    elif isinstance(entry, msgspec.Struct):
        step.add("entries", msgspec.structs.replace(entry, profile=target))


def _handle(profile: Profile, entry: Queued, rules: Rules, step: Step, apply: Callable[..., None]) -> None:
    """Apply an entry whose turn it is, or wait for the answers to its claims."""
    if isinstance(entry, Forward):
        apply(profile, entry.entry, rules, step)
    elif isinstance(entry, Unite):
        _unite(profile, entry, step)
    elif isinstance(entry, Event) and (pending := [name for name in entry.claims if name not in profile.held]):
        profile.waiting = pending
        _queue(profile, entry, first=True)
        step.stats.parked += 1
    else:
        apply(profile, entry, rules, step)


def _queue(profile: Profile, entry: Queued, *, first: bool) -> None:
    profile.parked.insert(0 if first else len(profile.parked), entry)
    profile.parked_bytes += len(encode_entry(entry))


def _take(profile: Profile) -> Queued:
    entry = profile.parked.pop(0)
    profile.parked_bytes = profile.parked_bytes - len(encode_entry(entry)) if profile.parked else 0
    return entry


def _drain(profile: Profile, rules: Rules, step: Step, apply: Callable[..., None]) -> None:
    while profile.parked and not profile.waiting:
        entry = _take(profile)
        if profile.alias is not None:
            _pass_on(profile, entry, step)
        else:
            _handle(profile, entry, rules, step, apply)


def _park(profile: Profile, entry: Queued, rules: Rules, step: Step, apply: Callable[..., None]) -> None:
    _queue(profile, entry, first=False)
    while profile.waiting and (len(profile.parked) > MAX_PARKED or profile.parked_bytes > MAX_PARKED_BYTES):
        head = _take(profile)
        profile.waiting = []
        assert isinstance(head, Event)
        _say(
            profile, "identity", "too-many-parked", head.event_id, profile.now, step, value=str(len(profile.parked) + 1)
        )
        # Its answer, when it comes, still merges; the event itself goes on without.
        _handle(profile, msgspec.structs.replace(head, claims=[]), rules, step, apply)
        _drain(profile, rules, step, apply)


def _answer(profile: Profile, answer: Answer, rules: Rules, step: Step, apply: Callable[..., None]) -> None:
    name, claim = answer.identifier, (answer.time, answer.event_id)
    _unite_content(profile, answer.gathered, rules, step)
    if answer.won:
        held = profile.held.get(name)
        if held is None or (held.time, held.event_id) < claim:
            profile.held[name] = Hold(*claim)
            _let_go(profile, step)
    for position, parked in enumerate(profile.parked):
        if not isinstance(parked, Event) or (parked.origin.time, parked.event_id) != claim or name not in parked.claims:
            continue
        if position == 0 and name in profile.waiting:
            continue
        # Answered while it queues: the entry keeps that, wherever it is handled.
        answered = msgspec.structs.replace(parked, claims=[each for each in parked.claims if each != name])
        profile.parked_bytes += len(encode_entry(answered)) - len(encode_entry(parked))
        profile.parked[position] = answered
    head = profile.parked[0] if profile.parked else None
    if isinstance(head, Event) and name in profile.waiting and (head.origin.time, head.event_id) == claim:
        profile.waiting = [each for each in profile.waiting if each != name]
        if not profile.waiting:
            released = _take(profile)
            assert isinstance(released, Event)
            apply(profile, released, rules, step)
            _drain(profile, rules, step, apply)


def _unlink(profile: Profile, unlink: Unlink, step: Step) -> None:
    held = profile.held.get(unlink.identifier)
    if held is None or (held.time, held.event_id) >= (unlink.time, unlink.event_id):
        return
    del profile.held[unlink.identifier]
    # What stands on the identifier itself (a banner on the device) was decided for this customer alone.
    changed = f"{unlink.identifier.partition(':')[0]} changed hands"
    cause = contacts.Cause(changed, changed)
    contacts.withdraw(
        profile,
        lambda _, contact: cause if contact.standing and contact.profile == unlink.identifier else None,
        profile.now,
        step,
    )


def _unite(profile: Profile, entry: Unite, step: Step) -> None:
    carried = Carried(entry.origin.time, entry.event_id, entry.into)
    if profile.carried is None or (profile.carried.time, profile.carried.event_id) < (carried.time, carried.event_id):
        profile.carried = carried
    other = entry.other if entry.one == profile.id else entry.one
    if other < profile.id:
        profile.alias = other
        gathered = content(profile)
        if len(gathered) > MAX_GATHERED_BYTES:
            _say(
                profile, "merge", "too-large-to-hand-over", entry.event_id, profile.now, step, f"{len(gathered)} bytes"
            )
            # What no profile may lack goes all the same: who it is, what it holds, and what it forbids.
            gathered = content(profile, ESSENTIAL)
            profile.held = {}
        else:
            clear(profile)
        step.add("entries", Merge(other, profile.id, gathered))
        step.add(
            "identities",
            (
                profile.id,
                Identity(identifier=profile.id, customer=other.partition(":")[2], since=entry.origin.time),
            ),
        )
    elif other != profile.id:
        step.add("entries", msgspec.structs.replace(entry, profile=other))


def _say(profile: Profile, gate: str, reason: str, event_id: str, now: int, step: Step, value: str) -> None:
    step.add(
        "decisions",
        Decision(
            decision_id=uuid5("decision", profile.id, gate, reason, event_id),
            profile=profile.id,
            customer=profile.customer,
            verdict="ignored",
            gate=gate,
            reason=reason,
            at=now,
            event_id=event_id,
            value=value,
        ),
    )

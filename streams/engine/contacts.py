"""The contact history: what was emitted, what became of it, what is taken back, and what may be forgotten of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.action import Action, Link, Suppression, Withdrawal
from schemas.decision import Decision
from schemas.identifiers import address_hash, contact_key
from schemas.journey import PARAMETERS
from streams.engine.bounds import bound_dead
from streams.engine.durations import DAY, duration
from streams.engine.ids import uuid5
from streams.engine.localtime import zone_of
from streams.engine.profile import DELIVERED, EMITTED, FAILED, LATE, WITHDRAWN, Contact, Profile
from streams.engine.quiet import next_quiet, quiet_for
from streams.engine.rules import Rules
from streams.engine.step import Step
from streams.engine.verdicts import Proposed

# The longest window of a cap: rolling 31 days, or a month that the clock makes an hour longer. It does not depend on
# the caps in force, so that one that comes into force counts what was sent before it.
CONTACT_WINDOW = 32 * DAY
# What an outcome says of a contact; whatever failed gives its slot back.
_STATUS = {
    "delivered": DELIVERED,
    "failed": FAILED,
    "expired": FAILED,
    "bounced": FAILED,
    "suppressed": FAILED,
    "missed": FAILED,
    "withdrawn": WITHDRAWN,
}
PRUNE_AT = 32  # contacts kept before old ones are looked for
_UNDERSTOOD = frozenset(PARAMETERS)


def emit(profile: Profile, proposed: Proposed, rules: Rules, now: int, step: Step) -> None:
    """Send an action that passed all gates, and remember it."""
    held, instance = proposed.held, proposed.instance
    kind, channel = rules.policy.actions[held.kind], rules.policy.channels[proposed.channel]
    params: dict[str, Any] = held.params
    traits = profile.traits
    # Its own expiry counts from when it was proposed, also while it waits; the channel's, from when it goes out.
    own = params.get("expires")
    expires = held.at + duration(str(own)) if own else now + duration(channel.expires)
    quiet_from = None
    if rules.quiet and proposed.basis == "consent" and not channel.standing:
        where = zone_of(profile, rules.policy.time_zone)
        quiet_from = next_quiet(quiet_for(rules.quiet, proposed.channel, proposed.purpose), now, expires, where)
    step.add(
        "actions",
        Action(
            action_id=held.action_id,
            action=held.kind,
            channel=proposed.channel,
            profile=profile.id,
            customer=profile.customer,
            purpose=proposed.purpose,
            basis=proposed.basis,
            journey=instance.journey,
            journey_version=instance.version,
            instance_id=instance.id,
            stage=held.stage,
            event_id=held.event_id,
            proposed_at=held.at,
            expires_at=expires,
            priority=held.priority,
            to=proposed.to,
            template=params.get("template"),
            link=_link(params["link"]) if "link" in params else None,
            params={name: value for name, value in params.items() if name not in _UNDERSTOOD},
            traits={name: traits[name].value for name in params["traits"] if name in traits}
            if "traits" in params
            else {},
            reason=str(params.get("reason") or ""),
            if_uncertain=kind.if_uncertain,
            standing=channel.standing,
            traceparent=held.traceparent,
            quiet_from=quiet_from,
            offer=proposed.offer,
        ),
    )
    profile.contacts[held.action_id] = Contact(
        at=now,
        expires=expires,
        channel=proposed.channel,
        purpose=proposed.purpose,
        basis=proposed.basis,
        journey=instance.journey,
        instance=instance.id,
        stage=held.stage,
        visit=held.visit,
        profile=profile.id,
        address=address_hash(proposed.channel, proposed.to) if proposed.to else "",
        standing=channel.standing,
        action=held.kind,
        version=instance.version,
        topic=held.topic,
        offer=proposed.offer or "",
    )


def _link(link: Any) -> Link | None:
    if isinstance(link, Link):
        return link
    if isinstance(link, list | tuple):  # of an action that waited in a state
        return Link(*link)
    return Link(link) if link else None


class Cause(NamedTuple):
    """Why an action is taken back: to be told (a Withdrawal's reason), and as its decision says it."""

    told: str
    reason: str
    value: str | None = None
    bound: str | None = None


def withdraw(profile: Profile, why: Callable[[str, Contact], Cause | None], now: int, step: Step) -> None:
    """Take back what there is a cause for, of what is emitted and not delivered (a standing action: not expired)."""
    for action_id, contact in profile.contacts.items():
        pending = contact.status == EMITTED or (contact.standing and contact.status == DELIVERED)
        cause = why(action_id, contact) if pending and contact.expires > now else None
        if cause is None:
            continue
        contact.status = WITHDRAWN
        step.add(
            "withdrawals",
            Withdrawal(
                action_id=action_id,
                channel=contact.channel,
                profile=profile.id,
                customer=profile.customer,
                reason=cause.told,
                at=now,
            ),
        )
        step.add(
            "decisions",
            Decision(
                decision_id=uuid5("decision", action_id, "withdrawn", cause.told, now),
                profile=profile.id,
                customer=profile.customer,
                verdict="withdrawn",
                gate="withdrawal",
                reason=cause.reason,
                at=now,
                action_id=action_id,
                action=contact.action,
                channel=contact.channel,
                purpose=contact.purpose,
                journey=contact.journey,
                journey_version=contact.version,
                instance_id=contact.instance,
                stage=contact.stage,
                offer=contact.offer or None,
                value=cause.value,
                bound=cause.bound,
            ),
        )


def outcome(profile: Profile, entry: Any, now: int, step: Step) -> None:
    """What an outcome means for later actions: the contact's state, and addresses that must not be used again."""
    contact = profile.contacts.get(entry.action_id)
    if contact is None:
        return
    came = LATE if contact.status == WITHDRAWN and entry.kind == "delivered" else _STATUS.get(entry.kind, EMITTED)
    contact.status = max(contact.status, came)
    if contact.address and (entry.kind == "complained" or (entry.kind == "bounced" and entry.permanent)):
        profile.dead[contact.address] = now
        bound_dead(profile)
        step.add(
            "suppressions",
            (contact.address, Suppression(address=contact.address, channel=contact.channel, reason=entry.kind, at=now)),
        )


def suppress(profile: Profile, rules: Rules, now: int, step: Step) -> None:
    """Do-not-contact stands per address as well: sinks ask for it last. When it is lifted, dead addresses stay dead."""
    forbidden = profile.contact is not None and not profile.contact.granted
    for name, channel in sorted(rules.policy.channels.items()):
        trait = profile.traits.get(channel.address) if channel.address is not None else None
        if trait is None or not isinstance(trait.value, str) or not trait.value.strip():
            continue
        address = address_hash(name, trait.value)
        if forbidden:
            word = Suppression(address=address, channel=name, reason="do-not-contact", at=now)
            step.add("suppressions", (contact_key(address), word))
        else:
            step.add("suppressions", (contact_key(address), None))


def prune(profile: Profile, now: int, window: int) -> None:
    """Forget contacts that no rule can still ask for: older than `window` ms and expired."""
    old = [key for key, contact in profile.contacts.items() if contact.at < now - window and contact.expires <= now]
    for key in old:
        del profile.contacts[key]

"""The gates: every proposed action passes all of them, in order, or is held or refused, and one decision says why.

Everything that keeps an action from being sent lives here. The order of `GATES` is the order of the design: duplicate,
consent (the purpose's legal basis), do-not-contact, hold, channel choice. Eligibility, frequency caps and quiet hours
stand between hold and channel, arbitration after channel, once the policy can express them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.action import Action, Link, Suppression, Withdrawal
from schemas.decision import Decision
from schemas.identifiers import address_hash
from schemas.journey import PARAMETERS
from streams.engine.bounds import MAX_CONTACTS, MAX_PARAMS_BYTES, bound_dead, may_hold, size
from streams.engine.ids import uuid5
from streams.engine.profile import DELIVERED, EMITTED, FAILED, WITHDRAWN, Case, Contact, Held, Instance, Profile
from streams.engine.rules import Rules, duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.engine.step import Step

DAY = 86_400_000
CONTACT_WINDOW = 31 * DAY  # the longest rolling window of a cap, 30 days, and a day for time zones
PRUNE_AT = 32  # contacts kept before old ones are looked for
COOKIE = "cookie/"


@dataclass(slots=True)
class Proposed:
    """A proposed action on its way through the gates; `channel` and `to` are filled by the channel gate."""

    held: Held
    instance: Instance
    basis: str
    purpose: str
    channel: str = ""
    to: str | None = None


class Verdict(NamedTuple):
    """A gate's objection: `verdict` is held or refused."""

    verdict: str
    gate: str
    reason: str
    value: str = ""
    bound: str = ""


def consent_key(purpose: str, rules: Rules, *, person: bool) -> str:
    """Where a consent is kept: cookie consents, and all that a mere identifier gave, in a namespace of their own."""
    kind = rules.policy.purposes.get(purpose)
    if not person or (kind is not None and kind.consent == "cookie"):
        return COOKIE + purpose
    return purpose


def is_open(case: Case) -> bool:
    """Whether a case is open; opened and closed at the same moment is closed."""
    return case.opened > case.closed


def _duplicate(profile: Profile, proposed: Proposed, _rules: Rules, _now: int) -> Verdict | None:
    if proposed.held.action_id in profile.contacts:
        return Verdict("refused", "duplicate", "already-emitted", proposed.held.action_id)
    return None


def _limits(profile: Profile, proposed: Proposed, _rules: Rules, _now: int) -> Verdict | None:
    if len(profile.contacts) >= MAX_CONTACTS:
        return Verdict("refused", "limits", "too-many-actions", str(len(profile.contacts)), str(MAX_CONTACTS))
    found = size(proposed.held.params)
    if found > MAX_PARAMS_BYTES:
        return Verdict("refused", "limits", "parameters-too-large", f"{found} bytes", f"{MAX_PARAMS_BYTES} bytes")
    return None


def _consent(profile: Profile, proposed: Proposed, rules: Rules, now: int) -> Verdict | None:
    purpose = rules.policy.purposes.get(proposed.purpose)
    if purpose is None:
        return Verdict("refused", "consent", "unknown-purpose", proposed.purpose)
    if purpose.basis == "internal":
        return None
    if purpose.basis == "consent":
        consent = profile.consents.get(consent_key(proposed.purpose, rules, person=True))
        if consent is None:
            return Verdict("refused", "consent", "never-given", "none", proposed.purpose)
        if not consent.granted:
            return Verdict("refused", "consent", "withdrawn", str(consent.at), proposed.purpose)
        return None
    template = proposed.held.params.get("template")
    if template not in purpose.templates:
        return Verdict("refused", "consent", "template-not-listed", str(template), ",".join(purpose.templates))
    if purpose.basis == "request" and not proposed.held.params.get("to"):
        return Verdict("refused", "consent", "no-address-in-request", "none", "to")
    used = sum(
        1
        for contact in profile.contacts.values()
        if contact.purpose == proposed.purpose and contact.at > now - DAY and contact.status in (EMITTED, DELIVERED)
    )
    if used >= purpose.ceiling:
        return Verdict("refused", "ceiling", "reached", str(used), str(purpose.ceiling))
    return None


def _do_not_contact(profile: Profile, proposed: Proposed, _rules: Rules, _now: int) -> Verdict | None:
    if proposed.basis != "internal" and profile.contact is not None and not profile.contact.granted:
        return Verdict("refused", "do-not-contact", "forbidden", str(profile.contact.at))
    return None


def _stop(_profile: Profile, proposed: Proposed, rules: Rules, _now: int) -> Verdict | None:
    for scope in ("marketing", f"journey:{proposed.instance.journey}"):
        if scope in rules.stops and (scope != "marketing" or proposed.basis == "consent"):
            return Verdict("refused", "stop", "stopped", scope)
    return None


def _hold(profile: Profile, proposed: Proposed, rules: Rules, _now: int) -> Verdict | None:
    if proposed.basis == "consent":
        held = open_hold(profile, proposed.purpose, rules)
        if held is not None:
            return Verdict("held", "hold", held[0], held[1], proposed.purpose)
    return None


def open_hold(profile: Profile, purpose: str, rules: Rules) -> tuple[str, str] | None:
    """(hold, case) of the first open case that holds this purpose."""
    for key, case in profile.cases.items():
        if is_open(case):
            name, _, number = key.partition("/")
            hold = rules.policy.holds.get(name)
            if hold is not None and purpose in hold.holds:
                return name, number
    return None


def _channel(profile: Profile, proposed: Proposed, rules: Rules, _now: int) -> Verdict | None:
    kind = rules.policy.actions.get(proposed.held.kind)
    if kind is None:
        return Verdict("refused", "channel", "unknown-action", proposed.held.kind)
    params = proposed.held.params
    for name in ("to", "link"):
        if params.get(name) == "":
            return Verdict("refused", "channel", f"{name}-absent", "none", name)
    wanted = [params["channel"]] if params.get("channel") else list(kind.channels)
    preferred = profile.traits.get("preferred_channel")
    if preferred is not None and preferred.value in wanted:
        wanted = [preferred.value, *(each for each in wanted if each != preferred.value)]
    why = "no-address"
    for name in wanted:
        channel = rules.policy.channels.get(name)
        if channel is None or name not in kind.channels:
            continue
        if channel.address is None:
            proposed.channel, proposed.to = name, None
            return None
        to = params.get("to")
        trait = profile.traits.get(channel.address)
        address = to or (trait.value if trait is not None else None)
        if not isinstance(address, str) or not address.strip():
            continue
        if address_hash(name, address) in profile.dead:
            why = "address-suppressed"
            continue
        proposed.channel, proposed.to = name, address.strip()
        return None
    return Verdict("refused", "channel", why, "none", ",".join(wanted))


GATES: tuple[Callable[[Profile, Proposed, Rules, int], Verdict | None], ...] = (
    _duplicate,
    _limits,
    _consent,
    _do_not_contact,
    _stop,
    _hold,
    _channel,
)


def _decide(profile: Profile, proposed: Proposed, verdict: Verdict, now: int, step: Step) -> None:
    held, instance = proposed.held, proposed.instance
    step.add(
        "decisions",
        Decision(
            decision_id=uuid5("decision", held.action_id, verdict.verdict, verdict.gate, now),
            profile=profile.id,
            customer=profile.customer,
            verdict=verdict.verdict,
            gate=verdict.gate,
            reason=verdict.reason,
            at=now,
            action_id=held.action_id,
            action=held.kind,
            channel=proposed.channel or None,
            purpose=proposed.purpose,
            journey=instance.journey,
            journey_version=instance.version,
            instance_id=instance.id,
            stage=held.stage,
            event_id=held.event_id,
            value=verdict.value or None,
            bound=verdict.bound or None,
        ),
    )


def propose(profile: Profile, instance: Instance, held: Held, rules: Rules, now: int, step: Step) -> None:
    """Send the action, hold it or refuse it; one decision in each case."""
    if len(profile.contacts) > PRUNE_AT:
        prune(profile, now, CONTACT_WINDOW)
    name = str(held.params["purpose"])
    purpose = rules.policy.purposes.get(name)
    proposed = Proposed(held, instance, purpose.basis if purpose is not None else "", name)
    for gate in GATES:
        verdict = gate(profile, proposed, rules, now)
        if verdict is not None:
            if verdict.verdict == "held":
                if may_hold(profile, held):
                    instance.held.append(held)
                else:
                    verdict = Verdict("refused", "limits", "too-many-held", verdict.value, verdict.bound)
            _decide(profile, proposed, verdict, now, step)
            return
    _emit(profile, proposed, rules, now, step)
    _decide(profile, proposed, Verdict("sent", "all", "passed"), now, step)


def _emit(profile: Profile, proposed: Proposed, rules: Rules, now: int, step: Step) -> None:
    held, instance = proposed.held, proposed.instance
    kind, channel = rules.policy.actions[held.kind], rules.policy.channels[proposed.channel]
    params: dict[str, Any] = held.params
    link = params.get("link")
    expires = now + duration(str(params.get("expires") or channel.expires))
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
            link=Link(*link)
            if isinstance(link, list | tuple)
            else link
            if isinstance(link, Link)
            else Link(link)
            if link
            else None,
            params={name: value for name, value in params.items() if name not in PARAMETERS},
            traits={name: profile.traits[name].value for name in params.get("traits", ()) if name in profile.traits},
            reason=str(params.get("reason") or ""),
            if_uncertain=kind.if_uncertain,
            standing=channel.standing,
            traceparent=held.traceparent,
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
    )


def withdraw(profile: Profile, which: Callable[[str, Contact], bool], reason: str, now: int, step: Step) -> None:
    """Take back what was emitted and is not yet delivered (a standing action: not yet expired)."""
    for action_id, contact in profile.contacts.items():
        pending = contact.status == EMITTED or (contact.standing and contact.status == DELIVERED)
        if not pending or contact.expires <= now or not which(action_id, contact):
            continue
        contact.status = WITHDRAWN
        step.add(
            "withdrawals",
            Withdrawal(
                action_id=action_id,
                channel=contact.channel,
                profile=profile.id,
                customer=profile.customer,
                reason=reason,
                at=now,
            ),
        )
        step.add(
            "decisions",
            Decision(
                decision_id=uuid5("decision", action_id, "withdrawn", reason, now),
                profile=profile.id,
                customer=profile.customer,
                verdict="withdrawn",
                gate="withdrawal",
                reason=reason,
                at=now,
                action_id=action_id,
                action=contact.action,
                channel=contact.channel,
                purpose=contact.purpose,
                journey=contact.journey,
                journey_version=contact.version,
                instance_id=contact.instance,
                stage=contact.stage,
            ),
        )


def any_held(profile: Profile) -> bool:
    """Whether an action waits for a hold to end. Only a profile with cases can have one."""
    return any(instance.held for instance in profile.instances.values())


def release(profile: Profile, rules: Rules, now: int, step: Step) -> None:
    """Let what is held pass all gates again, in order of (priority, first proposed, id)."""
    waiting = [
        (-held.priority, held.at, held.action_id, instance, held)
        for instance in profile.instances.values()
        for held in instance.held
    ]
    for instance in profile.instances.values():
        instance.held = []
    for _, _, _, instance, held in sorted(waiting, key=lambda item: item[:3]):
        name = str(held.params["purpose"])
        if open_hold(profile, name, rules) is not None:
            instance.held.append(held)
        else:
            propose(profile, instance, held, rules, now, step)


def drop_held(profile: Profile, instance: Instance, why: str, now: int, step: Step) -> None:
    """Held actions end with their instance."""
    for held in instance.held:
        proposed = Proposed(held, instance, "", str(held.params["purpose"]))
        _decide(profile, proposed, Verdict("refused", "journey", why), now, step)
    instance.held = []


def outcome(profile: Profile, entry: Any, now: int, step: Step) -> None:
    """What an outcome means for later actions: the contact's state, and addresses that must not be used again."""
    contact = profile.contacts.get(entry.action_id)
    if contact is None:
        return
    status = {"delivered": DELIVERED, "failed": FAILED, "expired": FAILED, "bounced": FAILED, "suppressed": FAILED}
    status["withdrawn"] = WITHDRAWN
    contact.status = max(contact.status, status.get(entry.kind, contact.status))
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
            step.add("suppressions", (address, word))
        elif address not in profile.dead:
            step.add("suppressions", (address, None))


def prune(profile: Profile, now: int, window: int) -> None:
    """Forget contacts that no rule can still ask for: older than `window` ms and expired."""
    old = [key for key, contact in profile.contacts.items() if contact.at < now - window and contact.expires <= now]
    for key in old:
        del profile.contacts[key]

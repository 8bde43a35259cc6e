"""The gates: every proposed action passes all of them, in order, or is held or refused, and one decision says why.

Everything that keeps an action from being sent is called here. The order of `GATES` is the order of the design:
duplicate, consent (the purpose's legal basis), do-not-contact, hold, channel choice. Eligibility, frequency caps and
quiet hours stand between hold and channel, arbitration after channel, once the policy can express them. What passed is
sent by `contacts.emit`; what was held is taken up again by `waiting.release`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.identifiers import address_hash
from streams.engine.bounds import MAX_CONTACTS, MAX_PARAMS_BYTES, may_hold, size
from streams.engine.contacts import CONTACT_WINDOW, PRUNE_AT, emit, prune
from streams.engine.durations import DAY
from streams.engine.holds import open_hold
from streams.engine.profile import DELIVERED, EMITTED, Held, Instance, Profile
from streams.engine.rules import Rules
from streams.engine.verdicts import Proposed, Verdict, decide

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.engine.step import Step

COOKIE = "cookie/"


def consent_key(purpose: str, rules: Rules, *, person: bool) -> str:
    """Where a consent is kept: cookie consents, and all that a mere identifier gave, in a namespace of their own."""
    kind = rules.policy.purposes.get(purpose)
    if not person or (kind is not None and kind.consent == "cookie"):
        return COOKIE + purpose
    return purpose


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
            decide(profile, proposed, verdict, now, step)
            return
    emit(profile, proposed, rules, now, step)
    decide(profile, proposed, Verdict("sent", "all", "passed"), now, step)

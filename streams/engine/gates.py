"""The gates: every proposed action passes all of them, in order, or is held or refused, and one decision says why.

Everything that keeps an action from being sent is called here. The order of `GATES` is the order of the design:
duplicate, limits, consent (the purpose's legal basis), do-not-contact, stop, holdout, hold, eligibility, caps,
distance, quiet hours, channel choice. Holdout to quiet hours, but for eligibility, are for purposes by consent alone.
Caps, distances and quiet hours that depend on the channel leave it the ways that they let pass: it takes the preferred
one among those. `proposals` asks the gates, and lets what competes at the same moment pass arbitration last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.control import scopes_of
from schemas.identifiers import address_hash
from streams.engine.arbitration import told
from streams.engine.bounds import MAX_CONTACTS, MAX_PARAMS_BYTES, size
from streams.engine.durations import DAY
from streams.engine.holds import open_hold
from streams.engine.ids import percent
from streams.engine.localtime import text, zone_of
from streams.engine.offers import CAPACITY
from streams.engine.profile import TAKES_A_SLOT, Profile
from streams.engine.quiet import quiet_for, quiet_now
from streams.engine.rules import Rules
from streams.engine.verdicts import Proposed, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from schemas.policy import ActionKind
    from streams.engine.limits import Full, Limit

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
        if contact.purpose == proposed.purpose and contact.at > now - DAY and contact.status in TAKES_A_SLOT
    )
    if used >= purpose.ceiling:
        return Verdict("refused", "ceiling", "reached", str(used), str(purpose.ceiling))
    return None


def _do_not_contact(profile: Profile, proposed: Proposed, _rules: Rules, _now: int) -> Verdict | None:
    if proposed.basis != "internal" and profile.contact is not None and not profile.contact.granted:
        return Verdict("refused", "do-not-contact", "forbidden", str(profile.contact.at))
    return None


def _stop(_profile: Profile, proposed: Proposed, rules: Rules, _now: int) -> Verdict | None:
    for scope in scopes_of(proposed.basis, proposed.instance.journey) if rules.stops else ():
        if scope in rules.stops:
            return Verdict("refused", "stop", "stopped", scope)
    return None


def _holdout(profile: Profile, proposed: Proposed, rules: Rules, _now: int) -> Verdict | None:
    if proposed.basis != "consent":
        return None
    for name, share, purposes in rules.holdouts:
        if not purposes or proposed.purpose in purposes:
            # By the profile's id: a customer's never changes, whoever is merged into it.
            part = percent(f"holdout/{name}", profile.id)
            if part < share:
                return Verdict("refused", "holdout", name, str(part), str(share))
    if rules.holding_out:
        instance = proposed.instance
        share = rules.journey(instance.journey, instance.version).holdout
        # By who entered: whoever that turns out to be, this instance stays as it is.
        if share and (part := percent(f"holdout/journey/{instance.journey}", instance.profile)) < share:
            return Verdict("refused", "holdout", f"journey:{instance.journey}", str(part), str(share))
    return None


def _hold(profile: Profile, proposed: Proposed, rules: Rules, now: int) -> Verdict | None:
    if proposed.basis == "consent" and profile.cases:
        held = open_hold(profile, proposed.purpose, proposed.topic, rules, now)
        if held is not None:
            return Verdict("refused" if held.drops else "held", "hold", held.name, held.number, proposed.purpose)
    return None


def _eligibility(_profile: Profile, proposed: Proposed, _rules: Rules, _now: int) -> Verdict | None:
    ranking = proposed.ranking
    if ranking is None or proposed.candidate is not None:
        return None
    reason = "capacity" if CAPACITY in ranking.lost.values() else "nothing-eligible"
    lost = told("", [f"{name}: {why}" for name, why in ranking.lost.items()])
    return Verdict("refused", "eligibility", reason, lost.strip() or "no offer", ranking.place)


def _caps(profile: Profile, proposed: Proposed, rules: Rules, now: int) -> Verdict | None:
    if not rules.caps or proposed.basis != "consent":
        return None
    full = _full(rules.caps, profile, proposed, rules, now)
    if not full:
        return None
    first = full[0]
    free = text(first.free, zone_of(profile, rules.policy.time_zone))
    return Verdict("refused", "caps", first.limit.name, f"{first.counted} (next slot {free})", first.limit.bound)


def _distance(profile: Profile, proposed: Proposed, rules: Rules, now: int) -> Verdict | None:
    if not rules.distances or proposed.basis != "consent":
        return None
    full = _full(rules.distances, profile, proposed, rules, now)
    if not full:
        return None
    first = min(full, key=lambda each: each.free)
    least = first.limit.window
    since = f"{least - first.free + now} ms"
    return Verdict("held", "distance", first.limit.name, since, f"{least} ms", first.free)


def _full(limits: tuple[Limit, ...], profile: Profile, proposed: Proposed, rules: Rules, now: int) -> list[Full]:
    """The limits that keep it from passing: one that holds for all channels, or one for each way that there is.

    A way whose own limit is reached is passed over while there is another.
    """
    default = rules.policy.time_zone
    for limit in limits:
        if not limit.by_channel and (full := limit.full(profile, proposed, "", now, default)):
            return [full]
    mine = [limit for limit in limits if limit.by_channel]
    if not mine:
        return []
    passed, closed = [], []
    for way in open_ways(profile, proposed, rules):
        found = next((full for limit in mine if (full := limit.full(profile, proposed, way[0], now, default))), None)
        if found is None:
            passed.append(way)
        else:
            closed.append((way[0], found))
    if closed and not passed:
        proposed.channel = min(closed, key=lambda each: each[1].free)[0]
        return [found for _, found in closed]
    proposed.ways = passed
    return []


def _quiet(profile: Profile, proposed: Proposed, rules: Rules, now: int) -> Verdict | None:
    if not rules.quiet or proposed.basis != "consent":
        return None
    where = zone_of(profile, rules.policy.time_zone)
    passed, closed = [], []
    for way in open_ways(profile, proposed, rules):
        standing = rules.policy.channels[way[0]].standing
        found = quiet_now(quiet_for(rules.quiet, way[0], proposed.purpose, standing=standing), now, where)
        if found is None:
            passed.append(way)
        else:
            rule, until = found
            closed.append((rule.drop or not until, until, way[0], rule.name))
    if passed or not closed:
        proposed.ways = passed
        return None
    drops, until, proposed.channel, name = min(closed)
    bound = text(until, where) if until else "never"
    return Verdict("refused" if drops else "held", "quiet", name, text(now, where), bound, until)


def open_ways(profile: Profile, proposed: Proposed, rules: Rules) -> list[tuple[str, str | None]]:
    """The ways (channel, address) that the gates before have left it, the preferred one first."""
    if proposed.ways is None:
        proposed.ways = list(_ways(profile, proposed, rules))
    return proposed.ways


def _ways(profile: Profile, proposed: Proposed, rules: Rules) -> Iterator[tuple[str, str | None]]:
    """The channels that it may take and that reach the customer, the preferred one first."""
    kind = rules.policy.actions.get(proposed.held.kind)
    params = proposed.held.params
    if kind is None or params.get("to") == "" or params.get("link") == "":
        return
    for name in _wanted(profile, proposed, kind):
        channel = rules.policy.channels.get(name)
        if channel is None or name not in kind.channels:
            continue
        if channel.address is None:
            yield name, None
            continue
        to = params.get("to")
        trait = profile.traits.get(channel.address)
        address = to or (trait.value if trait is not None else None)
        if not isinstance(address, str) or not address.strip():
            continue
        if address_hash(name, address) in profile.dead:
            proposed.why = "address-suppressed"
            continue
        yield name, address.strip()


def _wanted(profile: Profile, proposed: Proposed, kind: ActionKind) -> list[str]:
    channel = proposed.held.params.get("channel")
    wanted = [channel] if channel else list(kind.channels)
    preferred = profile.traits.get("preferred_channel")
    if preferred is not None and preferred.value in wanted:
        wanted = [preferred.value, *(each for each in wanted if each != preferred.value)]
    return wanted


def _channel(profile: Profile, proposed: Proposed, rules: Rules, _now: int) -> Verdict | None:
    way = next(_ways(profile, proposed, rules) if proposed.ways is None else iter(proposed.ways), None)
    if way is not None:
        proposed.channel, proposed.to = way
        return None
    kind = rules.policy.actions.get(proposed.held.kind)
    if kind is None:
        return Verdict("refused", "channel", "unknown-action", proposed.held.kind)
    for name in ("to", "link"):
        if proposed.held.params.get(name) == "":
            return Verdict("refused", "channel", f"{name}-absent", "none", name)
    return Verdict("refused", "channel", proposed.why, "none", ",".join(_wanted(profile, proposed, kind)))


GATES: tuple[Callable[[Profile, Proposed, Rules, int], Verdict | None], ...] = (
    _duplicate,
    _limits,
    _consent,
    _do_not_contact,
    _stop,
    _holdout,
    _hold,
    _eligibility,
    _caps,
    _distance,
    _quiet,
    _channel,
)


def objection(profile: Profile, proposed: Proposed, rules: Rules, now: int) -> Verdict | None:
    """The first gate's verdict; None: the action passes them all."""
    for gate in GATES:
        verdict = gate(profile, proposed, rules, now)
        if verdict is not None:
            return verdict
    return None

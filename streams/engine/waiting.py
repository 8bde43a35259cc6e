"""What waits: proposed actions that a gate held, until they pass all gates again or end with their instance.

An action waits until a moment (`Held.until`: the end of quiet hours, the next slot of a distance), or, where that is 0,
for a hold to end. It takes no slot while it waits.
"""

from __future__ import annotations

import msgspec

from streams.engine.durations import duration
from streams.engine.holds import next_end, open_hold
from streams.engine.profile import Held, Instance, Profile
from streams.engine.proposals import propose
from streams.engine.rules import Rules
from streams.engine.step import Step
from streams.engine.verdicts import Proposed, Verdict, decide


def any_held(profile: Profile) -> bool:
    """Whether an action waits."""
    return any(instance.held for instance in profile.instances.values())


def due(profile: Profile, held: Held, rules: Rules) -> int:
    """When (ms) a waiting action may pass the gates again because time has passed; 0: time alone does not do it."""
    return held.until or next_end(profile, str(held.params["purpose"]), held.topic, rules, profile.now)


def _ready(profile: Profile, held: Held, rules: Rules, now: int) -> bool:
    if held.until:
        return held.until <= now
    return open_hold(profile, str(held.params["purpose"]), held.topic, rules, now) is None


def release(profile: Profile, rules: Rules, now: int, step: Step) -> list[Instance]:
    """Let what need not wait any longer pass all gates again, in order of (priority, first proposed, id).

    Returns the instances whose actions did.
    """
    ready = []
    for instance in profile.instances.values():
        if instance.held:
            mine = [held for held in instance.held if _ready(profile, held, rules, now)]
            if mine:
                instance.held = [held for held in instance.held if held not in mine]
                ready += [(-held.priority, held.at, held.action_id, instance, held) for held in mine]
    for _, _, _, instance, held in sorted(ready, key=lambda item: item[:3]):
        expires = held.params.get("expires")
        if expires and held.at + duration(str(expires)) <= now:
            value, bound = f"{now - held.at} ms", f"{duration(str(expires))} ms"
            _refuse(
                profile, instance, held, Verdict("refused", "expiry", "expired-while-waiting", value, bound), now, step
            )
        else:
            propose(profile, instance, held, rules, now, step)
    return [item[3] for item in ready]


def reconsider(profile: Profile, rules: Rules, now: int, step: Step) -> None:
    """Let what waits until a moment pass all gates again now: that moment was reckoned by another clock."""
    for instance in profile.instances.values():
        if instance.held:
            instance.held = [msgspec.structs.replace(held, until=now) if held.until else held for held in instance.held]
    release(profile, rules, now, step)


def drop_covered(profile: Profile, rules: Rules, now: int, step: Step) -> None:
    """Refuse what waits and is covered by an open hold that drops: it must not go out when that is over."""
    for instance in profile.instances.values():
        if not instance.held:
            continue
        kept = []
        for held in instance.held:
            found = open_hold(profile, purpose := str(held.params["purpose"]), held.topic, rules, now)
            if found is None or not found.drops:
                kept.append(held)
            else:
                _refuse(
                    profile, instance, held, Verdict("refused", "hold", found.name, found.number, purpose), now, step
                )
        instance.held = kept


def drop_held(profile: Profile, instance: Instance, why: str, now: int, step: Step) -> None:
    """Waiting actions end with their instance."""
    for held in instance.held:
        _refuse(profile, instance, held, Verdict("refused", "journey", why), now, step)
    instance.held = []


def _refuse(profile: Profile, instance: Instance, held: Held, verdict: Verdict, now: int, step: Step) -> None:
    decide(profile, Proposed(held, instance, "", str(held.params["purpose"])), verdict, now, step)

"""What waits: proposed actions that a gate held, until they pass all gates again or end with their instance."""

from __future__ import annotations

from streams.engine.gates import propose
from streams.engine.holds import open_hold
from streams.engine.profile import Instance, Profile
from streams.engine.rules import Rules
from streams.engine.step import Step
from streams.engine.verdicts import Proposed, Verdict, decide


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
        decide(profile, proposed, Verdict("refused", "journey", why), now, step)
    instance.held = []

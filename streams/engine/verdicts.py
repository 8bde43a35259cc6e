"""A proposed action on its way through the gates, a gate's verdict on it, and the decision that publishes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from schemas.decision import Decision
from streams.engine.ids import decision_id
from streams.engine.profile import Held, Instance, Profile
from streams.engine.step import Step

if TYPE_CHECKING:
    from streams.engine.arbitration import Candidate, Ranking


@dataclass(slots=True)
class Proposed:
    """A proposed action on its way through the gates; `channel` and `to` are filled by the channel gate.

    `ways` are the channels, each with its address, by which it may go: what a gate leaves of them; None: not asked for
    yet. `why` says why there is none. Of an action that asks for an offer: the `ranking` for its place, the `candidate`
    it takes, the better ones that a gate `passed` over (by name, with the gate), and the action as it `asked`.
    """

    held: Held
    instance: Instance
    basis: str
    purpose: str
    channel: str = ""
    to: str | None = None
    ways: list[tuple[str, str | None]] | None = None
    why: str = "no-address"
    ranking: Ranking | None = None
    candidate: Candidate | None = None
    passed: dict[str, str] | None = None
    asked: Held | None = None

    @property
    def topic(self) -> str:
        """What it is about."""
        return self.held.topic

    @property
    def offer(self) -> str | None:
        """The name of the offer it makes."""
        return self.candidate.offer.name if self.candidate is not None else None


class Verdict(NamedTuple):
    """What a gate says: an action it objects to is held, `until` (ms) or for a hold to end (0), or refused."""

    verdict: str
    gate: str
    reason: str
    value: str = ""
    bound: str = ""
    until: int = 0


def decide(profile: Profile, proposed: Proposed, verdict: Verdict, now: int, step: Step) -> None:
    """Publish the verdict on a proposed action."""
    held, instance = proposed.held, proposed.instance
    step.add(
        "decisions",
        Decision(
            decision_id=decision_id(held.action_id, verdict.verdict, verdict.gate, now),
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
            offer=proposed.offer,
        ),
    )


def decide_instance(
    profile: Profile, instance: Instance, verdict: Verdict, now: int, step: Step, name: str, event_id: str | None = None
) -> None:
    """Publish the verdict on an instance, as the decision with the id `name`."""
    step.add(
        "decisions",
        Decision(
            decision_id=name,
            profile=profile.id,
            customer=profile.customer,
            verdict=verdict.verdict,
            gate=verdict.gate,
            reason=verdict.reason,
            at=now,
            journey=instance.journey,
            journey_version=instance.version,
            instance_id=instance.id,
            stage=instance.stage,
            event_id=event_id,
            value=verdict.value or None,
            bound=verdict.bound or None,
        ),
    )

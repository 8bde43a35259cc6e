"""Plays stories: what is given happens to an installation in memory, whose channels may deliver at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schemas.identifiers import DEFAULT_KINDS, IdentifierError, address_hash, contact_key, profile_of
from schemas.outcome import Outcome
from schemas.touchpoint import Touchpoint
from streams.engine.durations import duration
from streams.problems import choose
from streams.simulator import Simulator

if TYPE_CHECKING:
    from schemas.action import Action, Withdrawal
    from schemas.decision import Decision
    from streams.engine.rules import Library
    from streams.storyfile import Step, Story


@dataclass(slots=True)
class Played:
    """All that came of a story, in order."""

    simulator: Simulator
    actions: list[tuple[int, Action]]
    withdrawals: list[tuple[Withdrawal, Action | None]]
    decisions: list[Decision]
    profiles: list[str]


class StoryError(Exception):
    """A step that cannot be played; `line` is where it stands."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def play(known: Library, story: Story) -> Played:
    """Play what is given, on four journal partitions. Raises StoryError."""
    simulator = Simulator(known, partitions=4)
    channels = _Channels(simulator) if story.delivers else None
    profiles: dict[str, None] = {}
    for number, step in enumerate(story.given, 1):
        if step.at > simulator.now and (channels is not None or step.kind == "outcome"):
            # What is due before happens first, so that it is answered, and an outcome can be of it.
            _pass(simulator, channels, step.at - 1)
        if step.kind == "when":
            touchpoint = touchpoint_of(step, number)
            try:
                profiles[profile_of(touchpoint.identifiers)] = None
            except IdentifierError as error:
                raise StoryError(step.line, str(error)) from None
            simulator.touchpoint(touchpoint, step.at)
        elif step.kind == "outcome":
            simulator.outcome(outcome_of(step, number, simulator.actions), step.at)
        else:
            _pass(simulator, channels, step.at)
        if channels is not None:
            channels.answer()
    if story.given:
        _pass(simulator, channels, story.given[-1].at)
    sent = {decision.action_id: decision.at for decision in simulator.decisions if decision.verdict == "sent"}
    actions = [(sent.get(action.action_id, action.proposed_at), action) for action in simulator.actions]
    actions.sort(key=lambda pair: pair[0])  # stable: partitions publish side by side
    by_id = {action.action_id: action for action in simulator.actions}
    withdrawals = [(taken, by_id.get(taken.action_id)) for taken in simulator.withdrawals]
    withdrawals.sort(key=lambda pair: pair[0].at)
    return Played(simulator, actions, withdrawals, list(simulator.decisions), list(profiles))


@dataclass(slots=True)
class _Channels:
    """Channels that take each action in the moment in which it goes out, as sinks do with nothing in their way."""

    simulator: Simulator
    answered: int = 0
    heard: int = 0  # of the suppressions published
    dead: set[str] = field(default_factory=set)

    def answer(self) -> None:
        """Say what became of what went out since the last time. Taken back in that moment, it never got here."""
        simulator = self.simulator
        while self.answered < len(simulator.actions):
            action = simulator.actions[self.answered]
            self.answered += 1
            if action.action_id in {taken.action_id for taken in simulator.withdrawals}:
                continue
            kind = "suppressed" if self._forbidden(action) else "delivered"
            outcome = Outcome(
                outcome_id=f"{action.action_id}/{kind}",
                action_id=action.action_id,
                profile=action.profile,
                kind=kind,
                channel=action.channel,
                at=simulator.now,
            )
            simulator.outcome(outcome, simulator.now)

    def _forbidden(self, action: Action) -> bool:
        """Whether the address must not be used, whoever has it: a sink asks for that last."""
        published = self.simulator.published.suppressions
        for key, word in published[self.heard :]:
            self.dead.discard(key) if word is None else self.dead.add(key)
        self.heard = len(published)
        hashed = address_hash(action.channel, action.to) if action.to else ""
        return hashed in self.dead or contact_key(hashed) in self.dead


def _pass(simulator: Simulator, channels: _Channels | None, until: int) -> None:
    """Time passes. Channels that deliver do so as soon as something goes out, so it passes from timer to timer."""
    while channels is not None:
        passed = min(partition.watermark for partition in simulator.partitions)
        due = [timer for store in simulator.stores for timer, _ in store.due(None, until, 1)]
        if not due or passed >= until:
            break
        simulator.advance_to(max(min(due), passed + 1))
        channels.answer()
    simulator.advance_to(until)


def touchpoint_of(step: Step, number: int) -> Touchpoint:
    """The touchpoint that step `number` of a story tells of."""
    values = step.values
    identifiers = {kind: values[kind] for kind in DEFAULT_KINDS if kind in values}
    late = duration(values["late"]) if "late" in values else 0
    return Touchpoint(
        event_id=values.get("id", f"event-{number}"),
        type=values["when"],
        channel=values.get("channel", "web"),
        occurred_at=step.at - late,
        identifiers=identifiers | values.get("identifiers", {}),
        properties=values.get("with", {}),
    )


def outcome_of(step: Step, number: int, actions: list[Action]) -> Outcome:
    """The outcome that step `number` tells of, of one of the actions so far. Raises StoryError when it is of none."""
    of = step.values.get("of", len(actions))
    if isinstance(of, str):
        like = [action for action in actions if action.action == of]
        if not like:
            known = choose(of, {action.action for action in actions}, "no action has happened yet")
            raise StoryError(step.line, f"no action '{of}' to have an outcome; {known}")
        action = like[-1]
    elif isinstance(of, int) and 1 <= of <= len(actions):
        action = actions[of - 1]
    else:
        raise StoryError(step.line, f"there is no action number {of}; so far there are {len(actions)}")
    return Outcome(
        outcome_id=f"outcome-{number}",
        action_id=action.action_id,
        profile=action.profile,
        kind=step.values["outcome"],
        channel=action.channel,
        at=step.at,
        permanent=step.values.get("permanent") is True,
        detail=str(step.values.get("detail", "")),
    )

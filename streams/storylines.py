"""The lines of stories: what each entry of a journal brought, in the order of effects, for every profile."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any

import msgspec

from schemas.action import Action
from schemas.decision import Decision
from schemas.journal import Answer, Entry, Event, Forward, Merge, Outcome, ProfileEntry, Unite, Unlink
from streams import reasons, whynot
from streams.engine.partition import Output
from streams.engine.profile import decode
from streams.engine.step import PassedOver, Transition
from streams.engine.trace import ENTER
from streams.reasons import about, after, sentence

REPEAT = " (a repeat: changes nothing)"


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing in a story.

    `at` is in ms; `kind` is touchpoint, outcome, linked, unlinked, transition, decision or
    passed. Of a decision, and of what was passed over: `meaning` in words, and what would have changed it.
    """

    at: int
    kind: str
    profile: str
    text: str
    event_id: str | None = None
    event: str | None = None
    channel: str | None = None
    properties: dict[str, Any] = {}
    decision: Decision | None = None
    action: Action | None = None
    move: Transition | None = None
    passed: PassedOver | None = None
    meaning: str = ""
    would_change: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """The journey that somebody asks about, and the types of touchpoints that let one in."""

    journey: str
    enters_by: frozenset[str]


@dataclass(slots=True)
class Recorder:
    """Keeps the lines of every profile, in the order of effects, and hands them on where the engine does."""

    lines: dict[str, list[Line]] = field(default_factory=dict)
    links: dict[str, list[Line]] = field(default_factory=dict)
    handed: dict[str, list[tuple[str, list[Line]]]] = field(default_factory=dict)
    parked: dict[str, list[Line]] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    waited: dict[str, tuple[Decision | None, str]] = field(default_factory=dict)
    asked: Asked | None = None

    def record(self, entry: Entry, output: Output, in_force: Collection[str]) -> None:
        """Keep what one entry brought: arrivals whose turn came, each with its effects, after what was due before.

        `in_force` names the journeys that are.
        """
        self.actions |= {action.action_id: action for action in output.actions}
        arrivals = self._arrivals(entry, output) if isinstance(entry, ProfileEntry) else []
        groups: dict[str | None, list[Line]] = {line.event_id: [] for line in arrivals}
        groups[None] = []
        last: Transition | None = None
        for _, _, effect in output.effects:  # of all kinds: a transition stands before the decisions that it led to
            if isinstance(effect, Transition):
                last = effect
                groups[_among(groups, effect.event_id)].append(_move(effect))
            elif isinstance(effect, Decision):
                if effect.verdict == "held":
                    self._wait(effect, output)
                groups[self._cause(effect, last, arrivals, groups)].append(self._decision(effect))
            elif isinstance(effect, PassedOver):
                groups[_among(groups, effect.event_id)].append(_passed(effect))
        if self.asked is not None and self.asked.journey not in in_force:
            for line in arrivals:
                if line.event in self.asked.enters_by:
                    groups[line.event_id].append(_too_early(line, self.asked.journey))
        for line in groups[None]:
            self._add(line)
        for line in arrivals:
            for each in (line, *groups[line.event_id]):
                self._add(each)
        self._links(entry, output)

    def _cause(
        self, decision: Decision, last: Transition | None, arrivals: list[Line], groups: Collection[str | None]
    ) -> str | None:
        """The arrival that led to a decision; None: time did."""
        newest = arrivals[-1] if arrivals and arrivals[-1].at <= decision.at else None
        if decision.verdict == "held":
            self.held.add(str(decision.action_id))
        elif decision.event_id is None and decision.verdict == "withdrawn":
            if last is not None and last.instance == decision.instance_id and last.to_stage is None:
                return _among(groups, last.event_id)  # by the end of its journey
            return newest.event_id if newest is not None else None
        elif decision.action_id in self.held:  # what came now let it go
            return newest.event_id if newest is not None else None
        return _among(groups, decision.event_id)

    def _arrivals(self, entry: ProfileEntry, output: Output) -> list[Line]:
        """What took effect with this entry: itself, unless it waits or was passed on, and what waited for it."""
        waiting = self.parked.pop(entry.profile, [])
        if isinstance(entry, Event | Outcome | Forward) and not any(
            isinstance(sent, Forward) and sent.entry is entry for sent in output.entries
        ):
            waiting.append(self._arrival(entry))
        state = output.states.get(entry.profile)
        if not waiting or state is None:
            return waiting
        parked = {_id(each) for each in decode(state).parked}
        if parked:
            self.parked[entry.profile] = [line for line in waiting if line.event_id in parked]
        return [line for line in waiting if line.event_id not in parked]

    def _arrival(self, entry: Event | Outcome | Forward) -> Line:
        inner = entry.entry if isinstance(entry, Forward) else entry
        via = f" (via {entry.identifier})" if isinstance(entry, Forward) else ""
        if isinstance(inner, Event):
            return Line(
                at=inner.origin.time,
                kind="touchpoint",
                profile=entry.profile,
                text=f"{inner.type}{via}",
                event_id=inner.event_id,
                event=inner.type,
                channel=inner.channel,
                properties=inner.properties,
            )
        action = self.actions.get(inner.action_id)
        what = f"{action.action} " if action is not None else ""
        return Line(
            at=inner.origin.time,
            kind="outcome",
            profile=entry.profile,
            text=f"{inner.channel} says: {what}{inner.kind}{via}",
            event_id=inner.outcome_id,
            channel=inner.channel,
        )

    def _decision(self, decision: Decision) -> Line:
        """A decision without words, which need to know how the story goes on, and whose clock it is told by."""
        action = self.actions.get(decision.action_id or "")
        return Line(
            at=decision.at,
            kind="decision",
            profile=decision.profile,
            text="",
            event_id=decision.event_id,
            channel=decision.channel,
            decision=decision,
            action=action if decision.verdict == "sent" else None,
        )

    def _told(self, line: Line, clock: tzinfo) -> Line:
        """A line with its words, by a clock."""
        decision, passed = line.decision, line.passed
        if decision is not None:
            name = decision.action_id or ""
            action, (waited, waits) = self.actions.get(name), self.waited.get(name, (None, ""))
            waits = decision.offer or waits or (about(action.template, action.params) if action is not None else "")
            return msgspec.structs.replace(
                line,
                text=sentence(decision, action, clock, waits),
                meaning=reasons.meaning(decision, clock),
                would_change=reasons.would_change(decision, clock, waited),
            )
        if passed is not None:
            return msgspec.structs.replace(
                line,
                text=whynot.sentence(passed, clock),
                meaning=whynot.meaning(passed, clock),
                would_change=whynot.would_change(passed, clock),
            )
        return line

    def _wait(self, decision: Decision, output: Output) -> None:
        """Keep what holds an action back, and what that is, which only the state knows."""
        name, state = str(decision.action_id), output.states.get(decision.profile)
        waiting = decode(state).instances.values() if state is not None else ()
        words = [
            about(held.params.get("template"), held.params)
            for instance in waiting
            for held in instance.held
            if held.action_id == name
        ]
        former = self.waited.get(name, (None, ""))[1]
        self.waited[name] = decision, words[0] if words else former

    def _links(self, entry: Entry, output: Output) -> None:
        if isinstance(entry, Unlink):
            text = f"{entry.identifier} belongs to somebody else from now on"
            self._add(Line(at=entry.time, kind="unlinked", profile=entry.profile, text=text))
        elif isinstance(entry, Unite):
            text = f"{entry.one} and {entry.other} are one, to be called {entry.into}"
            self._link(Line(at=entry.origin.time, kind="linked", profile=entry.profile, text=text))
        for identifier, holder in output.identities:
            if holder is not None and not identifier.startswith("customer:"):
                text = f"{identifier} belongs to this customer from now on"
                self._link(Line(at=holder.since, kind="linked", profile=f"customer:{holder.customer}", text=text))
        for sent in output.entries:
            if isinstance(sent, Answer) and sent.gathered:
                self._hand_on(sent.identifier, sent.profile)
            elif isinstance(sent, Merge):
                self._hand_on(sent.source, sent.profile)

    def _add(self, line: Line) -> None:
        self.lines.setdefault(line.profile, []).append(line)

    def _link(self, line: Line) -> None:
        self.links.setdefault(line.profile, []).append(line)

    def _hand_on(self, source: str, target: str) -> None:
        self.handed.setdefault(target, []).append((source, self.lines.pop(source, [])))

    def story(self, name: str, clock: tzinfo = UTC) -> list[Line]:
        """Every line of a profile, those that others handed to it included, by time, told by a clock.

        What came again says so; what an alias passed on stands once, and a link before what it brought.
        """
        found = sorted(self._all(name), key=lambda item: item[:2])
        story: list[Line] = []
        arrived: dict[tuple[str, str], int] = {}
        for *_, line in found:
            if line.event_id is None or line.kind not in {"touchpoint", "outcome"}:
                story.append(line)
            elif (line.kind, line.event_id) not in arrived:
                arrived[line.kind, line.event_id] = line.at
                story.append(line)
            elif arrived[line.kind, line.event_id] != line.at:
                story.append(msgspec.structs.replace(line, text=line.text + REPEAT))
        return [self._told(line, clock) for line in story]

    def _all(self, name: str, seen: frozenset[str] = frozenset()) -> Iterator[tuple[int, bool, Line]]:
        """Lines with what orders them: the moment in which they took effect, links first."""
        for line in self.links.get(name, []):
            yield line.at, False, line
        for lines in (self.lines.get(name, []), *(lines for _, lines in self.handed.get(name, []))):
            moment = 0
            for line in lines:
                moment = max(moment, line.at)
                yield moment, True, line
        for source, _ in self.handed.get(name, []):
            if source.startswith("customer:") and source not in seen:
                yield from self._all(source, seen | {name})


def _id(entry: Event | Outcome | Forward | Unite) -> str:
    inner = entry.entry if isinstance(entry, Forward) else entry
    return inner.outcome_id if isinstance(inner, Outcome) else inner.event_id


def _among(groups: Collection[str | None], event_id: str | None) -> str | None:
    return event_id if event_id in groups else None


def _move(move: Transition) -> Line:
    journey, why = f"{move.journey} v{move.version}", after(move.why)
    goal = "; its goal is reached" if move.converted else ""
    if move.to_stage is None:
        text = f"{journey} ends in stage {move.from_stage} ({why})"
    elif move.from_stage is None:
        text = f"{journey} begins in stage {move.to_stage}{goal}"
    elif move.from_stage == move.to_stage and why.startswith("moved to version"):
        text = f"{journey} goes on in stage {move.to_stage} ({why})"
    else:
        text = f"{journey} goes from {move.from_stage} to {move.to_stage} ({why}){goal}"
    return Line(at=move.at, kind="transition", profile=move.profile, text=text, event_id=move.event_id, move=move)


def _passed(passed: PassedOver) -> Line:
    return Line(at=passed.at, kind="passed", profile=passed.profile, text="", event_id=passed.event_id, passed=passed)


def _too_early(line: Line, journey: str) -> Line:
    """An event that came before the journey was in force: the engine did not offer it."""
    passed = PassedOver(line.profile, journey, 0, ENTER, "not-in-force", line.at, line.event_id, line.event)
    return _passed(passed)

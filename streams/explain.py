"""A customer's story, computed again from the journal: each touchpoint, what was decided, by which rule, and why not.

Nothing is looked up that the engine did not use: the journal is replayed, and what concerns one customer is kept, also
what an identifier gathered before it was known to be the customer's. Asked about one journey, the engine says as well
what was passed over.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING

from streams.cut import up_to
from streams.engine.localtime import zone_of
from streams.engine.partition import Output, Partition
from streams.engine.profile import Profile, decode
from streams.engine.rules import NO_POLICY, Library, enters_by, newest
from streams.engine.store import MemoryStore
from streams.storylines import REPEAT, Asked, Line, Recorder

if TYPE_CHECKING:
    from schemas.action import Suppression
    from schemas.policy import Policy
    from streams.journaldump import Journal


@dataclass(slots=True)
class Story:
    """All lines of one customer in order of time, and the state they led to, at the moment asked for (None: the end).

    Told by `clock`, the customer's; `now` is the time (ms) that it has got to, and `timers` the next one of each
    journey that runs: when, and as it is written.

    `journey`: the one that was asked about; the story holds what concerns it, and `came` how often each type of
    touchpoint came that lets one in.
    """

    name: str
    lines: list[Line] = field(default_factory=list)
    profile: Profile | None = None
    at: int | None = None
    journey: str | None = None
    came: dict[str, int] = field(default_factory=dict)
    policy: Policy = NO_POLICY
    clock: tzinfo = UTC
    now: int = 0
    timers: dict[str, tuple[int, str]] = field(default_factory=dict)
    suppressions: dict[str, Suppression] = field(default_factory=dict)


def explain(
    journal: Journal, count: int, library: Library, name: str, *, at: int | None = None, journey: str | None = None
) -> Story:
    """The story of profile kind:id, or of the customer it has become part of, over a journal of `count` partitions.

    `at` (ms): as it was then. `journey`: only what concerns it, and why it was not entered, or did not go on.
    """
    asked = Asked(journey, enters_by(newest(library, journey))) if journey is not None else None
    recorder, states, policy = Recorder(asked=asked), dict[str, bytes](), NO_POLICY
    homes: dict[str, Partition] = {}
    suppressions: dict[str, Suppression] = {}
    for index, entries in sorted((journal if at is None else up_to(journal, count, at)).items()):
        store = MemoryStore()
        partition = Partition(index, count, library, store, trace=frozenset({journey}) if journey else None)
        for offset, entry in entries:
            partition.apply(offset, entry)
            output = partition.collect()
            store.write(output, offset + 1)
            recorder.record(entry, output, partition.rules.active)
            _suppress(suppressions, output)
        states |= store.states
        homes |= dict.fromkeys(store.states, partition)
        policy = partition.rules.policy
    story = Story(follow(states, name), at=at, journey=journey, policy=policy, suppressions=suppressions)
    state = states.get(story.name)
    if state is not None:
        _settle(story, decode(state), homes[story.name])
    story.lines = recorder.story(story.name, story.clock)
    if asked is not None:
        seen = Counter(line.event for line in story.lines if not line.text.endswith(REPEAT))
        story.came = {each: seen[each] for each in sorted(asked.enters_by)}
        story.lines = _about(asked, story.lines)
    return story


def _settle(story: Story, profile: Profile, home: Partition) -> None:
    """What stands at the end of a story, by the profile and the partition where it is."""
    story.profile = profile
    story.clock = zone_of(profile, story.policy.time_zone)
    story.now = max(home.watermark, profile.now) if story.at is None else story.at
    for instance in profile.instances.values():
        if not instance.ended:
            stage = home.rules.journey(instance.journey, instance.version).stages[instance.stage]
            due = [(timer.due(profile, instance), timer.text) for timer in stage.timers]
            if coming := min((each for each in due if each[0]), default=None):
                story.timers[instance.journey] = coming


def _suppress(known: dict[str, Suppression], output: Output) -> None:
    """What stands in the topic of suppressions after an entry."""
    for key, word in output.suppressions:
        known.pop(key, None)
        if word is not None:
            known[key] = word


def _about(asked: Asked, lines: list[Line]) -> list[Line]:
    """What concerns a journey: the touchpoints that could let one in, what came of them, and what it did."""
    mine = [_journey(line) == asked.journey for line in lines]
    causes = {line.event_id for line, about in zip(lines, mine, strict=True) if about} - {None}
    return [
        line
        for line, about in zip(lines, mine, strict=True)
        if about
        or line.event in asked.enters_by
        or (line.event_id in causes and line.kind in {"touchpoint", "outcome"})
    ]


def _journey(line: Line) -> str | None:
    """The journey that a line is about, if it is about one."""
    for part in (line.decision, line.passed, line.move):
        if part is not None:
            return part.journey
    return None


def follow(states: dict[str, bytes], name: str) -> str:
    """The profile that kind:id has become part of."""
    for _ in range(100):
        state = states.get(name)
        if state is None:
            return name
        profile = decode(state)
        following = profile.alias or profile.owner
        if following is None:
            return name
        name = following
    return name

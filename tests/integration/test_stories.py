"""The stories of the seeds on Apache Kafka: the same actions as in the simulator, byte for byte what the journal says.

Stories span months, so time is that of the records (`clock: records`): a worker reads them all in a minute. Each story
has customers and devices of its own, and all are told side by side, in the order of time.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from schemas.codec import encode_outcome, encode_touchpoint_avro
from schemas.outcome import Outcome
from schemas.touchpoint import Touchpoint
from streams.definitions import library, load
from streams.simulator import Simulator
from streams.storyfile import load_stories
from streams.storyplay import outcome_of, touchpoint_of
from tests.support import oracle
from tests.support.installation import Installation
from tests.support.workers import SEEDS

if TYPE_CHECKING:
    from streams.storyfile import Step, Story

STORIES, PROBLEMS = load_stories(SEEDS)
# One partition an origin: what the stories' customers and devices do keeps its order.
OPTIONS = {"clock": "records", "touchpoints_partitions": "1", "outcomes_partitions": "1"}
DAY = 86_400_000
YEAR = 52 * 7 * DAY


@dataclass(slots=True)
class Told:
    """All stories told to a simulator, and what was told, in order: runs of touchpoints and runs of outcomes."""

    simulator: Simulator
    runs: list[list[tuple[int, Touchpoint | Outcome]]] = field(default_factory=list)

    def tell(self, at: int, what: Touchpoint | Outcome) -> None:
        """One more, to the simulator and into the runs."""
        if isinstance(what, Touchpoint):
            self.simulator.touchpoint(what, at)
        else:
            self.simulator.outcome(what, at)
        if not self.runs or type(self.runs[-1][-1][1]) is not type(what):
            self.runs.append([])
        self.runs[-1].append((at, what))


def tell(until: int = 0) -> Told:
    """Tell all stories side by side, `until` a moment (ms) at most, so many times 52 weeks earlier than they say.

    A broker takes no record that says to be of tomorrow.
    """
    told = Told(Simulator(library(load(SEEDS).loaded())))
    end = max(story.given[-1].at for story in STORIES) + DAY
    earlier = max(0, -(-(end - until) // YEAR)) * YEAR if until else 0
    steps = [
        (step.at - earlier, index, number, replace(step, at=step.at - earlier))
        for index, story in enumerate(STORIES)
        for number, step in enumerate(story.given, 1)
    ]
    for at, index, number, step in sorted(steps, key=lambda each: each[:3]):
        told.simulator.advance_to(at - 1 if step.kind == "when" else at)
        if step.kind == "when":
            told.tell(at, own(index, number, step))
        elif step.kind == "outcome":
            mine = [action for action in told.simulator.actions if f":s{index}-" in action.profile]
            outcome = outcome_of(step, number, mine)
            told.tell(at, msgspec.structs.replace(outcome, outcome_id=f"s{index}-{number}"))
    end -= earlier
    last = {"customer": "nobody-else"}
    told.tell(end, Touchpoint(event_id="end", type="clock_struck", channel="web", occurred_at=end, identifiers=last))
    told.simulator.advance_to(end)
    return told


def own(index: int, number: int, step: Step) -> Touchpoint:
    """A touchpoint of a story, whose customers and devices no other story has."""
    given = touchpoint_of(step, number)
    names = {kind: f"s{index}-{name}" for kind, name in given.identifiers.items()}
    said = {
        key: f"s{index}-{value}" if given.type == "customers_merged" and key in ("from", "into") else value
        for key, value in given.properties.items()
    }
    return msgspec.structs.replace(given, event_id=f"s{index}-{given.event_id}", identifiers=names, properties=said)


def test_every_story_is_told() -> None:
    """What is not told would not be compared; told side by side, each story sends what it sends alone."""
    assert PROBLEMS == []
    assert not any(story.delivers for story in STORIES)  # the outcomes are those that they tell
    told = tell()
    sent = Counter(action.profile.partition(":")[2].partition("-")[0] for action in told.simulator.actions)
    for index, story in enumerate(STORIES):
        assert sent[f"s{index}"] >= expected(story), story.test


def expected(story: Story) -> int:
    """How many actions a story expects."""
    return sum(item.kind == "action" for item in story.expect)


def test_stories_on_apache_kafka(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """The same set of action ids as in the simulator; and the oracle is content with what was published."""
    told = tell(int(time.time() * 1000))
    installation = Installation(kafka_bootstrap, topic_prefix, SEEDS, tmp_path, OPTIONS)
    with installation:
        installation.start()
        keep(kafka_bootstrap, [*installation.topics.origins, installation.topics.journal])
        for run in told.runs:
            # Touchpoints and outcomes are logs of their own: an outcome is told when what it is of has been decided.
            publish(kafka_bootstrap, installation, run)
            installation.settle(quiet=0.7)
        installation.settle()
    found = oracle.dump(installation.settings, SEEDS)
    oracle.check(found)
    published = {action.action_id for action in found.actions}
    simulated = {action.action_id for action in told.simulator.actions}
    assert published == simulated
    assert len(published) >= sum(map(expected, STORIES))


def keep(bootstrap: str, topics: list[str]) -> None:
    """Let the broker keep what says to be older than the topics' retention."""
    entry = ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET)
    admin = AdminClient({"bootstrap.servers": bootstrap})  # kept: a collected client drops its pending calls
    asked = [ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry]) for topic in topics]
    for answer in admin.incremental_alter_configs(asked).values():
        answer.result(10)


def publish(bootstrap: str, installation: Installation, run: list[tuple[int, Touchpoint | Outcome]]) -> None:
    """Write one run with the times of its records."""
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True})
    touchpoints, outcomes = installation.topics.origins
    refused: list[object] = []

    def heard(error: object, _: object) -> None:
        refused.extend([error] if error is not None else [])

    for at, what in run:
        if isinstance(what, Touchpoint):
            key = next(iter(what.identifiers.values()))
            producer.produce(touchpoints, encode_touchpoint_avro(what), key, timestamp=at, on_delivery=heard)
        else:
            producer.produce(outcomes, encode_outcome(what), what.profile, timestamp=at, on_delivery=heard)
    assert producer.flush(30) == 0
    assert refused == []

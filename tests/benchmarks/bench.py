"""What every section of the benchmark shares: one Apache Kafka, installations on it, runs of programs, and medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from schemas.codec import decode_action
from tests.benchmarks.events import delete, expected_actions, fill
from tests.support.kafka import BUILD, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tests.benchmarks.events import Sample

DEFINITIONS = Path(__file__).parent / "mini_bank"
FOLDER = BUILD / "bench"
MEASURED = ("events_per_s", "cpu_us_per_event")


@dataclass(slots=True)
class Bench:
    """One Apache Kafka, and what was asked for. `scale` makes every section that much smaller."""

    bootstrap: str
    peers: Path | None
    events: int
    rounds: int
    scale: float = 1.0
    exact: bool = True
    began: int = field(default_factory=lambda: int(time.time() * 1000))
    _count: int = 0

    def name(self, what: str) -> str:
        """Return a prefix for topics that no other run has."""
        self._count += 1
        return f"bench{self.began}{what}{self._count}."

    def sized(self, number: int) -> int:
        """Return a number of events, customers or seconds of this scale."""
        return max(1, int(number * self.scale))

    def installation(
        self, what: str, settings: Mapping[str, object] | None = None, definitions: Path = DEFINITIONS
    ) -> Installation:
        """Return a new installation."""
        return Installation(self, self.name(what), definitions, dict(settings or {}))


@dataclass(slots=True)
class Installation:
    """Topics, definitions and settings of its own."""

    bench: Bench
    prefix: str
    definitions: Path
    settings: dict[str, object]

    def run(self, what: str, events: int, **more: object) -> dict[str, Any]:
        """Run tests.benchmarks.agent once: `worker`, `router` or `journeys`."""
        command = [sys.executable, "-m", "tests.benchmarks.agent", what, f"--bootstrap={self.bench.bootstrap}"]
        command += [f"--prefix={self.prefix}", f"--definitions={self.definitions}", f"--data={FOLDER / self.prefix}"]
        command += [f"--events={events}", *(f"--{name}={value}" for name, value in more.items())]
        command += [f"--set={name}={value}" for name, value in self.settings.items()]
        return last_line(command, ROOT)

    def begin(self) -> None:
        """Make the topics, and put the definitions in force."""
        self.run("worker", 0)

    def fill(self, given: Iterable[Sample], value: Callable[[Sample], bytes]) -> None:
        """Write touchpoints."""
        fill(self.bench.bootstrap, f"{self.prefix}touchpoints", given, value)

    def count_actions(self, given: Sequence[Sample]) -> dict[str, Any]:
        """Count the committed actions; each id must be there once, and as many as the rules say."""
        count, different = count_actions(self.bench.bootstrap, self.prefix)
        self.bench.exact = self.bench.exact and count == different == expected_actions(given)
        return {"actions": count, "actions_twice": count - different}

    def remove(self) -> None:
        """Delete its topics, so that one run does not weigh on the next."""
        delete(self.bench.bootstrap, self.prefix)


def last_line(command: Sequence[str], folder: Path, within: float = 600.0) -> dict[str, Any]:
    """Run a program to its end and return the JSON object of its last line."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=within, check=False, cwd=folder, env=environment
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        raise RuntimeError(f"{' '.join(command[:4])} ended with code {done.returncode}: {done.stderr.strip()[-2000:]}")
    result: dict[str, Any] = json.loads(lines[-1])
    return result


def with_journeys(folder: Path, journeys: Mapping[str, str]) -> Path:
    """Return a folder of definitions: these journeys by their names, and the policy and templates of the mini bank."""
    (folder / "journeys").mkdir(parents=True, exist_ok=True)
    for part in ("policy.yaml", "templates"):
        if not (folder / part).exists():
            (folder / part).symlink_to(DEFINITIONS / part)
    for name, text in journeys.items():
        (folder / "journeys" / f"{name}.yaml").write_text(text)
    return folder


def count_actions(bootstrap: str, prefix: str) -> tuple[int, int]:
    """Return how many committed actions there are for the web, and how many different ids they have."""
    count, different = 0, set()
    for message in records(bootstrap, f"{prefix}actions.web"):
        count += 1
        different.add(uuid.UUID(decode_action(message.value()).action_id).bytes)
    return count, len(different)


def records(bootstrap: str, topic: str) -> Iterator[Any]:
    """Yield every committed record of a topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    try:
        partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        ended: set[int] = set()
        while len(ended) < len(partitions):
            for message in consumer.consume(10_000, 0.2):
                if message.error() is None:
                    yield message
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
    finally:
        consumer.close()


def say(result: object) -> None:
    """Show a result while the rest is measured."""
    sys.stderr.write(json.dumps(result) + "\n")


def medians(runs: Iterable[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the medians over the runs of each program, how many there were, and the least and most rate of them."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_name.setdefault(run["what"], []).append(run)
    return {what: median(mine) for what, mine in by_name.items()}


def median(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the medians of what was measured in some runs of one thing."""
    rates = [run["events_per_s"] for run in runs]
    found: dict[str, float] = {key: round(statistics.median(run[key] for run in runs), 2) for key in MEASURED}
    return found | {"runs": len(runs), "least_per_s": min(rates), "most_per_s": max(rates)}

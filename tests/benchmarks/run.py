"""`make bench`: Polku and its peers in turn on one Apache Kafka, and how they compare: build/bench.json.

Every round runs each program once over the same events, so that a slow minute of the machine hits all; the numbers
compared are the medians. The actions that reached Kafka are counted, and each must be there once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from schemas.codec import decode_action
from tests.benchmarks import peers
from tests.benchmarks.events import create, delete, expected_actions, fill, peer_value, polku_value, samples
from tests.support.kafka import BUILD, ROOT, Kafka, KafkaMissing, find_kafka

DEFINITIONS = Path(__file__).parent / "mini_bank"
FOLDER = BUILD / "bench"
EVENTS_PER_CUSTOMER = 30


def records(bootstrap: str, topic: str) -> list[Any]:
    """Return every committed record of a topic."""
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
        found: list[Any] = []
        ended: set[int] = set()
        while len(ended) < len(partitions):
            for message in consumer.consume(10_000, 0.2):
                if message.error() is None:
                    found.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
        return found
    finally:
        consumer.close()


class Bench:
    """One measurement: the broker, the events, and the results so far."""

    def __init__(self, kafka: Kafka, events: int, *, devices: bool) -> None:
        self.bootstrap, self.devices = kafka.bootstrap, devices
        self.given = list(samples(events, max(1, events // EVENTS_PER_CUSTOMER)))
        self.expected = expected_actions(self.given)
        self.at = int(time.time() * 1000)
        self.results: list[dict[str, Any]] = []
        self.exact = True

    def note(self, result: dict[str, Any]) -> None:
        """Keep a result and show it."""
        self.results.append(result)
        sys.stderr.write(json.dumps(result) + "\n")

    def agent(self, what: str, prefix: str, **options: object) -> dict[str, Any]:
        """Run tests.benchmarks.agent once."""
        command = [sys.executable, "-m", "tests.benchmarks.agent", what, f"--bootstrap={self.bootstrap}"]
        command += [f"--prefix={prefix}", f"--definitions={DEFINITIONS}", f"--data={FOLDER / prefix}"]
        command += [f"--{name}={value}" for name, value in options.items()]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{what} ended with code {done.returncode}: {done.stderr.strip()[-2000:]}")
        result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return result

    def begin(self, prefix: str) -> None:
        """Make the topics, put the definitions in force, and write the events."""
        self.agent("worker", prefix, events=0)
        fill(
            self.bootstrap,
            f"{prefix}touchpoints",
            self.given,
            lambda each: polku_value(each, self.at, devices=self.devices),
        )

    def count_actions(self, prefix: str) -> dict[str, Any]:
        """Count the committed actions; each id must be there once, and as many as the rules say."""
        ids = [decode_action(message.value()).action_id for message in records(self.bootstrap, f"{prefix}actions.web")]
        self.exact = self.exact and len(ids) == len(set(ids)) == self.expected
        return {"actions": len(ids), "actions_twice": len(ids) - len(set(ids))}

    def polku(self, number: int) -> None:
        """Run the router alone, the journeys agent alone on what it wrote, then both in one process."""
        prefix = f"bench{self.at}a{number}."
        events = len(self.given)
        if not self.devices:
            self.begin(prefix)
            self.note(self.agent("router", prefix, events=events))
            found = self.agent("journeys", prefix, events=events)
            self.note(found | self.count_actions(prefix))
            delete(self.bootstrap, prefix)
        prefix = f"bench{self.at}b{number}."
        self.begin(prefix)
        found = self.agent("worker", prefix, events=events)
        self.note(found | self.count_actions(prefix))
        delete(self.bootstrap, prefix)

    def peers(self, folder: Path, topic: str) -> None:
        """Run the peers."""
        quix = peers.quix(folder, self.bootstrap, topic, len(self.given))
        self.note({"what": "quix"} | quix)
        delete(self.bootstrap, "peer-quix-")
        decode = peers.decode_only(folder, self.bootstrap, topic, len(self.given))
        self.note({"what": "decode-only"} | decode)

    def medians(self) -> dict[str, dict[str, float]]:
        """Return each program's median rate and CPU."""
        found: dict[str, dict[str, float]] = {}
        for what in dict.fromkeys(result["what"] for result in self.results):
            mine = [result for result in self.results if result["what"] == what]
            found[what] = {
                key: statistics.median(result[key] for result in mine) for key in ("events_per_s", "cpu_us_per_event")
            }
        return found


def ratios(medians: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return how many times a peer's rate each part of Polku reaches, and how many times less CPU it takes."""
    found = {}
    for peer, name in (("quix", "quix"), ("decode-only", "decode_only")):
        for mine in ("journeys", "router", "worker"):
            if peer in medians and mine in medians:
                rate, cpu = (
                    medians[mine]["events_per_s"] / medians[peer]["events_per_s"],
                    medians[peer]["cpu_us_per_event"] / medians[mine]["cpu_us_per_event"],
                )
                found[f"{mine}_vs_{name}"] = round(rate, 3)
                found[f"{mine}_cpu_vs_{name}"] = round(cpu, 3)
    return found


def main() -> int:
    """Measure, print the summary and write build/bench.json; exit code 1 when an action was lost or doubled."""
    parser = argparse.ArgumentParser(description="Polku beside its peers, on one Kafka, in one run")
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--devices", action="store_true", help="events name a device too: identity resolution works")
    arguments = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        kafka = find_kafka(FOLDER / "kafka")
    except KafkaMissing as error:
        sys.stderr.write(f"the benchmark needs Apache Kafka: {error}\n")
        return 1
    try:
        bench = Bench(kafka, arguments.events, devices=arguments.devices)
        folder, topic = peers.folder(), f"peers{bench.at}"
        if folder is None:
            sys.stderr.write("no peers here: only Polku is measured; POLKU_PEERS names their folder\n")
        else:
            peers.python(folder)
            schema = peers.schema(folder)
            create(bench.bootstrap, topic)
            fill(bench.bootstrap, topic, bench.given, lambda each: peer_value(each, bench.at, schema))
        for number in range(arguments.rounds):
            bench.polku(number)
            if folder is not None:
                bench.peers(folder, topic)
    finally:
        kafka.stop()
        shutil.rmtree(FOLDER, ignore_errors=True)
    medians = bench.medians()
    compared = ratios(medians)
    result = {
        "events": arguments.events,
        "rounds": arguments.rounds,
        "devices": arguments.devices,
        "guarantee": "exactly_once",
        "expected_actions": bench.expected,
        "exactly_once": bench.exact,
        "medians": medians,
        "ratios": compared,
        "peers": folder is not None,
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "runs": bench.results,
    }
    (BUILD / "bench.json").write_text(json.dumps(result, indent=2) + "\n")
    for what, numbers in medians.items():
        sys.stdout.write(
            f"{what:12} {numbers['events_per_s']:>9,.0f} events/s {numbers['cpu_us_per_event']:>7.1f} us\n"
        )
    for name, ratio in compared.items():
        sys.stdout.write(f"{name:28} {ratio}\n")
    sys.stdout.write(f"exactly once: {bench.exact}; all runs are in build/bench.json\n")
    return 0 if bench.exact else 1


if __name__ == "__main__":
    sys.exit(main())

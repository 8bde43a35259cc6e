"""Time from `produce` of a touchpoint until its action is visible to a `read_committed` consumer, at a steady rate.

    python -m tests.benchmarks.latency polku|kafka-streams --bootstrap ... --rate 1000 --partitions 4

Starts the program as a process, warms it up, then measures; one clock, this process's, for both ends. The same events
at the same pace for each program. A third of them give an action, so that 10,000 take half a minute at 1,000/s.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, Producer, TopicPartition

from schemas.codec import decode_action
from tests.benchmarks import peers
from tests.benchmarks.bench import FOLDER, last_line, say
from tests.benchmarks.events import Sample, create, delete, peer_value, polku_value
from tests.support.kafka import ROOT
from tests.support.workers import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.bench import Bench

DEFINITIONS = Path(__file__).parent / "mini_bank"
# Rarely anything that ends the form: most that are left give an action.
MIX = {"form_abandoned": 40, "form_started": 30, "page_viewed": 15, "form_page_submitted": 10, "form_submitted": 5}
COMMIT_MS = 100
PROGRAMS = ("polku", "kafka-streams")
WARMUP, SECONDS = 8.0, 32.0
DRAIN_SECONDS = 3.0
JVM_JOINS_WITHIN = 6.0


def events(count: int, customers: int) -> list[Sample]:
    """Give the same events every time."""
    chance = random.Random(7)
    kinds = chance.choices(list(MIX), weights=list(MIX.values()), k=count)
    return [Sample(number, f"c{chance.randrange(customers)}", kind) for number, kind in enumerate(kinds)]


def section(bench: Bench, capacity: float) -> dict[str, Any]:
    """Measure both at 1,000/s over 4 and 12 partitions, and at half of Polku's `capacity` over 4."""
    found: dict[str, Any] = {}
    seconds = max(5.0, SECONDS * bench.scale)
    for name, rate, partitions, lasting in (
        ("1000/s, 4 partitions", 1000.0, 4, seconds),
        ("1000/s, 12 partitions", 1000.0, 12, seconds),
        ("half of capacity, 4 partitions", round(capacity / 2, -2), 4, seconds / 2),
    ):
        found[name] = {}
        for program in PROGRAMS if bench.peers is not None else PROGRAMS[:1]:
            command = [sys.executable, "-m", "tests.benchmarks.latency", program, f"--bootstrap={bench.bootstrap}"]
            command += [f"--rate={rate}", f"--partitions={partitions}", f"--seconds={lasting}"]
            result = last_line(command, ROOT)
            say(result)
            found[name][program] = result
    return {"latency": found}


def ratios(results: dict[str, Any]) -> dict[str, float]:
    """Return how Polku compares with Kafka Streams at equal commit intervals."""
    found = {}
    for name, key in (("1000/s, 4 partitions", ""), ("1000/s, 12 partitions", "_12_partitions")):
        both = results["latency"][name]
        if len(both) == len(PROGRAMS):
            mine, other = (both[program] for program in PROGRAMS)
            for measure in ("p50", "p99"):
                ratio = mine[f"{measure}_ms"] / other[f"{measure}_ms"]
                found[f"{measure}_vs_kafka_streams{key}"] = round(ratio, 3)
    return found


class Watcher:
    """Notes when each record of a topic becomes visible; what the records say is read later."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self.seen: list[tuple[float, bytes]] = []
        self._stop = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"{topic}-watch",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.seen.append((time.perf_counter(), message.value()))

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
        self._thread.join()
        self._consumer.close()


def pace(
    bootstrap: str,
    topic: str,
    rate: float,
    values: list[tuple[str, bytes]],
    delivered: Callable[[Any, Any], None] | None = None,
) -> list[float]:
    """Produce at `rate` a second; return the moment of each. `delivered` gets (error, message) as each has arrived."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "queue.buffering.max.messages": 1_000_000})
    sent: list[float] = []
    start = time.perf_counter()
    for number, (key, value) in enumerate(values):
        due = start + number / rate
        while (wait := due - time.perf_counter()) > 0:
            time.sleep(wait)
        sent.append(time.perf_counter())
        producer.produce(topic, key=key, value=value, on_delivery=delivered)
        producer.poll(0)
    producer.flush(30)
    return sent


def quantiles(milliseconds: list[float]) -> dict[str, Any]:
    """Return what the latencies come to."""
    ordered = sorted(milliseconds)
    count = len(ordered)

    def at(share: float) -> float:
        return round(ordered[min(count - 1, int(count * share))], 1)

    return {"actions": count, "p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999), "max_ms": at(1)}


class Run:
    """One measurement: the load, and where it is."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.bootstrap: str = arguments.bootstrap
        self.rate: float = arguments.rate
        self.partitions: int = arguments.partitions
        self.warmup: float = arguments.warmup
        self.settings = dict(each.split("=", 1) for each in arguments.set)
        customers = max(1000, int(self.rate))
        self.given = events(int((arguments.warmup + arguments.seconds) * self.rate), customers)
        self.name = f"latency{time.time_ns()}"
        self.folder = FOLDER / self.name

    def polku(self) -> dict[str, Any]:
        """Measure a worker of Polku: two hops, touchpoints → journal → actions."""
        self.folder.mkdir(parents=True)
        prefix, count = f"{self.name}.", self.partitions
        worker = WorkerProcess(
            self.folder,
            bootstrap=self.bootstrap,
            prefix=prefix,
            group=self.name,
            definitions=DEFINITIONS,
            touchpoints_partitions=count,
            journal_partitions=count,
            **self.settings,
        )
        at = int(time.time() * 1000)
        values = [(each.customer, polku_value(each, at, devices=False)) for each in self.given]
        with worker.start().ready():
            found = self.measure(
                f"{prefix}touchpoints",
                f"{prefix}actions.web",
                count,
                values,
                lambda value: decode_action(value).event_id or "",
            )
            found["transactions"] = int(worker.metric("polku_transactions_total"))
            found["commit_ms"] = round(
                1000
                * worker.metric("polku_transaction_seconds_sum")
                / max(1.0, worker.metric("polku_transaction_seconds_count")),
                1,
            )
            assert worker.stop() == 0
        return {"program": "polku"} | found

    def kafka_streams(self) -> dict[str, Any]:
        """Measure the Kafka Streams program: one hop."""
        topic, folder = f"{self.name}-in", peers.folder()
        assert folder is not None
        create(self.bootstrap, topic, self.partitions)
        schema, at = peers.schema(folder), int(time.time() * 1000)
        values = [(each.customer, peer_value(each, at, schema)) for each in self.given]
        process = peers.kafka_streams_process(folder, self.bootstrap, topic, self.name, commit_ms=COMMIT_MS)
        try:
            time.sleep(JVM_JOINS_WITHIN)
            found = self.measure(topic, f"{self.name}-actions", 4, values, lambda value: json.loads(value)["event_id"])
            assert process.poll() is None
        finally:
            process.terminate()
            process.wait(30)
        return {"program": "kafka-streams"} | found

    def measure(
        self, topic: str, actions: str, count: int, values: list[tuple[str, bytes]], event: Callable[[bytes], str]
    ) -> dict[str, Any]:
        """Produce, watch, and compare."""
        watcher = Watcher(self.bootstrap, actions, count)
        sent = pace(self.bootstrap, topic, self.rate, values)
        time.sleep(DRAIN_SECONDS)
        watcher.stop()
        first = int(self.warmup * self.rate)
        late = [
            (moment - sent[number]) * 1000
            for moment, value in watcher.seen
            if (number := int(event(value), 16)) >= first
        ]
        kept = (sent[-1] - sent[0]) * self.rate / (len(sent) - 1)
        return {
            "rate": self.rate,
            "partitions": self.partitions,
            "pace_kept": round(1 / kept, 3),
            **quantiles(late),
        }


def main() -> int:
    """Measure once and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--warmup", type=float, default=WARMUP)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--set", action="append", default=[], help="a setting of the worker: name=value")
    arguments = parser.parse_args()
    run = Run(arguments)
    try:
        found = run.polku() if arguments.program == "polku" else run.kafka_streams()
    finally:
        delete(arguments.bootstrap, run.name)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

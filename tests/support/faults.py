"""What fault tests need: traffic in the background, and moments at which a worker has transactions open."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple, Self

from confluent_kafka import Consumer, IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.touchpoint import Touchpoint
from tests.support.installation import Installation
from tests.support.randomlog import Shape, produce, touchpoints
from tests.support.workers import WorkerProcess

SURE = 0.4  # seconds; a commit that the broker has begun takes some ms to reach every log


class Traffic:
    """Random touchpoints at a steady rate, published from a thread of their own, until its block ends."""

    def __init__(self, installation: Installation, seed: int, shape: Shape, rate: float) -> None:
        self.shape, self._rate = shape, rate
        events = touchpoints(seed, shape, int(time.time() * 1000))
        partitioner = random.Random(seed).choice(["consistent_random", "murmur2_random"])
        self._sent = 0
        self._stopped = threading.Event()

        def run() -> None:
            self._sent = produce(
                installation.bootstrap, installation.topics.touchpoints, self._paced(events), partitioner
            )

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def _paced(self, events: Iterator[Touchpoint]) -> Iterator[Touchpoint]:
        began = time.monotonic()
        for number, event in enumerate(events):
            if self._stopped.is_set():
                return
            if (wait := began + number / self._rate - time.monotonic()) > 0:
                time.sleep(wait)
            yield event

    @property
    def flows(self) -> bool:
        """Whether more is to come."""
        return self._thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def join(self) -> None:
        """Wait for the last acknowledgement of all of them."""
        self._thread.join()
        assert self._sent == self.shape.events


class Open(NamedTuple):
    """A partition with records of an unfinished transaction: from the last stable offset to the end."""

    topic: str
    partition: int
    stable: int
    end: int


def say(text: str) -> None:
    """Tell what was shown; pytest shows it with a failure, or with -rP."""
    print(text)


def open_transactions(admin: AdminClient, partitions: list[TopicPartition]) -> set[Open]:
    """The partitions with records of unfinished transactions."""
    ends = []
    for isolation in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
        asked = admin.list_offsets(dict.fromkeys(partitions, OffsetSpec.latest()), isolation_level=isolation)
        ends.append({tp: future.result(10).offset for tp, future in asked.items()})
    stable, end = ends
    return {Open(tp.topic, tp.partition, stable[tp], end[tp]) for tp in partitions if stable[tp] < end[tp]}


def written(installation: Installation) -> list[TopicPartition]:
    """The partitions that nearly every transaction writes to."""
    topics = installation.topics
    names = (topics.journal, topics.changelog, topics.decisions)
    return [TopicPartition(name, n) for name in names for n in range(topics.journal_partitions)]


def freeze_in_transaction(installation: Installation, worker: WorkerProcess, within: float = 60.0) -> set[Open]:
    """Stop the worker's clock at a moment at which transactions of its own are open; return where.

    A worker that runs beside it finishes its own transactions meanwhile, so what stays open is the frozen one's.
    """
    admin = AdminClient({"bootstrap.servers": installation.bootstrap, "log_level": 2})
    partitions = written(installation)
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        worker.freeze()
        found = open_transactions(admin, partitions)
        if found:
            time.sleep(SURE)
            found &= open_transactions(admin, partitions)
        if found:
            return found
        worker.thaw()
        time.sleep(0.05)
    raise AssertionError(f"no transaction was open at any of the moments within {within:.0f} s")


def count(installation: Installation, isolation: str, partitions: list[TopicPartition]) -> int:
    """How many records these partitions hold, with or without those of aborted transactions."""
    consumer = Consumer(
        {
            "bootstrap.servers": installation.bootstrap,
            "group.id": "count",
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "log_level": 2,
        }
    )
    try:
        consumer.assign([TopicPartition(tp.topic, tp.partition, 0) for tp in partitions])
        found = 0
        ended: set[tuple[str, int]] = set()
        while len(ended) < len(partitions):
            for message in consumer.consume(10_000, 0.1):
                if message.error() is None:
                    found += 1
                else:
                    ended.add((message.topic(), message.partition()))
        return found
    finally:
        consumer.close()


def aborted(installation: Installation) -> int:
    """How many records of aborted transactions stand in the logs, where no reader of committed records sees them."""
    partitions = written(installation)
    return count(installation, "read_uncommitted", partitions) - count(installation, "read_committed", partitions)

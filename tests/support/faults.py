"""What fault tests need: traffic in the background, and moments at which a worker has transactions open."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from schemas.touchpoint import Touchpoint
from tests.support.installation import Installation
from tests.support.randomlog import Shape, produce, touchpoints
from tests.support.workers import WorkerProcess

SURE = 0.4  # seconds; a commit that the broker has begun takes some ms to reach every log


class Traffic:
    """Random touchpoints at a steady rate, published once each from a thread of their own, until its block ends."""

    def __init__(self, installation: Installation, seed: int, shape: Shape, rate: float) -> None:
        self._rate = rate
        events = touchpoints(seed, shape, int(time.time() * 1000))
        partitioner = random.Random(seed).choice(["consistent_random", "murmur2_random"])
        self.sent = 0
        self._acknowledged = 0
        self._stopped = threading.Event()

        def run() -> None:
            self._acknowledged = produce(
                installation.bootstrap,
                installation.topics.touchpoints,
                self._paced(events),
                partitioner,
                {"enable.idempotence": True, "log_level": 0},
            )

        self._thread = threading.Thread(target=run, name="traffic", daemon=True)
        self._thread.start()

    def _paced(self, events: Iterator[Touchpoint]) -> Iterator[Touchpoint]:
        began = time.monotonic()
        for number, event in enumerate(events):
            if self._stopped.is_set():
                return
            if (wait := began + number / self._rate - time.monotonic()) > 0:
                time.sleep(wait)
            self.sent = number + 1
            yield event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def finish(self, least: int) -> None:
        """End once so many have been published; the last acknowledgement has come when this returns."""
        while self.sent < least and self._thread.is_alive():
            time.sleep(0.02)
        self._stopped.set()
        self._thread.join()
        assert self._acknowledged == self.sent >= least


class Open(NamedTuple):
    """A partition with records of an unfinished transaction, which begins at offset `stable`."""

    topic: str
    partition: int
    stable: int


def open_transactions(admin: AdminClient, partitions: list[TopicPartition]) -> set[Open]:
    """The partitions with records of unfinished transactions."""
    stable = ends(admin, partitions)
    end = ends(admin, partitions, IsolationLevel.READ_UNCOMMITTED)
    return {Open(tp.topic, tp.partition, stable[tp]) for tp in partitions if stable[tp] < end[tp]}


def ends(
    admin: AdminClient, partitions: list[TopicPartition], isolation: IsolationLevel = IsolationLevel.READ_COMMITTED
) -> dict[Any, int]:
    """The ends of logs, without or with what transactions have open there."""
    deadline = time.monotonic() + 20
    while True:
        asked = admin.list_offsets(dict.fromkeys(partitions, OffsetSpec.latest()), isolation_level=isolation)
        try:
            return {tp: future.result(10).offset for tp, future in asked.items()}
        except KafkaException:
            # A broker that was restarted has leaders of a newer epoch, which the client learns with the metadata.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
            admin.list_topics(timeout=10)


def written(installation: Installation) -> list[TopicPartition]:
    """The partitions that nearly every transaction writes to."""
    topics = installation.topics
    names = (topics.journal, topics.changelog, topics.decisions)
    return [TopicPartition(name, n) for name in names for n in range(topics.journal_partitions)]


def freeze_in_transaction(
    admin: AdminClient, partitions: list[TopicPartition], workers: Sequence[WorkerProcess]
) -> set[Open]:
    """Stop the workers' clocks; return where transactions of theirs are open, having let them go on if nowhere.

    A worker that runs beside them finishes its own transactions meanwhile, and what a dead one left open was open
    before: so what stays open is the frozen ones'.
    """
    before = open_transactions(admin, partitions)
    time.sleep(SURE)
    for worker in workers:
        worker.freeze()
    found = open_transactions(admin, partitions) - before
    if found:
        time.sleep(SURE)
        found &= open_transactions(admin, partitions)
    if not found:
        for worker in workers:
            worker.thaw()
    return found

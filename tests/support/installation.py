"""An installation under test: several workers on one broker, and when it is at rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas import journal
from schemas.journal import Mark, TaskMark
from streams.settings import Settings
from streams.topics import Topics
from tests.support.workers import WorkerProcess


@dataclass(slots=True)
class Installation:
    """Settings, definitions and workers on one broker."""

    bootstrap: str
    prefix: str
    definitions: Path
    folder: Path
    options: dict[str, str] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        """The settings its workers have."""
        values: dict[str, Any] = {name.lower(): value for name, value in self.options.items()}
        return Settings(bootstrap=self.bootstrap, prefix=self.prefix, group=f"{self.prefix}polku", **values)

    @property
    def topics(self) -> Topics:
        """Its topics."""
        return Topics.of(self.settings)

    def start(self, *, wait: bool = True, store: int | None = None) -> WorkerProcess:
        """Start one more worker, with a local store of its own or with what the worker numbered `store` left behind."""
        number = len(self.workers)
        worker = WorkerProcess(
            self.folder,
            f"worker-{number}",
            bootstrap=self.bootstrap,
            prefix=self.prefix,
            group=self.settings.group,
            definitions=self.definitions,
            data_dir=self.folder / f"data-{number if store is None else store}",
            **self.options,
        )
        self.workers.append(worker.start())
        return worker.ready() if wait else worker

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop all that still run."""
        for worker in self.workers:
            if worker.runs:
                worker.stop()

    def settle(self, within: float = 120.0) -> None:
        """Wait until it is at rest, `within` seconds."""
        settle(self.settings, self.workers, within)


def settle(
    settings: Settings, workers: Sequence[WorkerProcess] = (), within: float = 120.0, *, quiet: float = 4.0
) -> None:
    """Wait until origins are read to their ends, and the journal to where it holds nothing but time passing.

    Raises AssertionError when that does not come, or when a task has stopped for good.
    """

    def healthy() -> None:
        for worker in workers:
            if worker.runs:
                health = worker.get("healthz")
                assert health is None or not health["stopped"], worker.log.read_text()[-3000:]

    until(lambda: origins_read(settings), within, lambda: "the origins are read to their ends", healthy)
    consumer, journal_name = reader(settings), Topics.of(settings).journal
    last: dict[int, int] = {}
    deadline = time.monotonic() + within
    try:
        # Only marks come without end. What is for other profiles takes some hops through the journal.
        consumer.assign([TopicPartition(journal_name, each) for each in range(settings.journal_partitions)])
        since = time.monotonic()
        while time.monotonic() < deadline:
            for message in consumer.consume(10_000, 0.25):
                if message.error() is None and not isinstance(journal.decode(message.value()), Mark | TaskMark):
                    last[message.partition()] = message.offset()
                    since = time.monotonic()
            if time.monotonic() - since >= quiet:
                offsets = committed(settings.bootstrap, settings.group)
                if all(offsets.get((journal_name, partition), 0) > offset for partition, offset in last.items()):
                    return
                healthy()
    finally:
        consumer.close()
    raise AssertionError("the journal does not come to rest")


def reader(settings: Settings, group: str = "look") -> Consumer:
    """A consumer that assigns."""
    options = {"isolation.level": "read_committed", "auto.offset.reset": "earliest"}
    return Consumer({"bootstrap.servers": settings.bootstrap, "group.id": group, "log_level": 2, **options})


def origins_read(settings: Settings) -> bool:
    """Whether the group has committed the end of each origin partition that holds anything."""
    # Asked of the admin interface: a consumer would be told to wait while any transaction has an offset in it.
    offsets = committed(settings.bootstrap, settings.group)
    consumer = reader(settings)
    try:
        for name in Topics.of(settings).origins:
            for partition in consumer.list_topics(name, timeout=10).topics[name].partitions:
                low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=10)
                if high > low and offsets.get((name, partition), 0) < high:
                    return False
        return True
    finally:
        consumer.close()


def until(
    look: Callable[[], object], within: float, what: Callable[[], str], sure: Callable[[], None] = lambda: None
) -> None:
    """Wait until `look` says yes; `sure` raises when it never will."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if look():
            return
        sure()
        time.sleep(0.1)
    raise AssertionError(f"not within {within:.0f} s: {what()}")


def committed(bootstrap: str, group: str) -> dict[tuple[str, int], int]:
    """The committed offsets of a group."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    found = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(10)
    return {(tp.topic, tp.partition): tp.offset for tp in found.topic_partitions}

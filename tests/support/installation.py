"""An installation under test: several workers on one broker, and when it is at rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas import journal
from schemas.journal import Mark, TaskMark
from streams.settings import Settings
from streams.topics import Topics
from tests.support.kafka import admin_client
from tests.support.workers import WorkerProcess

LOADING = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
)


@dataclass(slots=True)
class Installation:
    """Settings, definitions and workers on one broker."""

    bootstrap: str
    prefix: str
    definitions: Path
    folder: Path
    options: dict[str, str] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)
    _admin: AdminClient | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def settings(self) -> Settings:
        """The settings its workers have."""
        values: dict[str, Any] = {name.lower(): value for name, value in self.options.items()}
        return Settings(bootstrap=self.bootstrap, prefix=self.prefix, group=f"{self.prefix}polku", **values)

    @property
    def topics(self) -> Topics:
        """Its topics."""
        return Topics.of(self.settings)

    @property
    def admin(self) -> AdminClient:
        """The client for all that is asked of its broker, until it is stopped."""
        if self._admin is None:
            self._admin = admin_client(self.bootstrap)
        return self._admin

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
        """Stop all that still run, and let go of the client."""
        for worker in self.workers:
            if worker.runs:
                worker.stop()
        self._admin = None

    def settle(self, within: float = 120.0, *, quiet: float = 4.0) -> None:
        """Wait until it is at rest, `within` seconds."""
        settle(self.settings, self.workers, within, quiet=quiet, admin=self.admin)


def settle(
    settings: Settings,
    workers: Sequence[WorkerProcess] = (),
    within: float = 120.0,
    *,
    quiet: float = 4.0,
    admin: AdminClient | None = None,
) -> None:
    """Wait until origins are read to their ends, and the journal to where it holds nothing but time passing.

    Raises AssertionError when that does not come, or when a task has stopped for good.
    """

    def healthy() -> None:
        for worker in workers:
            if worker.runs:
                health = worker.get("healthz")
                assert health is None or not health["stopped"], worker.log.read_text()[-3000:]

    asking = admin_client(settings.bootstrap) if admin is None else admin
    consumer, journal_name = reader(settings, more={"enable.partition.eof": True}), Topics.of(settings).journal
    last: dict[int, int] = {}
    ended = dict.fromkeys(range(settings.journal_partitions), 0)
    partitions = [TopicPartition(journal_name, each) for each in range(settings.journal_partitions)]

    def read(seconds: float) -> bool:
        """Read on; whether anything but marks came. They alone come without end."""
        came = False
        for message in _messages(consumer, seconds, ended):
            if not isinstance(journal.decode(message.value()), Mark | TaskMark):
                last[message.partition()], came = message.offset(), True
        return came

    def read_to_the_end(deadline: float) -> bool:
        ends = {tp.partition: consumer.get_watermark_offsets(tp, timeout=10)[1] for tp in partitions}
        came = False
        while any(max(tp.offset, ended[tp.partition]) < ends[tp.partition] for tp in consumer.position(partitions)):
            came = read(0.25) or came
            if time.monotonic() > deadline:
                return True
        return came

    try:
        until(
            lambda: origins_read(settings, asking, consumer),
            within,
            lambda: "the origins are read to their ends",
            healthy,
        )
        # What is for other profiles takes some hops through the journal.
        consumer.assign(partitions)
        since = time.monotonic()
        deadline = since + within
        while time.monotonic() < deadline:
            if read(0.25):
                since = time.monotonic()
            if time.monotonic() - since < quiet:
                continue
            offsets = committed(asking, settings.group)
            if not all(offsets.get((journal_name, partition), 0) > offset for partition, offset in last.items()):
                healthy()
            elif not read_to_the_end(deadline):
                return  # what those entries gave was written with the offsets, and there is nothing new
            else:
                since = time.monotonic()
    finally:
        consumer.close()
    raise AssertionError("the journal does not come to rest")


def _messages(consumer: Consumer, seconds: float, ended: dict[int, int]) -> Iterator[Any]:
    """Messages, and in `ended` where partitions end: the marks of transactions that end a log are no messages."""
    for message in consumer.consume(10_000, seconds):
        if message.error() is None:
            yield message
        else:
            ended[message.partition()] = message.offset()


def reader(settings: Settings, group: str = "look", more: Mapping[str, Any] | None = None) -> Consumer:
    """A consumer that assigns."""
    options: dict[str, Any] = {"isolation.level": "read_committed", "auto.offset.reset": "earliest", **(more or {})}
    return Consumer({"bootstrap.servers": settings.bootstrap, "group.id": group, "log_level": 2, **options})


def origins_read(settings: Settings, admin: AdminClient, consumer: Consumer) -> bool:
    """Whether the group has committed the end of each origin partition that holds anything."""
    # Asked of the admin interface: a consumer would be told to wait while any transaction has an offset in it.
    offsets = committed(admin, settings.group)
    for name in Topics.of(settings).origins:
        for partition in consumer.list_topics(name, timeout=10).topics[name].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=10)
            if high > low and offsets.get((name, partition), 0) < high:
                return False
    return True


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


def committed(admin: AdminClient, group: str, within: float = 30.0) -> dict[tuple[str, int], int]:
    """The committed offsets of a group; a coordinator that is loading or moving is asked again, `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        try:
            found = asked[group].result(10)
        except KafkaException as error:
            if error.args[0].code() not in LOADING or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
            continue
        return {(tp.topic, tp.partition): tp.offset for tp in found.topic_partitions}

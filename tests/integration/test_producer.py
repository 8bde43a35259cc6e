"""The transactional producer on a real Apache Kafka, by both of the protocols that brokers speak."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, MessageSizeTooLargeError, ProducerFenced
from confluent_kafka.admin import AdminClient, NewTopic

from streams.producer import TransactionalProducer
from streams.settings import Settings
from streams.transactions import Message
from tests.support.installation import committed
from tests.support.kafka import admin_client

Box = dict[tuple[str, int], Any]


@pytest.fixture(params=["joined by writing", "added before"], autouse=True)
def protocol(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Brokers of before transaction.version 2 are told by what they have agreed on."""
    if request.param == "added before":
        monkeypatch.setattr("streams.wire.agreed", lambda *_: 1)
    return str(request.param)


@pytest.fixture
def settings(kafka_bootstrap: str, topic_prefix: str) -> Settings:
    """Small batches, so that a few records take several requests."""
    return Settings(bootstrap=kafka_bootstrap, prefix=topic_prefix, group=f"{topic_prefix}group")


@pytest.fixture
def topic(settings: Settings) -> Iterator[str]:
    """A topic of two partitions."""
    name, admin = f"{settings.prefix}lines", AdminClient({"bootstrap.servers": settings.bootstrap})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    yield name
    admin.delete_topics([name])[name].result(30)


@asynccontextmanager
async def owner(settings: Settings, name: str = "owner") -> AsyncIterator[TransactionalProducer]:
    """A started producer of a transactional id."""
    producer = TransactionalProducer(settings, f"{settings.prefix}{name}")
    try:
        async with asyncio.timeout(30):
            await producer.start()
            yield producer
    finally:
        await producer.close()


async def commit(producer: TransactionalProducer, box: Box, offset: int | None = None) -> Box:
    """One transaction; return where its partitions end."""
    settings = producer._settings
    topic = f"{settings.prefix}lines"
    ends = await producer.write(box, settings.group, {} if offset is None else {TopicPartition(topic, 1): offset})
    await producer.end(committed=True)
    return ends


async def lines(settings: Settings, topic: str) -> dict[int, list[tuple[int, bytes | None]]]:
    """Offset and value of every committed record, by partition."""
    tps = [TopicPartition(topic, partition) for partition in range(2)]
    every = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap, isolation_level="read_committed")
    await every.start()
    await consumer.start()
    try:
        # A commit is answered before its markers are written, so the end of the committed ones may come a little later.
        ends = await every.end_offsets(tps)
        consumer.assign(tps)
        await consumer.seek_to_beginning()
        found: dict[int, list[tuple[int, bytes | None]]] = {0: [], 1: []}
        while [tp for tp in tps if await consumer.position(tp) < ends[tp]]:
            for tp, records in (await consumer.getmany(timeout_ms=20)).items():
                found[tp.partition] += [(record.offset, record.value) for record in records]
        return found
    finally:
        await every.stop()
        await consumer.stop()


def test_transactions_follow_each_other(settings: Settings, topic: str) -> None:
    """Each is there as a whole, in order, and says where it ends; offsets travel with records, or alone."""

    async def story() -> dict[int, list[tuple[int, bytes | None]]]:
        async with owner(settings) as producer:
            for number in range(20):
                messages = [Message(b"k", b"%d/%d" % (number, each)) for each in range(number)]
                ends = await commit(producer, {(topic, number % 2): messages}, number)
                if number in (0, 1, 2, 3, 19):
                    found = await lines(settings, topic)
                    assert ends == ({(topic, number % 2): found[number % 2][-1][0] + 1} if messages else {})
        return found

    found = asyncio.run(story())
    for partition in (0, 1):
        expected = [b"%d/%d" % (number, each) for number in range(partition, 20, 2) for each in range(number)]
        assert [value for _, value in found[partition]] == expected
    assert committed(admin_client(settings.bootstrap), settings.group)[topic, 1] == 19


def test_a_transaction_of_many_requests_keeps_its_order(settings: Settings, topic: str) -> None:
    """Some megabytes a partition, of records of all sizes up to the limit."""
    sizes = [900_000, 10, 500_000, 480_000, 1, 700_000, *[60_000] * 40]
    messages = [Message(b"%d" % number, b"x" * size) for number, size in enumerate(sizes)]

    async def story() -> dict[int, list[tuple[int, bytes | None]]]:
        async with owner(settings) as producer:
            ends = await commit(producer, {(topic, 0): messages, (topic, 1): messages[:3]})
        found = await lines(settings, topic)
        assert ends == {(topic, partition): found[partition][-1][0] + 1 for partition in (0, 1)}
        return found

    found = asyncio.run(story())
    assert [len(value or b"") for _, value in found[0]] == sizes
    assert [len(value or b"") for _, value in found[1]] == sizes[:3]


def test_what_an_owner_left_open_is_never_seen(settings: Settings, topic: str) -> None:
    """The next one's start ends it, and whatever the former tries after that is refused."""

    async def story() -> dict[int, list[tuple[int, bytes | None]]]:
        async with owner(settings) as former:
            await commit(former, {(topic, 0): [Message(b"k", b"kept")]})
            await former.write({(topic, 0): [Message(b"k", b"left open")]}, settings.group, {})
            async with owner(settings) as later:
                with pytest.raises((ProducerFenced, InvalidProducerEpoch)):
                    await former.end(committed=True)
                await commit(later, {(topic, 0): [Message(b"k", b"of the later")]}, 7)
                with pytest.raises((ProducerFenced, InvalidProducerEpoch)):
                    await commit(former, {(topic, 0): [Message(b"k", b"too late")]}, 5)
        return await lines(settings, topic)

    assert [value for _, value in asyncio.run(story())[0]] == [b"kept", b"of the later"]
    assert committed(admin_client(settings.bootstrap), settings.group)[topic, 1] == 7


def test_a_refused_record_leaves_nothing(settings: Settings, topic: str) -> None:
    """A record larger than the broker takes fails its whole transaction, which is given up; the next is taken."""

    async def story() -> dict[int, list[tuple[int, bytes | None]]]:
        async with owner(settings) as producer:
            small, large = [Message(b"k", b"small")], [Message(b"k", b"x" * 3_000_000)]
            with pytest.raises(MessageSizeTooLargeError):
                await commit(producer, {(topic, 0): small, (topic, 1): large}, 9)
            await producer.end(committed=False)
        async with owner(settings) as producer:
            await commit(producer, {(topic, 1): [Message(b"k", b"next")]}, 1)
        return await lines(settings, topic)

    found = asyncio.run(story())
    assert [value for _, value in found[0]] == []
    assert [value for _, value in found[1]] == [b"next"]
    assert committed(admin_client(settings.bootstrap), settings.group)[topic, 1] == 1


def test_a_repeated_request_adds_nothing(settings: Settings, topic: str) -> None:
    """A request whose answer was lost is sent again as it was: the broker knows it by its sequence number."""

    async def story() -> dict[int, list[tuple[int, bytes | None]]]:
        async with owner(settings) as producer:
            messages = [Message(b"k", b"once")]
            if not producer._joined_by_writing:
                await producer._add_partitions({(topic, 0): messages})
            batches = next(producer._rounds({(topic, 0): messages}))
            first = await producer._send(batches)
            assert await producer._send(batches) == first
            await producer.end(committed=True)
            await commit(producer, {(topic, 0): [Message(b"k", b"and then")]})
        return await lines(settings, topic)

    assert [value for _, value in asyncio.run(story())[0]] == [b"once", b"and then"]

"""Delivery on real brokers: groups, rebalances, transactions of the engine, kills."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from connectors import kafka
from connectors.broker import OffsetOutsideLog, Record
from connectors.delivery import Delivery
from connectors.handling import Terms
from connectors.kafka import KafkaBroker, KafkaGroup
from connectors.names import Names
from schemas.action import Action, Withdrawal
from schemas.codec import decode_outcome, encode_action, encode_json
from tests.connectors.support import QUICK, RecordingSink, action, until

PARTITIONS = 3
TERMS: Terms = replace(QUICK, freshness=1.0, commit_every=0.2)


async def make_topics(bootstrap: str, names: Names) -> None:
    """Make the topics that the engine would."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    topics = [names.actions, names.withdrawn, names.suppressions, names.identities, names.control]
    topics += [names.outcomes, names.dead_actions]
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
    await admin.close()


@contextlib.asynccontextmanager
async def producing(bootstrap: str, transactional_id: str | None = None) -> AsyncIterator[AIOKafkaProducer]:
    """A producer as the engine's."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=transactional_id)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def dump(bootstrap: str, topic: str) -> list[Record]:
    """Return all committed records of a topic."""
    broker = KafkaBroker(bootstrap)
    tail = await broker.tail(topic)
    found: list[Record] = []
    ends = await tail.ends()
    positions = await tail.positions()
    while any(positions[partition] < end for partition, end in ends.items()):
        found += await tail.read()
        positions = await tail.positions()
    await tail.close()
    await broker.close()
    return found


class Process:
    """A sink's process in this loop, which can be stopped, or killed as by SIGKILL."""

    def __init__(
        self, bootstrap: str, names: Names, sink: RecordingSink, terms: Terms = TERMS, *, embedded: bool = False
    ) -> None:
        self.sink = sink
        self.broker = KafkaBroker(bootstrap, embedded=embedded)
        self.runtime = Delivery(sink, terms, names, self.broker)
        self.stopping = asyncio.Event()
        self.task = asyncio.create_task(self.runtime.run(self.stopping))

    async def serving(self) -> None:
        """Wait until it serves."""
        await until(lambda: self.runtime.state == "serving" or self.task.done(), 30)
        if self.task.done():
            self.task.result()

    async def stop(self) -> None:
        """Stop in an orderly way."""
        self.stopping.set()
        await asyncio.wait_for(self.task, 20)
        await self.broker.close()


def actions(count: int, start: int = 0) -> list[Action]:
    """Return actions of as many customers."""
    return [action(customer=f"c{n}", profile=f"customer:c{n}") for n in range(start, start + count)]


async def publish(bootstrap: str, names: Names, found: list[Action], transactional_id: str | None = None) -> None:
    """Publish actions as the engine does."""
    async with (
        producing(bootstrap, transactional_id) as producer,
        producer.transaction() if transactional_id else contextlib.nullcontext(),
    ):
        for one in found:
            await producer.send(names.actions, encode_action(one), (one.customer or "").encode())
        await producer.flush()


async def settled(bootstrap: str, names: Names, count: int) -> list[str]:
    """Wait for so many outcomes and return their kinds, sorted."""
    async with asyncio.timeout(120):  # a member that could not say good-bye is missed after a session timeout
        while len(found := await dump(bootstrap, names.outcomes)) < count:
            await asyncio.sleep(0.05)
    return sorted(decode_outcome(record.value, record.headers).kind for record in found)


def test_what_was_read_before_the_listener_knew_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aiokafka hands out records of a partition before it says that the partition is ours: we go back, then take it."""
    told: list[object] = []

    class Consumer:
        async def beginning_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
            return dict.fromkeys(tps, 3)

        async def end_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
            return dict.fromkeys(tps, 50)

        def seek(self, tp: TopicPartition, offset: int) -> None:
            told.append((tp.partition, offset))

    async def committed(_: Consumer, tp: TopicPartition) -> int | None:
        return {0: 7}.get(tp.partition)

    async def listener(partitions: list[int]) -> None:
        told.append(partitions)

    async def main() -> None:
        monkeypatch.setattr(kafka, "committed", committed)
        group = KafkaGroup(Consumer(), "t", listener, listener)
        await group.listener.on_partitions_assigned({TopicPartition("t", 0), TopicPartition("t", 1)})
        assert sorted(told[:2], key=str) == [(0, 7), (1, 3)]
        assert told[2:] == [[0, 1]]

    asyncio.run(main())


def test_on_the_embedded_broker(embedded_bootstrap: str, topic_prefix: str) -> None:
    """Without transactions and compaction: delivered once, withdrawn known, a restart repeats nothing."""
    names = Names(topic_prefix, "email")

    async def main() -> None:
        await make_topics(embedded_bootstrap, names)
        found = actions(10)
        async with producing(embedded_bootstrap) as producer:
            gone = Withdrawal(
                action_id=found[0].action_id, channel="email", profile="", customer=None, reason="goal", at=1
            )
            await producer.send_and_wait(names.withdrawn, encode_json(gone), found[0].action_id.encode())
        await publish(embedded_bootstrap, names, found)
        first = Process(embedded_bootstrap, names, RecordingSink(), embedded=True)
        assert await settled(embedded_bootstrap, names, 10) == ["delivered"] * 9 + ["withdrawn"]
        await first.stop()
        second = Process(embedded_bootstrap, names, RecordingSink(), embedded=True)
        await second.serving()
        await publish(embedded_bootstrap, names, actions(1, 50))
        await settled(embedded_bootstrap, names, 11)
        await second.stop()
        assert len(first.sink.calls) == 9
        assert len(second.sink.calls) == 1

    asyncio.run(main())


def test_only_committed_actions_are_delivered(kafka_bootstrap: str, topic_prefix: str) -> None:
    """What the engine aborts is never sent, and an aborted end of a topic holds up nobody."""
    names = Names(topic_prefix, "email")

    async def main() -> None:
        await make_topics(kafka_bootstrap, names)
        good, bad = actions(5), actions(5, 10)
        await publish(kafka_bootstrap, names, good, topic_prefix + "tx")
        async with producing(kafka_bootstrap, topic_prefix + "tx") as producer:
            await producer.begin_transaction()
            for one in bad:
                gone = Withdrawal(action_id=one.action_id, channel="email", profile="", customer=None, reason="", at=1)
                await producer.send_and_wait(names.withdrawn, encode_json(gone), one.action_id.encode())
                await producer.send_and_wait(names.actions, encode_action(one), b"c")
            await producer.abort_transaction()
        process = Process(kafka_bootstrap, names, RecordingSink())
        assert await settled(kafka_bootstrap, names, 5) == ["delivered"] * 5
        await process.stop()
        assert sorted(process.sink.delivered) == sorted(one.action_id for one in good)

    asyncio.run(main())


def test_members_share_and_hand_over(kafka_bootstrap: str, topic_prefix: str) -> None:
    """A second process joins while the first is busy, then the first leaves: every action is called once."""
    names = Names(topic_prefix, "email")

    async def main() -> None:
        await make_topics(kafka_bootstrap, names)
        sinks = RecordingSink(), RecordingSink()

        async def slow(_: Action) -> None:
            await asyncio.sleep(0.01)

        for sink in sinks:
            sink.during = slow
        first = Process(kafka_bootstrap, names, sinks[0])
        await first.serving()
        await publish(kafka_bootstrap, names, actions(300))
        await until(lambda: len(sinks[0].calls) > 20, 20)
        second = Process(kafka_bootstrap, names, sinks[1])
        await until(lambda: len(sinks[0].calls) + len(sinks[1].calls) >= 150, 30)
        await publish(kafka_bootstrap, names, actions(200, 300))
        await until(lambda: len(sinks[1].calls) > 10, 30)
        await first.stop()
        assert await settled(kafka_bootstrap, names, 500) == ["delivered"] * 500
        await second.stop()
        called = sinks[0].delivered + sinks[1].delivered
        assert len(called) == len(set(called)) == 500

    asyncio.run(main())


@pytest.mark.parametrize(
    ("rule", "calls", "kinds"), [("drop", 1, ["uncertain"]), ("repeat", 2, ["delivered", "uncertain"])]
)
def test_killed_between_started_and_done(
    kafka_bootstrap: str, topic_prefix: str, rule: str, calls: int, kinds: list[str]
) -> None:
    """A process that dies in the call leaves a doubt; the next owner resolves it by the action's rule."""
    names = Names(topic_prefix, "email")

    async def main() -> None:
        await make_topics(kafka_bootstrap, names)
        one = action(if_uncertain=rule)
        await publish(kafka_bootstrap, names, [one])
        sink = RecordingSink()
        calling = asyncio.Event()

        async def hang(_: Action) -> None:
            calling.set()
            await asyncio.sleep(3600)

        sink.during = hang
        first = Process(kafka_bootstrap, names, sink, replace(TERMS, drain=0.1))
        await asyncio.wait_for(calling.wait(), 30)
        await first.stop()
        second = Process(kafka_bootstrap, names, RecordingSink())
        assert await settled(kafka_bootstrap, names, len(kinds)) == kinds
        await second.stop()
        assert len(sink.calls) + len(second.sink.calls) == calls

    asyncio.run(main())


def test_a_committed_offset_outside_the_log_stops_the_sink(kafka_bootstrap: str, topic_prefix: str) -> None:
    """Nothing resets by itself: the topic was made anew, and somebody must look."""
    names = Names(topic_prefix, "email")

    async def main() -> None:
        await make_topics(kafka_bootstrap, names)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka_bootstrap, group_id=names.group("email"), enable_auto_commit=False
        )
        await consumer.start()
        consumer.assign([TopicPartition(names.actions, 0)])
        await consumer.commit({TopicPartition(names.actions, 0): 77})
        await consumer.stop()
        process = Process(kafka_bootstrap, names, RecordingSink())
        with pytest.raises(OffsetOutsideLog, match="77 is outside the log"):
            await asyncio.wait_for(process.task, 30)
        await process.broker.close()

    asyncio.run(main())

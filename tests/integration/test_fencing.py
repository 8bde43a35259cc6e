"""A lane fences whoever served its partition before: the broker refuses what a zombie still tries."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced
from aiokafka.structs import TopicPartition

from streams.records import read
from streams.transactions import Fenced, Message, Outbox, TransactionalLane
from tests.support.installation import Installation, committed
from tests.support.randomlog import DEFINITIONS


def test_a_fenced_producer_writes_nothing(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """A lane begun by another owner aborts what its predecessor left open, and refuses whatever that one tries then."""
    installation = Installation(kafka_bootstrap, topic_prefix, DEFINITIONS, tmp_path)
    installation.start()
    installation.stop()
    settings, topics = installation.settings, installation.topics
    source, target = TopicPartition(topics.touchpoints, 0), (topics.decisions, 0)

    def box(text: bytes) -> Outbox:
        made = Outbox()
        made.outputs[target].append(Message(b"fencing", text))
        return made

    async def story() -> None:
        lanes = [TransactionalLane(settings, source) for _ in range(3)]
        first, second, third = lanes
        await first.start()
        await first.commit(box(b"1 of the first owner"), 1)
        producer = first._producer
        assert producer is not None
        await producer.write(box(b"2 left open by the first").outputs, settings.group, {})
        await second.start()
        with pytest.raises((ProducerFenced, InvalidProducerEpoch)):
            await producer.end(committed=True)
        await second.commit(box(b"3 of the second owner"), 2)
        await third.start()
        with pytest.raises(Fenced):
            await second.commit(box(b"4 of the second, after it was fenced"), 4)
        await third.commit(box(b"5 of the third owner"), 3)
        for lane in lanes:
            await lane.close()

    asyncio.run(story())
    seen = [record.value for record in read(settings, topics.decisions) if record.key == b"fencing"]
    assert seen == [b"1 of the first owner", b"3 of the second owner", b"5 of the third owner"]
    assert committed(installation.admin, settings.group)[topics.touchpoints, 0] == 3

"""Committed offsets, as a coordinator that has read its log knows them; for sinks and workers alike.

`AIOKafkaConsumer.committed` looks at the errors of partitions only. From version 2 of its answer a coordinator says for
the group as a whole that it is still loading, as after a restart of its broker, and names no partition: to aiokafka
0.14.0 that is a group without offsets (326 of 4,518 questions around four restarts of an Apache Kafka 4.1.1), and who
believes it reads everything again.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, NotCoordinatorForGroupError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest

RETRY_SECONDS = 0.05


async def committed(consumer: AIOKafkaConsumer, tp: TopicPartition) -> int | None:
    """Return the offset that the consumer's group has committed, None when there is none.

    Waits for a coordinator that knows. Raises KafkaError when it refuses.
    """
    coordinator = consumer._coordinator  # noqa: SLF001 - aiokafka's own way to ask forgets the group's error
    request = OffsetFetchRequest(coordinator.group_id, [(tp.topic, [tp.partition])])
    while True:
        await coordinator.ensure_coordinator_known()
        try:
            return _offset(await coordinator._send_req(request), tp)  # noqa: SLF001 - as above
        except KafkaError as error:
            if not error.retriable:
                raise
            if isinstance(error, NotCoordinatorForGroupError):
                coordinator.coordinator_dead()
        await asyncio.sleep(RETRY_SECONDS)


def _offset(answer: Any, tp: TopicPartition) -> int | None:
    if answer.error_code:
        raise for_code(answer.error_code)
    for topic, partitions in answer.topics:
        for partition, offset, _, code in partitions:
            if code:
                raise for_code(code)
            if (topic, partition) == (tp.topic, tp.partition):
                return int(offset) if offset >= 0 else None
    raise KafkaError(f"the coordinator's answer lacks {tp.topic}-{tp.partition}")

"""Record batches as a faulty producer would write them: header names of any bytes, which no client lets through."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

if TYPE_CHECKING:
    from collections.abc import Sequence

Header = tuple[bytes, bytes | None]
Foreign = tuple[bytes | None, bytes | None, list[Header]]


class Name(str):
    """A header's name of one's choice; stands for itself in Latin-1."""

    __slots__ = ()

    def encode(self, *_: str) -> bytes:
        """Return the bytes."""
        return super().encode("latin-1")


def _builder(records: Sequence[Foreign], codec: int, producer: int) -> _DefaultRecordBatchBuilderPy:
    builder = _DefaultRecordBatchBuilderPy(
        2,
        codec,
        is_transactional=int(producer >= 0),
        producer_id=producer,
        producer_epoch=-1,
        base_sequence=0,
        batch_size=1_000_000,
    )
    for offset, (key, value, headers) in enumerate(records):
        named: list[tuple[str, bytes | None]] = [(Name(name.decode("latin-1")), found) for name, found in headers]
        assert builder.append(offset, 1000 + offset, key, value, named) is not None
    return builder


def batch(base: int, records: Sequence[Foreign], codec: int = 0, producer: int = -1) -> bytes:
    """One batch from offset `base` on; with a `producer`, of that one's transaction."""
    data = bytearray(_builder(records, codec, producer).build())
    data[:8] = base.to_bytes(8, "big")  # stands before what the checksum covers
    return bytes(data)


async def _publish(bootstrap: str, topic: str, partition: int, records: Sequence[Foreign]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        made = producer.create_batch()
        made._builder = _builder(records, 0, -1)
        made._relative_offset = len(records)
        await (await producer.send_batch(made, topic, partition=partition))
    finally:
        await producer.stop()


def publish(bootstrap: str, topic: str, partition: int, records: Sequence[Foreign]) -> None:
    """Publish them as one batch."""
    asyncio.run(_publish(bootstrap, topic, partition, records))

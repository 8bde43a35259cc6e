"""Standbys: warm copies of partitions that other members own, so that who takes one over recovers its tail only.

Which partitions, Faust's assignor says with each assignment: it gives every journal partition to as many other members
as POLKU_STANDBYS asks for, and when its owner goes, to one of those first. A standby follows the changelog as recovery
does, committed records only, into a store of the same kind at the same place. When the partition becomes this member's
own, its task takes the store as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streams import logs
from streams.stores import StoreError

if TYPE_CHECKING:
    from streams.shell import Shell
    from streams.stores import PartitionStore

POLL_SECONDS = 0.5
IDLE_SECONDS = 0.1
FAILED_SECONDS = 5.0
# Writing so many takes some 5 ms, for which the tasks of this member wait.
SLICE = 1000

say = logs.errors("standby")


class Standbys:
    """The partitions that this member keeps warm."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._wanted: set[int] = set()
        self._stores: dict[int, PartitionStore] = {}
        # What the consumer reads, and into which stores.
        self._followed: dict[int, PartitionStore] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._following: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to follow, if there are to be standbys."""
        settings = self._shell.settings
        if not settings.standbys:
            return
        self._consumer = AIOKafkaConsumer(
            **settings.aiokafka(),
            client_id=f"{settings.group}-standby",
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed" if settings.exactly_once else "read_uncommitted",
        )
        await self._consumer.start()
        self._following = asyncio.create_task(self._follow_again_and_again(), name="standbys")

    async def stop(self) -> None:
        """Follow no more."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        if self._consumer is not None:
            await self._consumer.stop()
        self.keep(set(), set())

    def keep(self, wanted: set[int], owned: set[int]) -> None:
        """Keep these partitions warm from now on; what is open of those that are owned waits for their tasks."""
        self._wanted = wanted - owned if self._consumer is not None else set()
        for partition in set(self._stores) - self._wanted - owned:
            self._stores.pop(partition).close()

    def take(self, partition: int) -> PartitionStore | None:
        """Hand over a partition's store, if there is one; it is the caller's from then on."""
        self._wanted.discard(partition)
        return self._stores.pop(partition, None)

    async def _follow_again_and_again(self) -> None:
        while True:
            try:
                await self._open()
                await self._follow()
            except OffsetOutOfRangeError as error:
                # It is not the changelog that the store is a copy of; whoever takes the partition over finds out too.
                for tp in error.args[0]:
                    self._give_up(tp.partition, "its store does not fit the changelog")
            except (KafkaError, OSError) as error:
                say("partitions cannot be kept warm at the moment", error=f"{type(error).__name__}: {error}")
                await asyncio.sleep(FAILED_SECONDS)

    def _give_up(self, partition: int, error: object) -> None:
        """Keep a partition warm no more until the next assignment: what is missing in its store stays missing."""
        say("a partition is not kept warm until the group's next rebalance", partition=partition, error=str(error))
        if (store := self.take(partition)) is not None:
            store.close()

    async def _open(self) -> None:
        """Open the stores of what is wanted; read from where each stands when anything has changed."""
        consumer, topic = self._consumer, self._shell.topics.changelog
        assert consumer is not None
        for partition in self._wanted - set(self._stores):
            try:
                self._stores[partition] = self._shell.table.make(partition)
            except StoreError as error:
                self._give_up(partition, error)
        if self._followed == self._stores:
            return
        tps = [TopicPartition(topic, partition) for partition in self._stores]
        begins = await consumer.beginning_offsets(tps) if tps else {}
        self._followed = {tp.partition: self._stores[tp.partition] for tp in tps if tp.partition in self._stores}
        consumer.assign([TopicPartition(topic, partition) for partition in self._followed])
        for partition, store in self._followed.items():
            tp = TopicPartition(topic, partition)
            consumer.seek(tp, max(begins[tp], store.offset))
        self._shell.metrics.standbys.set(len(self._followed))

    async def _follow(self) -> None:
        consumer = self._consumer
        assert consumer is not None
        if not self._followed:
            await asyncio.sleep(IDLE_SECONDS)
            return
        fetched = await consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000), max_records=SLICE)
        for tp, records in fetched.items():
            store = self._followed.get(tp.partition)
            # Taken while it was being fetched for, a store is its task's: it goes on by itself. No await from here on.
            if store is not None and self._stores.get(tp.partition) is store:
                try:
                    store.ingest([(record.key, record.value) for record in records], records[-1].offset + 1)
                except StoreError as error:
                    self._give_up(tp.partition, error)
                self._shell.metrics.standby_records.inc(len(records))

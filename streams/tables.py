"""The profiles table: a Faust Table whose store is ours, and the recovery that brings it up to date.

Faust's own recovery reads changelogs through the group's consumer, before any producer is fenced. Ours is each task's
own (`recover`), in the order that exactly-once needs: the task's producer first, then the committed offset, then the
changelog. So `TableManager` and `Recovery` only hand Faust's assignments to the tasks and let the streams flow.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from aiokafka import AIOKafkaConsumer, TopicPartition
from faust import Table
from faust.stores.base import Store
from faust.tables.manager import TableManager as FaustTableManager
from mode import Service

from schemas.journal import partition_of
from streams.engine.store import MemoryStore
from streams.settings import StoreKind
from streams.stores import ChangelogShorter, PartitionStore, Resources, RocksStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.settings import Settings

RECOVERY_FETCH = 10_000
# Of the default, 1 MB, a fetch brings some 800 states; with four times as much recovery is 1.5 times as fast.
FETCH_BYTES = 4 << 20


class ProfilesStore(Store[Any, Any]):
    """Faust's view of the open partitions: reads only, the tasks write after their commits."""

    table: ProfilesTable

    def _clear(self) -> NoReturn:
        raise NotImplementedError("profiles change through the journal only")

    def __setitem__(self, key: Any, value: Any) -> None:
        self._clear()

    def __delitem__(self, key: Any) -> None:
        self._clear()

    def apply_changelog_batch(self, *_: Any, **__: Any) -> None:
        """Refuse: recovery is the tasks' own."""
        self._clear()

    async def backup_partition(self, *_: Any, **__: Any) -> None:
        """Refuse: the changelog is the backup."""
        self._clear()

    def restore_backup(self, *_: Any, **__: Any) -> None:
        """Refuse: the changelog is the backup."""
        self._clear()

    def reset_state(self) -> None:
        """Keep: a store is dropped by the task that doubts it."""

    def persisted_offset(self, tp: Any) -> int | None:
        """Return the changelog offset that a partition includes."""
        store = self.table.partitions_open.get(tp.partition)
        return store.offset if store else None

    def __getitem__(self, key: Any) -> Any:
        store = self.table.partitions_open.get(partition_of(key, self.table.partitions or 1))
        stored = store.load(key) if store else None
        if stored is None:
            raise KeyError(key)
        return stored[0]

    def __contains__(self, key: Any) -> bool:
        try:
            self[key]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[Any]:
        return (profile for store in self.table.partitions_open.values() for profile, _ in store.items())

    def __len__(self) -> int:
        return sum(store.size()[0] for store in self.table.partitions_open.values())


class ProfilesTable(Table[Any, Any]):
    """Encoded profile states by profile, for the partitions that this worker owns."""

    def __init__(self, app: Any, *, topic: str, settings: Settings, topic_id: str = "") -> None:
        super().__init__(
            app,
            name="profiles",
            key_type=bytes,
            value_type=bytes,
            partitions=settings.journal_partitions,
            changelog_topic=app.topic(topic, partitions=settings.journal_partitions, acks=False),
        )
        self.settings, self.topic, self.topic_id = settings, topic, topic_id
        self.partitions_open: dict[int, PartitionStore] = {}
        self._resources = Resources()

    def _new_store(self) -> ProfilesStore:
        return ProfilesStore("polku://", self.app, self, table_name=self.name)

    async def on_start(self) -> None:
        """Start without declaring the changelog: the preflight has created it."""
        await self.add_runtime_dependency(self.data)

    def make(self, partition: int) -> PartitionStore:
        """Open a partition's store, or make it. Raises StoreBusy and StoreFailed."""
        if self.settings.store is StoreKind.MEMORY:
            return MemoryStore()
        return RocksStore(self.path(partition), self.topic_id, self._resources)

    def open(self, partition: int, warm: PartitionStore | None) -> PartitionStore:
        """Open the store of a partition that is this worker's own, unless it is warm already. Raises as `make`."""
        store = self.partitions_open[partition] = warm or self.make(partition)
        return store

    def path(self, partition: int) -> Path:
        """Return the folder of a partition's store."""
        return self.settings.data_dir / self.settings.group / self.topic / str(partition)

    def release(self, partition: int) -> None:
        """Close a partition's store."""
        if (store := self.partitions_open.pop(partition, None)) is not None:
            store.close()


async def recover(settings: Settings, changelog: TopicPartition, store: PartitionStore) -> int:
    """Read the changelog to its last stable offset into the store; return how many records that took.

    The task's producer must have started before: what its predecessor left open is settled then, so the end is final.
    """
    consumer = AIOKafkaConsumer(
        **settings.aiokafka(),
        client_id=f"{settings.group}-recovery-{changelog.partition}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed" if settings.exactly_once else "read_uncommitted",
        fetch_max_wait_ms=100,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    await consumer.start()
    try:
        consumer.assign([changelog])
        begin = (await consumer.beginning_offsets([changelog]))[changelog]
        end = (await consumer.end_offsets([changelog]))[changelog]
        if store.offset > end:
            raise ChangelogShorter(changelog, store.offset, end)
        consumer.seek(changelog, max(begin, store.offset))
        bulk = not store.offset
        read = 0
        # Logs end in control records, so the position tells, not the last record.
        while (position := await consumer.position(changelog)) < end:
            fetched = await consumer.getmany(changelog, timeout_ms=200, max_records=RECOVERY_FETCH)
            records = fetched.get(changelog, [])
            if not records:
                continue
            read += len(records)
            pairs = [(record.key, record.value) for record in records]
            store.ingest(pairs, await consumer.position(changelog), bulk=bulk)
            await asyncio.sleep(0)
        if position > store.offset:
            store.ingest([], position)
    finally:
        await consumer.stop()
    return read


class Recovery(Service):
    """Faust's hook for table recovery: streams flow at once, since every task holds its partition until recovered."""

    in_recovery = False

    def __init__(self, app: Any, tables: TableManager, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.app, self.tables = app, tables
        self.completed = asyncio.Event()

    def on_partitions_revoked(self, _: Any) -> None:
        """Do nothing: the tasks learn of it through the app's signal, which is awaited."""

    async def on_rebalance(self, assigned: Any, _revoked: Any, _new: Any, generation_id: int = 0) -> None:
        """Hand the assignment to the tasks, then let the streams flow."""
        if generation_id != self.app.consumer_generation_id:
            return  # another rebalance has begun
        await self.app.polku_tasks.assigned({TopicPartition(*tp) for tp in assigned})
        self.app.polku_standbys.keep(*self._partitions(assigned))
        await self.app.on_rebalance_complete.send()
        self.completed.set()
        self.app.flow_control.resume()
        self.app.consumer.resume_flow()
        await self.app._fetcher.maybe_start()  # noqa: SLF001 - as Faust's own recovery does
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        self.app.on_rebalance_end()

    def _partitions(self, assigned: Any) -> tuple[set[int], set[int]]:
        """The journal partitions that the assignor wants to be kept warm here, and those that are this member's."""
        journal, standbys = self.app.polku_journal, self.app.assignor.assigned_standbys()
        return _of(journal, standbys), _of(journal, assigned)


def _of(topic: str, tps: Any) -> set[int]:
    return {tp.partition for tp in tps if tp.topic == topic}


class TableManager(FaustTableManager):
    """Starts tables without subscribing to their changelogs."""

    Recovery: ClassVar[type[Recovery]] = Recovery

    @property
    def recovery(self) -> Any:
        """Our recovery."""
        if self._recovery is None:
            ours: Any = self.Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
            self._recovery = ours
        return self._recovery

    async def on_start(self) -> None:
        """Start at once: there are no channels to wait for."""
        await self._update_channels()
        await self.recovery.start()

    async def _update_channels(self) -> None:
        self._tables_finalized.set()
        for table in self.values():
            await table.maybe_start()
        self._tables_registered.set()

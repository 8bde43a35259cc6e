"""Warm copies have no gaps: what was not written is not passed over, what was handed over is not written to."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka.structs import TopicPartition

from streams.engine.store import MemoryStore
from streams.metrics import Metrics
from streams.settings import Settings
from streams.standby import Standbys
from streams.stores import StoreBusy, StoreFailed
from streams.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class FakeConsumer:
    """Hands out two records of each assigned partition at a time, from where it was sought."""

    def __init__(self) -> None:
        self.positions: dict[TopicPartition, int] = {}
        self.meanwhile: Callable[[], object] = lambda: None

    async def beginning_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        """All begin at 3: the changelog was compacted."""
        return dict.fromkeys(tps, 3)

    def assign(self, tps: list[TopicPartition]) -> None:
        """Read these, from where they are sought."""
        self.positions = dict.fromkeys(tps, -1)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Go on from there."""
        self.positions[tp] = offset

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        """Two records each."""
        found = {}
        for tp, at in self.positions.items():
            found[tp] = [SimpleNamespace(key=b"customer:c", value=None, offset=at + more) for more in range(2)]
            self.positions[tp] = at + 2
        self.meanwhile()
        return found


class Full(MemoryStore):
    """A store whose disk is full."""

    def ingest(self, *_: Any, **__: Any) -> None:
        """Fail."""
        raise StoreFailed("no space left")


def standbys(stores: dict[int, Any]) -> tuple[Standbys, FakeConsumer]:
    """Standbys over these stores, not started; an exception instead of a store is raised."""

    def make(partition: int) -> Any:
        found = stores[partition]
        if isinstance(found, Exception):
            raise found
        return found

    settings = Settings(standbys=1)
    shell: Any = SimpleNamespace(
        settings=settings, topics=Topics.of(settings), metrics=Metrics(), table=SimpleNamespace(make=make)
    )
    made, consumer = Standbys(shell), FakeConsumer()
    made._consumer = consumer
    return made, consumer


def follow(made: Standbys, times: int = 1) -> None:
    """Let it read."""

    async def turns() -> None:
        for _ in range(times):
            await made._open()
            await made._follow()

    asyncio.run(turns())


def test_a_copy_goes_on_from_its_offset() -> None:
    """Or from the changelog's beginning; the task gets the very store."""
    stores = {0: MemoryStore(), 1: MemoryStore()}
    stores[1].ingest([], 10)
    made, _ = standbys(stores)
    made.keep({0, 1}, set())
    follow(made, 3)
    assert (stores[0].offset, stores[1].offset) == (9, 16)
    assert made.take(1) is stores[1]
    assert made.take(1) is None
    follow(made, 2)
    assert (stores[0].offset, stores[1].offset) == (13, 16)


def test_a_copy_taken_while_it_is_read_for_is_not_written_to() -> None:
    """What was fetched for it is its task's to read."""
    stores = {0: MemoryStore(), 1: MemoryStore()}
    made, consumer = standbys(stores)
    made.keep({0, 1}, set())
    follow(made)
    consumer.meanwhile = lambda: made.take(1)
    follow(made)
    assert (stores[0].offset, stores[1].offset) == (7, 5)


def test_a_copy_that_becomes_owned_waits_for_its_task() -> None:
    """It is neither closed nor written to by the assignment itself."""
    stores = {0: MemoryStore()}
    made, _ = standbys(stores)
    made.keep({0}, set())
    follow(made)
    made.keep(set(), {0})
    assert made.take(0) is stores[0]


def test_what_cannot_be_written_or_opened_is_given_up(tmp_path: Path) -> None:
    """Later records would leave a gap; other partitions are kept warm all the same, and the next assignment tries."""
    stores: dict[int, Any] = {0: Full(), 1: MemoryStore(), 2: StoreBusy(tmp_path)}
    made, _ = standbys(stores)
    made.keep({0, 1, 2}, set())
    follow(made, 4)
    assert (stores[0].offset, stores[1].offset) == (0, 11)
    assert made.take(0) is None
    stores[0], stores[2] = MemoryStore(), MemoryStore()
    made.keep({0, 1, 2}, set())
    follow(made, 2)
    assert (stores[0].offset, stores[1].offset, stores[2].offset) == (7, 15, 7)

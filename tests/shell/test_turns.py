"""Partitions share a worker: one whose entries take long lets the others have their turns."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from aiokafka.structs import TopicPartition

from schemas import journal
from streams.engine.partition import Partition
from streams.engine.store import MemoryStore
from streams.journeys import JourneysTask
from streams.metrics import Metrics
from streams.settings import Settings
from streams.simulator import activations
from streams.topics import Topics
from tests.engine.making import START, event, library
from tests.engine.test_fairness import HOSTILE


async def _turns(records: list[Any]) -> tuple[int, int]:
    """How many records were taken, and how often another coroutine had its turn meanwhile."""
    settings = Settings()
    topics = Topics.of(settings)
    shell: Any = SimpleNamespace(settings=settings, topics=topics, metrics=Metrics(), counts={topics.journal: 1})
    task = JourneysTask(shell, TopicPartition(topics.journal, 0))
    known = library(HOSTILE["arrivals"])
    task._partition = Partition(0, 1, known, MemoryStore())
    for offset, entry in enumerate(activations(known)):
        task._partition.apply(offset, entry)
    turns = 0

    async def another() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(another())
    await asyncio.sleep(0)
    before = turns
    taken = await task.absorb(records)
    other.cancel()
    return taken, turns - before


def test_a_slice_that_takes_long_is_interrupted() -> None:
    """Two thousand customers run into a loop, 0.3 ms each: whoever waits meanwhile is served."""
    entries = [event(f"customer:c-{number}", f"e-{number}", "hello", START) for number in range(2000)]
    records = [
        SimpleNamespace(offset=10 + number, key=each.profile.encode(), value=journal.encode(each))
        for number, each in enumerate(entries)
    ]
    taken, turns = asyncio.run(_turns(records))
    assert taken == 2000
    assert turns >= 3

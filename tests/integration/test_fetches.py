"""What a fetch brings reaches its task, whatever changes while the fetch is under way."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from streams.transport import FetchThread

A, B = TopicPartition("touchpoints", 0), TopicPartition("touchpoints", 1)


class Consumer:
    """A consumer whose fetch moves the positions, and during which `meanwhile` happens."""

    def __init__(self, meanwhile: Any) -> None:
        self.asked: list[set[TopicPartition]] = []
        self._meanwhile = meanwhile
        self._fetcher = SimpleNamespace()

    async def getmany(self, *tps: TopicPartition, **_: int) -> dict[TopicPartition, list[str]]:
        """Return one record of each partition."""
        self.asked.append(set(tps))
        self._meanwhile()
        return {tp: ["record"] for tp in tps}

    def assignment(self) -> set[TopicPartition]:
        """Return nothing, so that nothing is paused."""
        return set()


def thread(meanwhile: Any) -> tuple[FetchThread, Consumer]:
    """A fetch thread without Kafka, with both partitions open."""
    made, consumer = FetchThread.__new__(FetchThread), Consumer(meanwhile)
    made.settings = SimpleNamespace(max_poll_records=10, fetch_wait=0.5)  # type: ignore[assignment]
    made.opened, made.full, made.lost = {A, B}, set(), {}
    made.epochs, made.numbers = defaultdict(int), defaultdict(int)
    made._ensure_consumer = lambda: consumer  # type: ignore[method-assign]
    return made, consumer


def test_a_fetch_under_way_is_kept_when_its_task_fills_up() -> None:
    """A partition that becomes full during a fetch gets what was fetched, and is not asked again until it has room."""
    made: FetchThread
    made, consumer = thread(lambda: made.full.add(A))
    assert {batch.tp for batch in asyncio.run(made.fetch())} == {A, B}
    assert {batch.tp for batch in asyncio.run(made.fetch())} == {B}
    made.full.discard(A)
    asyncio.run(made.fetch())
    assert consumer.asked == [{A, B}, {B}, {A, B}]
    assert (made.numbers[A], made.numbers[B]) == (2, 3)


@pytest.mark.parametrize("full", [False, True])
def test_a_fetch_under_way_is_dropped_when_its_partition_is_held(full: bool) -> None:  # noqa: FBT001 - a parameter
    """What was fetched before a hold belongs to no task; the partition is sought anew when it opens."""
    made: FetchThread
    made, _ = thread(lambda: made.hold([A]))
    if full:
        made.full.add(B)
    assert {batch.tp for batch in asyncio.run(made.fetch())} == (set() if full else {B})
    assert A not in made.opened
    assert A not in made.full

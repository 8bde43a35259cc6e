"""Fetches and inboxes: what is fetched is handed over once and in order, whatever is sought or held meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition

from streams.inbox import BACKLOG, Inbox
from streams.transport import GATHER_BYTES, GATHER_MS, Batch, BatchConsumer, FetchThread

if TYPE_CHECKING:
    from collections.abc import Callable

TP = TopicPartition("journal", 0)


class FakeConsumer:
    """A consumer whose fetch does something on the way."""

    def __init__(self, fetch: Callable[[], Any]) -> None:
        self.fetch = fetch
        self.sought: list[int] = []
        self._fetcher = SimpleNamespace()

    async def getmany(self, *_: TopicPartition, **__: Any) -> Any:
        """Return what `fetch` says."""
        await asyncio.sleep(0)
        return self.fetch()

    def assignment(self) -> set[TopicPartition]:
        """Return one partition."""
        return {TP}

    def last_stable_offset(self, _: TopicPartition) -> None:
        """Return nothing: no broker has said it."""

    def seek(self, _: TopicPartition, offset: int) -> None:
        """Note the offset."""
        self.sought.append(offset)

    def pause(self, *_: TopicPartition) -> None:
        """Do nothing."""

    resume = pause


def thread(fetch: Callable[[], Any]) -> FetchThread:
    """A fetch thread without a thread."""
    made = FetchThread.__new__(FetchThread)
    made.opened, made.full, made.lost = set(), set(), {}
    made.epochs, made.numbers = defaultdict(int), defaultdict(int)
    made.settings = SimpleNamespace(max_poll_records=100, fetch_wait=0.5)  # type: ignore[assignment]
    made._consumer = FakeConsumer(fetch)
    return made


def records(first: int, count: int) -> list[Any]:
    """Records with offsets from `first` on."""
    return [SimpleNamespace(offset=first + index) for index in range(count)]


def test_a_fetch_from_before_a_seek_is_told_by_its_epoch() -> None:
    """A partition opened again numbers its fetches anew, in a new epoch."""

    async def story() -> list[int]:
        epochs = []
        for offset in (0, 40):
            await made.open(TP, offset)
            (batch,) = await made.fetch()
            epochs.append(batch.epoch)
            assert batch.number == 1
        return epochs

    made = thread(lambda: {TP: records(0, 1)})
    first, second = asyncio.run(story())
    assert first < second


def test_an_offset_outside_the_log_holds_its_partition_only() -> None:
    """The task is told; others go on."""

    def fetch() -> Any:
        raise OffsetOutOfRangeError({TP: 7})

    async def story() -> list[Batch]:
        await made.open(TP, 7)
        return await made.fetch()

    made = thread(fetch)
    assert asyncio.run(story()) == []
    assert made.lost == {TP: 7}
    assert TP not in made.opened


def test_an_offset_missing_from_before_the_seek_is_no_trouble() -> None:
    """It was reported late; the task has sought since."""

    def fetch() -> Any:
        raise NoOffsetForPartitionError(TP)

    async def story() -> list[Batch]:
        await made.open(TP, 0)
        return await made.fetch()

    made = thread(fetch)
    assert asyncio.run(story()) == []
    assert TP in made.opened


def test_brokers_gather_while_records_come() -> None:
    """The first record after a pause is answered at once; the fetches after it bring what came within a moment."""
    fetched: list[Any] = [{TP: records(0, 1)}, {TP: records(1, 9)}, {}]
    made = thread(lambda: fetched.pop(0))
    asked = []

    async def story() -> None:
        await made.open(TP, 0)
        while fetched:
            await made.fetch()
            of = made._consumer._fetcher  # type: ignore[union-attr]
            asked.append((of._fetch_min_bytes, of._fetch_max_wait_ms))

    asyncio.run(story())
    assert asked == [(GATHER_BYTES, GATHER_MS), (GATHER_BYTES, GATHER_MS), (1, 500)]


def test_what_a_fetch_brings_of_a_topic_is_one_message() -> None:
    """Also when the partition that gives it its name was revoked meanwhile; then without that one's records."""
    tps = [TopicPartition("journal", each) for each in range(3)]
    batches = [Batch(tp, 1, 1, [SimpleNamespace(offset=0, timestamp=0)]) for tp in tps]
    handed: list[Any] = []

    async def callback(message: Any) -> None:
        if message.partition == 0:
            raise KeyError(message.tp)
        handed.append((message.partition, [batch.tp.partition for batch in message.value]))

    made = BatchConsumer.__new__(BatchConsumer)
    made.callback = callback
    made.app = SimpleNamespace(consumer_generation_id=1)  # type: ignore[assignment]
    asyncio.run(made._deliver(batches))
    asyncio.run(made._deliver(batches[:1]))
    assert handed == [(1, [1, 2])]


def test_an_inbox_takes_fetches_of_its_epoch_in_order() -> None:
    """Older ones are dropped, and a missing one closes the inbox until the next seek."""
    inbox = Inbox()
    inbox.begin(3)
    inbox.put(Batch(TP, 2, 1, records(0, 5)))
    inbox.put(Batch(TP, 3, 1, records(10, 2)))
    inbox.put(Batch(TP, 3, 2, records(12, 2)))
    assert [record.offset for record in inbox.take(3)] == [10, 11, 12]
    inbox.put(Batch(TP, 3, 4, records(20, 2)))
    assert inbox.gap is True
    inbox.put(Batch(TP, 3, 5, records(22, 2)))
    assert [record.offset for record in inbox.take(10)] == [13]
    inbox.begin(4)
    assert (inbox.gap, inbox.records) == (False, 0)


def test_an_inbox_keeps_what_comes_before_its_epoch_is_announced() -> None:
    """The consumer's thread may be faster than the answer to the seek."""
    inbox = Inbox()
    inbox.begin(1)
    inbox.put(Batch(TP, 2, 1, records(5, 2)))
    assert inbox.take(10) == []
    inbox.begin(2)
    inbox.put(Batch(TP, 2, 2, records(7, 1)))
    assert [record.offset for record in inbox.take(10)] == [5, 6, 7]


def test_an_inbox_tells_of_a_backlog_beyond_the_last_fetch() -> None:
    """More comes while much of the log lies beyond it, until that is fetched, or sought elsewhere."""
    inbox = Inbox()
    inbox.begin(1)
    inbox.put(Batch(TP, 1, 1, records(0, 5), BACKLOG + 5))
    assert inbox.more_comes(60) is True
    assert inbox.more_comes(0) is False
    inbox.put(Batch(TP, 1, 2, records(5, 5), BACKLOG + 5))
    assert inbox.more_comes(60) is False
    inbox.put(Batch(TP, 1, 3, records(10, 5), 3 * BACKLOG))
    inbox.begin(2)
    assert inbox.more_comes(60) is False
    inbox.put(Batch(TP, 2, 1, records(10, 5)))  # where the log ends is not known
    assert inbox.more_comes(60) is False

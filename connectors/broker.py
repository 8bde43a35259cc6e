"""The little that sinks need of a broker, so that delivery is tested without one. The real one: `kafka.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

Headers = Sequence[tuple[str, bytes]]


class BrokerDoubt(Exception):
    """A call to the broker failed, or its result is unknown: whoever meets it starts over from what the broker has."""


class OffsetOutsideLog(Exception):
    """A group's committed offset lies outside the log: actions were lost to retention, or the topic was made anew."""

    def __init__(self, topic: str, partition: int, offset: int, first: int, end: int) -> None:
        super().__init__(
            f"{topic}-{partition}: the committed offset {offset} is outside the log ({first} to {end}). "
            f"Either the topic was made anew or its retention is shorter than the sink was away. "
            f"Reset the group's offset by hand (kafka-consumer-groups --reset-offsets) to go on."
        )
        self.topic, self.partition, self.offset, self.first, self.end = topic, partition, offset, first, end


class TopicMismatch(Exception):
    """A ledger has another number of partitions than its actions topic."""

    def __init__(self, topic: str, of: str) -> None:
        super().__init__(
            f"{topic} and {of} have different numbers of partitions, so one does not belong to the other. "
            f"Stop all sinks, let {of} run empty, delete {topic}, and start again."
        )
        self.topic, self.of = topic, of


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a topic."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Tail(Protocol):
    """A reader of whole topics, from their first record on, committed records only."""

    async def read(self) -> list[Record]:
        """Wait a moment for records; each partition's in order."""
        ...

    async def positions(self) -> dict[int, int]:
        """Partition -> the offset up to which all was returned by `read`."""
        ...

    async def ends(self) -> dict[int, int]:
        """Partition -> the offset after its last committed record."""
        ...

    async def close(self) -> None:
        """Stop reading."""
        ...


Listener = Callable[[list[int]], Awaitable[None]]


class Group(Protocol):
    """A member of a consumer group on one topic, committed records only, first start at the first record.

    After a partition was assigned, and its listener told, it is read from its committed offset on.
    """

    async def read(self, take: Callable[[Record], None]) -> None:
        """Wait a moment for records and hand over each one, each partition's in order.

        What is handed over while a listener is at work may be of a partition not held, or be handed over again: it is
        to be ignored.
        """
        ...

    def pause(self, partition: int) -> None:
        """Return no more of this partition until `resume`."""
        ...

    def resume(self, partition: int) -> None:
        """End a pause."""
        ...

    async def commit(self, offsets: dict[int, int]) -> None:
        """Partition -> the next offset to read. A refusal, because the partition moved, is silent."""
        ...

    async def close(self) -> None:
        """Leave the group."""
        ...


class Broker(Protocol):
    """A log of topics. Every method raises BrokerDoubt when it cannot be sure."""

    async def companion(self, topic: str, of: str) -> None:
        """Make a compacted topic, with as many partitions and replicas as `of`, if there is none of that name.

        Waits until `of` exists.
        """
        ...

    async def append(
        self, topic: str, key: bytes | None, value: bytes | None, *, partition: int | None = None, headers: Headers = ()
    ) -> int:
        """Append, wait until all in-sync replicas have it, and return its offset."""
        ...

    async def tail(self, topic: str) -> Tail:
        """Read a whole topic from its start."""
        ...

    async def group(self, topic: str, name: str, assigned: Listener, revoked: Listener) -> Group:
        """Join a consumer group; the listeners are awaited at each rebalance."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...

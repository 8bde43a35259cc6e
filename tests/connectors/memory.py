"""A broker in memory for tests of delivery: topics as lists, one member per group, and processes that can die."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from connectors.broker import BrokerDoubt, Headers, Listener, Record


@dataclass
class MemoryLog:
    """What survives the processes: topics, and the groups' offsets and members."""

    count: int = 2
    topics: dict[str, list[list[Record]]] = field(default_factory=dict)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    members: dict[str, MemoryGroup] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def topic(self, name: str) -> list[list[Record]]:
        """Return the partitions of a topic, made on first use."""
        return self.topics.setdefault(name, [[] for _ in range(self.count)])

    def put(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None, headers: Headers = ()
    ) -> int:
        """Append a record and return its offset; those who wait learn of it within 10 ms."""
        index = partition if partition is not None else zlib.crc32(key or b"") % self.count
        log = self.topic(topic)[index]
        record = Record(topic, index, len(log), time.time_ns() // 1_000_000, key, value, tuple(headers))
        log.append(record)
        return record.offset

    def records(self, topic: str) -> list[Record]:
        """Return all records of a topic."""
        return [record for log in self.topic(topic) for record in log]


class MemoryBroker:
    """One process's connection; when `dies(topic, count)` says "before" or "after" an append, it is dead."""

    def __init__(self, log: MemoryLog, dies: Callable[[str, int], str] | None = None) -> None:
        self.log = log
        self.dead = False
        self.appends = 0
        self._dies = dies

    def check(self) -> None:
        """Raise when the process is dead."""
        if self.dead:
            raise BrokerDoubt("dead")

    async def companion(self, topic: str, of: str) -> None:
        """Make a topic: all have as many partitions."""
        self.check()
        self.log.topic(topic)

    async def append(
        self, topic: str, key: bytes | None, value: bytes | None, *, partition: int | None = None, headers: Headers = ()
    ) -> int:
        """Append, unless the process dies before; it may also die after, and never learn of it."""
        await asyncio.sleep(0)
        self.check()
        self.appends += 1
        death = self._dies(topic, self.appends) if self._dies is not None else ""
        if death == "before":
            self.dead = True
            raise BrokerDoubt("died")
        offset = self.log.put(topic, key, value, partition, headers)
        if death == "after":
            self.dead = True
            raise BrokerDoubt("died")
        return offset

    async def tail(self, topic: str) -> MemoryTail:
        """Read a topic from its start."""
        self.check()
        return MemoryTail(self, topic)

    async def group(self, topic: str, name: str, assigned: Listener, revoked: Listener) -> MemoryGroup:
        """Join a group of one: a member that is there loses everything first, unless it is dead and cannot learn."""
        self.check()
        group = MemoryGroup(self, topic, name, assigned, revoked)
        former = self.log.members.get(name)
        self.log.members[name] = group
        if former is not None and not former.broker.dead:
            await former.revoked(list(range(self.log.count)))
        await assigned(list(range(self.log.count)))
        return group

    async def close(self) -> None:
        """Nothing to let go of."""


class MemoryTail:
    """Reads a topic by polling."""

    def __init__(self, broker: MemoryBroker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self._next = dict.fromkeys(range(broker.log.count), 0)

    async def read(self) -> list[Record]:
        """Return what is new, or nothing after 2 ms."""
        self._broker.check()
        found: list[Record] = []
        for partition, log in enumerate(self._broker.log.topic(self._topic)):
            found += log[self._next[partition] :]
            self._next[partition] = len(log)
        await asyncio.sleep(0 if found else 0.002)
        return found

    async def positions(self) -> dict[int, int]:
        """Return how far `read` has come."""
        return dict(self._next)

    async def ends(self) -> dict[int, int]:
        """Return how far the topic goes."""
        self._broker.check()
        return {partition: len(log) for partition, log in enumerate(self._broker.log.topic(self._topic))}

    async def close(self) -> None:
        """Nothing to let go of."""


class MemoryGroup:
    """A member of a group, from the committed offsets on."""

    def __init__(self, broker: MemoryBroker, topic: str, name: str, assigned: Listener, revoked: Listener) -> None:
        self.broker = broker
        self.assigned = assigned
        self.revoked = revoked
        self.name = name
        self.paused: set[int] = set()
        self._topic = topic
        log = broker.log
        self._next = {partition: log.offsets.get((name, partition), 0) for partition in range(log.count)}

    @property
    def member(self) -> bool:
        """Tell whether the group still counts on this one."""
        return self.broker.log.members.get(self.name) is self

    async def read(self, take: Callable[[Record], None]) -> None:
        """Hand over what is new in partitions that are not paused."""
        self.broker.check()
        found: list[Record] = []
        for partition, log in enumerate(self.broker.log.topic(self._topic) if self.member else ()):
            if partition not in self.paused:
                found += log[self._next[partition] :][:50]
                self._next[partition] += len(log[self._next[partition] :][:50])
        for record in found:
            take(record)
        await asyncio.sleep(0 if found else 0.002)

    def pause(self, partition: int) -> None:
        """Return no more of a partition."""
        self.paused.add(partition)

    def resume(self, partition: int) -> None:
        """End a pause."""
        self.paused.discard(partition)

    async def commit(self, offsets: dict[int, int]) -> None:
        """Commit, if the group still counts on this member."""
        self.broker.check()
        for partition, offset in offsets.items() if self.member else ():
            self.broker.log.offsets[self.name, partition] = offset

    async def close(self) -> None:
        """Leave the group."""
        if self.member:
            del self.broker.log.members[self.name]

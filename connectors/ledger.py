"""The ledger: what a sink has begun and settled, in a compacted topic, and who may begin. All on doubt stands here.

Topic `deliveries.<sink>`, with as many partitions as the sink's actions topic; what concerns a record of partition p
stands in partition p. Key: the action's id, or a claim's key. Value: a MessagePack array.

- *Claim.* Whoever is assigned partition p appends a claim and waits until it has read it back. The claim's offset is
  its epoch; the newest claim owns p.
- *Started*, *waiting* (a try that was certainly not done) and *settled* carry the epoch of their writer. A `started`
  that stands after a newer claim is void, and its writer makes no call: it learns so by reading its own record back
  before it calls. So of two processes that both believe to own p, the log decides, with or without transactions.
- *Settled* counts whoever wrote it: it is a fact. The first one stays.
- An entry may go when its action has expired, for nothing is delivered after that: a tombstone.

A `started` from before the owner's claim that nothing follows is uncertain: its writer has died, or will find it void.
"""

from __future__ import annotations

import msgspec

from connectors.broker import Broker, Record
from connectors.follow import Follower
from connectors.metrics import LEDGER_ENTRIES

CLAIM = b"\x00claim"
# A settled entry outlives its action's expiry by this much, so that clocks of two hosts may differ.
KEEP_MS = 3_600_000


class Fenced(Exception):
    """A newer claim on the partition stands in the ledger."""


class Claim(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """`owner` names the process, for people who read the topic."""

    owner: str


class Started(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A call is about to be made: the `attempt`th (from 1) for the record at `offset`."""

    epoch: int
    offset: int
    attempt: int
    expires_at: int


class Waiting(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """`attempt` calls were made, and none of them did anything."""

    epoch: int
    offset: int
    attempt: int
    expires_at: int


class Settled(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """How it ended: what the outcome says, so that the same outcome can be written again after a crash.

    `again`: it went to the dead letters, and may be tried again when it is put back. `retracted`: it was taken back.
    """

    offset: int
    expires_at: int
    kind: str
    at: int
    permanent: bool = False
    detail: str = ""
    again: bool = False
    retracted: bool = False


Entry = Started | Waiting | Settled

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Claim | Started | Waiting | Settled).decode


class Ledger:
    """One sink's ledger, all partitions in memory, current up to what `follower` has read."""

    def __init__(self, broker: Broker, topic: str, owner: str, sink: str) -> None:
        self._broker = broker
        self._topic = topic
        self._owner = owner
        self._epochs: dict[int, int] = {}
        self._entries: dict[int, dict[str, Entry]] = {}
        self._size = LEDGER_ENTRIES.labels(sink)
        self.follower = Follower(broker, topic, self.apply)

    def apply(self, record: Record) -> None:
        """Take in one record of the topic."""
        entries = self._entries.setdefault(record.partition, {})
        if record.key is None:
            return
        if record.key == CLAIM:
            self._epochs[record.partition] = record.offset
            return
        action_id = record.key.decode()
        if record.value is None:
            entries.pop(action_id, None)
        else:
            self._take(entries, action_id, record, record.value)
        self._size.set(sum(map(len, self._entries.values())))

    def _take(self, entries: dict[str, Entry], action_id: str, record: Record, encoded: bytes) -> None:
        value = _decode(encoded)
        known = entries.get(action_id)
        if isinstance(value, Started | Waiting):
            void = self._epochs.get(record.partition, -1) > value.epoch
            if void or (isinstance(known, Settled) and not replays(known, value.offset)):
                return
        elif isinstance(known, Settled) and not replays(known, value.offset) and not value.retracted:
            return
        entries[action_id] = value

    def get(self, partition: int, action_id: str) -> Entry | None:
        """What is known of an action."""
        return self._entries.get(partition, {}).get(action_id)

    def entries(self, partition: int) -> list[tuple[str, Entry]]:
        """All that is known in a partition."""
        return list(self._entries.get(partition, {}).items())

    def partitions(self) -> list[int]:
        """The partitions seen so far."""
        return list(self._entries)

    async def claim(self, partition: int) -> int:
        """Own the partition; returns the epoch. All that others wrote before is known when this returns."""
        epoch = await self._broker.append(self._topic, CLAIM, _encode(Claim(self._owner)), partition=partition)
        await self.follower.reach(partition, epoch + 1)
        self.check(partition, epoch)
        return epoch

    def check(self, partition: int, epoch: int) -> None:
        """Raise Fenced when a newer claim is known."""
        if self._epochs.get(partition, -1) > epoch:
            raise Fenced

    async def started(self, partition: int, action_id: str, entry: Started) -> None:
        """Record that a call is about to be made. Raises Fenced when it must not be."""
        offset = await self._append(partition, action_id, entry)
        await self.follower.reach(partition, offset + 1)
        self.check(partition, entry.epoch)

    async def waiting(self, partition: int, action_id: str, entry: Waiting) -> None:
        """Record that the call that was started did nothing."""
        await self._append(partition, action_id, entry)

    async def settled(self, partition: int, action_id: str, entry: Settled) -> None:
        """Record how it ended."""
        await self._append(partition, action_id, entry)

    async def _append(self, partition: int, action_id: str, entry: Entry) -> int:
        return await self._broker.append(self._topic, action_id.encode(), _encode(entry), partition=partition)

    async def forget(self, partition: int, now: int) -> int:
        """Write tombstones for settled entries whose actions have expired; returns how many."""
        old = [
            action_id
            for action_id, entry in self.entries(partition)
            if isinstance(entry, Settled) and entry.expires_at + KEEP_MS < now
        ]
        for action_id in old:
            await self._broker.append(self._topic, action_id.encode(), None, partition=partition)
        return len(old)


def replays(settled: Settled, offset: int) -> bool:
    """Whether the record at `offset` is a dead letter that was put back into the topic."""
    return settled.again and offset > settled.offset

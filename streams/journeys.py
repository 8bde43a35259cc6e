"""The journeys task: one journal partition. Feeds the engine, and writes what it wants done in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from aiokafka.structs import TopicPartition

from schemas import codec, journal
from schemas.journal import Origins, TaskMark, partition_of_key
from streams import logs
from streams.engine.journeys import STEP_BUDGET
from streams.engine.partition import Partition, Slice, WorkRemains
from streams.engine.rules import UnknownDefinition
from streams.engine.store import META_KEY
from streams.tables import recover
from streams.tasks import Task
from streams.transactions import Doubtful, Message, Outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.action import Action
    from streams.engine.partition import Output
    from streams.shell import Shell
    from streams.stores import PartitionStore

# Timers that fire before others on the loop have their turn, and the bytes of states and effects that they may leave
# in one transaction: with 5 kB each some 3,000 timers, well within a transaction's time.
SLICE = Slice(timers=200, bytes=16_000_000)
# A task writes its mark as soon as the least mark has grown, at most this often: a share of the mark interval, so
# that the two hops of time do not each wait a full one.
MARK_SHARE = 0.8
# Others on the loop have their turns after so many seconds; so many records of a profile are applied between two looks
# at the clock.
TURN_SECONDS = 0.01
TURN_RECORDS = 16

log = logs.get("journeys")


class JourneysTask(Task):
    """Serves one partition of the journal."""

    agent = "journeys"
    # All that a transaction may hold: the more of a profile's entries are applied together, the less each costs.
    take = 50_000
    gathers = True

    def __init__(self, shell: Shell, tp: TopicPartition) -> None:
        super().__init__(shell, tp)
        self._count = shell.counts[shell.topics.journal]
        self._changelog = TopicPartition(shell.topics.changelog, tp.partition)
        self._partition: Partition | None = None
        self._store: PartitionStore | None = None
        self._waiting = False
        self.forget()

    def forget(self) -> None:
        """Drop the machine; the store keeps, since it holds only what was committed, unless it failed itself."""
        self._partition = None
        if self._store is not None and self._store.failed:
            self.release()
        self._announced: dict[str, Any] = {}
        self._heard, self._end = -1, -1
        self._origins_written: list[int] = []
        self._marked, self._marked_at = 0, 0.0
        self._mark_due = False
        self._waits(waiting=False)

    def release(self) -> None:
        """Close the store: the partition's next owner may be another process on this machine."""
        self._store = None
        self.shell.table.release(self.tp.partition)

    async def recover(self) -> None:
        """Bring the store up to the changelog's end, then build the machine from it."""
        if self._store is None:
            self._store = self.shell.table.open(self.tp.partition, self.shell.standbys.take(self.tp.partition))
        read = await recover(self.settings, self._changelog, self._store)
        self.metrics.recoveries.inc(read)
        while True:
            try:
                library, store = self.shell.catalogue.library, self._store
                partition = Partition(self.tp.partition, self._count, library, store, store.meta, slices=SLICE)
                break
            except LookupError as error:
                await self._wait_for_definition(error)
        self._waits(waiting=False)
        # Uncommitted: what this task wrote before may stand behind an open transaction of another.
        self._end = (await self.shell.frontier.ends([self.tp]))[self.tp]
        self._partition = partition
        self._marked = partition.own_mark
        self._measure(partition)

    async def absorb(self, records: list[Any]) -> int:
        """Apply entries; stop at one that activates a definition not known here yet."""
        try:
            return await self._absorb(records)
        except UnknownDefinition as error:
            # An instance was handed over from a partition whose owner heard of its version sooner.
            raise Doubtful(error) from error

    async def _absorb(self, records: list[Any]) -> int:
        partition = self._partition
        assert partition is not None
        profiles: dict[bytes, list[Any]] = {}
        ordered = partition.rules.ordered
        for taken, record in enumerate(records):
            key = record.key
            if key is not None:
                mine = profiles.get(key)
                if mine is not None:
                    mine.append(record)
                else:
                    if ordered and profiles:
                        await self._apply(partition, profiles)
                        profiles = {}
                    profiles[key] = [record]
                continue
            entry = journal.decode(record.value)
            if partition.touches_profiles(entry):
                await self._apply(partition, profiles)
                profiles = {}
            try:
                partition.apply(record.offset, entry)
            except WorkRemains:
                if not await self._go_on(record.offset, entry):
                    self.metrics.entries.inc(taken)
                    return taken
            except UnknownDefinition as error:
                if not isinstance(entry, journal.Activate):
                    raise
                self.metrics.entries.inc(taken)
                await self._wait_for_definition(error, seconds=0)
                return taken
            ordered = partition.rules.ordered
        await self._apply(partition, profiles)
        self.metrics.entries.inc(len(records))
        self._waits(waiting=False)
        return len(records)

    async def _apply(self, partition: Partition, profiles: dict[bytes, list[Any]]) -> None:
        turn = time.perf_counter() + TURN_SECONDS
        for key, records in profiles.items():
            name = key.decode()
            for first in range(0, len(records), TURN_RECORDS):
                partition.apply_profile(name, records[first : first + TURN_RECORDS])
                if time.perf_counter() > turn:
                    await asyncio.sleep(0)
                    turn = time.perf_counter() + TURN_SECONDS

    async def _go_on(self, offset: int, mark: journal.Entry) -> bool:
        """Fire what is due by a mark, as much as one transaction should hold; whether that was all.

        Else the transaction is committed with the offset before the mark: what has fired does not fire again.
        """
        partition = self._partition
        assert partition is not None
        while self._fits(partition):
            await asyncio.sleep(0)
            try:
                partition.apply(offset, mark)
            except WorkRemains:
                continue
            return True
        return False

    def _fits(self, partition: Partition) -> bool:
        timers, size = partition.fired
        return self.absorbed + timers < self.settings.max_transaction_records and size < SLICE.bytes

    async def _wait_for_definition(self, error: LookupError, seconds: float = 0.5) -> None:
        if not self._waiting:
            log.error("a partition waits for a definition", partition=self.tp.partition, error=str(error))
        self._waits(waiting=True)
        await asyncio.sleep(seconds)

    def _waits(self, *, waiting: bool) -> None:
        if waiting != self._waiting:
            self.metrics.definition_waits.inc(1 if waiting else -1)
            self._waiting = waiting

    def tick(self) -> None:
        """See whether a mark, definitions or the set of origins are due to be written."""
        partition = self._partition
        assert partition is not None
        now = time.monotonic()
        if partition.least_mark > self._marked and now - self._marked_at >= MARK_SHARE * self.settings.mark_interval:
            self._mark_due = True
        mine = self.outbox.outputs
        origins = self.shell.origin_counts()
        if self._origins_written != origins and not _covers(partition.origins, origins):
            self._origins_written = origins
            mine[self.shell.topics.journal, self.tp.partition].append(Message(None, journal.encode(Origins(origins))))
        catalogue = self.shell.catalogue
        if self._heard != catalogue.changes and self._caught_up():
            self._heard = catalogue.changes
            for key, value, entry in catalogue.lacking(partition.in_force | self._announced):
                self._announced[key] = value
                mine[self.shell.topics.journal, self.tp.partition].append(Message(None, journal.encode(entry)))

    def _caught_up(self) -> bool:
        """Whether all has been read that stood in the journal at the start, so that nothing is written there twice."""
        if 0 <= self._end <= self.position:
            return True
        inbox = self.inbox
        read = self.shell.frontier.position(self.tp, inbox.epoch, inbox.number)
        return not inbox.records and not self.held and read is not None and 0 <= self._end <= read

    def dirty(self) -> bool:
        """Tell whether there is anything to commit."""
        partition = self._partition
        return self._mark_due or super().dirty() or (partition is not None and partition.fired[0] > 0)

    async def submit(self, count: int) -> tuple[Outbox, Callable[[int | None], None]]:  # noqa: ARG002 - the router counts
        """Collect what the engine wants done since the last transaction."""
        partition, store = self._partition, self._store
        assert partition is not None
        assert store is not None
        # The last transaction has been committed and its states stored: what is cached and untouched can be dropped.
        partition.trim((self.settings.cache_mb << 20) // max(1, len(self.shell.table.partitions_open)))
        output = partition.collect()
        box = self.outbox
        await self._write_outputs(output, box)
        if self._mark_due:
            self._mark(partition, box)
        states = box.states
        changelog = self._changelog.topic, self._changelog.partition
        for profile, state in output.states.items():
            states[changelog].append(Message(profile.encode(), state))
        if output.meta is not None:
            states[changelog].append(Message(META_KEY, output.meta))

        def done(end: int | None) -> None:
            if end is not None:
                store.write(output, end)
            self._count_output(output, partition.watermark)
            self._measure(partition)

        return box, done

    def _mark(self, partition: Partition, box: Outbox) -> None:
        mark, self._mark_due = partition.least_mark, False
        self._marked, self._marked_at = mark, time.monotonic()
        entry = journal.encode(TaskMark(self.tp.partition, mark))
        for target in range(self._count):
            box.outputs[self.shell.topics.journal, target].append(Message(None, entry))

    async def _write_outputs(self, output: Output, box: Outbox) -> None:
        topics, out = self.shell.topics, box.outputs
        ids = self.shell.registry.ids
        schema_id, encode = ids.get("action"), codec.encode_action
        names = {channel: topics.actions(channel) for channel in {action.channel for action in output.actions}}
        for channel, topic in names.items():
            if topic not in self.shell.counts:
                await self.shell.require(topics.action_spec(channel))
        for action in output.actions:
            key = action.customer or action.profile
            self._put(out, names[action.channel], key, encode(action, schema_id), _trace(action))
        schema_id = ids.get("decision")
        for decision in output.decisions if self.settings.decisions else ():
            key = decision.customer or decision.profile
            self._put(out, topics.decisions, key, codec.encode_decision(decision, schema_id))
        for withdrawal in output.withdrawals:
            self._put(out, topics.withdrawn, withdrawal.action_id, codec.encode_json(withdrawal))
        for address, suppression in output.suppressions:
            value = codec.encode_json(suppression) if suppression is not None else None
            self._put(out, topics.suppressions, address, value)
        for identifier, identity in output.identities:
            value = codec.encode_json(identity) if identity is not None else None
            self._put(out, topics.identities, identifier, value)
        for entry in output.entries:
            self._put(out, topics.journal, entry.profile, journal.encode(entry))

    def _put(self, out: Any, topic: str, name: str, value: bytes | None, headers: Any = None) -> None:
        key = name.encode()
        out[topic, partition_of_key(key, self.shell.counts[topic])].append(Message(key, value, headers))

    def _count_output(self, output: Output, watermark: int) -> None:
        metrics, now = self.metrics, time.time() * 1000
        # Counted first: finding a counter by its labels costs as much as a small decision.
        for channel, count in Counter(action.channel for action in output.actions).items():
            metrics.actions.labels(channel).inc(count)
        for action in output.actions:
            if action.event_id is not None:
                metrics.latency.observe(max(0.0, now - action.proposed_at) / 1000)
        for withdrawal in output.withdrawals:
            metrics.withdrawals.labels(withdrawal.channel).inc()
        for why, count in Counter((each.verdict, each.gate, each.reason) for each in output.decisions).items():
            metrics.decisions.labels(*why).inc(count)
        loops = Counter((d.journey, d.journey_version, d.stage) for d in output.decisions if d.reason == STEP_BUDGET)
        for (journey, version, stage), count in loops.items():
            log.error(
                "a journey goes round in a loop; the instances that exceeded the step budget were ended",
                journey=journey,
                version=version,
                stage=stage,
                instances=count,
            )
        moves = Counter((step.journey, step.from_stage or "", step.to_stage or "") for step in output.transitions)
        for move, count in moves.items():
            metrics.transitions.labels(*move).inc(count)
        metrics.forwards.inc(len(output.entries))
        stats = output.stats
        metrics.absent.inc(stats.absent)
        metrics.timers.inc(len(stats.late_timers_ms))
        for late in stats.late_timers_ms:
            # The engine says how late by the watermark; that one is behind the clock itself.
            metrics.timer_lateness.observe((late + max(0.0, now - watermark)) / 1000)

    def _measure(self, partition: Partition) -> None:
        label = str(self.tp.partition)
        if partition.watermark:
            self.metrics.watermark_delay.labels(label).set(max(0.0, time.time() - partition.watermark / 1000))
        assert self._store is not None
        profiles, size = self._store.size()
        self.metrics.profiles.labels(label).set(profiles)
        self.metrics.state_bytes.labels(label).set(size)


def _covers(recorded: list[int], wanted: list[int]) -> bool:
    return len(recorded) >= len(wanted) and all(mine >= theirs for mine, theirs in zip(recorded, wanted, strict=False))


def _trace(action: Action) -> list[tuple[str, bytes]]:
    return [("traceparent", action.traceparent.encode())] if action.traceparent else []

"""The batch transport: a whole fetch of a topic is one Faust message.

Faust's own transport makes two futures and a queued event of every record. Here the consumer hands over each fetch as
one message a topic, whose value are `Batch`es, one a partition; agents, flow control and group membership stay Faust's.
Offsets travel in the tasks' transactions, never through Faust. tests/integration/test_faust_internals.py names
everything of faust-streaming and aiokafka that this module relies on beyond their public interfaces.

A seek and the fetches before it are told apart by *epochs*: each (re)opening of a partition begins a new one, in the
consumer's own thread, and a batch carries the epoch it was fetched in.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import aiokafka
import msgspec
import uvloop
from aiokafka.consumer import fetcher
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust import Event, Schema
from faust.transport import drivers
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP, ConsumerMessage

from connectors.offsets import committed
from streams import logs
from streams.headernames import KeptRecords, PatientRecords

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence

    from streams.settings import Settings

SCHEME = "polku"
# Short enough that a partition opened meanwhile is asked for soon; records that arrive end the waiting at once.
POLL_SECONDS = 0.1
IDLE_SECONDS = 0.02
# Of one partition: about as many records of the journal as a task takes at once. The more of a profile's entries are
# applied one after the other, the less each costs: 18 us with fetches of 20,000 records, 23 us with 4,000 (10,000
# profiles, the engine alone).
FETCH_BYTES = 4 << 20
FAILED_SECONDS = 1.0
# A fetch, and a batch of one partition, cost the same whatever they hold: while records come, brokers are asked to wait
# with each answer so long (ms), or until there is so much. At 1,000 a second over 12 partitions, a worker that is
# answered with each record alone spends a whole core on it.
GATHER_MS, GATHER_BYTES = 10, 64 << 10
# https://kafka.apache.org/protocol#protocol_error_codes; aiokafka has no name for it.
FENCED_INSTANCE_ID = 82

say = logs.errors("transport")

T = TypeVar("T")


class Fetched(msgspec.Struct, gc=False):
    """One record as our consumer hands it over: aiokafka's own record type takes five times as long to make."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class LeanRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka is untyped
    """Makes `Fetched` of what a partition's fetch holds."""

    _records: Any
    _records_iterator: Any

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._patiently = self._patient()

    def __iter__(self) -> Iterator[Fetched]:
        # One generator for all rounds over it: half of what a record costs is how many calls it takes to hand it over.
        return self._patiently

    def __next__(self) -> Fetched:
        return next(self._patiently)

    def _patient(self) -> Iterator[Fetched]:
        while True:
            try:
                yield from self._records_iterator
                return
            except UnicodeDecodeError:
                # Once more from this batch on; what was handed over of it lies before the next offset and is passed
                # over.
                self._records = PatientRecords(self._records.data, self.next_fetch_offset)
                self._records_iterator = self._unpack_records()

    def _consumer_record(self, tp: Any, record: Any) -> Fetched:
        headers = record.headers
        return Fetched(
            tp.topic,
            tp.partition,
            record.offset,
            record.timestamp,
            record.key,
            record.value,
            tuple(headers) if headers else (),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """One fetch of one partition; `number` counts the fetches of its epoch from 1.

    `end` is where the log ended for its readers when it was last heard of, 0 when that is not known.
    """

    tp: TopicPartition
    epoch: int
    number: int
    records: Sequence[Any]
    end: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition was handed over: the epoch, its fetches so far, and the position after them."""

    epoch: int
    number: int
    position: int


class OffsetLost(Exception):
    """The position stands outside the log; `tp` says where."""

    def __init__(self, tp: TopicPartition, offset: int) -> None:
        super().__init__(f"offset {offset} of {tp.topic}-{tp.partition} is outside the log")
        self.tp, self.offset = tp, offset


class Listener(driver.ConsumerRebalanceListener):
    """Holds every newly assigned partition until its task has opened it."""

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Pause before the first fetch, then let Faust assign."""
        thread = self._thread
        assert isinstance(thread, FetchThread)
        thread.hold(assigned)
        await super().on_partitions_assigned(assigned)


class FetchThread(driver.AIOKafkaConsumerThread):
    """The consumer's thread: heartbeats, fetches and positions, undisturbed by what the engine computes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        app: Any = self.app
        self.settings: Settings = app.polku_settings
        self.opened: set[TopicPartition] = set()
        # Open ones whose tasks have enough for now: not asked for, but what a fetch under way brings is still theirs.
        self.full: set[TopicPartition] = set()
        self.epochs: dict[TopicPartition, int] = defaultdict(int)
        self.numbers: dict[TopicPartition, int] = defaultdict(int)
        self.lost: dict[TopicPartition, int] = {}
        self.last_heartbeat = 0.0
        # Another process has joined the group under this one's name.
        self.name_taken = False

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:  # noqa: ARG002 - Faust's signature
        conf, settings = self.app.conf, self.settings
        return aiokafka.AIOKafkaConsumer(
            **settings.aiokafka(),
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=settings.instance,
            partition_assignment_strategy=[self.app.assignor],
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            fetch_max_wait_ms=int(settings.fetch_wait * 1000),
            max_partition_fetch_bytes=FETCH_BYTES,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(settings.session_timeout * 1000),
            heartbeat_interval_ms=int(settings.heartbeat_interval * 1000),
            retry_backoff_ms=20,
            isolation_level="read_committed" if settings.exactly_once else "read_uncommitted",
        )

    async def on_start(self) -> None:
        """Start the consumer; note the heartbeats that confirm its assignment, and when its name is taken."""
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001 - aiokafka tells of heartbeats nowhere else
        beat, send = coordinator._do_heartbeat, coordinator._send_req  # noqa: SLF001 - as above

        async def confirmed() -> bool:
            sent, member = time.monotonic(), coordinator.member_id
            good: bool = await beat()
            if good and not coordinator._rejoin_needed_fut.done():  # noqa: SLF001 - as above
                self.last_heartbeat = sent
            if self.settings.instance and not coordinator.member_id:
                # The brokers do not know it any more. Joining as nobody would take the name from whoever has it now,
                # who would take it back; joining as who it was is refused then, and accepted after a mere time-out.
                coordinator.member_id = member
            return good

        async def answered(request: Any) -> Any:
            response = await send(request)
            if getattr(response, "error_code", 0) == FENCED_INSTANCE_ID:
                self.name_taken = True
            return response

        coordinator._do_heartbeat, coordinator._send_req = confirmed, answered  # noqa: SLF001 - as above

    async def on_thread_stop(self) -> None:
        """Stop the consumer. Under a name of its own it stays a member for a session timeout, unless it is to leave."""
        if self.settings.leave_on_stop and self._consumer is not None:
            coordinator = self._consumer._coordinator  # noqa: SLF001 - as above
            if coordinator is not None:
                coordinator._group_instance_id = None  # noqa: SLF001 - as above
        await super().on_thread_stop()

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Stop fetching what is going away, then let Faust revoke."""
        self.hold(revoked)
        await super().on_partitions_revoked(revoked)

    # Everything below runs in the thread's own loop, or touches one value at a time.

    def hold(self, tps: Iterable[TopicPartition]) -> None:
        """Fetch no more from these until they are opened (again)."""
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        for tp in map(plain, tps):
            self.opened.discard(tp)
            self.full.discard(tp)
            self.epochs[tp] += 1
            if tp in assigned:
                consumer.pause(tp)

    async def open(self, tp: TopicPartition, offset: int) -> int:
        """Fetch from `offset` on; return the epoch. Raises IllegalStateError when the partition is not assigned."""
        consumer = self._ensure_consumer()
        consumer.seek(tp, offset)
        self.epochs[tp] += 1
        self.numbers[tp] = 0
        self.lost.pop(tp, None)
        consumer.resume(tp)
        self.full.discard(tp)
        self.opened.add(tp)
        return self.epochs[tp]

    async def close_partition(self, tp: TopicPartition) -> None:
        """Fetch no more from `tp`."""
        self.hold([tp])

    async def fetch(self) -> list[Batch]:
        """Return what was fetched, at most one batch a partition."""
        wanted = self.opened - self.full
        if not wanted:
            await asyncio.sleep(IDLE_SECONDS)
            return []
        consumer = self._ensure_consumer()
        try:
            fetched = await consumer.getmany(
                *wanted, timeout_ms=int(POLL_SECONDS * 1000), max_records=self.settings.max_poll_records
            )
        except NoOffsetForPartitionError:
            return []  # noted before the seek that made it void
        except OffsetOutOfRangeError as error:
            for tp, offset in error.args[0].items():
                self.lost[tp] = offset
                self.hold([tp])
            return []
        self._gather(consumer, busy=bool(fetched))
        batches, assigned = [], consumer.assignment()
        for tp, records in fetched.items():
            # No await since the records were taken: the epoch is theirs. What a held one brings belongs to no task.
            if records and tp in self.opened:
                self.numbers[tp] += 1
                end = (consumer.last_stable_offset(tp) or 0) if tp in assigned else 0
                batches.append(Batch(tp, self.epochs[tp], self.numbers[tp], records, end))
        return batches

    def _gather(self, consumer: aiokafka.AIOKafkaConsumer, *, busy: bool) -> None:
        """Let brokers gather what the next fetches bring, but for the first after a pause, which waits for nothing."""
        fetcher = consumer._fetcher  # noqa: SLF001 - it reads both for each request; its interface sets them once
        fetcher._fetch_min_bytes = GATHER_BYTES if busy else 1  # noqa: SLF001 - as above
        fetcher._fetch_max_wait_ms = GATHER_MS if busy else int(self.settings.fetch_wait * 1000)  # noqa: SLF001 - as above

    async def progress(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, Progress]:
        """Return how far each opened partition was handed over, aborted records and control records included."""
        consumer = self._ensure_consumer()
        return {
            tp: Progress(self.epochs[tp], self.numbers[tp], await consumer.position(tp))
            for tp in tps
            if tp in self.opened and tp in consumer.assignment()
        }

    async def committed(self, tp: TopicPartition) -> int | None:
        """Return the group's committed offset, None when there is none."""
        return await committed(self._ensure_consumer(), tp)

    async def bounds(self, tp: TopicPartition) -> tuple[int, int]:
        """Return the first offset of the log and its end."""
        consumer = self._ensure_consumer()
        begin, end = await consumer.beginning_offsets([tp]), await consumer.end_offsets([tp])
        return begin[tp], end[tp]

    async def commit_offset(self, tp: TopicPartition, offset: int) -> None:
        """Commit an offset outside a transaction."""
        await self._ensure_consumer().commit({tp: OffsetAndMetadata(offset, "")})


class BatchConsumer(driver.Consumer):
    """Faust's consumer, delivering batches."""

    RebalanceListener = Listener
    _thread: FetchThread

    def _new_consumer_thread(self) -> FetchThread:
        return FetchThread(self, loop=self.loop, thread_loop=uvloop.new_event_loop(), beacon=self.beacon)

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the thread there, and wait for it here."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._thread.thread_loop))

    @property
    def thread(self) -> FetchThread:
        """The thread that owns the Kafka consumer."""
        return self._thread

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Ask nothing: a partition may wait for a schema, and metrics tell of lag."""

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:  # noqa: ARG002 - Faust's signature
        return True  # offsets travel in the tasks' transactions

    async def perform_seek(self) -> None:
        """Seek nothing: each task seeks its partition when it has recovered."""

    async def _drain_messages(self, fetcher: Any) -> None:
        stopped, fetcher_stopped = self._stopped.is_set, fetcher._stopped.is_set  # noqa: SLF001 - as Faust's own does
        while not (stopped() or fetcher_stopped()):
            if not self.flow_active:
                await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # mode's own events are asyncio's
                continue
            try:
                batches = await self.call(self._thread.fetch())
            except KafkaError as error:
                say("nothing can be fetched", error=f"{type(error).__name__}: {error}")
                await self.sleep(FAILED_SECONDS)
                continue
            by_topic: dict[str, list[Batch]] = {}
            for batch in batches:
                by_topic.setdefault(batch.tp.topic, []).append(batch)
            for mine in by_topic.values():
                await self._deliver(mine)

    async def _deliver(self, batches: list[Batch]) -> None:
        """Hand over what one fetch brought of a topic, as a message of the first partition that is still ours."""
        while batches:
            tp, last = batches[0].tp, batches[0].records[-1]
            value: Any = batches  # Faust passes it on to our schema, which knows
            message = ConsumerMessage(
                tp.topic,
                tp.partition,
                last.offset,
                last.timestamp / 1000,
                0,
                None,
                None,
                value,
                None,
                0,
                0,
                TP(*tp),
                generation_id=self.app.consumer_generation_id,
            )
            try:
                await self.callback(message)
                return
            except KeyError:
                batches = batches[1:]  # revoked since it was fetched


class BatchTransport(driver.Transport):
    """Kafka by aiokafka, in batches."""

    Consumer: ClassVar[type[BatchConsumer]] = BatchConsumer


class BatchSchema(Schema[Any, Any]):
    """Hands batches to the agent as they are."""

    def compile(self, app: Any, **_: Any) -> Any:
        """Return the decoder of messages that hold batches."""

        async def decode(message: Any, *, propagate: bool = False) -> Event:  # noqa: ARG001 - Faust's signature
            return Event(app, None, message.value, None, message)

        return decode


def plain(tp: Any) -> TopicPartition:
    """Return aiokafka's own kind of topic and partition, which its interface insists on."""
    return TopicPartition(tp[0], tp[1])


def register() -> str:
    """Make the URL scheme known to Faust, and return it."""
    fetcher.PartitionRecords, fetcher.MemoryRecords = LeanRecords, KeptRecords
    drivers.TRANSPORTS.aliases[SCHEME] = f"{__name__}:{BatchTransport.__name__}"
    return SCHEME

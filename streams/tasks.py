"""Tasks: one per partition that this worker owns, each with its own lane, position and transaction under way.

A task's life:  waiting → opening → serving → (closed | stopped), and back to opening after any doubt.

*Opening* starts the lane (which fences the previous owner), reads the committed offset, recovers what the task keeps,
and only then seeks. *Serving* absorbs records into a draft while the last transaction commits; the draft is submitted
when that one has. Whatever is in doubt is dropped as a whole: lane, draft and kept state. A task begins again only
after a heartbeat, sent since, was answered with the assignment unchanged, so that two owners do not fence each other
in turn.

A rebalance revokes everything for a moment. Tasks then *park*: their transaction ends, their draft and state stay.
Who gets the partition back goes on from its position; had another owned it meanwhile, the next commit would be fenced.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aiokafka.errors import IllegalStateError, KafkaError

from streams import logs
from streams.inbox import Inbox
from streams.pace import Pace
from streams.stores import ChangelogShorter, StoreError
from streams.transactions import Doubtful, Fenced, Outbox, Refused, lane_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiokafka.structs import TopicPartition

    from streams.shell import Shell
    from streams.transactions import Lane
    from streams.transport import Batch

BACKOFF = (0.05, 5.0)
PARK_SECONDS = 15.0
# Decoding and applying this many records takes some 5 ms; then others on the loop have their turn.
SLICE = 500
# So long the next fetch of a backlog is waited for.
GATHER_SECONDS = 0.2
# And so long at most, while a transaction commits anyway.
COMMIT_LASTS = 2.0

log = logs.get("task")


class State(StrEnum):
    """Where a task stands in its life."""

    WAITING = "waiting"
    OPENING = "opening"
    SERVING = "serving"
    STOPPED = "stopped"
    CLOSED = "closed"


class OutsideLog(Exception):
    """The committed offset is not in the log; nothing resets by itself."""

    def __init__(self, tp: TopicPartition, offset: int, begin: int, end: int) -> None:
        super().__init__(
            f"the committed offset {offset} of {tp.topic}-{tp.partition} is outside the log, "
            f"which holds {begin} to {end}: records were deleted before they were read, or the topic was made anew; "
            "decide what is lost, then set the group's offset"
        )


class Task(ABC):
    """One partition's serving; subclasses say what is kept, and what records become."""

    agent = ""
    # Records absorbed at once, at most; who takes more than a slice lets others have their turn meanwhile.
    take = SLICE
    # Whether what a backlog brings is gathered before it is absorbed, until fetching pauses.
    gathers = False

    def __init__(self, shell: Shell, tp: TopicPartition) -> None:
        self.shell, self.tp = shell, tp
        self.settings, self.metrics = shell.settings, shell.metrics
        self.inbox = Inbox()
        self.granted = asyncio.Event()
        self.position = 0
        self.held: list[Any] = []
        self.outbox = Outbox()
        self.absorbed = 0
        self._state = State.CLOSED
        self._lane: Lane | None = None
        self._commit: asyncio.Task[None] | None = None
        self._parked = asyncio.Event()
        self._closing = False
        self._throttled = False
        self._turn: float | None = None
        self._draft_began = 0.0
        # Records that wait for a task: as many as it may take at once, and no more than a fetch or two bring.
        self._enough = min(self.settings.max_transaction_records, self.settings.max_poll_records)
        self._first = False
        self._runner: asyncio.Task[None] | None = None

    # What the worker asks of a task

    @property
    def state(self) -> State:
        """Where the task stands."""
        return self._state

    def _become(self, state: State) -> None:
        gauge = self.metrics.tasks
        if self._state is not State.CLOSED:
            gauge.labels(self.agent, self._state.value).dec()
        if state is not State.CLOSED:
            gauge.labels(self.agent, state.value).inc()
        self._state = state

    def begin(self) -> None:
        """Start serving as soon as the partition is granted."""
        self._become(State.WAITING)
        self._runner = asyncio.create_task(self._run(), name=f"{self.tp.topic}-{self.tp.partition}")

    async def park(self) -> None:
        """End the transaction under way and touch Kafka no more until granted again."""
        self._parked.clear()
        self.granted.clear()
        self.inbox.wake.set()
        if self._state is State.SERVING:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._parked.wait(), PARK_SECONDS)

    async def finish(self) -> None:
        """Commit what was absorbed, and end."""
        self._closing = True
        self.inbox.wake.set()
        if self._state is State.SERVING and self._runner is not None:
            await asyncio.wait({self._runner}, timeout=self.settings.transaction_timeout)
        await self.close()

    async def close(self) -> None:
        """End at once, committing nothing more."""
        self._closing = True
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait({self._runner}, timeout=PARK_SECONDS)
        await self._drop()
        self.release()
        self._become(State.CLOSED)

    def deliver(self, batch: Batch) -> None:
        """Take a fetch; stop fetching when two transactions' worth waits."""
        self.inbox.put(batch)
        if not self._throttled and self.inbox.records >= 2 * self._enough:
            self._throttled = True
            self.shell.consumer.thread.full.add(self.tp)

    # What a subclass says

    @abstractmethod
    async def recover(self) -> None:
        """Bring what the task keeps up to the committed offset. The lane has started."""

    @abstractmethod
    async def absorb(self, records: list[Any]) -> int:
        """Turn records into draft; return how many were taken (fewer: the next has to wait a little)."""

    @abstractmethod
    def tick(self) -> None:
        """Add to the draft what time asks for."""

    @abstractmethod
    async def submit(self, count: int) -> tuple[Outbox, Callable[[int | None], None]]:
        """Return the draft of `count` records as an outbox, and what to do when it is committed.

        What to do takes the changelog's offset after the transaction.
        """

    @abstractmethod
    def forget(self) -> None:
        """Drop everything kept in memory that was not recovered from Kafka."""

    def release(self) -> None:  # noqa: B027 - most tasks hold nothing
        """Let go of what other processes may want: the task is closed."""

    def dirty(self) -> bool:
        """Tell whether there is anything to commit."""
        return self._first or self.absorbed > 0 or bool(self.outbox)

    # The life

    async def _run(self) -> None:
        backoff = BACKOFF[0]
        while not self._closing:
            cause, began = "", time.monotonic()
            try:
                await self.granted.wait()
                self._become(State.OPENING)
                await self._open()
                self._become(State.SERVING)
                began = time.monotonic()
                await self._serve()
                return
            except (Refused, OutsideLog, ChangelogShorter) as error:
                await self._stop(error)
                return
            except Fenced:
                cause = "fenced"
            except Doubtful as error:
                cause = error.cause
            except StoreError as error:
                cause = type(error).__name__
                log.warning("the local store cannot be used", task=self._name, error=str(error))
            except (KafkaError, TimeoutError, IllegalStateError, OSError) as error:
                cause = type(error).__name__
            except Exception as error:  # noqa: BLE001 - whatever it is, the partition must not go on
                await self._stop(error, bug=True)
                return
            in_doubt = time.monotonic()
            self.metrics.restarts.labels(self.agent, cause).inc()
            lasted = in_doubt - began > 10 * BACKOFF[1]
            before, backoff = backoff, BACKOFF[0] if lasted else min(BACKOFF[1], 2 * backoff)
            if before < backoff == BACKOFF[1]:
                log.error("a task begins again and again", task=self._name, position=self.position, cause=cause)
            self._become(State.WAITING)
            self._parked.set()
            await self._drop()
            await asyncio.sleep(backoff)
            await self._heartbeat_since(in_doubt)

    async def _open(self) -> None:
        call, thread = self.shell.consumer.call, self.shell.consumer.thread
        await self._drop()
        self._lane = lane_for(self.settings, self.tp, self.shell.consumer, self.shell.frontier.clock.heard)
        await self._lane.start()
        committed = await call(thread.committed(self.tp))
        begin, end = await call(thread.bounds(self.tp))
        # A first start commits its offset at once: from then on nothing resets by itself.
        self._first = committed is None
        if committed is None:
            committed = begin
        elif not begin <= committed <= end:
            raise OutsideLog(self.tp, committed, begin, end)
        self.position = committed
        await self.recover()
        await self._seek()

    async def _seek(self) -> None:
        await self.granted.wait()
        self.held = []
        epoch = await self.shell.consumer.call(self.shell.consumer.thread.open(self.tp, self.position))
        self.inbox.begin(epoch)
        self._throttled = False

    async def _serve(self) -> None:
        limit, pause = self.settings.max_transaction_records, self.settings.mark_interval / 4
        while True:
            self.inbox.wake.clear()
            if self._commit is not None and self._commit.done():
                await self._settle()
            if self._closing:
                await self._last_commit()
                return
            if not self.granted.is_set():
                await self._park_until_granted()
                continue
            await self._check_position()
            more = await self._absorb_slice(limit)
            self.tick()
            wait = pause
            if self._commit is None and self.dirty() and not more:
                wait = self._until_turn()
                if wait <= 0:
                    if self.shell.tasks.pace.begin(self.tp, time.monotonic(), self.inbox.wake):
                        await self._begin_commit()
                        continue
                    wait = pause
            if more:
                await asyncio.sleep(0)
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.inbox.wake.wait(), min(wait, pause))

    async def _absorb_slice(self, limit: int) -> bool:
        """Absorb some of what waits; return whether more can be absorbed into this draft right now."""
        room = min(self.take, limit - self.absorbed)
        if self.gathers and not self.held and self._gathering():
            return False
        if not self.held and room > 0:
            self.held = self.inbox.take(room)
            self._unthrottle()
        if not self.held or room <= 0:
            return False
        if not self.absorbed:
            self._draft_began = time.monotonic()
        taken = await self.absorb(self.held)
        if taken:
            self.position = self.held[taken - 1].offset + 1
            self.absorbed += taken
            del self.held[:taken]
        young = time.monotonic() - self._draft_began < self.settings.max_transaction_age
        return not self.held and self.inbox.records > 0 and self.absorbed < limit and young

    def _gathering(self) -> bool:
        """Tell whether more of a backlog should come before it is absorbed: soon, or at least while a commit lasts.

        Where there is none, what is here is absorbed at once, so that it is ready for the next transaction's turn.
        """
        inbox = self.inbox
        if self._throttled or inbox.records >= self._enough:
            return False
        return inbox.more_comes(GATHER_SECONDS if self._commit is None else COMMIT_LASTS)

    async def _check_position(self) -> None:
        thread = self.shell.consumer.thread
        if (lost := thread.lost.get(self.tp)) is not None:
            begin, end = await self.shell.consumer.call(thread.bounds(self.tp))
            raise OutsideLog(self.tp, lost, begin, end)
        if self.inbox.gap:
            await self._seek()

    async def _last_commit(self) -> None:
        await self._settle()
        if self.dirty():
            await self._begin_commit()
            await self._settle()

    async def _park_until_granted(self) -> None:
        await self._settle()
        self._parked.set()
        await self._granted_or_closing()
        if self.granted.is_set():
            await self._seek()

    async def _granted_or_closing(self) -> None:
        while not (self.granted.is_set() or self._closing):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.granted.wait(), 0.2)

    def _unthrottle(self) -> None:
        if self._throttled and self.inbox.records < self._enough and self.granted.is_set():
            self._throttled = False
            self.shell.consumer.thread.full.discard(self.tp)

    def _until_turn(self) -> float:
        now = time.monotonic()
        if self._turn is None:
            self._turn = self.shell.tasks.pace.take(now)
        return self._turn - now

    async def _begin_commit(self) -> None:
        assert self._lane is not None
        count, self.absorbed, self._first = self.absorbed, 0, False
        self._turn = None
        outbox, done = await self.submit(count)
        self.outbox = Outbox()
        self._commit = asyncio.create_task(self._write(self._lane, outbox, self.position, count, done))
        self._commit.add_done_callback(self._committed)

    def _committed(self, _: object) -> None:
        self.shell.tasks.pace.end(self.tp, time.monotonic())
        self.inbox.wake.set()

    async def _write(
        self, lane: Lane, outbox: Outbox, position: int, count: int, done: Callable[[int | None], None]
    ) -> None:
        began = time.perf_counter()
        try:
            end = await lane.commit(outbox, position)
        except Fenced:
            self.metrics.transactions.labels(self.agent, "fenced").inc()
            raise
        except (Doubtful, Refused):
            self.metrics.transactions.labels(self.agent, "aborted").inc()
            raise
        self.metrics.transactions.labels(self.agent, "committed").inc()
        self.metrics.commit.labels(self.agent).observe(time.perf_counter() - began)
        if count:
            self.metrics.batch.labels(self.agent).observe(count)
        done(end)

    async def _settle(self) -> None:
        commit, self._commit = self._commit, None
        if commit is not None:
            await commit

    async def _drop(self) -> None:
        if self._commit is not None:
            self._commit.cancel()
            with contextlib.suppress(BaseException):
                await self._commit
            self._commit = None
        with contextlib.suppress(Exception):
            await self.shell.consumer.call(self.shell.consumer.thread.close_partition(self.tp))
        lane, self._lane = self._lane, None
        if lane is not None:
            await lane.close()
        self.outbox, self.absorbed, self.held = Outbox(), 0, []
        self.forget()

    async def _heartbeat_since(self, moment: float) -> None:
        while not self._closing:
            if self.granted.is_set() and self.shell.consumer.thread.last_heartbeat > moment:
                return
            await asyncio.sleep(0.05)

    async def _stop(self, error: Exception, *, bug: bool = False) -> None:
        await self._drop()
        self._become(State.STOPPED)
        self._parked.set()
        log.error(
            "a task has stopped: its partition is not served, and time stands still for all",
            task=self._name,
            position=self.position,
            error=str(error),
            **({"exc_info": error} if bug else {}),
        )

    @property
    def _name(self) -> str:
        return f"{self.tp.topic}-{self.tp.partition}"


class Tasks:
    """All tasks of a worker, by partition."""

    def __init__(self, shell: Shell, kinds: dict[str, type[Task]]) -> None:
        self._shell, self._kinds = shell, kinds
        self.pace = Pace(shell.settings.transactions_per_second, shell.settings.transactions_at_once)
        self.tasks: dict[TopicPartition, Task] = {}

    def deliver(self, batches: Iterable[Batch]) -> None:
        """Hand what a fetch brought to the tasks of its partitions."""
        for batch in batches:
            if (task := self.tasks.get(batch.tp)) is not None:
                task.deliver(batch)

    async def revoked(self) -> None:
        """Every partition may go: end all transactions."""
        await asyncio.gather(*(task.park() for task in self.tasks.values()))

    async def assigned(self, tps: Iterable[TopicPartition]) -> None:
        """Close the tasks of partitions that are gone, and grant the others theirs."""
        mine = {tp for tp in tps if tp.topic in self._kinds}
        gone = [self.tasks.pop(tp) for tp in set(self.tasks) - mine]
        await asyncio.gather(*(task.close() for task in gone))
        for tp in sorted(mine):
            task = self.tasks.get(tp)
            if task is None:
                task = self.tasks[tp] = self._kinds[tp.topic](self._shell, tp)
                task.begin()
            task.granted.set()

    async def finish(self) -> None:
        """Commit what was absorbed, and end all."""
        await asyncio.gather(*(task.finish() for task in self.tasks.values()))
        self.tasks.clear()

    @property
    def ready(self) -> bool:
        """Tell whether every task serves."""
        return all(task.state is State.SERVING for task in self.tasks.values())

    @property
    def stopped(self) -> list[str]:
        """Name the tasks that have stopped for good."""
        return [f"{tp.topic}-{tp.partition}" for tp, task in self.tasks.items() if task.state is State.STOPPED]

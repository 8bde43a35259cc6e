"""Marks: how time enters the journal, and the frontier that knows where the logs end.

About once a second each origin partition's task writes a mark w to every journal partition: all up to w is routed.
While records come, w is the record time of the last one routed. When the log is read to its end, w is the moment just
before its end was asked for, less a grace for replication and for what brokers' clocks differ. That moment is told by
the brokers' clock, which gives the record times that w is compared with: a worker's own clock may be stepped, and a
mark ahead would fire timers before what they wait for is read. The frontier asks for the ends, reading uncommitted: a
producer's open transaction lies before the high watermark, so it holds the time back rather than being overtaken by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer

from streams import logs
from streams.tasks import State

if TYPE_CHECKING:
    from aiokafka.structs import TopicPartition

    from streams.shell import Shell
    from streams.transport import Progress

say = logs.errors("frontier")


class BrokerClock:
    """The brokers' clock as far as it is known here: never ahead, behind by the time an acknowledgement takes.

    It is what they put on the last record that was acknowledged, and the time that has passed here since.
    """

    def __init__(self) -> None:
        self._ahead: float | None = None

    def heard(self, timestamp: int) -> None:
        """Take the time (ms) that a broker put on a record appended by now."""
        self._ahead = timestamp - time.monotonic() * 1000

    def now(self) -> int | None:
        """Return milliseconds since 1970 UTC, None while nothing was heard."""
        return None if self._ahead is None else int(self._ahead + time.monotonic() * 1000)


@dataclass(frozen=True, slots=True)
class Found:
    """The end of a log, as of a moment `at` (ms), and how far it had been handed to its task after that."""

    at: int
    end: int
    progress: Progress


class Frontier:
    """Asks for the ends of the logs of all tasks at each beat of the mark interval, then wakes the tasks.

    All routers mark at the same beat, so that a journeys task reads most marks in one batch: idle transactions cost.
    """

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._found: dict[TopicPartition, Found] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._asking: asyncio.Task[None] | None = None
        self.newest_record = 0
        self.beat = 0
        self.clock = BrokerClock()

    async def start(self) -> None:
        """Begin asking."""
        self._consumer = AIOKafkaConsumer(
            **self._shell.settings.aiokafka(),
            client_id=f"{self._shell.settings.group}-frontier",
            enable_auto_commit=False,
            isolation_level="read_uncommitted",
            request_timeout_ms=5000,
        )
        await self._consumer.start()
        self._asking = asyncio.create_task(self._ask_again_and_again(), name="frontier")

    async def stop(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking
        if self._consumer is not None:
            await self._consumer.stop()

    def at_end(self, tp: TopicPartition, epoch: int, number: int) -> int | None:
        """Return the last moment (ms) at which all of `tp` had been handed over in fetches up to `number`, if any."""
        found = self._found.get(tp)
        if found is None or found.progress.epoch != epoch or found.progress.number > number:
            return None
        return found.at if found.progress.position >= found.end else None

    def position(self, tp: TopicPartition, epoch: int, number: int) -> int | None:
        """Return how far `tp` had been handed over at the last beat, all of it in fetches up to `number`."""
        found = self._found.get(tp)
        if found is None or found.progress.epoch != epoch or found.progress.number > number:
            return None
        return found.progress.position

    def now(self) -> int | None:
        """Return the time (ms) of the clock that record times are of, None while it is not known."""
        settings = self._shell.settings
        # The embedded broker puts none on records: the router holds theirs to the worker's clock.
        return self.clock.now() if settings.exactly_once and settings.clock == "log" else int(time.time() * 1000)

    async def ends(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the ends of some logs, uncommitted records included."""
        assert self._consumer is not None
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(tps)
        return ends

    async def _ask_again_and_again(self) -> None:
        interval = self._shell.settings.mark_interval
        while True:
            await asyncio.sleep(interval - time.time() % interval)
            try:
                await self._ask()
            except Exception as error:  # noqa: BLE001 - whatever it was, this must not end: time would stand still
                say("the ends of the logs cannot be asked for; time stands still", error=str(error))
            self.beat += 1
            for task in self._shell.tasks.tasks.values():
                task.inbox.wake.set()

    async def _ask(self) -> None:
        shell = self._shell
        tasks = {tp: task for tp, task in shell.tasks.tasks.items() if task.state is State.SERVING}
        if not tasks:
            return
        at = self.now() or 0
        ends = await self.ends(list(tasks))
        progress = await shell.consumer.call(shell.consumer.thread.progress(tasks))
        former, self._found = self._found, {}
        for tp, found in progress.items():
            task = tasks[tp]
            self._found[tp] = Found(at, ends[tp], found)
            inbox = task.inbox
            unread = ends[tp] - found.position + inbox.records + len(task.held)
            shell.metrics.lag.labels(tp.topic, tp.partition).set(max(0, unread))
            before = former.get(tp)
            # A fetch handed over before the last asking and still not here was dropped on the way.
            if before is not None and before.progress.epoch == inbox.epoch and before.progress.number > inbox.number:
                inbox.gap = True
                inbox.wake.set()

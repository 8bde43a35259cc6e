"""The router's task: one origin partition. Decodes, validates, dead-letters, and writes to the journal."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

from aiokafka.structs import TopicPartition

from schemas import journal
from schemas.codec import OutcomeDecoder, TouchpointDecoder
from schemas.errors import InvalidRecord, Reason, SchemaUnavailable
from schemas.identifiers import IdentifierError
from schemas.journal import Mark, Origin, partition_of_key
from streams import deadletters, logs
from streams.engine.routing import Router
from streams.tasks import Task
from streams.transactions import Message, Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from streams.shell import Shell

SCHEMA_RETRY = (0.2, 10.0)
TRACE_HEADER = "traceparent"
# W3C Trace Context, 3.2. What is none may be of any size and hold line breaks, and this travels into sinks' headers.
_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

log = logs.get("router")


class RouterTask(Task):
    """Routes one partition of `touchpoints` or `outcomes`."""

    agent = "router"

    def __init__(self, shell: Shell, tp: TopicPartition) -> None:
        super().__init__(shell, tp)
        self._topic = shell.topics.origins.index(tp.topic)
        self._journal, self._count = shell.topics.journal, shell.counts[shell.topics.journal]
        self._waiting = False
        self._schema_backoff = SCHEMA_RETRY[0]
        self._ask_schema_at = 0.0
        self.forget()

    def forget(self) -> None:
        """Drop what was claimed and marked."""
        self._router = Router(self.settings.identifier_kinds)
        touchpoints = self._topic == journal.TOUCHPOINTS
        source = self.shell.registry.source
        self._decoder: Any = (
            TouchpointDecoder(source, self.settings.identifier_kinds) if touchpoints else OutcomeDecoder(source)
        )
        self._route: Any = self._router.touchpoint if touchpoints else self._router.outcome
        self._last_time = self._marked = 0
        self._marked_beat = -1
        self._waits(waiting=False)

    async def recover(self) -> None:
        """Wait until every journal partition has begun: its first entries say which definitions are in force."""
        partitions = [TopicPartition(self._journal, index) for index in range(self._count)]
        # Perhaps another process's doing: there is no event to wait for.
        while min((await self.shell.frontier.ends(partitions)).values()) == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    async def absorb(self, records: list[Any]) -> int:
        """Route records; stop at one whose schema nobody can tell yet."""
        if self._waiting and time.monotonic() < self._ask_schema_at:
            return 0
        exact = self.settings.exactly_once
        now = int(time.time() * 1000)
        topic, count, decode, encode = self._topic, self._count, self._decoder.decode, journal.encode
        outputs = self.outbox.outputs
        boxes: dict[int, list[Message]] = {}
        for taken, record in enumerate(records):
            # The embedded broker keeps the producer's time, which may lie ahead.
            at = record.timestamp if exact or 0 < record.timestamp <= now else now
            headers = record.headers
            try:
                decoded = decode(record.value, headers)
                entries = self._entries(Origin(topic, record.partition, record.offset, at), decoded, headers)
            except InvalidRecord as error:
                self._condemn(record, error)
            except SchemaUnavailable as error:
                await self._wait_for_schema(error)
                return taken
            else:
                for entry in entries:
                    key = entry.profile.encode()
                    target = partition_of_key(key, count)
                    box = boxes.get(target)
                    if box is None:
                        box = boxes[target] = outputs[self._journal, target]
                    box.append(Message(key, encode(entry)))
            self._last_time = at if at > self._last_time else self._last_time  # noqa: FURB136 - a call of max() is slow
        self._waits(waiting=False)
        self.shell.frontier.newest_record = max(self.shell.frontier.newest_record, self._last_time)
        return len(records)

    def _entries(self, origin: Origin, decoded: Any, headers: Any) -> list[Any]:
        try:
            if self._topic == journal.OUTCOMES:
                return self._route(origin, decoded)  # type: ignore[no-any-return]
            return self._route(origin, decoded, trace_of(headers) if headers else None)  # type: ignore[no-any-return]
        except IdentifierError as error:
            raise InvalidRecord(Reason.IDENTIFIER, error.rule) from error
        except (LookupError, StopIteration) as error:
            raise InvalidRecord(Reason.RESERVED, f"a reserved type lacks a property it needs: {error}") from error

    def _condemn(self, record: Any, error: InvalidRecord) -> None:
        topics = self.shell.topics
        partition = record.partition % self.shell.counts[topics.dead_touchpoints]
        letter = Message(*deadletters.letter(record, error, self.settings.max_message_bytes))
        self.outbox.outputs[topics.dead_touchpoints, partition].append(letter)
        self.metrics.dead_letters.labels(topics_short(self._topic), error.reason.value).inc()

    async def _wait_for_schema(self, error: SchemaUnavailable) -> None:
        if not self._waiting:
            log.error("a partition waits for a schema", partition=str(self.tp.partition), error=str(error))
            self._schema_backoff = SCHEMA_RETRY[0]
        self._waits(waiting=True)
        if not await self.shell.registry.fetch(error.schema_id):
            self._schema_backoff = min(2 * self._schema_backoff, SCHEMA_RETRY[1])
            self._ask_schema_at = time.monotonic() + self._schema_backoff

    def _waits(self, *, waiting: bool) -> None:
        if waiting != self._waiting:
            self.metrics.schema_waits.inc(1 if waiting else -1)
            self._waiting = waiting

    def tick(self) -> None:
        """Add a mark for every journal partition, once a beat."""
        beat = self.shell.frontier.beat
        if beat == self._marked_beat:
            return
        mark = max(self._last_time, self._idle_time())
        # A mark that tells nothing new is acknowledged with the brokers' time all the same.
        if mark <= self._marked and self.shell.frontier.now() is not None:
            return
        entry = journal.encode(Mark(self._topic, self.tp.partition, mark))
        for partition in range(self._count):
            self.outbox.outputs[self._journal, partition].append(Message(None, entry))
        self._marked, self._marked_beat = mark, beat
        now = self.shell.frontier.now() or mark
        self.metrics.mark_delay.labels(topics_short(self._topic), self.tp.partition).set(max(0, now - mark) / 1000)

    def _idle_time(self) -> int:
        if self.held or self.inbox.records:
            return 0
        at = self.shell.frontier.at_end(self.tp, self.inbox.epoch, self.inbox.number)
        if at is None:
            return 0
        if self.settings.clock == "records":
            return self.shell.frontier.newest_record
        return at - int(self.settings.mark_grace * 1000)

    async def submit(self, count: int) -> tuple[Outbox, Callable[[int | None], None]]:
        """Return what was routed."""
        routed = self.metrics.routed.labels(topics_short(self._topic))
        return self.outbox, lambda _: routed.inc(count)


def trace_of(headers: Iterable[tuple[str, bytes | None]]) -> str | None:
    """Return the first well-formed `traceparent`, if any."""
    found = (value for name, value in headers if name == TRACE_HEADER and value and _TRACE.fullmatch(value))
    return next((value.decode("ascii") for value in found), None)


def topics_short(index: int) -> str:
    """Return an origin topic's name without the prefix: a bounded label."""
    return journal.ORIGIN_TOPICS[index]

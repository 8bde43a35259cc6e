"""Dead letters: what could not be read or delivered, why, and back onto the way it came."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec
from confluent_kafka import KafkaException, Producer

from schemas.errors import Reason
from streams import deadletters
from streams.records import Record, find_broker, read

if TYPE_CHECKING:
    from streams.settings import Settings

PREFIX = deadletters.CONNECT
EXCERPT = 60
REASONS = frozenset(Reason)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter: where it lies, where it came from, and the rule it broke."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    origin_topic: str
    origin_partition: int
    origin_offset: int
    error: str
    reason: str
    field: str
    rule: str
    size: int
    excerpt: str


class ReplayError(RuntimeError):
    """Dead letters could not be published again."""


def _headers(record: Record) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX): value.decode(errors="replace")
        for name, value in record.headers[len(deadletters.own(record.headers)) :]
        if value is not None
    }


def describe(record: Record) -> DeadLetter:
    """A dead letter as people read it. The excerpt of the bytes may hold customer data: for terminals only."""
    headers = _headers(record)
    value = record.value or b""
    return DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.timestamp,
        origin_topic=headers.get("topic", ""),
        origin_partition=int(headers.get("partition", -1)),
        origin_offset=int(headers.get("offset", -1)),
        error=headers.get("exception.message", ""),
        reason=headers.get(deadletters.REASON) or headers.get("exception.class.name", ""),
        field=headers.get(deadletters.FIELD, ""),
        rule=headers.get(deadletters.RULE, ""),
        size=len(value),
        excerpt=repr(value[:EXCERPT])[2:-1] + ("…" if len(value) > EXCERPT else ""),
    )


def letters(settings: Settings, topic: str, reason: str | None = None) -> Iterator[Record]:
    """The dead letters of a topic; with `reason`, those of that reason, or whose error has these words."""
    for record in read(settings, topic):
        if reason is None or _has(_headers(record), reason):
            yield record


def _has(found: dict[str, str], reason: str) -> bool:
    # `schema` is a reason, and a word in the rules of others.
    if reason in REASONS and deadletters.REASON in found:
        return found[deadletters.REASON] == reason
    return any(reason in found.get(name, "") for name in ("exception.message", "exception.class.name"))


def whole(record: Record) -> bool:
    """Whether a letter has all that its record had: what fits no message stays at the origin."""
    return deadletters.OMITTED not in _headers(record)


def replay(settings: Settings, records: Iterable[Record], progress: Callable[[int], None] | None = None) -> int:
    """Publish each letter's key, bytes and own headers to the topic it came from; returns how many.

    An event whose id the profile remembers changes nothing. Raises ReplayError when the broker does
    not take one.
    """
    failures: list[str] = []
    find_broker(settings)
    producer = Producer({**settings.librdkafka(), "enable.idempotence": True, "linger.ms": 5, "log_level": 0})

    def done(error: object, _message: object) -> None:
        if error is not None:
            failures.append(str(error))

    count = 0
    for record in records:
        topic = _headers(record).get("topic")
        if topic is None:
            raise ReplayError(f"{record.topic}/{record.partition}/{record.offset} does not say where it came from")
        own = deadletters.own(record.headers)
        while True:
            try:
                producer.produce(topic, key=record.key, value=record.value, headers=own, on_delivery=done)
                break
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                raise ReplayError(f"the broker refused {record.partition}/{record.offset}: {error}") from None
        count += 1
        if progress is not None:
            progress(1)
    left = producer.flush(30)
    if failures or left:
        raise ReplayError(f"{len(failures) + left} of {count} were not acknowledged: {failures[:1] or 'timed out'}")
    return count

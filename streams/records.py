"""Reading topics back: every committed record of a topic, from its beginning to its present end."""

from __future__ import annotations

import operator
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

if TYPE_CHECKING:
    from streams.settings import Settings


ANSWERS_WITHIN = 10.0
"""Seconds that brokers which take connections have for their first answer."""

CONNECTS_WITHIN = 3.0
"""Seconds in which a broker must take a connection."""

MAX_PORT = 65_535


# Not called as a method: the interpreter's short way there overlooks that the client failed and returned all the same.
_ask_headers = operator.methodcaller("headers")


class TopicUnreachable(RuntimeError):
    """A topic cannot be read; says why and the way out."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it stands in its topic; `timestamp` in ms."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)


def connect(settings: Settings, **options: Any) -> Consumer:
    """A consumer that belongs to no group's life: it assigns, never commits, and sees committed records only.

    Raises TopicUnreachable when no broker takes a connection.
    """
    find_broker(settings)
    return Consumer(
        {
            **settings.librdkafka(),
            "group.id": f"{settings.group}-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,  # at the end there is nothing to wait for; the embedded broker always waits it out
            "log_level": 0,  # what it tries again it would write to stderr; what comes of it is raised
            **options,
        }
    )


def find_broker(settings: Settings) -> None:
    """Raise TopicUnreachable when no broker takes a connection: librdkafka itself would only ever try again."""
    addresses = [address.strip() for address in settings.bootstrap.split(",")]
    with ThreadPoolExecutor(len(addresses)) as pool:
        reached = any(pool.map(_connects, addresses))
    if not reached:
        raise TopicUnreachable(f"no broker takes a connection {_way_out(settings)}")


def _connects(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        number = int(port) if host else 9092
        if number > MAX_PORT:
            return False  # the resolver would take its last 16 bits, and perhaps find another broker
        with socket.create_connection((host.strip("[]") or address, number), CONNECTS_WITHIN):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def _way_out(settings: Settings) -> str:
    return f"at {settings.bootstrap!r}; is it running? Another address: --bootstrap or POLKU_BOOTSTRAP"


def partitions_of(client: Any, settings: Settings, topic: str) -> list[int]:
    """The partitions of a topic, as a client of confluent-kafka sees them; makes no topic.

    Raises TopicUnreachable when no broker answers, or there is no such topic.
    """
    try:
        found = client.list_topics(timeout=ANSWERS_WITHIN).topics.get(topic)
    except KafkaException:
        raise TopicUnreachable(f"no broker answers {_way_out(settings)}") from None
    if found is None or found.error is not None or not found.partitions:
        place = f"there is no topic {topic!r} at {settings.bootstrap!r}"
        raise TopicUnreachable(f"{place}; a worker makes its topics at its first start")
    return sorted(found.partitions)


def extent(settings: Settings, topic: str) -> int:
    """How many offsets a topic has from its beginnings to its ends: its records, and what transactions add."""
    consumer = connect(settings)
    try:
        found = _bounds(consumer, settings, topic)
    finally:
        consumer.close()
    return sum(end - begin for begin, end in found.values())


def _bounds(consumer: Consumer, settings: Settings, topic: str) -> dict[int, tuple[int, int]]:
    """Where each partition begins and ends, for readers of committed records."""
    return {
        each: consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=ANSWERS_WITHIN)
        for each in partitions_of(consumer, settings, topic)
    }


def read(
    settings: Settings, topic: str, progress: Callable[[int], None] | None = None, start: int = OFFSET_BEGINNING
) -> Iterator[Record]:
    """Every committed record of `topic`, partition by partition interleaved as they come, offsets rising in each."""
    consumer = connect(settings)
    try:
        # What a broker in trouble answers to a fetch may read like the end of a log: it is believed there only.
        waiting = {partition: end for partition, (_, end) in _bounds(consumer, settings, topic).items()}
        consumer.assign([TopicPartition(topic, partition, start) for partition in waiting])
        while waiting:
            for message in consumer.consume(10_000, 0.1):
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's public name for it
                        if message.offset() >= waiting.get(message.partition(), 0):
                            waiting.pop(message.partition(), None)
                        continue
                    raise TopicUnreachable(f"{topic}: {error.str()}")
                if progress is not None:
                    progress(1)
                yield Record(
                    topic,
                    message.partition(),
                    message.offset(),
                    message.timestamp()[1],
                    message.key(),
                    message.value(),
                    _headers(message),
                )
    finally:
        consumer.close()


def _headers(message: Any) -> list[tuple[str, bytes]]:
    """A record's headers; none when a name is no UTF-8: the client's list is unfinished then, and must not be used."""
    try:
        return list(_ask_headers(message) or [])
    except (SystemError, UnicodeDecodeError):
        return []

"""Publishing touchpoints from JSON Lines: each line is checked as the router would, then produced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, Producer

from schemas.codec import TouchpointDecoder
from schemas.errors import CodecError
from schemas.identifiers import IdentifierError
from schemas.journal import TOUCHPOINTS, Origin
from streams.engine.routing import Router
from streams.records import find_broker, partitions_of

if TYPE_CHECKING:
    from schemas.touchpoint import Touchpoint
    from streams.settings import Settings


class PublishError(ValueError):
    """A line is no touchpoint, or the broker did not take one; says which and why."""


def parse(lines: Iterable[bytes], name: str, kinds: tuple[str, ...]) -> Iterator[tuple[bytes, Touchpoint]]:
    """Each line with its touchpoint. Raises PublishError with file and line for the first that is none."""
    decoder, router = TouchpointDecoder(kinds=kinds), Router(kinds)
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        if not text.startswith(b"{"):
            raise PublishError(f"{name}:{number}: not a JSON object; write one touchpoint a line")
        try:
            touchpoint = decoder.decode(text)
            router.touchpoint(Origin(TOUCHPOINTS, 0, number, 0), touchpoint)
        except CodecError as error:
            raise PublishError(f"{name}:{number}: {error}") from None
        except IdentifierError as error:
            raise PublishError(f"{name}:{number}: {error.rule}") from None
        yield text, touchpoint


def publish(
    settings: Settings, topic: str, touchpoints: Iterable[tuple[bytes, Touchpoint]], progress: Callable[[int], None]
) -> int:
    """Produce touchpoints, keyed by their customer or first identifier; returns how many the broker acknowledged.

    Raises TopicUnreachable when there is no broker or no installation, and PublishError when the broker takes one not.
    """
    failures: list[str] = []

    def done(error: object, _message: object) -> None:
        if error is not None:
            failures.append(str(error))

    find_broker(settings)
    producer = Producer(
        {**settings.librdkafka(), "enable.idempotence": settings.exactly_once, "linger.ms": 5, "log_level": 0}
    )
    partitions_of(producer, settings, topic)
    count, wrong = 0, None
    try:
        for line, touchpoint in touchpoints:
            key = touchpoint.identifiers.get("customer") or next(iter(touchpoint.identifiers.values()))
            _produce(producer, topic, key, line, done)
            count += 1
            progress(1)
    except PublishError as error:
        wrong = error
    left = producer.flush(30)
    if failures or left:
        raise PublishError(
            f"{len(failures) + left} of {count} were not acknowledged: {failures[:1] or 'no broker answers'}"
        )
    if wrong is not None:
        raise PublishError(f"{wrong}" + (f" (the {count} before it are published)" if count else "")) from None
    return count


def append(settings: Settings, topic: str, rows: Iterable[tuple[bytes, bytes]]) -> None:
    """Write (key, value) to the one partition of a topic, in order. Raises TopicUnreachable and PublishError."""
    failures: list[str] = []

    def done(error: object, _message: object) -> None:
        if error is not None:
            failures.append(str(error))

    find_broker(settings)
    producer = Producer({**settings.librdkafka(), "enable.idempotence": settings.exactly_once, "log_level": 0})
    partitions_of(producer, settings, topic)
    for key, value in rows:
        producer.produce(topic, key=key, value=value, partition=0, on_delivery=done)
    left = producer.flush(30)
    if failures or left:
        raise PublishError(f"{topic} did not take all of it: {failures[:1] or 'no broker answers'}; do it again")


def _produce(producer: Producer, topic: str, key: str, line: bytes, done: Callable[[object, object], None]) -> None:
    while True:
        try:
            producer.produce(topic, key=key, value=line, on_delivery=done)
            return
        except BufferError:
            producer.poll(0.1)
        except KafkaException as error:
            raise PublishError(f"the client refused a line: {error}") from None

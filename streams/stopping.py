"""Stops as commands make them: a word in the control topic, and the wait until the journal has it everywhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, TopicPartition

from schemas.control import MARKETING, Control
from schemas.journal import Stop, decode
from streams import definitionlog
from streams.records import connect, partitions_of
from streams.terminal import UsageError
from streams.topics import Topics

if TYPE_CHECKING:
    from streams.definitionlog import Published
    from streams.settings import Settings

# Workers look at the control topic all the time; what takes longer than this waits for something.
WITHIN = 15.0


@dataclass(slots=True)
class Said:
    """What came of a word: `news` is false when it was so already; `lacking` partitions had not read it in time."""

    word: Control
    news: bool
    partitions: int = 0
    lacking: list[int] = field(default_factory=list)


def scope_of(text: str, published: Published) -> str:
    """The scope that `marketing`, `journey/<name>` or `offer/<name>` names. Raises UsageError for one not there."""
    if text == MARKETING:
        return MARKETING
    kind, slash, name = text.partition("/")
    if kind not in {"journey", "offer"} or not slash:
        raise UsageError(f"'{text}' cannot be stopped; write 'marketing', 'journey/<name>' or 'offer/<name>'")
    known = sorted(each for of, each in published.versions if of == kind)
    if name not in known:
        raise UsageError(f"there is no {kind} '{name}'; known: {', '.join(known) or 'none'}")
    return f"{kind}:{name}"


def say(settings: Settings, published: Published, word: Control, within: float = WITHIN) -> Said:
    """Write a word, unless it is so already, and wait until every journal partition has it."""
    before = published.stops.get(word.scope)
    if (before is not None and before.stopped) == word.stopped:
        return Said(before or word, news=False)
    topic, consumer = Topics.of(settings).journal, connect(settings)
    try:
        partitions = partitions_of(consumer, settings, topic)
        ends = [
            TopicPartition(topic, each, consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=10)[1])
            for each in partitions
        ]
        consumer.assign(ends)
        definitionlog.say(settings, word)
        waiting, deadline = set(partitions), time.monotonic() + within
        while waiting and time.monotonic() < deadline:
            for message in consumer.consume(1000, 0.1):
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's public name for it
                        continue
                    break
                entry = decode(message.value()) if message.key() is None else None
                if isinstance(entry, Stop) and (entry.scope, entry.at) == (word.scope, word.at):
                    waiting.discard(message.partition())
    finally:
        consumer.close()
    return Said(word, news=True, partitions=len(partitions), lacking=sorted(waiting))

"""Dead letters: the headers with which Kafka Connect marks a record that its own bytes condemned.

A letter is the record as it came (key, bytes, headers), and after its headers a block of ours that begins with
`__connect.errors.topic`. The record may have come with such headers, as another system's dead letter sent on: the last
block is ours.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.errors import InvalidRecord

CONNECT = "__connect.errors."
BEGIN = CONNECT + "topic"
REASON, FIELD, RULE = "polku.errors.reason", "polku.errors.field", "polku.errors.rule"
OMITTED = "polku.errors.omitted"
MAX_HEADER = 1000
# More than our own block and the record batch around it can take: 14 headers of at most 1,000 bytes and their names.
ROOM = 20_000


def own(headers: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the headers that a letter's record came with."""
    begins = [index for index, (name, _) in enumerate(headers) if name == BEGIN]
    return list(headers[: begins[-1]] if begins else headers)


def letter(record: Any, error: InvalidRecord, most: int) -> tuple[bytes | None, bytes | None, list[tuple[str, Any]]]:
    """Return key, value and headers of a record's dead letter, which must fit a message of `most` bytes.

    A compressed batch may hold records many times as large as any message. What does not fit stays at the origin, and a
    header names it: first the value, then the headers, then the key.
    """
    key, value, kept = record.key, record.value, list(record.headers)
    omitted = []
    if _size(key, value, kept) > most - ROOM:
        value = None
        omitted.append("value")
    if _size(key, value, kept) > most - ROOM:
        kept = []
        omitted.append("headers")
    if _size(key, value, kept) > most - ROOM:
        key = None
        omitted.append("key")
    told = headers(record, error)
    if omitted:
        told.append((OMITTED, ",".join(omitted).encode()))
    return key, value, [*kept, *told]


def _size(key: bytes | None, value: bytes | None, kept: list[tuple[str, Any]]) -> int:
    # 10 bytes: the lengths before a header's name and value, at most.
    return len(key or b"") + len(value or b"") + sum(10 + 4 * len(name) + len(found or b"") for name, found in kept)


def headers(record: Any, error: InvalidRecord) -> list[tuple[str, bytes]]:
    """Return where a record stood and which rule it breaks.

    The names without `polku.` are those of Kafka Connect (`DeadLetterQueueReporter`). The message holds an excerpt of
    what was found, which may be personal data: dead letters are kept like touchpoints.
    """
    mine = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "connector.name": "polku-router",
        "task.id": record.partition,
        "stage": "VALUE_CONVERTER",
        "class.name": "schemas.codec",
        "exception.class.name": f"{type(error).__module__}.{type(error).__qualname__}",
        "exception.message": f"{error}{f': found {error.value}' if error.value else ''}",
    }
    polku = {
        REASON: error.reason.value,
        FIELD: error.field,
        RULE: error.rule,
        "polku.errors.record.timestamp": record.timestamp,
        "polku.errors.timestamp": int(time.time() * 1000),
    }
    return [
        *((CONNECT + name, _bytes(value)) for name, value in mine.items()),
        *((name, _bytes(value)) for name, value in polku.items()),
    ]


def _bytes(value: object) -> bytes:
    return str(value).encode("utf-8", "replace")[:MAX_HEADER]

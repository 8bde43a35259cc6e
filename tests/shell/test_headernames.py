"""Header names that are no UTF-8: the records around are read as always, the record itself counts like any other."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.structs import TopicPartition

from streams.transport import register
from tests.support.foreignbatches import Header, batch

TP = TopicPartition("touchpoints", 0)
GOOD: list[Header] = [(b"ok", b"1"), (b"none", None)]
BAD: list[Header] = [(b"\xff\xfename", b"1"), ("ä".encode(), b"2"), (b"", None)]


def read(data: bytes, offset: int = 0, aborted: list[tuple[int, int]] | None = None) -> list[Any]:
    """What the consumer makes of a fetch from `offset` on."""
    register()
    records = fetcher.MemoryRecords(data)
    return list(fetcher.PartitionRecords(TP, records, aborted, offset, None, None, True, fetcher.READ_COMMITTED))


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4])
def test_a_name_that_is_no_utf8_is_shown(codec: int) -> None:
    """In each compression; keys, values, times and the headers' values are as they were sent."""
    sent = [(b"k", b"v0", GOOD), (None, b"v1", BAD), (b"k", None, GOOD), (b"k", b"v3", [])]
    found = read(batch(0, sent, codec) + batch(4, sent[:1], codec))
    assert [(each.offset, each.key, each.value) for each in found] == [
        (0, b"k", b"v0"),
        (1, None, b"v1"),
        (2, b"k", None),
        (3, b"k", b"v3"),
        (4, b"k", b"v0"),
    ]
    assert found[0].headers == found[2].headers == found[4].headers == (("ok", b"1"), ("none", None))
    assert found[1].headers == (("\\xff\\xfename", b"1"), ("ä", b"2"), ("", None))
    assert [each.timestamp for each in found] == [1000, 1001, 1002, 1003, 1000]


def test_nothing_is_handed_over_twice_or_too_early() -> None:
    """From the middle of a batch on, and without what an aborted transaction wrote."""
    sent: list[Any] = [(b"k", bytes([number]), BAD if number == 2 else GOOD) for number in range(4)]
    data = batch(0, sent, producer=7) + batch(4, sent) + batch(8, sent, producer=7)
    assert [each.offset for each in read(data, aborted=[(7, 0)])] == [4, 5, 6, 7]
    assert [each.offset for each in read(batch(4, sent) + batch(8, sent), offset=5)] == [5, 6, 7, 8, 9, 10, 11]
    assert [each.offset for each in read(batch(4, sent), offset=7)] == [7]

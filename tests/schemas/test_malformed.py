"""Every malformed value is refused as such: quickly, in bounded memory, and never with another error."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter

import pytest

from schemas.codec import InvalidRecord, Reason, TouchpointDecoder, decode_touchpoint
from tests.schemas import malformed

EXPECTED = {
    "null_value": {Reason.EMPTY},
    "wrong_type": {Reason.TYPE},
    "missing_field": {Reason.MISSING},
    "unknown_field": {Reason.UNKNOWN_FIELD},
    "deep": {Reason.TOO_DEEP},
    "huge": {Reason.TOO_LARGE, Reason.TOO_MANY, Reason.NAME},
    "invalid_utf8": {Reason.UTF8},
    "refused_id": {Reason.IDENTIFIER},
    "bad_time": {Reason.TIME},
    "bad_name": {Reason.NAME},
    "bad_branch": {Reason.MALFORMED},
    "trailing": {Reason.TRAILING},
    "unknown_encoding": {Reason.ENCODING},
    "reserved_type": {Reason.RESERVED, Reason.IDENTIFIER},
}


def test_enough_of_each_kind() -> None:
    """There are 2,000 and more, at least 100 of each kind, and the same again for the same seed."""
    first = list(malformed.malformed())
    counts = Counter(kind for kind, _ in first)
    assert len(first) >= 2000
    assert min(counts.values()) >= 100
    assert set(counts) == set(malformed.KINDS)
    assert first == list(malformed.malformed())


@pytest.mark.parametrize("seed", [1, 2])
def test_each_is_refused(seed: int) -> None:
    """InvalidRecord, a rule for people, a short excerpt, and no more than a quarter of a second for any of them."""
    for kind, value in malformed.malformed(seed):
        began = time.process_time()
        with pytest.raises(InvalidRecord) as caught:
            decode_touchpoint(value)
        assert time.process_time() - began < 0.25, kind
        assert caught.value.reason in EXPECTED.get(kind, set(Reason)), (kind, value, caught.value)
        assert caught.value.rule
        assert len(caught.value.rule) < 400
        assert len(caught.value.value) <= 60


def test_memory_stays_bounded() -> None:
    """No bomb makes the decoder take more than a few times the largest record."""
    bombs = [value for kind, value in malformed.malformed(3) if kind in ("avro_bomb", "deep", "huge")]
    decoder = TouchpointDecoder()
    tracemalloc.start()
    try:
        for value in bombs:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with pytest.raises(InvalidRecord):
                decoder.decode(value)
            assert tracemalloc.get_traced_memory()[1] - before < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()

"""The verdict of the soak knows flat memory from memory that grows or peaks, and the stream grows as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.soak import Reading, flatness, stream

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = 10_000


def readings(mb: Callable[[float], float]) -> list[Reading]:
    """Fifty readings; `mb` gives resident memory at a share of the events."""
    return [Reading(each, each * EVENTS // 50, mb(each / 50), 0.0, 60) for each in range(51)]


@pytest.mark.parametrize(
    ("mb", "complaint"),
    [
        (lambda _: 400.0, None),
        (lambda share: 100 + 3000 * min(share, 0.1), None),
        (lambda share: 400 + 20 * (share * 50 % 2), None),
        (lambda share: 400 + 40 * share, None),
        (lambda share: 400 + 50 * share, "memory grows"),
        (lambda share: 700 - 300 * share, None),
        (lambda share: 501.0 if share == 0.5 else 400.0, "memory peaks"),
        (lambda share: 499.0 if share == 0.5 else 400.0, None),
    ],
    ids=["flat", "start", "saw", "a little", "leak", "shrinks", "peak", "small peak"],
)
def test_memory(mb: Callable[[float], float], complaint: str | None) -> None:
    """What happens in the first tenth does not count."""
    found, wrong = flatness(EVENTS, readings(mb))
    assert found
    assert [each.partition(":")[0].partition(" at ")[0] for each in wrong] == ([complaint] if complaint else [])


def test_too_few_readings_are_no_verdict() -> None:
    """A run too short to say anything is not good."""
    assert flatness(EVENTS, [])[1]
    assert flatness(EVENTS, readings(lambda _: 400.0)[::3])[1]
    assert flatness(EVENTS, [each for each in readings(lambda _: 400.0) if not 0.1 <= each.events / EVENTS < 0.2])[1]


def test_customers_come_half_of_them_early() -> None:
    """Nearly half of them in the first tenth of the events, nearly all in the end, and new ones until then."""
    given = list(stream(EVENTS, 200))
    early, late = ({each.customer for each in some} for some in (given[: EVENTS // 10], given[EVENTS // 2 :]))
    everyone = {each.customer for each in given}
    assert 90 <= len(early) <= 100
    assert 195 <= len(everyone) <= 200
    assert len(late - early) >= 80

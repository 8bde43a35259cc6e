"""Who may begin a transaction when."""

from __future__ import annotations

import pytest

from streams.pace import Pace


def test_a_lonely_task_never_waits() -> None:
    """Seldom enough, every turn is at once."""
    pace = Pace(100)
    assert [pace.take(now) for now in (1.0, 1.01, 1.5, 7.0)] == [1.0, 1.01, 1.5, 7.0]


def test_many_tasks_take_turns() -> None:
    """Who asks at the same moment gets the next turns, evenly spread; time that nobody used is not saved up."""
    pace = Pace(4)
    assert [pace.take(10.0) for _ in range(4)] == [10.0, 10.25, 10.5, 10.75]
    assert pace.take(10.1) == 11.0
    assert pace.take(20.0) == 20.0
    assert pace.take(20.0) == 20.25


@pytest.mark.parametrize("asked", [0.0, 5.0])
def test_without_a_limit_every_turn_is_at_once(asked: float) -> None:
    """A rate of 0."""
    pace = Pace(0)
    assert [pace.take(asked) for _ in range(3)] == [asked] * 3

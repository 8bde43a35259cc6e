"""Who may begin a transaction when."""

from __future__ import annotations

import asyncio

import pytest

from streams.pace import LASTS_LONG, Pace


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


def test_few_are_under_way_at_once_and_places_go_to_who_waited_longest() -> None:
    """Who was called finds its place kept; who comes in between waits behind all others."""
    pace, wakes = Pace(0, at_once=2), {who: asyncio.Event() for who in "abcde"}
    assert [pace.begin(who, 1.0, wakes[who]) for who in "abcd"] == [True, True, False, False]
    pace.end("b", 1.1)
    assert [wakes[who].is_set() for who in "cd"] == [True, False]
    assert [pace.begin(who, 1.1, wakes[who]) for who in "edc"] == [False, False, True]
    pace.end("a", 1.2)
    pace.end("c", 1.2)
    assert [pace.begin(who, 1.2, wakes[who]) for who in "de"] == [True, True]


def test_what_lasts_long_keeps_nobody_waiting() -> None:
    """A transaction that cannot be had, as of a partition without a leader, is none of the others' business."""
    pace, wake = Pace(0, at_once=1), asyncio.Event()
    assert pace.begin("stuck", 1.0, wake)
    assert not pace.begin("other", 1.0 + LASTS_LONG / 2, wake)
    assert pace.begin("other", 1.0 + LASTS_LONG, wake)
    pace.end("other", 2.0)
    assert pace.begin("third", 2.0, wake)


def test_without_a_bound_all_may_begin() -> None:
    """A bound of 0."""
    pace = Pace(0)
    assert all(pace.begin(who, 1.0, asyncio.Event()) for who in range(100))

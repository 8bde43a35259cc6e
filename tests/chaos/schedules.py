"""Schedules: which faults strike in which order is decided by a schedule's seed, and by nothing else.

Consecutive seeds deal the faults out like cards: each comes as often as any other. What the seed cannot decide is how
processes interleave; so a seed that failed is played again to see whether it fails again, more than once if need be.
"""

from __future__ import annotations

import contextlib
import random
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from confluent_kafka import TopicPartition

from schemas.journal import Mark, TaskMark
from tests.chaos.faults import FAULTS, SINKS
from tests.chaos.stage import Stage
from tests.support import oracle
from tests.support.installation import committed, reader

EACH = 3
WORKERS = 2
LEAST_TOUCHPOINTS = 5000
LEAST_ACTIONS = 1000
QUIET = 1.0


@dataclass(slots=True)
class Result:
    """What came of a schedule. `hits`: by fault, in how many partitions transactions were open when it struck."""

    seed: int
    faults: list[str]
    hits: dict[str, int] = field(default_factory=dict)
    touchpoints: int = 0
    poison: int = 0
    entries: int = 0
    actions: int = 0
    decisions: int = 0
    states: int = 0
    calls: int = 0
    seconds: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)
    failure: str | None = None

    def row(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def faults_of(seed: int, each: int = EACH) -> list[str]:
    """The faults of a schedule, in order; none twice."""
    names = sorted(FAULTS)
    dealt: list[str] = []
    place = seed * each
    while len(dealt) < each:
        deck = names.copy()
        random.Random(place // len(names)).shuffle(deck)
        if (name := deck[place % len(names)]) not in dealt:
            dealt.append(name)
        place += 1
    return dealt


class Clock:
    """Where the time of a schedule goes."""

    def __init__(self, result: Result) -> None:
        self._result, self._began = result, time.monotonic()

    def lap(self, name: str) -> None:
        """Give the time since the last lap to `name`."""
        now = time.monotonic()
        self._result.phases[name] = round(self._result.phases.get(name, 0.0) + now - self._began, 2)
        self._began = now


def play(
    stage: Stage,
    names: list[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
    least: int = LEAST_TOUCHPOINTS,
) -> Result:
    """Play a schedule of `least` touchpoints or more and ask the oracle; whatever is wrong stands in the result."""
    result, began = Result(stage.seed, faults_of(stage.seed) if names is None else names), time.monotonic()
    try:
        _play(stage, result, say, least)
    except Exception:  # noqa: BLE001 - a failure is a result like any other; the other schedules go on
        result.failure = traceback.format_exc()
        stage.cluster.mend()
        with contextlib.suppress(Exception):  # a broker that is down, say
            stage.testify()
    finally:
        stage.cluster.mend()
        stage.clear()
        result.seconds = round(time.monotonic() - began, 1)
    return result


def _play(stage: Stage, result: Result, say: Callable[[str], None], least: int) -> None:
    clock = Clock(result)
    say("starting")
    for seat in stage.seats[:WORKERS]:
        stage.start(seat)
    stage.all_serve()
    clock.lap("start")
    if SINKS in result.faults:
        stage.sinks.start()
    with stage.flow() as traffic:
        for name in result.faults:
            say(name)
            stage.pause(0, 0.5)
            result.hits[name] = result.hits.get(name, 0) + FAULTS[name](stage)
            clock.lap(name)
        stage.cluster.mend()
        say("flowing")
        traffic.finish(least)
        result.touchpoints, result.poison = traffic.sent, len(stage.poison)
    clock.lap("flow")
    say("settling")
    if SINKS in result.faults:
        stage.sinks.settle()
    stage.installation.settle(quiet=QUIET)
    clock.lap("settle")
    ended = stage.stop()
    if SINKS in result.faults:
        ended.append(stage.sinks.stop())
        result.calls = stage.sinks.judge()
    assert not any(ended), f"processes ended with {ended}"
    clock.lap("stop")
    say("asking the oracle")
    judge(stage, result, clock)


def judge(stage: Stage, result: Result, clock: Clock) -> None:
    """Raise AssertionError unless all that was promised is so."""
    settings = stage.installation.settings
    found = oracle.dump(settings, stage.definitions, stage.installation.admin)
    clock.lap("dump")
    result.entries, result.states = len(found.records["journal"]), len(found.states)
    result.actions, result.decisions = len(found.actions), len(found.decisions)
    there, sent = len(found.records["touchpoints"]), result.touchpoints + result.poison
    assert there == sent, f"{sent} touchpoints were acknowledged, {there} stand in the topic"
    _all_read(stage, found)
    dead = [record.value for record in found.records["touchpoints.dlq"]]
    assert sorted(dead, key=repr) == sorted(stage.poison, key=repr), (
        f"{len(stage.poison)} bad, {len(dead)} dead letters"
    )
    oracle.check(found)
    clock.lap("check")
    assert result.actions >= LEAST_ACTIONS, f"{result.actions} actions are too few to show anything"


def _all_read(stage: Stage, found: oracle.Dump) -> None:
    settings, topics = stage.installation.settings, stage.installation.topics
    offsets = committed(stage.installation.admin, settings.group)
    consumer = reader(settings)
    try:
        for name in topics.origins:
            for partition in consumer.list_topics(name, timeout=10).topics[name].partitions:
                end = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=10)[1]
                assert end == 0 or offsets[name, partition] == end, f"{name}/{partition} is not read to its end"
    finally:
        consumer.close()
    for partition, entries in found.journal.items():
        unread = [entry for offset, entry in entries if offset >= offsets[topics.journal, partition]]
        left = [entry for entry in unread if not isinstance(entry, Mark | TaskMark)]
        assert not left, f"{len(left)} entries of journal partition {partition} were not read"

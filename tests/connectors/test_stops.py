"""Stops: what is not delivered any more, in the queue and between two tries; what goes on; and what is hidden."""

from __future__ import annotations

import asyncio
import time

import pytest

from connectors.sink import Retry
from schemas.action import Action
from tests.connectors.memory import MemoryBroker, MemoryLog
from tests.connectors.support import (
    NAMES,
    QUICK,
    RecordingSink,
    action,
    kinds,
    outcomes,
    publish,
    running,
    stop,
    until,
)
from tests.connectors.test_delivery import deliver
from tests.connectors.test_web import WEB, banner, site

SERVICE = {"basis": "contract", "purpose": "contract-service"}


@pytest.mark.parametrize(
    ("scope", "fields", "delivered"),
    [
        ("marketing", {}, False),
        ("marketing", SERVICE, True),
        ("marketing", {"basis": "internal"}, True),
        ("journey:card", {}, False),
        ("journey:card", SERVICE, False),
        ("journey:other", {}, True),
    ],
)
def test_what_a_stop_covers(scope: str, fields: dict[str, str], delivered: bool) -> None:
    """Of all marketing what needs consent; of a journey whatever it sends."""
    log = MemoryLog()
    publish(log, action(**fields))
    stop(log, scope)
    sink = RecordingSink()
    deliver(log, sink)
    assert len(sink.calls) == delivered
    (outcome,) = outcomes(log)
    told = (outcome.kind, outcome.detail)
    assert told == (("delivered", "") if delivered else ("withdrawn", f"stopped: {scope}"))


def test_a_stop_that_was_lifted_stops_nothing_and_brings_nothing_back() -> None:
    """What was withdrawn meanwhile stays so."""
    log, early, late = MemoryLog(), action(), action()
    publish(log, early)
    stop(log, "marketing")
    deliver(log, RecordingSink())
    stop(log, "marketing", stopped=False)
    publish(log, late)
    sink = RecordingSink()
    deliver(log, sink)
    assert sink.delivered == [late.action_id]
    assert kinds(log) == ["delivered", "withdrawn"]


@pytest.mark.parametrize("value", [b"", b"{", b'{"scope": 1}'])
def test_a_word_that_cannot_be_read_stops(value: bytes) -> None:
    """To be silent is the safe side."""
    log = MemoryLog()
    publish(log, action())
    log.put(NAMES.control, b"marketing", value)
    sink = RecordingSink()
    deliver(log, sink)
    assert sink.calls == []


def test_a_stop_reaches_what_is_in_the_queue_and_what_is_tried_again() -> None:
    """While calls are under way and others wait for their next try: from the stop on none begins."""
    log = MemoryLog()
    many = [action(customer=f"c{n}", profile=f"customer:c{n}") for n in range(300)]
    failing = [action(customer=f"f{n}", profile=f"customer:f{n}") for n in range(20)]
    publish(log, *failing, *many)
    sink = RecordingSink(*[Retry("busy", 0.2) for _ in failing])
    stopped: list[float] = []

    async def during(_: Action) -> None:
        await asyncio.sleep(0.002)
        if len(sink.calls) > 100 and not stopped:
            stop(log, "marketing")
            stopped.append(time.monotonic())

    sink.during = during

    async def main() -> None:
        async with running(sink, MemoryBroker(log), QUICK):
            await until(lambda: len(kinds(log)) == len(many) + len(failing), 30)

    asyncio.run(main())
    late = [at - stopped[0] for at in sink.times if at > stopped[0]]
    assert max(late, default=0.0) < 0.2
    found = kinds(log)
    assert found.count("delivered") + found.count("withdrawn") == len(many) + len(failing)
    assert found.count("withdrawn") > 150


def test_banners_are_hidden_while_stopped_and_shown_again_after() -> None:
    """Those from before the stop and those that come during it; what is shown once more is no second delivery."""

    async def main() -> None:
        log, shown, during = MemoryLog(), banner(priority=1), banner(params={"slot": "side"})
        publish(log, shown, names=WEB)
        async with site(log) as page:
            await page.shows("device:d1", shown)
            stop(log, "marketing", names=WEB)
            await page.shows("device:d1")
            publish(log, during, names=WEB)
            await asyncio.sleep(0.05)
            await page.shows("device:d1")
        async with site(log) as page:  # another instance, which starts while it is stopped
            await page.shows("device:d1")
            stop(log, "marketing", names=WEB, stopped=False)
            await page.shows("device:d1", shown, during)
        assert kinds(log) == ["delivered", "delivered"]

    asyncio.run(main())

"""A stop reaches sinks that are at work on a real broker: what is in their queues is not delivered any more."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

from connectors.delivery import Delivery
from connectors.handling import Terms
from connectors.kafka import KafkaBroker
from connectors.names import Names
from schemas.codec import decode_outcome, encode_action
from streams.records import read
from streams.settings import Settings
from tests.cli.running import polku
from tests.connectors.support import RecordingSink, action
from tests.support.workers import SEEDS, WorkerProcess

log = logging.getLogger(__name__)

# Sinks know of a stop within 2 s (measured, on 2 busy cores: see docs/definitions.md); a machine that does ten other
# things at once has ten times as long.
BUSY = 20.0
CALL = 0.05  # seconds of a call: so that the queue would take half a minute
MANY = 200  # calls before the stop
SETTLED = 300  # seconds in which each action gets its outcome
SENT_AFTER = 3.0  # seconds in which marketing goes on being proposed after the stop


def test_no_marketing_is_delivered_after_a_stop(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Of thousands in the queue, and of what comes later: all are withdrawn; service goes on all the while."""
    names = Names(topic_prefix, "email")
    with WorkerProcess(
        tmp_path, bootstrap=kafka_bootstrap, prefix=topic_prefix, group=topic_prefix.strip("."), definitions=SEEDS
    ).start() as worker:
        worker.ready(12)
        said, calls, published = asyncio.run(_deliver(kafka_bootstrap, names, worker.settings))
        assert worker.stop() == 0
    late = [at - said for at, basis in calls if basis == "consent" and at > said]
    log.info("the last delivery began %.3f s after the stop was said", max(late, default=0.0))
    assert [each for each in late if each > BUSY] == []
    assert [at for at, basis in calls if basis == "contract" and at > said + SENT_AFTER / 2], "service went on"
    outcomes = [decode_outcome(record.value, record.headers) for record in read(worker.settings, names.outcomes)]
    kinds = {outcome.action_id: (outcome.kind, outcome.detail) for outcome in outcomes}
    assert len(kinds) == published
    withdrawn = [detail for kind, detail in kinds.values() if kind == "withdrawn"]
    assert len(withdrawn) > 1000
    assert set(withdrawn) == {"stopped: marketing"}


def _settled(settings: Settings, names: Names) -> int:
    """How many actions have an outcome."""
    return len({decode_outcome(each.value, each.headers).action_id for each in read(settings, names.outcomes)})


async def _deliver(bootstrap: str, names: Names, settings: Settings) -> tuple[float, list[tuple[float, str]], int]:
    """Deliver a backlog, stop in the middle, propose more: when the stop was said, all calls, the number of actions."""
    broker, calls, published = KafkaBroker(bootstrap), list[tuple[float, str]](), 0

    async def during(one: Any) -> None:
        calls.append((time.time(), one.basis))
        if len(calls) >= MANY:
            many.set()
        await asyncio.sleep(CALL)

    async def publish(number: int) -> None:
        nonlocal published
        sent = []
        for _ in range(number):
            published += 1
            fields = {"basis": "contract", "purpose": "contract-service"} if published % 20 == 0 else {}
            who = f"c{published % 400}"
            one = action(customer=who, profile=f"customer:{who}", **fields)
            sent.append(broker.append(names.actions, who.encode(), encode_action(one)))
        await asyncio.gather(*sent)

    sink, end, many = RecordingSink(), asyncio.Event(), asyncio.Event()
    sink.during = during
    await publish(3000)
    running = asyncio.create_task(Delivery(sink, Terms("email", concurrency=8), names, broker).run(end))
    await many.wait()
    flags = ("--why", "a test", "--bootstrap", bootstrap, "--prefix", names.prefix, "--json")
    ran = await asyncio.to_thread(polku, "stop", "marketing", *flags)
    assert ran.code == 0, ran.err
    for _ in range(int(SENT_AFTER / 0.2)):
        await publish(50)
        await asyncio.sleep(0.2)
    for _ in range(SETTLED):
        if await asyncio.to_thread(_settled, settings, names) == published:
            break
        await asyncio.sleep(1)
    end.set()
    await running
    await broker.close()
    return ran.rows[0]["at"] / 1000, calls, published

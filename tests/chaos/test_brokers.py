"""The broker goes away and comes back: workers wait, and go on where they were."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.support import oracle
from tests.support.installation import settle
from tests.support.workers import SEEDS, WorkerProcess, journeys_of_customers, produce

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.kafka import KafkaProcess

TASKS = 12


def test_a_broker_killed_and_restarted(kafka_process: KafkaProcess, tmp_path: Path) -> None:
    """Transactions in doubt are begun again; every record stands once, and the worker's process stays the same."""
    records = list(journeys_of_customers(300))
    half = len(records) // 2
    with WorkerProcess(tmp_path, bootstrap=kafka_process.bootstrap, group="brokers").start() as one:
        one.ready(TASKS)
        produce(kafka_process.bootstrap, one.topics.touchpoints, records[:half])
        kafka_process.kill()
        time.sleep(8)
        kafka_process.start()
        produce(kafka_process.bootstrap, one.topics.touchpoints, records[half:])
        one.ready(TASKS)
        settle(one.settings, [one])
        assert one.stop() == 0
        oracle.check(oracle.dump(one.settings, SEEDS))

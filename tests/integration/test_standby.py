"""Warm copies: who takes a partition over after a crash reads the tail of its changelog only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.records import read
from tests.support import oracle
from tests.support.installation import settle, until
from tests.support.workers import SEEDS, WorkerProcess, journeys_of_customers, produce

if TYPE_CHECKING:
    from pathlib import Path

TASKS = 12


def test_a_take_over_recovers_the_tail_only(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Of two workers, each keeps the other's partitions warm; one is killed, and the other goes on at once."""
    records = list(journeys_of_customers(120))
    half = len(records) // 2
    common = {"bootstrap": kafka_bootstrap, "prefix": topic_prefix, "group": topic_prefix.strip("."), "standbys": 1}
    first, second = (WorkerProcess(tmp_path, name, **common) for name in ("first", "second"))
    with first.start() as one, second.start() as two:
        until(lambda: one.serves(TASKS // 2) and two.serves(TASKS // 2), 90, lambda: "both serve")
        produce(kafka_bootstrap, one.topics.touchpoints, records[:half])
        settle(one.settings, [one, two])
        assert one.metric("polku_standby_partitions") == two.metric("polku_standby_partitions") == 2
        states = sum(1 for _ in read(one.settings, one.topics.changelog))
        assert one.metric("polku_standby_records_total") + two.metric("polku_standby_records_total") >= 0.9 * states
        before = two.metric("polku_recovered_records_total")
        one.kill()
        two.ready(TASKS)
        tail = two.metric("polku_recovered_records_total") - before
        assert tail <= 0.1 * states, (tail, states)
        produce(kafka_bootstrap, two.topics.touchpoints, records[half:])
        # The one that comes back has a copy of what it owned before, and keeps it warm until it owns it again.
        one.start()
        until(lambda: one.serves(TASKS // 2) and two.serves(TASKS // 2), 90, lambda: "both serve again")
        until(lambda: two.metric("polku_standby_partitions") == 2, 30, lambda: "and keep each other's partitions warm")
        settle(two.settings, [one, two])
        assert one.stop() == two.stop() == 0
        assert two.log.read_text() == ""
    oracle.check(oracle.dump(one.settings, SEEDS))

"""A worker on the embedded broker: no transactions, no compaction, and still nothing lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas import codec
from schemas.journal import Event
from tests.support import oracle
from tests.support.installation import settle
from tests.support.workers import SEEDS, WorkerProcess, journeys_of_customers, produce

if TYPE_CHECKING:
    from pathlib import Path

TASKS = 12
GIVEN: dict[str, Any] = {
    "group": "embedded",
    "guarantee": "at_least_once",
    "store": "memory",
    "session_timeout": 2,
    "heartbeat_interval": 0.5,
}


def test_the_bank_story_on_the_embedded_broker(embedded_bootstrap: str, tmp_path: Path) -> None:
    """Without faults the result is the same as with transactions."""
    with WorkerProcess(tmp_path, bootstrap=embedded_bootstrap, **GIVEN).start() as one:
        one.ready(TASKS)
        produce(embedded_bootstrap, one.topics.touchpoints, journeys_of_customers(40))
        settle(one.settings, [one])
        assert one.stop() == 0
        found = oracle.dump(one.settings, SEEDS)
        oracle.check(found)
        assert len(found.actions) >= 40
        assert one.log.read_text() == ""


def test_a_crash_on_the_embedded_broker_loses_nothing(embedded_bootstrap: str, tmp_path: Path) -> None:
    """After kill -9 every record is routed at least once, and what was emitted twice has the same id and bytes."""
    with WorkerProcess(tmp_path, bootstrap=embedded_bootstrap, **GIVEN).start() as one:
        one.ready(TASKS)
        records = list(journeys_of_customers(150))
        half = len(records) // 2
        produce(embedded_bootstrap, one.topics.touchpoints, records[:half])
        one.kill()
        produce(embedded_bootstrap, one.topics.touchpoints, records[half:])
        one.start().ready(TASKS)
        settle(one.settings, [one])
        assert one.stop() == 0
    found = oracle.dump(one.settings)
    routed = {
        (entry.origin.partition, entry.origin.offset)
        for stream in found.journal.values()
        for _, entry in stream
        if isinstance(entry, Event)
    }
    assert routed == {(record.partition, record.offset) for record in found.records["touchpoints"]}
    by_id: dict[bytes, set[bytes]] = {}
    for record in found.records["decisions"]:
        decision = codec.decode_decision(record.value)
        by_id.setdefault(decision.decision_id.encode(), set()).add(record.value or b"")
    assert {len(bodies) for bodies in by_id.values()} == {1}

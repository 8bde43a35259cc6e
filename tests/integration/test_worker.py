"""A worker on a real Apache Kafka: everything stands once, and replaying the journal gives what was published."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from streams.records import read
from tests.support import oracle
from tests.support.installation import settle
from tests.support.workers import SEEDS, WorkerProcess, journeys_of_customers, produce

if TYPE_CHECKING:
    from pathlib import Path

TASKS = 12
CUSTOMERS = 60


def worker(folder: Path, bootstrap: str, prefix: str, name: str = "worker", **settings: object) -> WorkerProcess:
    """A worker of the installation `prefix`, not started."""
    return WorkerProcess(folder, name, bootstrap=bootstrap, prefix=prefix, group=prefix.strip("."), **settings)


@pytest.mark.parametrize("fetch", [1, 7, 5000])
def test_the_bank_story_runs_exactly_once_whatever_the_batches(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path, fetch: int
) -> None:
    """What many customers do is routed once, decided once, and computed again from the journal byte for byte."""
    customers = 8 if fetch == 1 else CUSTOMERS
    with worker(tmp_path, kafka_bootstrap, topic_prefix, max_poll_records=fetch, store="memory").start() as one:
        one.ready(TASKS)
        produce(kafka_bootstrap, one.topics.touchpoints, journeys_of_customers(customers))
        settle(one.settings, [one])
        assert one.stop() == 0
        found = oracle.dump(one.settings, SEEDS)
        oracle.check(found)
        assert len(found.actions) >= customers
        assert one.log.read_text() == ""


def test_a_backlog_larger_than_the_inboxes_is_read_without_a_gap(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """A worker that finds much more than it can hold stops fetching and goes on where it was."""
    made = worker(tmp_path, kafka_bootstrap, topic_prefix, max_poll_records=60, max_transaction_records=40)
    with made.start() as one:
        one.ready(TASKS)
        assert one.stop() == 0
        produce(kafka_bootstrap, one.topics.touchpoints, journeys_of_customers(1200))
        one.start().ready(TASKS)
        settle(one.settings, [one])
        assert one.stop() == 0
        oracle.check(oracle.dump(one.settings, SEEDS))


def test_condemned_records_become_dead_letters_with_their_bytes(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """A record that breaks a rule goes to the dead letters as it was, and those around it are routed."""
    good = [(key, value) for key, value in journeys_of_customers(3)]
    incomplete = json.dumps({"event_id": "x"}).encode()
    bad = [("k", b"{"), ("k", b"\xc3\x01 no such schema"), ("k", incomplete), ("k", b"plain")]
    with worker(tmp_path, kafka_bootstrap, topic_prefix).start() as one:
        one.ready(TASKS)
        produce(kafka_bootstrap, one.topics.touchpoints, [*good[:5], *bad, *good[5:]])
        settle(one.settings, [one])
        assert one.stop() == 0
        found = oracle.dump(one.settings, SEEDS)
        oracle.check(found)
    letters = found.records["touchpoints.dlq"]
    assert sorted(letter.value or b"" for letter in letters) == sorted(value for _, value in bad)
    headers = dict(letters[0].headers)
    assert headers["__connect.errors.topic"].decode() == one.topics.touchpoints
    assert {"__connect.errors.offset", "__connect.errors.exception.message"} <= set(headers)


def test_a_restarted_worker_goes_on_from_its_store(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """After a graceful stop a worker resumes where it was, reading only what its local store lacks."""
    records = list(journeys_of_customers(CUSTOMERS))
    half = len(records) // 2
    with worker(tmp_path, kafka_bootstrap, topic_prefix).start() as one:
        one.ready(TASKS)
        produce(kafka_bootstrap, one.topics.touchpoints, records[:half])
        settle(one.settings, [one])
        assert one.stop() == 0
        one.start().ready(TASKS)
        assert one.metric("polku_recovered_records_total") == 0
        produce(kafka_bootstrap, one.topics.touchpoints, records[half:])
        settle(one.settings, [one])
        assert one.stop() == 0
        oracle.check(oracle.dump(one.settings, SEEDS))


def test_time_passes_on_idle_logs(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Without any event, marks of all tasks keep coming, a few seconds behind the clock at most."""
    with worker(tmp_path, kafka_bootstrap, topic_prefix).start() as one:
        one.ready(TASKS)
        time.sleep(8)
        delays = [
            float(line.rsplit(" ", 1)[1])
            for line in one.get("metrics").splitlines()
            if line.startswith("polku_watermark_delay_seconds{")
        ]
        assert len(delays) == one.settings.journal_partitions
        assert max(delays) < 4
        assert one.stop() == 0
    oracle.time_passes(oracle.dump(one.settings))


def test_metrics_tell_what_happened(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """What ops asks first stands in /metrics: routed, dead letters, actions, decisions, lag, latency, transactions."""
    with worker(tmp_path, kafka_bootstrap, topic_prefix).start() as one:
        one.ready(TASKS)
        sent = produce(kafka_bootstrap, one.topics.touchpoints, [*journeys_of_customers(10), ("k", b"{")])
        settle(one.settings, [one])
        assert one.metric("polku_records_routed_total") == sent
        assert one.metric("polku_dead_letters_total") == 1
        assert one.metric("polku_actions_total") == len(list(_actions(one)))
        assert one.metric("polku_decisions_total") > 0
        assert one.metric("polku_touchpoint_to_action_seconds_count") > 0
        assert one.metric("polku_transactions_total") > 0
        assert one.metric("polku_consumer_lag_records") == 0
        assert one.get("healthz") == {"stopped": []}
        assert one.stop() == 0


def _actions(one: WorkerProcess) -> list[object]:
    channels = ("email", "sms", "push", "web", "ads", "advisor")
    return [record for channel in channels for record in read(one.settings, one.topics.actions(channel))]

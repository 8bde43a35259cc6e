"""What a worker must not do by itself: skip what was deleted, take a changed definition, go on without one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas import journal
from schemas.journal import Activate
from streams.definitions import LoadedJourney, LoadedPolicy, load, to_json
from streams.journaldump import entries
from streams.records import read
from tests.support import oracle
from tests.support.workers import WorkerProcess, journeys_of_customers, produce

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TASKS = 12
POLICY = """\
policy: bank
version: {version}
purposes:
  marketing: {{basis: consent}}
channels:
  {channel}: {{}}
actions:
  show_banner: {{channels: [{channel}], purpose: marketing}}
"""


def worker(folder: Path, bootstrap: str, prefix: str, **settings: Any) -> WorkerProcess:
    """A worker of the installation `prefix`, not started."""
    return WorkerProcess(folder, bootstrap=bootstrap, prefix=prefix, group=prefix.strip("."), **settings)


def wait_for(what: str, found: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until `found()` is true; raises AssertionError that names what did not come."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.2)


def test_a_committed_offset_outside_the_log_stops_its_task(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Records deleted before they were read are a person's business: the task stops, health and log say so."""
    with worker(tmp_path, kafka_bootstrap, topic_prefix).start() as one:
        one.ready(TASKS)
        assert one.stop() == 0
        sent = produce(kafka_bootstrap, one.topics.touchpoints, journeys_of_customers(20))
        admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
        for done in admin.delete_records([TopicPartition(one.topics.touchpoints, 0, 5)]).values():
            done.result(10)
        one.start()
        stopped = f"{one.topics.touchpoints}-0"
        wait_for("the stop", lambda: (one.get("healthz") or {}).get("stopped") == [stopped])
        assert "is outside the log" in one.log.read_text()
        assert one.metric("polku_records_routed_total") < sent
        assert one.stop() == 0


def test_a_changed_definition_under_the_same_version_is_refused(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Whoever edits a definition raises its version; else the worker does not start."""
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "policy.yaml").write_text(POLICY.format(version=1, channel="web"))
    with worker(tmp_path, kafka_bootstrap, topic_prefix, definitions=folder).start() as one:
        one.ready(TASKS)
        assert one.stop() == 0
        (folder / "policy.yaml").write_text(POLICY.format(version=1, channel="push"))
        assert one.start().process is not None
        assert one.process is not None
        assert one.process.wait(30) == 2
        assert "raise its version" in one.log.read_text()
        (folder / "policy.yaml").write_text(POLICY.format(version=2, channel="push"))
        one.start().ready(TASKS)
        wait_for("version 2", lambda: _activated(one).get(("bank", 2)) == 4)
        assert one.stop() == 0
        assert _activated(one) == {("bank", 1): 4, ("bank", 2): 4}


def _activated(one: WorkerProcess) -> dict[tuple[str, int], int]:
    found: dict[tuple[str, int], int] = {}
    for stream in entries(read(one.settings, one.topics.journal)).values():
        for _, entry in stream:
            if isinstance(entry, Activate):
                found[entry.name, entry.version] = found.get((entry.name, entry.version), 0) + 1
    return found


def test_a_partition_waits_for_a_definition_that_the_journal_names(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """An activation of something unknown halts its partition until the definitions topic delivers it."""
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "policy.yaml").write_text(POLICY.format(version=3, channel="web"))
    policy = load(folder).policy
    assert policy is not None
    with worker(tmp_path, kafka_bootstrap, topic_prefix, definitions=None).start() as one:
        one.ready(TASKS)
        producer = Producer({"bootstrap.servers": kafka_bootstrap})
        entry = Activate("policy", policy.name, policy.version, policy.fingerprint)
        producer.produce(one.topics.journal, value=journal.encode(entry), partition=2)
        producer.flush(10)
        wait_for("the waiting", lambda: one.metric("polku_partitions_waiting_for_definition") == 1)
        producer.produce(one.topics.definitions, value=to_json(policy), key=b"policy/bank/3")
        producer.flush(10)
        wait_for("the end of the waiting", lambda: one.metric("polku_partitions_waiting_for_definition") == 0)
        assert one.stop() == 0
        oracle.check(oracle.dump(one.settings, folder))


def test_a_channel_published_while_running_gets_its_topic(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """A definition may bring a channel no start could know of: its topic is made when the first action needs it."""
    folder = tmp_path / "definitions"
    (folder / "journeys").mkdir(parents=True)
    (folder / "policy.yaml").write_text(POLICY.format(version=1, channel="kiosk"))
    journey = "journey: hello\nversion: 1\npurpose: marketing\nenter: {when: page_viewed}\nstages:\n  seen:\n"
    journey += "    - on arrival:\n      do:\n        - show_banner: {banner: hello}\n      end: true\n"
    (folder / "journeys" / "hello.yaml").write_text(journey)
    definitions = load(folder)
    assert definitions.problems == []
    assert definitions.policy is not None
    events = [
        {"event_id": f"k-{index}", "type": kind, "channel": "web", "occurred_at": int(time.time() * 1000)}
        | {"identifiers": {"customer": "c-kiosk"}, "properties": body}
        for index, (kind, body) in enumerate(
            [("consent_given", {"purpose": "marketing"}), ("page_viewed", {"page": "/"})]
        )
    ]
    with worker(tmp_path, kafka_bootstrap, topic_prefix, definitions=None).start() as one:
        one.ready(TASKS)
        producer = Producer({"bootstrap.servers": kafka_bootstrap})
        published: list[LoadedJourney | LoadedPolicy] = [definitions.policy, *definitions.journeys]
        for each in published:
            producer.produce(one.topics.definitions, value=to_json(each), key=f"{each.kind}/{each.name}/1")
        producer.flush(10)
        wait_for("the activations", lambda: _activated(one).get(("hello", 1)) == 4)
        time.sleep(1)
        produce(kafka_bootstrap, one.topics.touchpoints, [("c-kiosk", event) for event in events])
        wait_for("the action", lambda: one.metric("polku_actions_total") == 1)
        assert one.stop() == 0
        assert len(list(read(one.settings, one.topics.actions("kiosk")))) == 1

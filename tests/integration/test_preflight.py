"""Checked at start: what is missing is made, what is wrong is found, each with the way out."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from streams.preflight import Finding, Preflight, PreflightError, check_replicas
from streams.settings import Settings
from streams.topics import CHANNELS, Topics

if TYPE_CHECKING:
    from collections.abc import Callable


def preflight(bootstrap: str, prefix: str, **given: Any) -> tuple[Settings, Callable[[], dict[str, int]]]:
    """The settings of an installation and its preflight, to be run."""
    settings = Settings(bootstrap=bootstrap, prefix=prefix, group=prefix.strip("."), **given)
    return settings, lambda: asyncio.run(Preflight(settings).run(CHANNELS))


def problems(run: Callable[[], Any]) -> list[Finding]:
    """What a preflight finds."""
    with pytest.raises(PreflightError) as caught:
        run()
    return caught.value.findings


def test_topics_are_made_as_they_must_be(kafka_bootstrap: str, topic_prefix: str) -> None:
    """The first preflight makes every topic, and the second finds nothing to do."""
    settings, run = preflight(kafka_bootstrap, topic_prefix, journal_partitions=3)
    counts = run()
    assert set(counts) == {spec.name for spec in Topics.of(settings).specs()}
    assert counts[Topics.of(settings).journal] == counts[Topics.of(settings).changelog] == 3
    assert run() == counts


@pytest.mark.parametrize(
    ("topic", "name", "value"),
    [
        ("touchpoints", "message.timestamp.type", "CreateTime"),
        ("actions.email", "message.timestamp.type", "CreateTime"),
        ("journal", "cleanup.policy", "compact"),
        ("profiles-changelog", "cleanup.policy", "delete"),
        ("journal", "retention.ms", "3600000"),
        ("decisions", "unclean.leader.election.enable", "true"),
        ("actions.email", "max.message.bytes", "1000"),
        ("journal", "min.insync.replicas", "2"),
    ],
)
def test_a_topic_with_a_wrong_setting_is_found(
    kafka_bootstrap: str, topic_prefix: str, topic: str, name: str, value: str
) -> None:
    """The finding names the topic and the setting, and how to change it."""
    _, run = preflight(kafka_bootstrap, topic_prefix)
    run()
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic_prefix + topic, incremental_configs=[entry])
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(10)
    (finding,) = problems(run)
    assert topic_prefix + topic in finding.problem
    assert name in finding.way_out


def test_another_number_of_journal_partitions_is_found(kafka_bootstrap: str, topic_prefix: str) -> None:
    """The number is the journal's for ever; the finding says which."""
    _, run = preflight(kafka_bootstrap, topic_prefix, journal_partitions=2)
    run()
    _, again = preflight(kafka_bootstrap, topic_prefix, journal_partitions=5)
    assert "POLKU_JOURNAL_PARTITIONS=2" in problems(again)[0].way_out


def test_a_group_without_offsets_on_a_journal_with_entries_is_found(kafka_bootstrap: str, topic_prefix: str) -> None:
    """Reading the origins from their beginning would repeat everything."""
    settings, run = preflight(kafka_bootstrap, topic_prefix)
    run()
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    producer.produce(Topics.of(settings).journal, value=b"an entry", partition=1)
    producer.flush(10)
    assert "has no offsets" in problems(run)[0].problem


def test_no_broker_is_one_finding() -> None:
    """The way out is the address; nobody waits a quarter of a minute for it."""
    _, run = preflight("127.0.0.1:1,127.0.0.1:2", "nowhere.")
    began = time.monotonic()
    (finding,) = problems(run)
    assert time.monotonic() - began < 12
    assert "none takes a connection" in finding.problem
    assert "POLKU_BOOTSTRAP" in finding.way_out


def test_a_server_that_is_no_broker_is_one_finding() -> None:
    """It takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        _, run = preflight(f"127.0.0.1:{server.getsockname()[1]}", "nowhere.")
        began = time.monotonic()
        (finding,) = problems(run)
    assert time.monotonic() - began < 14
    assert "did not answer" in finding.problem


def test_the_embedded_broker_is_asked_no_more_than_it_can(embedded_bootstrap: str) -> None:
    """Topics are made; what needs transactions or compaction is not checked."""
    _, run = preflight(embedded_bootstrap, "e.", guarantee="at_least_once")
    assert set(run()) >= {"e.journal", "e.touchpoints"}


@pytest.mark.parametrize(
    ("replicas", "insync", "brokers", "found"),
    [(1, 1, 1, False), (3, 2, 3, False), (1, 1, 3, True), (3, 1, 3, True), (2, 3, 3, True), (2, 2, 2, False)],
)
def test_replication_is_as_safe_as_the_brokers_allow(replicas: int, insync: int, brokers: int, found: bool) -> None:  # noqa: FBT001 - a table's column
    """Three replicas of which two acknowledge, where there are three brokers; fewer is said, never just accepted."""
    assert bool(check_replicas("journal", replicas, insync, brokers)) is found

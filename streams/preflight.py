"""Checked at start: topics made where missing, and everything on the brokers that Polku's promises rest on.

Each finding says what is wrong and the way out; a worker with findings does not start. On a broker without
transactions (the embedded one) only existence and partition counts are checked: it can satisfy no more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from connectors.offsets import committed
from streams.records import TopicUnreachable, find_broker
from streams.topics import DAY, Cleanup, Clock, Topics
from streams.transactions import LaneError, Message, Outbox, TransactionalLane

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.settings import Settings
    from streams.topics import TopicSpec

WAIT = 15.0
# A broker that is being started beside the worker: 3 to 5 s until it takes connections, measured on 2 idle cores.
STARTING = 3.0
# The first answer; one that takes connections and does not answer is frozen, or no broker.
ANSWERS = 5.0
# A long weekend's outage must not lose what is unread.
LEAST_RETENTION = 7 * DAY
# Kafka 3.6 is the first whose brokers know ListOffsets (API key 2) in version 8.
LIST_OFFSETS, SINCE_3_6 = 2, 8
SAFE_REPLICAS = 3
EXISTS = "TOPIC_ALREADY_EXISTS"
# librdkafka writes what it retries to stderr; findings say what came of it.
SILENT = logging.getLogger("librdkafka")
SILENT.disabled = True
TRIAL_KEY = b"\x00preflight"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and the way out."""

    problem: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.problem}: {self.way_out}"


class PreflightError(Exception):
    """The worker must not start; `findings` say why."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings


class Preflight:
    """Makes and inspects topics. Methods without `async` block: call them in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.topics = Topics.of(settings)
        self.topic_ids: dict[str, str] = {}

    def _client(self) -> AdminClient:
        # One for each use, gone before anything is served: when its broker dies, librdkafka may take the process along.
        # (A client that is collected kills its pending calls, so each use waits for all of its own.)
        return AdminClient(
            {**self._settings.librdkafka(), "log_level": 0, "socket.timeout.ms": int(WAIT * 1000)}, logger=SILENT
        )

    async def run(self, channels: Iterable[str]) -> dict[str, int]:
        """Make what is missing, check everything, and return the partitions of each topic. Raises PreflightError."""
        specs = self.topics.specs(channels)
        try:
            await self._reach()
            counts = await asyncio.to_thread(self.ensure, specs)
            findings = self._check_counts(counts)
            if self._settings.exactly_once:
                findings += await asyncio.to_thread(self.inspect, specs)
                findings += await self._check_brokers()
                if not findings:
                    findings += await self._check_offsets(counts)
                if not findings:
                    findings += await self._try_transaction()
        except KafkaException as error:
            findings = [self._unreachable(error.args[0].name())]
        except (KafkaError, TimeoutError) as error:
            findings = [self._unreachable(type(error).__name__)]
        except TopicUnreachable:
            findings = [self._unreachable("none takes a connection")]
        if findings:
            raise PreflightError(findings)
        return counts

    async def _reach(self) -> None:
        """Return once a broker answers at all. Raises TopicUnreachable and KafkaException, in 5 s instead of WAIT."""
        deadline = time.monotonic() + STARTING
        while True:
            try:
                await asyncio.to_thread(find_broker, self._settings)
                break
            except TopicUnreachable:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.25)
        await asyncio.to_thread(lambda: self._client().list_topics(timeout=ANSWERS))

    def ensure(self, specs: Iterable[TopicSpec]) -> dict[str, int]:
        """Make missing topics; return the partition counts of all these."""
        wanted = {spec.name: spec for spec in specs}
        admin = self._client()
        there = self._counts(admin, wanted)
        missing = [spec for name, spec in wanted.items() if name not in there]
        if missing:
            limits = {"max.message.bytes": str(2 * self._settings.max_message_bytes)}
            replication = self._settings.replication if self._settings.exactly_once else 1
            made = admin.create_topics(
                [NewTopic(spec.name, spec.partitions, replication, config=spec.config() | limits) for spec in missing]
            )
            for future in made.values():
                try:
                    future.result(WAIT)
                except KafkaException as error:
                    if error.args[0].name() != EXISTS:  # another worker was faster
                        raise
        deadline = time.monotonic() + WAIT
        while True:
            counts = self._counts(admin, wanted)
            if len(counts) == len(wanted) or time.monotonic() > deadline:
                return counts
            time.sleep(0.05)

    def _counts(self, admin: AdminClient, wanted: Iterable[str]) -> dict[str, int]:
        found = admin.list_topics(timeout=WAIT).topics
        return {
            name: len(found[name].partitions)
            for name in wanted
            if name in found and found[name].partitions and all(p.leader >= 0 for p in found[name].partitions.values())
        }

    def _check_counts(self, counts: dict[str, int]) -> list[Finding]:
        topics, count = self.topics, self._settings.journal_partitions
        findings = [
            Finding(f"topic {spec.name} is not there or has no leader", "see the brokers' logs")
            for spec in topics.specs(())
            if spec.name not in counts
        ]
        for name in (topics.journal, topics.changelog):
            if counts.get(name, count) != count:
                way_out = f"it is fixed when the journal is made: set POLKU_JOURNAL_PARTITIONS={counts[name]}"
                if name == topics.changelog:
                    way_out = "both are made together; make a new installation under another POLKU_PREFIX"
                findings.append(Finding(f"{name} has {counts[name]} partitions, not {count}", way_out))
        findings += [
            Finding(f"{name} has more than one partition", "make it anew with one")
            for name in (topics.definitions, topics.control)
            if counts.get(name, 1) != 1
        ]
        return findings

    def inspect(self, specs: Iterable[TopicSpec]) -> list[Finding]:
        """Return what is wrong with the topics' settings and replicas."""
        wanted = {spec.name: spec for spec in specs}
        resources = {name: ConfigResource(ResourceType.TOPIC, name) for name in wanted}
        admin = self._client()
        configs = admin.describe_configs(list(resources.values()))
        described = admin.describe_topics(TopicCollection(list(wanted)))
        brokers = len(admin.list_topics(timeout=WAIT).brokers)
        findings: list[Finding] = []
        for name, spec in wanted.items():
            config = {key: entry.value for key, entry in configs[resources[name]].result(WAIT).items()}
            found = described[name].result(WAIT)
            self.topic_ids[name] = str(found.topic_id)
            replicas = min(len(partition.replicas) for partition in found.partitions)
            findings += check_config(spec, config, self._settings.max_message_bytes)
            findings += check_replicas(name, replicas, int(config.get("min.insync.replicas", 1)), brokers)
        return findings

    async def _check_brokers(self) -> list[Finding]:
        client = AIOKafkaClient(**self._settings.aiokafka())
        try:
            await client.bootstrap()
            response = await client.send(client.get_random_node(), ApiVersionRequest())
            versions = {key: newest for key, _, newest in response.api_versions}
        finally:
            await client.close()
        if versions.get(LIST_OFFSETS, 0) < SINCE_3_6:
            return [Finding("the brokers are older than Apache Kafka 3.6", "upgrade them")]
        return []

    async def _check_offsets(self, counts: dict[str, int]) -> list[Finding]:
        """Refuse a group that lost its offsets: reading the origins from their beginning would repeat everything."""
        if await self._group_has_offsets(counts):
            return []
        journal = [TopicPartition(self.topics.journal, index) for index in range(counts[self.topics.journal])]
        consumer = AIOKafkaConsumer(
            **self._settings.aiokafka(), enable_auto_commit=False, isolation_level="read_committed"
        )
        await consumer.start()
        try:
            consumer.assign(journal)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(journal)
            waiting = [tp for tp in journal if ends[tp] > 0]
            while waiting:
                if await consumer.getmany(*waiting, timeout_ms=200, max_records=1):
                    return [
                        Finding(
                            f"the group {self._settings.group} has no offsets, but the journal is not empty",
                            "its offsets expired, or the group's name changed: set POLKU_GROUP to the former name, or "
                            "set the group's offsets by hand; reading from the beginning would repeat everything",
                        )
                    ]
                waiting = [tp for tp in waiting if await consumer.position(tp) < ends[tp]]
        finally:
            await consumer.stop()
        return []

    async def _group_has_offsets(self, counts: dict[str, int]) -> bool:
        sources = (*self.topics.origins, self.topics.journal)
        tps = [TopicPartition(topic, index) for topic in sources for index in range(counts[topic])]
        consumer = AIOKafkaConsumer(
            **self._settings.aiokafka(), group_id=self._settings.group, enable_auto_commit=False
        )
        await consumer.start()
        try:
            consumer.assign(tps)  # assigning by hand joins no group
            for tp in tps:
                if await committed(consumer, tp) is not None:
                    return True
        finally:
            await consumer.stop()
        return False

    async def _try_transaction(self) -> list[Finding]:
        """Write tombstones of a key that nothing else uses to two compacted topics, in one transaction."""
        source = TopicPartition(self.topics.definitions, 0)
        name = f"{self._settings.group}-preflight-{os.uname().nodename}-{os.getpid()}"
        lane = TransactionalLane(self._settings, source, transactional_id=name)
        trial = [Message(TRIAL_KEY, None)]
        outbox = Outbox()
        outbox.outputs[self.topics.withdrawn, 0] = trial
        outbox.states[self.topics.suppressions, 0] = trial
        try:
            await lane.start()
            await lane.commit(outbox, None)
        except LaneError as error:
            way_out = "see the brokers' logs, their transaction.state.log.* settings, and the user's rights"
            return [Finding(f"a trial transaction over two topics failed ({error})", way_out)]
        finally:
            await lane.close()
        return []

    def _unreachable(self, error: str) -> Finding:
        address = self._settings.bootstrap
        return Finding(
            f"the brokers at {address} did not answer ({error})",
            "check POLKU_BOOTSTRAP and the network, or start one: make kafka",
        )


def check_config(spec: TopicSpec, config: dict[str, str], least_bytes: int) -> list[Finding]:
    """Return what is wrong with one topic's settings."""
    findings = []

    def expect(name: str, wanted: str, why: str) -> None:
        if (found := config.get(name)) != wanted:
            way_out = f"kafka-configs --alter --topic {spec.name} --add-config {name}={wanted}"
            findings.append(Finding(f"topic {spec.name} has {name}={found}, but {why}", way_out))

    expect("cleanup.policy", spec.cleanup.value, f"it must be {spec.cleanup.value}")
    if spec.clock is Clock.APPEND:
        expect("message.timestamp.type", spec.clock.value, "time is the broker's")
    expect("unclean.leader.election.enable", "false", "an unclean election loses what was acknowledged")
    retention = int(config.get("retention.ms", "-1"))
    if spec.cleanup is Cleanup.DELETE and 0 <= retention < LEAST_RETENTION:
        problem = f"topic {spec.name} keeps records for {retention / DAY:.1f} days only"
        way_out = f"kafka-configs --alter --topic {spec.name} --add-config retention.ms={spec.retention}"
        findings.append(Finding(problem, way_out))
    if int(config.get("max.message.bytes", "0")) < least_bytes:
        problem = f"topic {spec.name} takes messages of {config.get('max.message.bytes')} bytes at most"
        way_out = f"kafka-configs --alter --topic {spec.name} --add-config max.message.bytes={2 * least_bytes}"
        findings.append(Finding(problem, way_out))
    return findings


def check_replicas(name: str, replicas: int, insync: int, brokers: int) -> list[Finding]:
    """Return what is wrong with one topic's replication, as far as the number of brokers allows better."""
    if insync > replicas:
        return [
            Finding(
                f"topic {name} has min.insync.replicas={insync} but {replicas} replicas: nothing can be written",
                f"kafka-configs --alter --topic {name} --add-config min.insync.replicas={max(1, replicas - 1)}",
            )
        ]
    if brokers >= SAFE_REPLICAS and replicas < SAFE_REPLICAS:
        return [Finding(f"topic {name} has {replicas} replicas on {brokers} brokers", "reassign it to three")]
    if replicas >= SAFE_REPLICAS and insync < SAFE_REPLICAS - 1:
        return [
            Finding(
                f"topic {name} has min.insync.replicas={insync}: what one broker acknowledged can be lost with it",
                f"kafka-configs --alter --topic {name} --add-config min.insync.replicas={SAFE_REPLICAS - 1}",
            )
        ]
    return []

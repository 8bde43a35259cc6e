"""Workers that are killed, frozen, stopped and joined by others while touchpoints flow: the oracle holds afterwards.

POLKU_TEST_SEED repeats a run's touchpoints and moments; a failure prints the seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import pytest
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced
from aiokafka.structs import TopicPartition
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Place

from streams.records import read
from streams.transactions import Fenced, Message, Outbox, TransactionalLane
from tests.support import oracle
from tests.support.faults import Traffic, aborted, freeze_in_transaction, say
from tests.support.installation import Installation, committed
from tests.support.randomlog import DEFINITIONS, Shape
from tests.support.workers import WorkerProcess

KILLS = 10
TASKS = 12  # partitions of touchpoints, outcomes and the journal


@pytest.fixture
def seed() -> int:
    """A seed of this run's own; printed, so that pytest shows it with a failure."""
    chosen = int(os.environ.get("POLKU_TEST_SEED") or random.SystemRandom().randrange(1_000_000))
    say(f"POLKU_TEST_SEED={chosen}")
    return chosen


def nothing_lost_nothing_twice(installation: Installation, events: int) -> oracle.Dump:
    """The installation has stopped: everything was read, and what was published is what the journal gives."""
    found = oracle.dump(installation.settings, DEFINITIONS)
    assert len(found.records["touchpoints"]) == events
    offsets = committed(installation.bootstrap, installation.settings.group)
    consumer = Consumer({"bootstrap.servers": installation.bootstrap, "group.id": "ends", "log_level": 2})
    for partition in {record.partition for record in found.records["touchpoints"]}:
        place = Place(installation.topics.touchpoints, partition)
        assert offsets[place.topic, partition] == consumer.get_watermark_offsets(place, timeout=10)[1]
    consumer.close()
    oracle.check(found)
    say(
        f"{events} touchpoints, {len(found.records['journal'])} journal entries, {len(found.actions)} actions, "
        f"{len(found.decisions)} decisions, {len(found.states)} final states"
    )
    return found


def test_kill_nine_with_transactions_open(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path, seed: int) -> None:
    """Ten times kill -9 of the worker while its transactions are open, in 50,000 touchpoints: 0 missing, 0 repeated."""
    chance, shape = random.Random(seed), Shape(events=50_000, customers=2000)
    left_open = 0
    with Installation(kafka_bootstrap, topic_prefix, DEFINITIONS, tmp_path) as installation:
        worker = installation.start()
        with Traffic(installation, seed, shape, rate=700) as traffic:
            for turn in range(KILLS):
                time.sleep(chance.uniform(0, 1.5))
                found = freeze_in_transaction(installation, worker)
                worker.kill()
                left_open += len(found)
                say(f"kill {turn + 1}: {len(found)} partitions open, {sum(o.end - o.stable for o in found)} records")
                if chance.random() < 0.2:  # another one while it starts or recovers
                    worker = installation.start(wait=False)
                    time.sleep(chance.uniform(1, 8))
                    worker.kill()
                # With what the last one left in its local store, or with nothing.
                kept = len(installation.workers) - 1 if chance.random() < 0.5 else None
                worker = installation.start(store=kept)
            traffic.join()
        installation.settle()
    hidden = aborted(installation)
    assert hidden >= left_open >= KILLS, "what a kill left open was aborted by its successor"
    say(f"{left_open} partitions were left open; {hidden} records of aborted transactions stand in the logs, unseen")
    nothing_lost_nothing_twice(installation, shape.events)


def fenced(worker: WorkerProcess) -> float:
    """How many transactions and tasks of a worker found that another owns their partition."""
    transactions = worker.metric("polku_transactions_total", 'result="fenced"')
    return transactions + worker.metric("polku_task_restarts_total", 'cause="fenced"')


def test_a_worker_that_was_gone_for_a_while(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path, seed: int) -> None:
    """Frozen amid a transaction for longer than its session, a worker comes back a zombie: fenced, and never seen."""
    chance, shape = random.Random(seed), Shape(events=12_000)
    with Installation(kafka_bootstrap, topic_prefix, DEFINITIONS, tmp_path) as installation:
        one, other = installation.start(), installation.start()
        one.ready()
        with Traffic(installation, seed, shape, rate=400) as traffic:
            time.sleep(chance.uniform(1, 3))
            found = freeze_in_transaction(installation, one)
            began = time.monotonic()
            time.sleep(installation.settings.session_timeout + 1)
            other.ready(TASKS)
            stood_still = time.monotonic() - began
            one.thaw()
            traffic.join()
        installation.settle()
        one.ready()
        say(f"{len(found)} partitions were open for {stood_still:.1f} s; fenced {fenced(one):.0f} times")
        assert fenced(one) > 0
    assert aborted(installation) >= sum(each.end - each.stable for each in found)
    nothing_lost_nothing_twice(installation, shape.events)


def test_workers_come_and_go(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path, seed: int) -> None:
    """Workers join, leave and start again while touchpoints flow: partitions move without a gap or a repeat."""
    chance, shape = random.Random(seed), Shape(events=20_000)
    with Installation(kafka_bootstrap, topic_prefix, DEFINITIONS, tmp_path) as installation:
        running, moves = [installation.start()], 0
        with Traffic(installation, seed, shape, rate=500) as traffic:
            while traffic.flows:
                if len(running) < 3 and (len(running) == 1 or chance.random() < 0.5):
                    running.append(installation.start(wait=chance.random() < 0.5))
                else:
                    # One that has hardly started does not know what SIGTERM means yet.
                    assert running.pop(chance.randrange(len(running))).stop() in (0, -signal.SIGTERM)
                moves += 1
                time.sleep(chance.uniform(0, 2))
            traffic.join()
        installation.settle()
        say(f"{moves} workers came or went")
    assert moves >= 6
    nothing_lost_nothing_twice(installation, shape.events)


def test_a_fenced_producer_writes_nothing(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """A lane begun by another owner aborts what its predecessor left open, and refuses whatever that one tries then."""
    installation = Installation(kafka_bootstrap, topic_prefix, DEFINITIONS, tmp_path)
    installation.start()
    installation.stop()
    settings, topics = installation.settings, installation.topics
    source, target = TopicPartition(topics.touchpoints, 0), (topics.decisions, 0)

    def box(text: bytes) -> Outbox:
        made = Outbox()
        made.outputs[target].append(Message(b"fencing", text))
        return made

    async def story() -> None:
        lanes = [TransactionalLane(settings, source) for _ in range(3)]
        first, second, third = lanes
        await first.start()
        await first.commit(box(b"1 of the first owner"), 1)
        producer = first._producer
        assert producer is not None
        await producer.begin_transaction()
        await (await producer.send(target[0], b"2 left open by the first", b"fencing", partition=0))
        await second.start()
        with pytest.raises((ProducerFenced, InvalidProducerEpoch)):
            await producer.commit_transaction()
        await second.commit(box(b"3 of the second owner"), 2)
        await third.start()
        with pytest.raises(Fenced):
            await second.commit(box(b"4 of the second, after it was fenced"), 4)
        await third.commit(box(b"5 of the third owner"), 3)
        for lane in lanes:
            await lane.close()

    asyncio.run(story())
    seen = [record.value for record in read(settings, topics.decisions) if record.key == b"fencing"]
    assert seen == [b"1 of the first owner", b"3 of the second owner", b"5 of the third owner"]
    assert committed(kafka_bootstrap, settings.group)[topics.touchpoints, 0] == 3
    assert aborted(installation) >= 1

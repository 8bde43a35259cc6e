"""The brokers that the other tests rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streams.devbroker import BrokerFailed, EmbeddedBroker, answers
from tests.support.kafka import admin_client, broker_answers, wait_until_ready

if TYPE_CHECKING:
    from tests.support.kafka import KafkaProcess


def create(bootstrap: str, topic: str) -> None:
    """Create a topic of one partition."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)


def write(bootstrap: str, topic: str, value: bytes) -> None:
    """Write one record and wait for its acknowledgement."""
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, value)
    assert producer.flush(10) == 0


def read(bootstrap: str, topic: str) -> bytes | None:
    """Read the first record of a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "brokers"})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(10)
        assert message is not None
        value: bytes | None = message.value()
        return value
    finally:
        consumer.close()


def test_embedded_broker_keeps_records_until_it_stops(embedded_broker: EmbeddedBroker) -> None:
    """A record comes back, and after the stop nothing listens and no process is left."""
    create(embedded_broker.bootstrap, "greetings")
    write(embedded_broker.bootstrap, "greetings", b"hei")
    assert read(embedded_broker.bootstrap, "greetings") == b"hei"
    embedded_broker.stop()
    assert not answers(embedded_broker.port)
    assert embedded_broker.pid is None
    embedded_broker.stop()


def test_embedded_broker_says_when_its_port_is_taken(embedded_broker: EmbeddedBroker) -> None:
    """A second broker on the same port fails, and the error names the address."""
    with pytest.raises(BrokerFailed, match="port") as failed:
        EmbeddedBroker(embedded_broker.port).start()
    assert failed.value.address == embedded_broker.bootstrap


def test_real_kafka_takes_transactions(kafka_bootstrap: str, topic_prefix: str) -> None:
    """A record written in a committed transaction is read by a reader of committed records."""
    topic = f"{topic_prefix}paid"
    create(kafka_bootstrap, topic)
    producer = Producer({"bootstrap.servers": kafka_bootstrap, "transactional.id": topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"once")
    producer.commit_transaction(30)
    assert read(kafka_bootstrap, topic) == b"once"


def test_real_kafka_makes_no_topic_by_itself(kafka_bootstrap: str, topic_prefix: str) -> None:
    """A misspelt topic is refused rather than created."""
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    asked = admin.list_topics(f"{topic_prefix}misspelt", timeout=10).topics
    assert [topic.error is None for topic in asked.values()] == [False]
    assert f"{topic_prefix}misspelt" not in admin.list_topics(timeout=10).topics


def test_kafka_process_keeps_its_records_through_a_kill_and_a_freeze(kafka_process: KafkaProcess) -> None:
    """What was acknowledged survives `kill -9`, and a frozen broker answers again once resumed."""
    bootstrap = kafka_process.bootstrap
    create(bootstrap, "ledger")
    write(bootstrap, "ledger", b"kept")
    kafka_process.kill()
    assert not broker_answers(admin_client(bootstrap))
    kafka_process.start()
    assert read(bootstrap, "ledger") == b"kept"
    kafka_process.pause()
    assert not broker_answers(admin_client(bootstrap))
    kafka_process.resume()
    wait_until_ready(bootstrap, 10)
    assert read(bootstrap, "ledger") == b"kept"
    with pytest.raises(KafkaException):
        AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}).list_topics(timeout=0.5)

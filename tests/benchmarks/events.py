"""The input of the mini bank journey, in Polku's schema and in the peers', and the actions it must give."""

from __future__ import annotations

import io
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import fastavro
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.codec import encode_touchpoint_avro
from schemas.touchpoint import Touchpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

TYPES = (
    "page_viewed",
    "form_started",
    "form_page_submitted",
    "form_abandoned",
    "form_submitted",
    "application_approved",
    "ad_clicked",
)
PROPERTIES = {"page": "/credit-cards/gold", "product": "credit_card", "form_page": 1}
PARTITIONS = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """One event: its number, whose it is and what it is."""

    number: int
    customer: str
    kind: str


def samples(events: int, customers: int) -> Iterator[Sample]:
    """Give the same events every time: each of a random customer, of a random type."""
    chance = random.Random(1)
    for number in range(events):
        yield Sample(number, f"c{chance.randrange(customers)}", chance.choice(TYPES))


@dataclass(slots=True)
class Expected:
    """Counts the actions by the rules of the mini bank journey, written apart from every program that is measured."""

    actions: int = 0
    _stage: dict[str, str] = field(default_factory=dict)
    _seen: Counter[str] = field(default_factory=Counter)
    _shown: set[str] = field(default_factory=set)

    def see(self, each: Sample) -> None:
        """One event more."""
        who = each.customer
        self._seen[who] += 1
        match each.kind:
            case "form_started":
                self._stage[who] = "applying"
            case "form_submitted":
                self._stage[who] = "done"
            case "form_abandoned" if self._stage.get(who) == "applying":
                self.actions += 1
            case "page_viewed" if self._seen[who] > 1 and who not in self._shown:
                self._shown.add(who)
                self.actions += 1


def expected_actions(given: Iterable[Sample]) -> int:
    """Count the actions that these events must give."""
    expected = Expected()
    for each in given:
        expected.see(each)
    return expected.actions


def polku_value(each: Sample, at: int, *, devices: bool) -> bytes:
    """Return the event in Polku's schema, Avro single-object encoding; with `devices`, the device is named as well."""
    identifiers = {"customer": each.customer}
    if devices:
        identifiers["device"] = f"d{each.customer}"
    return encode_touchpoint_avro(
        Touchpoint(
            event_id=f"{each.number:032x}",
            type=each.kind,
            channel="web",
            occurred_at=at + each.number,
            identifiers=identifiers,
            properties=PROPERTIES,
        )
    )


def peer_value(each: Sample, at: int, schema: Any) -> bytes:
    """Return the event in the peers' schema, bare Avro."""
    buffer = io.BytesIO()
    record = {
        "event_id": f"{each.number:032x}",
        "type": each.kind,
        "channel": "web",
        "customer_id": each.customer,
        "device_id": f"d{each.customer}",
        "occurred_at": at + each.number,
        "properties": PROPERTIES,
    }
    fastavro.schemaless_writer(buffer, schema, record)
    return buffer.getvalue()


def create(bootstrap: str, topic: str, partitions: int = PARTITIONS) -> None:
    """Create a topic."""
    admin = AdminClient({"bootstrap.servers": bootstrap})  # kept: a collected client drops its pending calls
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)


def delete(bootstrap: str, part: str) -> None:
    """Delete every topic whose name contains `part`, so that one run does not weigh on the next."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = [name for name in admin.list_topics(timeout=10).topics if part in name]
    for deleted in (admin.delete_topics(names) if names else {}).values():
        deleted.result(30)


def fill(bootstrap: str, topic: str, given: Iterable[Sample], value: Callable[[Sample], bytes]) -> None:
    """Write the events, keyed by customer, and wait until all are acknowledged."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 20,
            "queue.buffering.max.messages": 200_000,
            "acks": "all",
            "enable.idempotence": True,  # a retry keeps a customer's events in order
        }
    )
    for each in given:
        while True:
            try:
                producer.produce(topic, value(each), key=each.customer)
                break
            except BufferError:
                producer.poll(0.05)
    if left := producer.flush(60):
        raise RuntimeError(f"{left} events could not be written to {topic}")

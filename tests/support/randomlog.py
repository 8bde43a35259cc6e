"""Random touchpoints of a bank's customers: devices, logins, hand-overs, repeats, late events, aliases, complaints."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from schemas.codec import encode_touchpoint_avro, encode_touchpoint_json
from schemas.touchpoint import Touchpoint

DEFINITIONS = Path(__file__).parent / "random_bank"
DAY = 86_400_000

_TYPES: list[tuple[str, int]] = [
    ("page_viewed", 30),
    ("form_started", 10),
    ("form_page_submitted", 10),
    ("form_left", 8),
    ("form_submitted", 5),
    ("application_approved", 4),
    ("consent_given", 6),
    ("consent_withdrawn", 2),
    ("profile_updated", 6),
    ("complaint_opened", 3),
    ("complaint_closed", 4),
    ("contact_forbidden", 1),
    ("contact_allowed", 1),
    ("call_answered", 4),
]


@dataclass(slots=True)
class Shape:
    """How a log is drawn: sizes, and shares of what makes identity hard. `simple`: one identifier a customer."""

    events: int = 20_000
    customers: int = 500
    simple: bool = False
    repeats: float = 0.01
    late: float = 0.02
    aliases: float = 0.004
    handovers: float = 0.03
    logouts: float = 0.01
    anonymous: float = 0.3


def touchpoints(seed: int, shape: Shape, now: int) -> Iterator[Touchpoint]:
    """A log, the same for the same seed and `now` (ms), the time its events happen around."""
    rnd = random.Random(seed)
    kinds, weights = zip(*_TYPES, strict=True)
    last: list[Touchpoint] = []
    for number in range(shape.events):
        if last and rnd.random() < shape.repeats:
            yield last[-1]
            continue
        customer = rnd.randrange(shape.customers)
        event = _draw(rnd, number, customer, shape, rnd.choices(kinds, weights)[0], now)
        if "customer" in event.identifiers and event.type not in {"customers_merged", "logged_out"}:
            last = [event]
        yield event


def _draw(rnd: random.Random, number: int, customer: int, shape: Shape, kind: str, now: int) -> Touchpoint:
    who, device = f"c{customer}", f"d{customer}"
    identifiers = {"customer": who}
    if not shape.simple:
        if rnd.random() < shape.handovers:
            device = f"d{rnd.randrange(shape.customers)}"
        draw = rnd.random()
        if draw < shape.anonymous:
            identifiers = {"device": device}
        elif draw < 0.7:
            identifiers["device"] = device
        if rnd.random() < shape.logouts:
            kind, identifiers = "logged_out", {"customer": who, "device": device}
        elif rnd.random() < shape.aliases:
            kind, identifiers = "customers_merged", {"customer": who}
    happened = now - rnd.randrange(1000) - (3 * DAY if rnd.random() < shape.late else 0)
    return Touchpoint(
        event_id=f"e{number}",
        type=kind,
        channel=rnd.choice(("web", "app", "phone", "branch")),
        occurred_at=happened,
        identifiers=identifiers,
        properties=_properties(rnd, kind, customer, shape),
    )


def _properties(rnd: random.Random, kind: str, customer: int, shape: Shape) -> dict[str, Any]:
    match kind:
        case "page_viewed":
            return {"page": rnd.choice(("/credit-cards", "/credit-cards/gold", "/mortgages")), "seconds": rnd.random()}
        case "form_page_submitted":
            page: dict[str, Any] = {"page_number": rnd.randrange(1, 9)}
            return page | ({"email": f"person{customer}@example.com"} if rnd.random() < 0.8 else {})
        case "consent_given" | "consent_withdrawn":
            return {"purpose": rnd.choice(("marketing", "personalisation"))}
        case "profile_updated":
            return {
                "email": f"person{customer}@example.com",
                "phone": f"+1202555{customer:04}",
                "preferred_channel": rnd.choice(("email", "sms")),
            }
        case "complaint_opened" | "complaint_closed":
            return {"case_id": f"k{rnd.randrange(3)}"}
        case "customers_merged":
            other = (customer + 1 + rnd.randrange(shape.customers - 1)) % shape.customers
            return {"from": f"c{customer}", "into": f"c{other}"}
        case _:
            return {}


def produce(
    bootstrap: str,
    topic: str,
    events: Iterator[Touchpoint],
    partitioner: str = "consistent_random",
    options: Mapping[str, Any] | None = None,
) -> int:
    """Publish with a librdkafka partitioner (`murmur2_random` is what Java clients do), half JSON, half Avro."""
    given = {"bootstrap.servers": bootstrap, "partitioner": partitioner, "linger.ms": 5, "acks": "all"}
    producer = Producer(given | dict(options or {}))
    count = 0
    for count, event in enumerate(events, 1):
        value = encode_touchpoint_json(event) if count % 2 else encode_touchpoint_avro(event)
        key = event.identifiers.get("customer") or next(iter(event.identifiers.values()))
        while True:
            try:
                producer.produce(topic, key=key, value=value)
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    assert producer.flush(60) == 0
    return count

"""Microseconds per record: the generated codecs beside fastavro and msgspec, `python -m tests.benchmarks.codec`."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable

import fastavro
import msgspec

from schemas import avroschema, codec
from schemas.action import Action, Link
from schemas.decision import Decision
from schemas.touchpoint import Touchpoint

EVENT = Touchpoint(
    event_id="0123456789abcdef0123456789abcdef",
    type="form_page_submitted",
    channel="web",
    occurred_at=1_769_860_800_123,
    identifiers={"customer": "c41234", "device": "dc41234"},
    properties={"page": "/credit-cards/gold", "product": "credit_card", "form_page": 1},
)
ACTION = Action(
    action_id="0f2ad1ce-7a3c-5a8e-9d0b-1c2d3e4f5a6b",
    action="send_reminder",
    channel="email",
    profile="customer:c41234",
    customer="c41234",
    purpose="requested-service",
    basis="request",
    journey="credit-card-application",
    journey_version=3,
    instance_id="5f2ad1ce-7a3c-5a8e-9d0b-1c2d3e4f5a6b",
    stage="abandoned",
    event_id=EVENT.event_id,
    proposed_at=EVENT.occurred_at,
    expires_at=EVENT.occurred_at + 604_800_000,
    to="c41234@example.com",
    template="resume-application",
    link=Link("/credit-cards/apply", "2"),
    params={"product": "credit_card"},
)
DECISION = Decision(
    decision_id="7f2ad1ce-7a3c-5a8e-9d0b-1c2d3e4f5a6b",
    profile="customer:c41234",
    customer="c41234",
    verdict="sent",
    gate="channel",
    reason="preferred",
    at=EVENT.occurred_at,
    action_id=ACTION.action_id,
    action="send_reminder",
    channel="email",
    purpose="requested-service",
    journey="credit-card-application",
    journey_version=3,
    instance_id=ACTION.instance_id,
    stage="abandoned",
    event_id=EVENT.event_id,
)


def microseconds(calls: dict[str, Callable[[], object]], rounds: int = 20, each: int = 5_000) -> dict[str, float]:
    """The best of several rounds in processor time, all calls in turn: what disturbs a round makes it longer only."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.process_time()
            for _ in range(each):
                call()
            best[name] = min(best[name], time.process_time() - began)
    return {name: seconds / each * 1e6 for name, seconds in best.items()}


def main() -> None:
    """Print one line per measurement."""
    schemas = {kind: fastavro.parse_schema(avroschema.load(kind)) for kind in avroschema.KINDS}
    avro = codec.encode_touchpoint_avro(EVENT)
    json = codec.encode_touchpoint_json(EVENT)
    body, action, decision = avro[10:], codec.encode_action(ACTION), codec.encode_decision(DECISION)
    tree = {**msgspec.structs.asdict(DECISION)}
    read, write = fastavro.schemaless_reader, fastavro.schemaless_writer
    calls: dict[str, Callable[[], object]] = {
        "touchpoint, Avro, generated, every rule": lambda: codec.decode_touchpoint(avro),
        "touchpoint, Avro, fastavro, no rule": lambda: read(io.BytesIO(body), schemas["touchpoint"], None),
        "touchpoint, JSON, every rule": lambda: codec.decode_touchpoint(json),
        "touchpoint, JSON, msgspec, no rule": lambda: msgspec.json.decode(json),
        "touchpoint, write Avro": lambda: codec.encode_touchpoint_avro(EVENT),
        "action, read": lambda: codec.decode_action(action),
        "action, fastavro, read": lambda: read(io.BytesIO(action[10:]), schemas["action"], None),
        "action, write": lambda: codec.encode_action(ACTION),
        "decision, read": lambda: codec.decode_decision(decision),
        "decision, write": lambda: codec.encode_decision(DECISION),
        "decision, fastavro, write": lambda: write(io.BytesIO(), schemas["decision"], tree),
    }
    for name, found in microseconds(calls).items():
        sys.stdout.write(f"{found:6.2f} µs  {name}\n")


if __name__ == "__main__":
    main()

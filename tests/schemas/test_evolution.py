"""The published schemas evolve so that everything ever written stays readable."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import avroschema, codec
from schemas.action import Action
from schemas.decision import Decision
from schemas.outcome import Outcome
from schemas.touchpoint import Touchpoint
from tests.schemas import strategies
from tests.schemas.malformed import FOLDER
from tests.schemas.test_fastavro_agrees import unwrap, written_by_fastavro

STRUCTS: dict[str, Any] = {"touchpoint": Touchpoint, "action": Action, "decision": Decision, "outcome": Outcome}
RECORDS: dict[str, st.SearchStrategy[Any]] = {
    "touchpoint": strategies.TOUCHPOINTS,
    "action": strategies.ACTIONS,
    "decision": strategies.DECISIONS,
    "outcome": strategies.OUTCOMES,
}
DECODE: dict[str, Any] = {
    "touchpoint": codec.decode_touchpoint,
    "action": codec.decode_action,
    "decision": codec.decode_decision,
    "outcome": codec.decode_outcome,
}


def plain(schema: Any) -> Any:
    """A schema whose times are read as numbers."""
    return fastavro.parse_schema(json.loads(json.dumps(schema).replace(', "logicalType": "timestamp-millis"', "")))


@pytest.mark.parametrize("kind", avroschema.KINDS)
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
def test_what_a_published_schema_wrote_is_readable(kind: str, data: st.DataObject) -> None:
    """By fastavro's resolution to the present schema, and by our own decoder by its fingerprint."""
    record = data.draw(RECORDS[kind])
    published = avroschema.published(kind)
    assert published
    for schema in published:
        names = [field["name"] for field in schema["fields"]]
        out = io.BytesIO()
        full = fastavro.schemaless_reader(
            io.BytesIO(written_by_fastavro(kind, record)), plain(avroschema.load(kind)), plain(schema)
        )
        fastavro.schemaless_writer(out, plain(schema), full)
        read: Any = fastavro.schemaless_reader(io.BytesIO(out.getvalue()), plain(schema), plain(avroschema.load(kind)))
        for name in names:
            expected = getattr(record, name)
            found = read[name]
            if name in ("properties", "params", "traits"):
                found = {key: unwrap(part) for key, part in found.items()}
            assert found == (msgspec.structs.asdict(expected) if name == "link" and expected else expected)
        decoded = DECODE[kind](avroschema.single_object_prefix(schema) + out.getvalue())
        assert all(getattr(decoded, name) == getattr(record, name) for name in names)


@pytest.mark.parametrize("kind", avroschema.KINDS)
def test_what_is_written_today_is_published(kind: str) -> None:
    """The newest published copy is the present schema: a change is published as a copy with the next number."""
    assert avroschema.fingerprint(avroschema.published(kind)[-1]) == avroschema.fingerprint(avroschema.load(kind))
    numbers = sorted(int(path.stem.split("-")[1]) for path in (FOLDER / "published").glob(f"{kind}-*.avsc"))
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("kind", avroschema.KINDS)
def test_schema_and_struct_have_the_same_fields(kind: str) -> None:
    """In the same order, with the same defaults, each with its doc."""
    fields = avroschema.load(kind)["fields"]
    struct = msgspec.structs.fields(STRUCTS[kind])
    assert [field["name"] for field in fields] == [field.name for field in struct]
    for field, known in zip(fields, struct, strict=True):
        assert len(field["doc"]) > 3
        if known.default is not msgspec.NODEFAULT:
            assert field["default"] == known.default
        elif known.default_factory is not msgspec.NODEFAULT:
            assert field["default"] == known.default_factory()


def test_fingerprints_are_those_of_the_specification() -> None:
    """CRC-64-AVRO as the Avro specification computes it, over the canonical form."""
    empty = 0xC15D213AA4D7A795
    table = []
    for n in range(256):
        crc = n
        for _ in range(8):
            crc = (crc >> 1) ^ (empty & -(crc & 1))
        table.append(crc)

    def crc64(text: str) -> bytes:
        crc = empty
        for byte in text.encode():
            crc = (crc >> 8) ^ table[(crc ^ byte) & 255]
        return crc.to_bytes(8, "little")

    assert avroschema.fingerprint("null") == crc64('"null"') == bytes.fromhex("8a8f25cce724dd63")
    outcome = '{"name":"polku.Outcome","type":"record","fields":[' + ",".join(
        f'{{"name":"{name}","type":"{kind}"}}'
        for name, kind in re.findall(
            r"(\w+):(\w+)",
            "outcome_id:string action_id:string profile:string kind:string channel:string at:long "
            "permanent:boolean detail:string",
        )
    )
    assert avroschema.fingerprint(avroschema.load("outcome")) == crc64(outcome + "]}")

"""Touchpoints written with other schemas that resolve to ours, and with those that do not."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import fastavro
import pytest

from schemas import codec
from schemas.codec import InvalidRecord, Reason, TouchpointDecoder
from tests.schemas.malformed import SCHEMA, avro, malformed, varint, wrap
from tests.schemas.test_codec import EVENT, Registry

EVENT_TREE: dict[str, Any] = json.loads(codec.encode_touchpoint_json(EVENT))


def writer(**changes: Any) -> dict[str, Any]:
    """Our schema with types of fields changed (None: the field is not there), new ones added in front."""
    schema = copy.deepcopy(SCHEMA)
    known = [field["name"] for field in schema["fields"]]
    schema["fields"] = [
        {**field, "type": changes.get(field["name"], field["type"])}
        for field in schema["fields"]
        if changes.get(field["name"], "") is not None
    ]
    new = [{"name": name, "type": kind} for name, kind in changes.items() if name not in known]
    return {**schema, "fields": new + schema["fields"]}


def framed(schema: dict[str, Any], tree: dict[str, Any]) -> tuple[bytes, TouchpointDecoder]:
    """A record of another schema in Confluent framing, and a decoder that knows the schema."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), tree)
    return b"\x00\x00\x00\x00\x05" + out.getvalue(), TouchpointDecoder(Registry(n5=json.dumps(schema)))


TREE = {**EVENT_TREE, "properties": wrap(EVENT_TREE["properties"])["fields"]}
SIMPLE = {**EVENT_TREE, "properties": {"page": "/x", "visit": 2}}
SIMPLE_EVENT = codec.decode_touchpoint(json.dumps(SIMPLE).encode())


@pytest.mark.parametrize(
    ("schema", "tree", "expected"),
    [
        (writer(tenant=["null", "string"], score="double"), {**TREE, "tenant": "b", "score": 1.0}, EVENT),
        (writer(old={"type": "array", "items": "null"}), {**TREE, "old": [None] * 9_900}, EVENT),
        (writer(type={"type": "string", "avro.java.string": "String"}), TREE, EVENT),
        (writer(properties={"type": "map", "values": ["string", "int"]}), SIMPLE, SIMPLE_EVENT),
        (
            writer(properties={"type": "map", "values": "float"}),
            {**SIMPLE, "properties": {"x": 0.5}},
            codec.decode_touchpoint(json.dumps({**SIMPLE, "properties": {"x": 0.5}}).encode()),
        ),
        (
            writer(properties=None),
            {name: part for name, part in SIMPLE.items() if name != "properties"},
            codec.decode_touchpoint(json.dumps({**SIMPLE, "properties": {}}).encode()),
        ),
        ({**writer(x="null"), "namespace": "bank.web"}, {**SIMPLE, "x": None}, SIMPLE_EVENT),
        ({**writer(), "fields": list(reversed(writer()["fields"]))}, SIMPLE, SIMPLE_EVENT),
    ],
    ids=["fields added", "a long list dropped", "java", "a narrower union", "floats", "default", "namespace", "order"],
)
def test_schemas_that_resolve(schema: dict[str, Any], tree: dict[str, Any], expected: Any) -> None:
    """Added, dropped, reordered and narrower fields are read as ours."""
    value, decoder = framed(schema, tree)
    assert decoder.decode(value) == expected


@pytest.mark.parametrize(
    "schema",
    [
        '"string"',
        '{"type": "record", "name": "Touchpoint", "fields": []}',
        '{"type": "record", "name": "Touchpoint"}',
        json.dumps(writer(event_id=None)),
        json.dumps(writer(event_id="long")),
        json.dumps(writer(occurred_at={"type": "long", "logicalType": "timestamp-micros"})),
        "not JSON",
        "[" * 100_000,
        "17",
        "x" * 2_000_000,
    ],
    ids=range(10),
)
def test_schemas_that_do_not_resolve(schema: str) -> None:
    """Waiting would not help: the record is a dead letter, and the rule says what to publish."""
    decoder = TouchpointDecoder(Registry(n5=schema))
    for _ in range(2):
        with pytest.raises(InvalidRecord):
            decoder.decode(b"\x00\x00\x00\x00\x05" + avro(EVENT_TREE)[10:])


def test_the_same_rules_hold() -> None:
    """A foreign schema is no way around the rules."""
    for changes, reason in (
        ({"type": "Page"}, Reason.NAME),
        ({"identifiers": {"customer": "null"}}, Reason.IDENTIFIER),
        ({"properties": {"x": float("nan")}}, Reason.NUMBER),
        ({"properties": {str(n): n for n in range(201)}}, Reason.TOO_MANY),
        ({"occurred_at": -5}, Reason.TIME),
    ):
        value, decoder = framed(writer(tenant="string"), {**SIMPLE, **changes, "tenant": "b"})
        with pytest.raises(InvalidRecord) as caught:
            decoder.decode(value)
        assert caught.value.reason is reason


def test_malformed_records_of_a_foreign_schema() -> None:
    """Bombs, cuts and damage in a record of another schema are refused before fastavro sees them, or by it."""
    decoder = TouchpointDecoder(Registry(n5=json.dumps(writer(tenant="int"))))
    kinds = {"avro_bomb", "truncated", "bad_branch", "deep", "invalid_utf8", "trailing", "refused_id", "bad_time"}
    tried = 0
    for kind, value in malformed():
        if kind in kinds and value is not None and value[:2] == b"\xc3\x01" and len(value) > 10:
            tried += 1
            with pytest.raises(InvalidRecord):
                decoder.decode(b"\x00\x00\x00\x00\x05\x02" + value[10:])
    assert tried > 500


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        ({"type": "array", "items": "null"}, varint(2**40) + b"\x00"),
        ({"type": "array", "items": "null"}, varint(-(2**40)) + varint(1) + b"\x00"),
        ({"type": "array", "items": {"type": "record", "name": "Nothing", "fields": []}}, varint(2**31) + b"\x00"),
        ({"type": "record", "name": "Loop", "fields": [{"name": "again", "type": "polku.Loop"}]}, b""),
        ({"type": "fixed", "name": "Big", "size": 2**40}, b""),
        ("bytes", varint(2**50)),
    ],
    ids=["nulls", "sized nulls", "empty records", "endless record", "fixed", "bytes"],
)
def test_bombs_that_only_a_foreign_schema_allows(schema: Any, body: bytes) -> None:
    """Items that take no bytes are counted, and lengths are compared with what is there."""
    decoder = TouchpointDecoder(Registry(n5=json.dumps(writer(bomb=schema))))
    with pytest.raises(InvalidRecord):
        decoder.decode(b"\x00\x00\x00\x00\x05" + body + avro(EVENT_TREE)[10:])

"""Which bytes are a touchpoint, which are not, and what the refusal says."""

from __future__ import annotations

import json
import uuid
from typing import Any

import msgspec
import pytest

from schemas import codec
from schemas.action import Action, Identity, Link, Suppression, Withdrawal
from schemas.codec import InvalidRecord, Reason, SchemaUnavailable, TouchpointDecoder
from schemas.decision import Decision
from schemas.outcome import Outcome
from schemas.touchpoint import Touchpoint
from tests.schemas.malformed import FOLDER

EVENT = Touchpoint(
    event_id="e1",
    type="page_viewed",
    channel="web",
    occurred_at=1_769_860_800_123,
    identifiers={"customer": "c42", "device": "d7"},
    properties={"page": "/credit-cards", "visit": 2, "basket": [{"sku": "s1", "price": 9.5}], "new": True, "ref": None},
)
AVRO = codec.encode_touchpoint_avro(EVENT)
JSON = codec.encode_touchpoint_json(EVENT)
SCHEMA = (FOLDER / "touchpoint.avsc").read_text("utf-8")
GUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


class Registry:
    """A registry's schemas in memory; counts the questions."""

    def __init__(self, **schemas: str) -> None:
        self.schemas: dict[int | str, str] = {
            int(name[1:]) if name[0] == "n" else name: s for name, s in schemas.items()
        }
        self.asked: list[int | str] = []

    def get(self, schema_id: int | str) -> str:
        """The schema, or wait."""
        self.asked.append(schema_id)
        if schema_id not in self.schemas:
            raise SchemaUnavailable(schema_id)
        return self.schemas[schema_id]


def event(**changes: Any) -> bytes:
    """The event as JSON with fields changed."""
    return json.dumps({**json.loads(JSON), **changes}).encode()


@pytest.mark.parametrize(
    "value",
    [AVRO, JSON, b" \r\n\t" + JSON + b"\n", b"\xef\xbb\xbf" + JSON, b"\xef\xbb\xbf " + JSON],
    ids=["single object", "json", "white space", "byte order mark", "both"],
)
def test_accepted_encodings(value: bytes) -> None:
    """Single-object encoding and JSON need nothing else."""
    assert codec.decode_touchpoint(value) == EVENT
    assert codec.decode_touchpoint(value, [("traceparent", b"00-1-2-01")]) == EVENT


def test_confluent_framing() -> None:
    """An id before the record, or an id or GUID in a header, is looked up once."""
    registry = Registry(n7=SCHEMA)
    registry.schemas[str(GUID)] = SCHEMA
    decoder = TouchpointDecoder(registry)
    framed = codec.encode_touchpoint_avro(EVENT, schema_id=7)
    assert framed[:5] == b"\x00\x00\x00\x00\x07"
    by_header = {"__value_schema_id": b"\x00\x00\x00\x00\x07"}
    by_guid = [("a", None), ("__value_schema_id", b"\x01" + GUID.bytes)]
    for _ in range(2):
        assert decoder.decode(framed) == EVENT
        assert decoder.decode(AVRO[10:], by_header) == EVENT
        assert decoder.decode(AVRO[10:], by_guid) == EVENT
    assert registry.asked == [7, str(GUID)]


def test_json_in_confluent_framing() -> None:
    """What a registry holds a JSON Schema for is read as JSON."""
    decoder = TouchpointDecoder(Registry(n3=(FOLDER.parent / "json" / "touchpoint.json").read_text("utf-8")))
    assert decoder.decode(b"\x00\x00\x00\x00\x03" + JSON) == EVENT
    assert decoder.decode(JSON, {"__value_schema_id": b"\x00\x00\x00\x00\x03"}) == EVENT
    with pytest.raises(InvalidRecord):
        decoder.decode(b"\x00\x00\x00\x00\x03" + AVRO[10:])


def test_a_schema_that_is_not_known_yet_waits() -> None:
    """An unknown id, or fingerprint where there is a registry, is no dead letter; once known, the record is read."""
    registry = Registry()
    decoder = TouchpointDecoder(registry)
    framed = codec.encode_touchpoint_avro(EVENT, schema_id=9)
    for _ in range(2):
        with pytest.raises(SchemaUnavailable) as caught:
            decoder.decode(framed)
        assert caught.value.schema_id == 9
        assert "registry" in str(caught.value)
    registry.schemas[9] = SCHEMA
    assert decoder.decode(framed) == EVENT
    with pytest.raises(SchemaUnavailable) as caught:
        decoder.decode(b"\xc3\x01" + bytes(range(8)) + AVRO[10:])
    assert caught.value.schema_id == "crc64:0001020304050607"


@pytest.mark.parametrize("value", [b"\x00\x00\x00\x00\x07" + AVRO[10:], b"\xc3\x01" + bytes(8) + AVRO[10:]])
def test_without_a_registry_an_unknown_schema_is_a_dead_letter(value: bytes) -> None:
    """Nothing would ever resolve it; the rule says how to get it back."""
    with pytest.raises(InvalidRecord, match="configure the schema registry") as caught:
        codec.decode_touchpoint(value)
    assert caught.value.reason is Reason.SCHEMA


@pytest.mark.parametrize("header", [b"", b"7", b"\x00\x00\x07", b"\x01" + bytes(15), b"\x02" + bytes(16)])
def test_a_broken_schema_header(header: bytes) -> None:
    """The header is named."""
    with pytest.raises(InvalidRecord) as caught:
        TouchpointDecoder(Registry()).decode(AVRO[10:], {"__value_schema_id": header})
    assert (caught.value.reason, caught.value.field) == (Reason.ENCODING, "header __value_schema_id")


def test_headers_of_other_names_and_null_headers_do_not_matter() -> None:
    """Only `__value_schema_id` with a value speaks of the schema."""
    assert codec.decode_touchpoint(AVRO, [("__value_schema_id", None), ("x", b"\x00")]) == EVENT
    assert codec.decode_touchpoint(AVRO, None) == EVENT


TIMES = {
    "1970-01-01T00:00:00Z": 0,
    "2026-01-31T12:00:00.123Z": 1_769_860_800_123,
    "2026-01-31T12:00:00.123999Z": 1_769_860_800_123,
    "2026-01-31T12:00:00.123999999Z": 1_769_860_800_123,
    "2026-01-31T14:00+02:00": 1_769_860_800_000,
    "2026-01-31T14:00:00+0200": 1_769_860_800_000,
    "9999-12-31T23:59:59.999Z": 253_402_300_799_999,
}


@pytest.mark.parametrize("text", TIMES)
def test_times_as_text(text: str) -> None:
    """ISO 8601 with a zone; what is finer than milliseconds is cut."""
    assert codec.decode_touchpoint(event(occurred_at=text)).occurred_at == TIMES[text]


REFUSALS = [
    (b"", Reason.EMPTY, "", "empty"),
    (None, Reason.EMPTY, "", "null"),
    (b"hello", Reason.ENCODING, "", "must begin as"),
    (b"{" + b" " * 262_144, Reason.TOO_LARGE, "", "at most 262144 bytes"),
    (JSON[:-1], Reason.TRUNCATED, "", "send it whole"),
    (JSON + b"{}", Reason.TRAILING, "", "one per message"),
    (event(type="Page Viewed"), Reason.NAME, "type", "page_viewed"),
    (event(channel="WEB"), Reason.NAME, "channel", "lower-case"),
    (event(event_id=""), Reason.NAME, "event_id", "unique"),
    (event(event_id=5), Reason.TYPE, "event_id", "string"),
    (event(event_id="é" * 101), Reason.NAME, "event_id", "200 bytes"),
    (event(occurred_at=1.5), Reason.TYPE, "occurred_at", "milliseconds"),
    (event(occurred_at=True), Reason.TYPE, "occurred_at", "milliseconds"),
    (event(occurred_at="2026-01-31T12:00:00"), Reason.TIME, "occurred_at", "zone"),
    (event(occurred_at=1_769_860_800_123_000), Reason.TIME, "occurred_at", "check the unit"),
    (event(identifiers={"customer": "null"}), Reason.IDENTIFIER, "identifiers.customer", "leave an id out"),
    (event(identifiers={"device": 7}), Reason.TYPE, "identifiers.device", "string"),
    (event(identifiers={"cookie": "7"}), Reason.IDENTIFIER, "identifiers", "customer, device, email, phone, social"),
    (event(identifiers={}), Reason.IDENTIFIER, "identifiers", "at least one"),
    (event(properties={"x": 2**63}), Reason.NUMBER, "properties", "64 bits"),
    (event(properties={"": 1}), Reason.NAME, "properties", "1 to 200 bytes"),
    (event(properties={str(n): n for n in range(201)}), Reason.TOO_MANY, "properties", "at most 200"),
    (event(propertis={}), Reason.UNKNOWN_FIELD, "propertis", "put your own data into `properties`"),
    (b"{}", Reason.MISSING, "event_id", "required"),
    (event(type="consent_given"), Reason.RESERVED, "properties.purpose", "purpose"),
    (event(type="customers_merged", properties={"from": "c1"}), Reason.RESERVED, "properties.into", "customer id"),
    (
        event(type="customers_merged", properties={"from": "c1", "into": " c1 "}),
        Reason.RESERVED,
        "properties.into",
        "two different",
    ),
    (
        event(type="customers_merged", properties={"from": "c1", "into": "null"}),
        Reason.IDENTIFIER,
        "properties.into",
        "placeholder",
    ),
    (event(type="logged_out", identifiers={"customer": "c1"}), Reason.RESERVED, "identifiers", "another identifier"),
    (AVRO[:-1], Reason.TRUNCATED, "properties", "send it whole"),
    (AVRO + b"\x00", Reason.TRAILING, "", "one record per message"),
]


@pytest.mark.parametrize(("value", "reason", "field", "words"), REFUSALS, ids=range(len(REFUSALS)))
def test_what_a_refusal_says(value: bytes | None, reason: Reason, field: str, words: str) -> None:
    """The field, the rule and the way out."""
    with pytest.raises(InvalidRecord) as caught:
        codec.decode_touchpoint(value)
    assert caught.value.reason is reason
    assert caught.value.field == field
    assert words in caught.value.rule
    assert str(caught.value) == (f"{field}: {caught.value.rule}" if field else caught.value.rule)


AVRO_REFUSALS = [
    ({"event_id": ""}, Reason.NAME, "event_id"),
    ({"event_id": "x" * 201}, Reason.NAME, "event_id"),
    ({"type": "Page"}, Reason.NAME, "type"),
    ({"channel": ""}, Reason.NAME, "channel"),
    ({"occurred_at": -1}, Reason.TIME, "occurred_at"),
    ({"occurred_at": 253_402_300_800_000}, Reason.TIME, "occurred_at"),
    ({"identifiers": {}}, Reason.IDENTIFIER, "identifiers"),
    ({"identifiers": {"customer": "0000"}}, Reason.IDENTIFIER, "identifiers.customer"),
    ({"identifiers": {"cookie": "17"}}, Reason.IDENTIFIER, "identifiers"),
    ({"identifiers": {"device": "7" * 201}}, Reason.IDENTIFIER, "identifiers.device"),
    ({"properties": {"": 1}}, Reason.NAME, "properties"),
    ({"properties": {"x" * 201: 1}}, Reason.NAME, "properties"),
    ({"properties": {"x": [0] * 200}}, Reason.TOO_MANY, "properties"),
    ({"properties": {"x": [[[[[[[[]]]]]]]]}}, Reason.TOO_DEEP, "properties"),
    ({"type": "consent_withdrawn"}, Reason.RESERVED, "properties.purpose"),
]


@pytest.mark.parametrize(("changes", "reason", "field"), AVRO_REFUSALS, ids=range(len(AVRO_REFUSALS)))
def test_avro_is_bound_by_the_same_rules(changes: dict[str, Any], reason: Reason, field: str) -> None:
    """The same event is refused for the same reason in Avro and in JSON, and both name the field."""
    changed = msgspec.structs.replace(EVENT, **changes)
    values = [codec.encode_touchpoint_json(changed)]
    try:
        values.append(codec.encode_touchpoint_avro(changed))
    except ValueError:
        assert reason is Reason.TOO_DEEP
    for value in values:
        with pytest.raises(InvalidRecord) as caught:
            codec.decode_touchpoint(value)
        assert (caught.value.reason, caught.value.field) == (reason, field)


LIMITS: list[dict[str, Any]] = [
    {"event_id": "x" * 200},
    {"event_id": "é" * 100},
    {"type": "x" * 200, "channel": "x"},
    {"identifiers": {"device": "7" * 200}},
    {"properties": {"x" * 200: None}},
    {"properties": {"x": [0] * 199}},
    {"properties": {"x": [[[[[[[]]]]]]]}},
    {"properties": {"x": {"y": {"z": {"a": {"b": {"c": {"d": 1}}}}}}}},
    {"properties": {"a": 2**63 - 1, "b": -(2**63), "c": 5e-324, "d": -0.0, "e": "", "f": "\x00"}},
    {"properties": {"note": "x" * 261_900}},
]


@pytest.mark.parametrize("changes", LIMITS, ids=range(len(LIMITS)))
def test_the_limits_themselves_are_allowed(changes: dict[str, Any]) -> None:
    """What is exactly as long, as deep or as much as allowed passes in both encodings."""
    changed = msgspec.structs.replace(EVENT, **changes)
    assert codec.decode_touchpoint(codec.encode_touchpoint_avro(changed)) == changed
    assert codec.decode_touchpoint(codec.encode_touchpoint_json(changed)) == changed


def test_ids_are_trimmed_in_every_encoding() -> None:
    """Blanks around an id are no part of it, also in `customers_merged`."""
    padded = msgspec.structs.replace(
        EVENT,
        type="customers_merged",
        identifiers={"customer": " c1\t"},
        properties={"from": " c1 ", "into": "c2 ", "why": " call "},
    )
    for value in (codec.encode_touchpoint_avro(padded), codec.encode_touchpoint_json(padded)):
        found = codec.decode_touchpoint(value)
        assert found.identifiers == {"customer": "c1"}
        assert found.properties == {"from": "c1", "into": "c2", "why": " call "}


def test_the_kinds_of_identifiers_are_the_deployments() -> None:
    """Declared kinds replace the default ones."""
    decoder = TouchpointDecoder(kinds=("customer", "loyalty_card"))
    changed = msgspec.structs.replace(EVENT, identifiers={"loyalty_card": "L77"})
    for value in (codec.encode_touchpoint_avro(changed), codec.encode_touchpoint_json(changed)):
        assert decoder(value) == changed
    for value in (AVRO, JSON):
        with pytest.raises(InvalidRecord, match="declared: customer, loyalty_card"):
            decoder(value)


def test_of_a_name_that_comes_twice_the_last_stands() -> None:
    """As in every common JSON reader, so in both encodings."""
    twice = JSON.replace(b'"visit":2', b'"visit":2,"visit":3')
    assert codec.decode_touchpoint(twice).properties["visit"] == 3


def test_many_schemas_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """When very many schemas were looked up, all are forgotten and looked up anew."""
    monkeypatch.setattr(codec, "MAX_READERS", 3)
    registry = Registry(**{f"n{n}": SCHEMA for n in range(9)})
    decoder = TouchpointDecoder(registry)
    for n in (*range(9), 0):
        assert decoder.decode(codec.encode_touchpoint_avro(EVENT, schema_id=n)) == EVENT
    assert decoder.decode(AVRO) == EVENT
    assert registry.asked == [*range(9), 0]


def test_many_words_do_not_fill_the_memory() -> None:
    """The memory for words forgets when it is full, and still reads."""
    for n in range(10_000):
        changed = msgspec.structs.replace(EVENT, type=f"t{n}", properties={f"p{n}": n})
        assert codec.decode_touchpoint(codec.encode_touchpoint_avro(changed)) == changed


ACTION = Action(
    action_id="a1",
    action="send_reminder",
    channel="email",
    profile="customer:c42",
    customer="c42",
    purpose="requested-service",
    basis="request",
    journey="credit-card-application",
    journey_version=3,
    instance_id="i1",
    stage="abandoned",
    event_id=None,
    proposed_at=1_769_860_800_000,
    expires_at=1_770_465_600_000,
    link=Link("/credit-cards/apply", "2"),
    params={"banner": "x"},
    traits={"first_name": "Äiti"},
)
DECISION = Decision(
    decision_id="d1", profile="device:d7", customer=None, verdict="held", gate="caps", reason="week", at=5
)
OUTCOME = Outcome(
    outcome_id="o1", action_id="a1", profile="customer:c42", kind="bounced", channel="email", at=5, permanent=True
)


@pytest.mark.parametrize(
    ("record", "encode", "encode_json", "decoder", "kind"),
    [
        (ACTION, codec.encode_action, codec.encode_action_json, codec.ActionDecoder, "action"),
        (DECISION, codec.encode_decision, codec.encode_json, codec.DecisionDecoder, "decision"),
        (OUTCOME, codec.encode_outcome, codec.encode_json, codec.OutcomeDecoder, "outcome"),
        (EVENT, codec.encode_touchpoint_avro, codec.encode_json, codec.TouchpointDecoder, "touchpoint"),
    ],
)
def test_every_record_in_every_encoding(record: Any, encode: Any, encode_json: Any, decoder: Any, kind: str) -> None:
    """Single object, framed, JSON: read back as they were; JSON's fields are the published schema's."""
    schema = (FOLDER / f"{kind}.avsc").read_text("utf-8")
    read = decoder(Registry(n1=schema)).decode
    assert read(encode(record)) == record
    assert read(encode(record, schema_id=1)) == record
    assert read(encode_json(record)) == record
    tree = json.loads(encode_json(record))
    assert list(tree) == [field["name"] for field in json.loads(schema)["fields"]]
    with pytest.raises(InvalidRecord):
        read(encode(record)[:-1])
    with pytest.raises(InvalidRecord):
        read(None)


def test_an_actions_link_is_an_object_in_json() -> None:
    """Webhooks see names, not positions."""
    assert json.loads(codec.encode_action_json(ACTION))["link"] == {"path": "/credit-cards/apply", "position": "2"}
    assert codec.decode_action(codec.encode_json(ACTION)) == ACTION


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "vanished"}, "kind"),
        ({"at": -1}, "at"),
        ({"action_id": ""}, "action_id"),
        ({"profile": "x" * 401}, "profile"),
    ],
)
def test_outcomes_from_outside_are_checked(changes: dict[str, Any], field: str) -> None:
    """Channels report them, so they may be wrong."""
    changed = msgspec.structs.replace(OUTCOME, **changes)
    for value in (codec.encode_outcome(changed), codec.encode_json(changed)):
        with pytest.raises(InvalidRecord) as caught:
            codec.decode_outcome(value)
        assert caught.value.field == field


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b'{"outcome_id":"o1"}', "action_id"),
        (codec.encode_json(OUTCOME).replace(b'"at":5', b'"at":"now"'), "at"),
        (codec.encode_json(OUTCOME).replace(b'"permanent":true', b'"permanent":1'), "permanent"),
        (b"[]", ""),
    ],
)
def test_json_of_the_wrong_shape_names_the_field(value: bytes, field: str) -> None:
    """The field stands in the refusal, as for touchpoints."""
    with pytest.raises(InvalidRecord) as caught:
        codec.decode_outcome(value)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("record", "decode"),
    [
        (
            Withdrawal(action_id="a", channel="web", profile="device:d", customer=None, reason="goal", at=1),
            codec.decode_withdrawal,
        ),
        (Suppression(address="aa", channel="email", reason="bounced", at=1), codec.decode_suppression),
        (Identity(identifier="device:d", customer="c1", since=1), codec.decode_identity),
    ],
)
def test_compacted_records_are_json(record: Any, decode: Any) -> None:
    """What lies in compacted topics is read by people too."""
    assert decode(codec.encode_json(record)) == record
    for value in (None, b"", b"[]", b'{"at":1}'):
        with pytest.raises(InvalidRecord):
            decode(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, b"bytes", {"a": {1, 2}}, "\ud800"])
def test_what_the_schema_cannot_hold_is_not_written(value: Any) -> None:
    """An encoder raises ValueError rather than write what no reader accepts."""
    with pytest.raises(ValueError, match=r"."):
        codec.encode_action(msgspec.structs.replace(ACTION, params={"x": value}))

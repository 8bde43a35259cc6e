"""The generated decoders and encoders against fastavro, and against expectations of their own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas import codec
from schemas.codec import InvalidRecord
from schemas.decision import Decision
from schemas.outcome import Outcome
from schemas.touchpoint import Touchpoint
from tests.schemas import strategies
from tests.schemas.malformed import FOLDER, prefix, wrap

# Without the times' logical type fastavro reads them as the numbers that ours are.
SCHEMAS: dict[str, Any] = {
    kind: fastavro.parse_schema(
        json.loads((FOLDER / f"{kind}.avsc").read_text("utf-8").replace(', "logicalType": "timestamp-millis"', ""))
    )
    for kind in ("touchpoint", "action", "decision", "outcome")
}
MAPS = ("properties", "params", "traits")


def unwrap(value: Any) -> Any:
    """Fastavro's records of List and Object as lists and dicts."""
    if isinstance(value, dict):
        if "items" in value:
            return [unwrap(part) for part in value["items"]]
        return {name: unwrap(part) for name, part in value["fields"].items()}
    return value


def by_fastavro(kind: str, body: bytes) -> dict[str, Any]:
    """The record as fastavro reads it; all bytes must be read."""
    stream = io.BytesIO(body)
    tree: Any = fastavro.schemaless_reader(stream, SCHEMAS[kind], None)
    assert not stream.read(1)
    for name in MAPS:
        if name in tree:
            tree[name] = {key: unwrap(part) for key, part in tree[name].items()}
    return dict(tree)


def written_by_fastavro(kind: str, record: Any) -> bytes:
    """The record as fastavro writes it."""
    tree = msgspec.structs.asdict(record)
    for name in MAPS:
        if name in tree:
            tree[name] = {key: wrap(part) for key, part in tree[name].items()}
    if tree.get("link") is not None:
        tree["link"] = msgspec.structs.asdict(tree["link"])
    out = io.BytesIO()
    fastavro.schemaless_writer(out, SCHEMAS[kind], tree)
    return out.getvalue()


def same(kind: str, record: Any, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]) -> None:
    """Both write the same bytes, and both read them as the same record."""
    value = encode(record)
    assert value[:10] == prefix(SCHEMAS[kind])
    assert value[10:] == written_by_fastavro(kind, record)
    tree = by_fastavro(kind, value[10:])
    decoded = decode(value)
    assert decoded == record
    found = msgspec.structs.asdict(decoded)
    if found.get("link") is not None:
        found["link"] = msgspec.structs.asdict(found["link"])
    assert found == tree


@given(strategies.TOUCHPOINTS)
@example(Touchpoint(event_id="e", type="a", channel="b", occurred_at=0, identifiers={"device": "1"}))
def test_touchpoints(event: Touchpoint) -> None:
    """Touchpoints of all values, short and long strings, times of one to seven bytes."""
    same("touchpoint", event, codec.encode_touchpoint_avro, codec.decode_touchpoint)


@pytest.mark.parametrize("power", range(64))
def test_numbers_of_every_length(power: int) -> None:
    """Where a number takes one byte more, the short ways and the long one meet."""
    for number in (2**power - 1, -(2**power), min(2**power, 2**63 - 1), 2**power // 2 + 1):
        outcome = Outcome(outcome_id="o", action_id="a", profile="p", kind="opened", channel="c", at=number)
        assert codec.encode_outcome(outcome)[10:] == written_by_fastavro("outcome", outcome)
        decision = Decision(
            decision_id="d",
            profile="p",
            customer=None,
            verdict="v",
            gate="g",
            reason="r",
            at=number,
            journey_version=number,
        )
        same("decision", decision, codec.encode_decision, codec.decode_decision)


@given(strategies.ACTIONS)
def test_actions(action: Any) -> None:
    """Actions, links and both maps included."""
    same("action", action, codec.encode_action, codec.decode_action)


@given(strategies.DECISIONS)
def test_decisions(decision: Any) -> None:
    """Decisions, with every optional field there or not."""
    same("decision", decision, codec.encode_decision, codec.decode_decision)


@given(strategies.OUTCOMES)
def test_outcomes(outcome: Any) -> None:
    """Outcomes of every kind."""
    same("outcome", outcome, codec.encode_outcome, codec.decode_outcome)


@given(strategies.TOUCHPOINTS, st.data())
def test_no_prefix_is_a_record(event: Touchpoint, data: st.DataObject) -> None:
    """A record that was cut is refused, wherever."""
    value = codec.encode_touchpoint_avro(event)
    cut = data.draw(st.integers(1, len(value) - 1))
    with pytest.raises(InvalidRecord) as caught:
        codec.decode_touchpoint(value[:cut])
    assert caught.value.reason is codec.Reason.TRUNCATED or cut < 2


def flips(value: bytes, changes: list[tuple[int, int]]) -> bytes:
    """The value with some bytes of its record replaced."""
    changed = bytearray(value)
    for at, byte in changes:
        changed[10 + at % (len(value) - 10)] = byte
    return bytes(changed)


@given(strategies.TOUCHPOINTS, st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_touchpoints(event: Touchpoint, changes: list[tuple[int, int]]) -> None:
    """What ours still accepts after damage, fastavro accepts and reads as the same, ids trimmed."""
    value = flips(codec.encode_touchpoint_avro(event), changes)
    try:
        found = codec.decode_touchpoint(value)
    except InvalidRecord:
        return
    tree = by_fastavro("touchpoint", value[10:])
    tree["identifiers"] = {kind: text.strip() for kind, text in tree["identifiers"].items()}
    assert msgspec.structs.asdict(found) == tree


@given(st.binary(max_size=400))
def test_any_bytes(body: bytes) -> None:
    """Whatever follows our fingerprint is read as fastavro reads it, or refused as invalid and never otherwise."""
    for kind, decode in (("touchpoint", codec.decode_touchpoint), ("decision", codec.decode_decision)):
        try:
            found = decode(prefix(SCHEMAS[kind]) + body)
        except InvalidRecord:
            continue
        assert msgspec.structs.asdict(found) == by_fastavro(kind, body)


@given(st.binary(max_size=200))
def test_any_value_in_any_encoding(value: bytes) -> None:
    """Bytes from nowhere raise InvalidRecord and nothing else."""
    for start in (b"", b"{", b"\x00", b"\xc3\x01"):
        with pytest.raises(InvalidRecord):
            codec.decode_touchpoint(start + value)


@given(strategies.TOUCHPOINTS)
def test_blocks_with_sizes(event: Touchpoint) -> None:
    """Maps in blocks that carry their size, as Java's blocking encoder writes them, read the same."""
    plain = written_by_fastavro("touchpoint", msgspec.structs.replace(event, properties={}))
    properties = {key: value for key, value in event.properties.items() if not isinstance(value, (dict, list))}
    expected = msgspec.structs.replace(event, properties=properties)
    items = written_by_fastavro("touchpoint", expected)[len(plain) - 1 :] if properties else b""
    if not properties:
        return
    entries = items[1:-1]  # at most six entries: a count of one byte
    out = io.BytesIO()
    for n in (-len(properties), len(entries)):
        fastavro.schemaless_writer(out, "long", n)
    value = prefix(SCHEMAS["touchpoint"]) + plain[:-1] + out.getvalue() + entries + b"\x00"
    assert codec.decode_touchpoint(value) == expected
    assert by_fastavro("touchpoint", value[10:])["properties"] == properties

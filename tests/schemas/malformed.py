"""Malformed touchpoints: a seeded stream of values that every reader must refuse, by kind.

None is taken from our own decoder's word: values are built by fastavro, the standard library or by hand, and each
flipped bit is kept only where fastavro or the standard library refuses the result too.
"""

from __future__ import annotations

import io
import json
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

import schemas

FOLDER = Path(schemas.__path__[0]) / "avro"
SCHEMA: dict[str, Any] = json.loads((FOLDER / "touchpoint.avsc").read_text("utf-8"))
ACTION: dict[str, Any] = json.loads((FOLDER / "action.avsc").read_text("utf-8"))
PARSED = fastavro.parse_schema(SCHEMA)

EACH = 120
MAX_BYTES = 256 * 1024

Tree = dict[str, Any]
Value = bytes | None


def prefix(schema: Tree) -> bytes:
    """Single-object prefix of a schema."""
    return b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


PREFIX = prefix(SCHEMA)


def wrap(value: Any) -> Any:
    """Lists and objects among values as the records of the schema."""
    if isinstance(value, dict):
        return {"fields": {name: wrap(part) for name, part in value.items()}}
    if isinstance(value, list):
        return {"items": [wrap(part) for part in value]}
    return value


def avro(event: Tree) -> bytes:
    """An event in single-object encoding, by fastavro."""
    out = io.BytesIO()
    wrapped = {name: wrap(value) for name, value in event["properties"].items()}
    fastavro.schemaless_writer(out, PARSED, {**event, "properties": wrapped})
    return PREFIX + out.getvalue()


def text(event: Tree) -> bytes:
    """An event as JSON, by the standard library."""
    return json.dumps(event).encode()


def either(r: random.Random, event: Tree) -> bytes:
    """An event in one of the encodings."""
    return avro(event) if r.random() < 0.5 else text(event)


def sample(r: random.Random) -> Tree:
    """A good event."""
    properties: Tree = {
        "page": r.choice(["/credit-cards", "/mortgages/räntor", "/wealth"]),
        "visit": r.randrange(1, 10**6),
        "amount": r.uniform(-1e6, 1e6),
        "returning": r.random() < 0.5,
        "referrer": None,
        "basket": [{"sku": f"s{n}", "price": n * 1.5, "tags": ["new", n]} for n in range(r.randrange(3))],
    }
    return {
        "event_id": f"e-{r.getrandbits(64):016x}",
        "type": r.choice(["page_viewed", "form_started", "order_placed"]),
        "channel": r.choice(["web", "app", "phone"]),
        "occurred_at": r.randrange(1_600_000_000_000, 1_900_000_000_000),
        "identifiers": {"customer": f"c{r.randrange(1, 10**6)}", "device": f"d-{r.getrandbits(48):012x}1"},
        "properties": {name: properties[name] for name in r.sample(sorted(properties), r.randrange(1, 7))},
    }


def refused_by_reference(value: bytes) -> bool:
    """Whether the standard library or fastavro refuses a value that began as a good one."""
    try:
        if value[:1] == b"{":
            json.loads(value)
            return False
        if value[:10] != PREFIX:
            return value[:1] not in b"{ \t\r\n\xef"
        stream = io.BytesIO(value[10:])
        fastavro.schemaless_reader(stream, PARSED)
    except Exception:  # noqa: BLE001 - the reference raises whatever Python raises
        return True
    return bool(stream.read(1))


def varint(n: int) -> bytes:
    """A zigzag number of up to 64 bits."""
    raw = (n << 1) ^ (n >> 63)
    out = bytearray()
    while raw > 127:
        out.append((raw & 127) | 128)
        raw >>= 7
    return bytes([*out, raw])


def head(r: random.Random) -> bytes:
    """A good event's bytes up to its properties."""
    return avro({**sample(r), "properties": {}})[:-1]


def string(raw: bytes) -> bytes:
    """A string in Avro."""
    return varint(len(raw)) + raw


def truncated(r: random.Random) -> Value:
    """Cut anywhere after the first byte."""
    whole = either(r, sample(r))
    return whole[: r.randrange(1, len(whole))]


def bit_flipped(r: random.Random) -> Value:
    """One bit changed, to a value that the reference refuses too."""
    while True:
        value = bytearray(either(r, sample(r)))
        value[r.randrange(len(value))] ^= 1 << r.randrange(8)
        if refused_by_reference(bytes(value)):
            return bytes(value)


def wrong_schema(r: random.Random) -> Value:
    """Written with another schema: under its own fingerprint, under ours, or under a registry's id that nobody has."""
    other = fastavro.parse_schema(
        {
            "type": "record",
            "name": "Order",
            "fields": [{"name": "id", "type": "long"}, {"name": "sum", "type": "double"}],
        }
    )
    out = io.BytesIO()
    fastavro.schemaless_writer(out, other, {"id": r.getrandbits(40), "sum": r.random()})
    frames = [prefix(ACTION), b"\xc3\x01" + r.randbytes(8), PREFIX, b"\x00" + r.randbytes(4)]
    while True:
        value = r.choice(frames) + (out.getvalue() if r.random() < 0.5 else avro(sample(r))[10:])
        if not value.startswith(PREFIX) or refused_by_reference(value):
            return value


def wrong_type(r: random.Random) -> Value:
    """A JSON field of another type."""
    event = sample(r)
    strings: list[Any] = [None, 7, 1.5, True, [], {}, ["web"]]
    wrong: Tree = {
        "event_id": strings,
        "type": strings,
        "channel": strings,
        "occurred_at": [None, 1.5, 1.7e12, True, [], {}],
        "identifiers": [None, 7, "customer:1", True, ["customer", "1"], {"customer": 17}, {"device": None}],
        "properties": [None, 7, "page", True, ["page"]],
    }
    field = r.choice(sorted(wrong))
    event[field] = r.choice(wrong[field])
    return text(event)


def not_an_object(r: random.Random) -> Value:
    """JSON, but no object; or no JSON."""
    whole = text(sample(r))
    return r.choice(
        [b"[" + whole + b"]", b'"' + b"x" * r.randrange(9) + b'"', b"null", b"17", b"{" + r.randbytes(20) + b"\xff}"]
    )


def missing_field(r: random.Random) -> Value:
    """A required JSON field is not there."""
    event = sample(r)
    del event[r.choice(["event_id", "type", "channel", "occurred_at", "identifiers"])]
    return text(event)


def unknown_field(r: random.Random) -> Value:
    """A JSON field that the contract does not have."""
    return text(
        {**sample(r), r.choice(["propertis", "customer_id", "eventId", "timestamp", ""]): r.choice([None, 1, "x"])}
    )


def huge(r: random.Random) -> Value:
    """More bytes, more values or longer names than the contract allows."""
    event = sample(r)
    form = r.randrange(6)
    if form == 0:
        event["properties"] = {"note": "x" * r.randrange(MAX_BYTES, MAX_BYTES + 1000)}
    elif form == 1:
        event["properties"] = {f"p{n}": n for n in range(r.randrange(201, 2000))}
    elif form == 2:
        event["properties"] = {"list": [None] * r.randrange(200, 2000)}
    elif form == 3:
        event["properties"] = {f"o{n}": {f"p{m}": m for m in range(20)} for n in range(r.randrange(10, 30))}
    elif form == 4:
        event["properties"] = {"å" * r.randrange(101, 300): 1}
    else:
        event[r.choice(["event_id", "type", "channel"])] = "a" * r.randrange(201, 2000)
    return either(r, event)


def deep(r: random.Random) -> Value:
    """Lists and objects nested deeper than the contract allows, some deep enough to end a naive reader."""
    n = r.choice([8, 9, 12, 100, 1000, 20_000])
    if r.random() < 0.5:
        opening, closing = r.choice([(b"[", b"]"), (b'{"a":', b"}")])
        middle = opening * n + b"1" + closing * n
        return text({**sample(r), "properties": {"x": 0}}).replace(b'{"x": 0}', b'{"x": ' + middle + b"}")
    opening, closing = r.choice([(b"\x0a\x02", b"\x00"), (b"\x0c\x02\x02a", b"\x00")])
    return head(r) + b"\x02\x02x" + opening * n + b"\x00" + closing * n + b"\x00"


def null_value(_: random.Random) -> Value:
    """A tombstone."""
    return None


def empty(r: random.Random) -> Value:
    """No bytes, or none that say anything."""
    return r.choice([b"", b" ", b"\n", b"\t \r\n", b"\xef\xbb\xbf", b"\x00", b"\xc3\x01"])


def avro_bomb(r: random.Random) -> Value:
    """Few bytes that announce much."""
    start = head(r)
    big = r.choice([10_000, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1])
    size = r.choice([0, 1, 2**20, 2**62, -1, -(2**63)])
    nothing = b"\x02\x02x\x0a"  # one property x, a list
    forms = [
        start + varint(big),
        start + varint(big) + b"\x00" * 64,
        start + varint(-big) + varint(size) + b"\x00" * 64,
        start + varint(-(2**63)) + varint(size),
        start + nothing + varint(big) + b"\x00" * 64,
        start + nothing + varint(-big) + varint(size) + b"\x00" * 5000,
        start + nothing + (varint(200) + b"\x00" * 200) * 50,
        start + varint(1) + varint(big),
        start + varint(1) + varint(-big),
        start + varint(1) + b"\x02x\x08" + varint(big) + b"short",
        start + varint(1) + b"\x02x\x08" + varint(-big) + b"short",
        start + b"\xff" * r.randrange(10, 1000),
        start + b"\x80" * r.randrange(10, 1000) + b"\x00",
        start + nothing + b"\x02\x0a" * r.randrange(1000, 50_000),
        start + b"\x02\x02x\x0c" + b"\x02\x00\x0c" * r.randrange(1000, 50_000),
        PREFIX + varint(big) + b"e1",
        PREFIX + varint(-big) + b"e1",
        PREFIX + b"\xff" * r.randrange(10, 1000),
    ]
    return r.choice(forms)


def bad_branch(r: random.Random) -> Value:
    """A union branch that is none of the seven, or a boolean that is neither."""
    tag = r.choice([varint(r.choice([7, 8, 60, 2**31, 2**62])), varint(-r.choice([1, 2, 7, 2**31, 2**63]))])
    return head(r) + b"\x02\x02x" + r.choice([tag, b"\x02" + bytes([r.randrange(2, 256)])]) + b"\x00"


def invalid_utf8(r: random.Random) -> Value:
    """Text that is no UTF-8, anywhere in the record."""
    bad = r.choice([b"\xff", b"\x80", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\xc3("])
    if r.random() < 0.5:
        event = sample(r)
        mark = "MARK"
        field = r.choice(["event_id", "type", "channel", "identifiers", "properties"])
        event[field] = {"identifiers": {"customer": mark}, "properties": {r.choice(["x", mark]): mark}}.get(field, mark)
        return text(event).replace(b"MARK", b"a" + bad + b"b")
    fields = [b"e1", b"page_viewed", b"web", b"customer", b"c1", b"page", b"/cards"]
    at = r.randrange(len(fields))
    fields[at] += bad
    event_id, kind, channel, name, value, key, found = map(string, fields)
    middle = varint(1_700_000_000_000) + b"\x02" + name + value + b"\x00"
    return PREFIX + event_id + kind + channel + middle + b"\x02" + key + b"\x08" + found + b"\x00"


def refused_id(r: random.Random) -> Value:
    """An identifier that stands for nobody, is of no declared kind, or no identifier at all."""
    event = sample(r)
    nobody = [
        "",
        " ",
        "null",
        "NULL",
        "None",
        "undefined",
        "unknown",
        "anonymous",
        "Guest",
        "n/a",
        "0",
        "0000",
        "-",
        "...",
    ]
    nobody += ["00000000-0000-0000-0000-000000000000", "[object Object]", "NaN", "false", " null ", "a\x00b", "a\nb"]
    nobody += ["x" * 201, "å" * 101, "7\u202e8"]
    kind = r.choice(["customer", "device", "email", "phone", "social"])
    others: list[dict[str, str]] = [{"device": "d17", "customer": r.choice(nobody)}, {}, {"cookie": "17"}, {"": "17"}]
    event["identifiers"] = r.choice(others) if r.random() < 0.4 else {kind: r.choice(nobody)}
    return either(r, event)


def bad_time(r: random.Random) -> Value:
    """A time out of range, or text that is no time with a zone."""
    event = sample(r)
    event["occurred_at"] = r.choice([-1, 253_402_300_800_000, 1_700_000_000_000_000, 2**62, -(2**63)])
    if r.random() < 0.5:
        return either(r, event)
    event["occurred_at"] = r.choice(
        [
            "",
            "yesterday",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-01-31T24:01:00Z",
            "1769860800000",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "2026-01-31T12:00:00+25:00",
        ]
    )
    return text(event)


def bad_number(r: random.Random) -> Value:
    """A number that is none, endless or too long."""
    if r.random() < 0.5:
        number = r.choice([float("inf"), float("-inf"), float("nan")])
        return head(r) + b"\x02\x02x\x06" + struct.pack("<d", number) + b"\x00"
    number_text = r.choice(
        [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9223372036854775808", b"-9223372036854775809", b"01"]
    )
    number_text = r.choice([number_text, b"1" * r.randrange(20, 5000)])
    return text({**sample(r), "properties": {"x": 0}}).replace(b'{"x": 0}', b'{"x": ' + number_text + b"}")


def bad_name(r: random.Random) -> Value:
    """A name that is empty or not of the allowed form."""
    event = sample(r)
    field = r.choice(["event_id", "type", "channel", "properties"])
    words = ["", "Page Viewed", "PAGE", "_x", "9lives", "a b", "sähkö", "a/b", "a\n", "a\x00", " web", "web "]
    event[field] = {"event_id": r.choice(["", "\n", "a\x00b", "\u202e"]), "properties": {"": 1}}.get(
        field, r.choice(words)
    )
    return either(r, event)


def trailing(r: random.Random) -> Value:
    """Something after the record's end."""
    event = sample(r)
    if r.random() < 0.5:
        return avro(event) + r.randbytes(r.randrange(1, 20))
    return text(event) + r.choice([b"x", b"{}", b"\x00", b",", text(event)])


def unknown_encoding(r: random.Random) -> Value:
    """None of the three encodings."""
    first = r.choice([n for n in range(1, 256) if n not in b"{ \t\r\n\xc3\xef"])
    return bytes([first]) + r.choice([b"", b"\x01", r.randbytes(r.randrange(1, 50)), text(sample(r))])


def reserved_type(r: random.Random) -> Value:
    """A type that the engine understands, without what it must carry."""
    event = sample(r)
    event["type"] = r.choice(["consent_given", "consent_withdrawn", "customers_merged", "logged_out"])
    bad: list[Any] = [None, "", 7, True, [], {}]
    if event["type"] == "logged_out":
        event["identifiers"] = r.choice([{"customer": "c1"}, {"device": "d1"}, {"device": "d1", "phone": "+3581"}])
    elif event["type"] == "customers_merged":
        good = {"from": "c1", "into": "c2"}
        event["properties"] = r.choice(
            [{}, {"from": "c1"}, {"into": "c2"}, {"from": "c1", "into": " c1 "}]
            + [{**good, r.choice(["from", "into"]): r.choice([*bad, "null", "0"])} for _ in range(4)]
        )
    else:
        event["properties"] = r.choice([{}, {"purpose": r.choice(bad)}, {"purpose": "x" * 201}, {"Purpose": "ads"}])
    return either(r, event)


KINDS: dict[str, Callable[[random.Random], Value]] = {
    make.__name__: make
    for make in (
        truncated,
        bit_flipped,
        wrong_schema,
        wrong_type,
        not_an_object,
        missing_field,
        unknown_field,
        huge,
        deep,
        null_value,
        empty,
        avro_bomb,
        bad_branch,
        invalid_utf8,
        refused_id,
        bad_time,
        bad_number,
        bad_name,
        trailing,
        unknown_encoding,
        reserved_type,
    )
}


def malformed(seed: int = 1, each: int = EACH) -> Iterator[tuple[str, Value]]:
    """Kind and value, `each` of every kind, the kinds mixed; the same for the same seed."""
    r = random.Random(seed)
    order = [kind for kind in KINDS for _ in range(each)]
    r.shuffle(order)
    for kind in order:
        yield kind, KINDS[kind](r)

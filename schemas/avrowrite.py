"""Generated encoders: straight-line Python for our own schemas, built once from `avro/*.avsc` at import."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

from schemas.avrofast import Bounds, Generated, Lines, indent, is_values
from schemas.avroparts import pack_double
from schemas.avroschema import Schema
from schemas.validate import MAX_LONG, MIN_LONG


def varint(n: int) -> bytes:
    """The zigzag encoding of a 64-bit number."""
    if not MIN_LONG <= n <= MAX_LONG:
        raise ValueError(f"whole numbers must fit 64 bits: {n.bit_length()} bits")
    raw = (n << 1) ^ (n >> 63)
    out = bytearray()
    while raw > 127:
        out.append((raw & 127) | 128)
        raw >>= 7
    out.append(raw)
    return bytes(out)


SMALL = 512
LENGTH = tuple(varint(n) for n in range(SMALL))  # of small numbers and of short strings' lengths
SOME = tuple(b"\x02" + varint(n) for n in range(SMALL))  # of strings in the second branch of a union with null
TEXT = tuple(b"\x08" + varint(n) for n in range(SMALL))  # of strings as values


def write_time(milliseconds: int) -> bytes:
    """The encoding of a long that mostly is a present time: six bytes at once."""
    if not 2**34 <= milliseconds < 2**41:
        return varint(milliseconds)
    raw = milliseconds << 1
    low = (raw & 0x7F) | (raw << 1 & 0x7F00) | (raw << 2 & 0x7F0000) | (raw << 3 & 0x7F000000)
    return (low | (raw << 4 & 0x7F00000000) | (raw << 5 & 0x7F0000000000) | 0x8080808080).to_bytes(6, "little")


def write_string(out: bytearray, text: str, lengths: tuple[bytes, ...] = LENGTH, branch: bytes = b"") -> None:
    """A string, in a union after its branch."""
    raw = text.encode()
    n = len(raw)
    out += lengths[n] if n < SMALL else branch + varint(n)
    out += raw


def write_values(out: bytearray, tree: dict[str, Any], deepest: int, depth: int = 1) -> None:
    """A map of values."""
    if depth > deepest:
        raise ValueError(f"lists and objects may nest at most {deepest} deep")
    if tree:
        n = len(tree)
        out += LENGTH[n] if n < SMALL else varint(n)
        for name, value in tree.items():
            write_string(out, name)
            write_value(out, value, deepest, depth)
    out += b"\x00"


def write_value(out: bytearray, value: Any, deepest: int, depth: int) -> None:
    """A value, after its branch: null, boolean, long, double, string, List, Object."""
    kind = type(value)
    if kind is str:
        write_string(out, value, TEXT, b"\x08")
    elif kind is bool:
        out += b"\x02\x01" if value else b"\x02\x00"
    elif kind is int:
        out += b"\x04"
        out += LENGTH[value] if 0 <= value < SMALL else varint(value)
    elif value is None:
        out += b"\x00"
    elif kind is float:
        if not isfinite(value):
            raise ValueError("numbers must be finite")
        out += b"\x06"
        out += pack_double(value)
    elif kind is dict:
        out += b"\x0c"
        write_values(out, value, deepest, depth + 1)
    elif kind is list or kind is tuple:
        if depth >= deepest:
            raise ValueError(f"lists and objects may nest at most {deepest} deep")
        out += b"\x0a"
        if value:
            out += varint(len(value))
            for item in value:
                write_value(out, item, deepest, depth + 1)
        out += b"\x00"
    else:
        raise ValueError(
            f"a value must be null, a boolean, a number, a string, a list or an object, not {kind.__name__}"
        )


def _string(source: str) -> Lines:
    return [f"s = {source}.encode()", "n = len(s)", f"out += LENGTH[n] if n < {SMALL} else varint(n)", "out += s"]


def _some_string(source: str) -> Lines:
    return [
        f"s = {source}.encode()",
        "n = len(s)",
        f"out += SOME[n] if n < {SMALL} else b'\\x02' + varint(n)",
        "out += s",
    ]


def _write(schema: Any, source: str, bounds: Bounds) -> Lines:
    """Append the value of the expression `source`."""
    if is_values(schema):
        return [f"write_values(out, {source}, {bounds.depth})"]
    if isinstance(schema, list):
        some = _some_string("v") if schema[1] == "string" else ["out += b'\\x02'", *_write(schema[1], "v", bounds)]
        return [f"v = {source}", "if v is None:", "    out += b'\\x00'", "else:", *indent(some)]
    if isinstance(schema, dict) and schema["type"] == "record":
        lines = [f"record = {source}"]
        for field in schema["fields"]:
            lines += _write(field["type"], f"record.{field['name']}", bounds)
        return lines
    if isinstance(schema, dict) and schema["type"] == "map":
        return [
            f"m = {source}",
            "if m:",
            "    n = len(m)",
            f"    out += LENGTH[n] if n < {SMALL} else varint(n)",
            "    for k, v in m.items():",
            *indent(_string("k"), 2),
            *indent(_string("v"), 2),
            "out += b'\\x00'",
        ]
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "string":
        return _string(source)
    if kind == "boolean":
        return [f"out += b'\\x01' if {source} else b'\\x00'"]
    if isinstance(schema, dict):
        return [f"out += write_time({source})"]
    return [f"v = {source}", f"out += LENGTH[v] if 0 <= v < {SMALL} else varint(v)"]


def encoder(schema: Schema, bounds: Bounds) -> Callable[[Any, bytes], bytes]:
    """`encode(record, prefix)` for records of this schema; raises ValueError for what the schema cannot hold."""
    here = globals()
    code = Generated(
        f"{schema['name']} encoder",
        {name: here[name] for name in ("LENGTH", "SOME", "varint", "write_time", "write_values")},
    )
    code.add(["def encode(x, prefix):", "    out = bytearray(prefix)"])
    for field in schema["fields"]:
        code.add(indent(_write(field["type"], f"x.{field['name']}", bounds)), field["name"])
    code.add(["    return bytes(out)"])
    return code.fastest("encode")

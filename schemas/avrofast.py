"""Generated decoders and encoders: straight-line Python for our own schemas, built once from `avro/*.avsc` at import.

A decoder slices one bytes object and checks the limits as it goes: a string that ends past the end leaves the position
there, so that the next byte read raises IndexError; only the last position is compared with the length. Counts are
compared with their limit before anything is read. Each generated line knows its field, so that an error can name it
at no cost to the records that are well.

fastavro is the reference: tests/schemas compares both.
"""

from __future__ import annotations

import hashlib
import importlib
import linecache
import re
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Any

from schemas import avroparts, validate
from schemas.avroparts import Broken
from schemas.avroschema import Schema
from schemas.errors import InvalidRecord, Reason

VALUES = ("null", "boolean", "long", "double", "string", "List", "Object")  # the value union: branch n is byte 2n

Lines = list[str]

_FAULTS = (InvalidRecord, IndexError, ValueError, OverflowError, struct.error)


class Bounds:
    """What one record may hold: values in a map of values (nested ones included), and how deep they nest."""

    __slots__ = ("depth", "values")

    def __init__(self, values: int, depth: int) -> None:
        self.values = values
        self.depth = depth


def indent(lines: Lines, by: int = 1) -> Lines:
    """The lines, deeper."""
    return [" " * 4 * by + line for line in lines]


def is_values(schema: Any) -> bool:
    """Whether a schema is a map of the value union."""
    return isinstance(schema, dict) and schema["type"] == "map" and isinstance(schema["values"], list)


# Decoding


def read_span() -> Lines:
    """Let i and j bound the string at i."""
    return [
        "n = b[i]",
        "if n & 129:",  # negative, or longer than one byte
        "    i, j = span(b, i)",
        "else:",
        "    i += 1",
        "    j = i + (n >> 1)",
    ]


def read_string(target: str) -> Lines:
    """A string."""
    return [*read_span(), f"{target} = b[i:j].decode()", "i = j"]


def read_word(target: str, memory: str) -> Lines:
    """A string out of few: decoded and checked once."""
    return [*read_span(), "raw = b[i:j]", f"{target} = {memory}.get(raw) or {memory}.learn(raw)", "i = j"]


def read_time(target: str) -> Lines:
    """A long that mostly is a present time in milliseconds: six bytes, of which the last ends it."""
    return [
        "n = from_bytes(b[i:i + 6], 'little')",
        "if n & 0x808080808080 == 0x8080808080:",
        "    low = (n & 0x7F) | (n >> 1 & 0x3F80) | (n >> 2 & 0x1FC000) | (n >> 3 & 0xFE00000)",
        "    n = low | (n >> 4 & 0x7F0000000) | (n >> 5 & 0x3F800000000)",
        f"    {target} = (n >> 1) ^ -(n & 1)",
        "    i += 6",
        "else:",
        f"    {target}, i = long(b, i)",
    ]


def read_long(target: str) -> Lines:
    """A long that mostly takes one byte."""
    return [
        "n = b[i]",
        "if n < 128:",
        f"    {target} = (n >> 1) ^ -(n & 1)",
        "    i += 1",
        "else:",
        f"    {target}, i = long(b, i)",
    ]


def read_boolean(target: str) -> Lines:
    """A boolean."""
    return [
        "n = b[i]",
        "if n > 1:",
        "    raise malformed('a boolean must be 0 or 1')",
        f"{target} = n == 1",
        "i += 1",
    ]


def read_double(target: str) -> Lines:
    """A finite double."""
    return [
        f"{target} = unpack_double(b, i)[0]",
        f"if {target} - {target} != 0.0:",  # an infinity or not a number
        f"    raise not_finite({target})",
        "i += 8",
    ]


def read_blocks(each: Lines) -> Lines:
    """The blocks of a map or list: `each` item of one after the other, `left` counting down what is still allowed."""
    return [
        "n = b[i]",
        "while n:",
        "    if n & 129:",
        "        n, i = block(b, i)",
        "    else:",
        "        n >>= 1",
        "        i += 1",
        "    left -= n",
        "    if left < 0:",
        "        raise too_many(most)",
        "    for _ in range(n):",
        *indent(each, 2),
        "    n = b[i]",
        "i += 1",
    ]


def read_value(target: str) -> Lines:
    """A value of the union, the likelier kinds first."""
    return [
        "t = b[i]",
        "i += 1",
        "if t == 8:",
        *indent(read_string(target)),
        "elif t == 4:",
        *indent(read_long(target)),
        "elif t == 2:",
        *indent(read_boolean(target)),
        "elif t == 6:",
        *indent(read_double(target)),
        "elif t == 0:",
        f"    {target} = None",
        "elif t == 12:",
        f"    {target}, i, left = read_object(b, i, depth + 1, left, most, deepest)",
        "elif t == 10:",
        f"    {target}, i, left = read_list(b, i, depth + 1, left, most, deepest)",
        "else:",
        "    raise malformed('a value must be of one of the seven branches')",
    ]


def read_values(target: str) -> Lines:
    """A map of values."""
    each = [*read_span(), "raw = b[i:j]", "key = names.get(raw) or names.learn(raw)", "i = j"]
    return [f"{target} = {{}}", *read_blocks([*each, *read_value("value"), f"{target}[key] = value"])]


def nested() -> Lines:
    """The functions for lists and objects among values."""
    lines: Lines = []
    for name, empty, each in (
        ("read_list", "[]", [*read_value("value"), "found.append(value)"]),
        ("read_object", "{}", None),
    ):
        body = read_values("found") if each is None else [f"found = {empty}", *read_blocks(each)]
        lines += [
            f"def {name}(b, i, depth, left, most, deepest):",
            "    if depth > deepest:",
            "        raise too_deep(deepest)",
            *indent(body),
            "    return found, i, left",
        ]
    return lines


def read_type(schema: Any, target: str, bounds: Bounds) -> Lines:
    """Any type that our schemas use."""
    if is_values(schema):
        limits = [f"depth, left, most, deepest = 1, {bounds.values}, {bounds.values}, {bounds.depth}"]
        return [*limits, *read_values(target)]
    if isinstance(schema, list):
        return [
            "n = b[i]",
            "i += 1",
            "if n == 2:",
            *indent(read_type(schema[1], target, bounds)),
            "elif n == 0:",
            f"    {target} = None",
            "else:",
            "    raise malformed('an optional field must be of branch 0 or 1')",
        ]
    if isinstance(schema, dict) and schema["type"] == "record":
        lines: Lines = []
        parts = []
        for field in schema["fields"]:
            parts.append(f"{target}_{field['name']}")
            lines += read_type(field["type"], parts[-1], bounds)
        return [*lines, f"{target} = {schema['name']}({', '.join(parts)})"]
    if isinstance(schema, dict) and schema.get("logicalType") == "timestamp-millis":
        return read_time(target)
    return {"string": read_string, "long": read_long, "boolean": read_boolean}[schema](target)


def touchpoint_fields() -> dict[str, Lines]:
    """The fields of a touchpoint that are checked as they are read."""
    return {
        "event_id": [
            *read_string("event_id"),
            "if n > 126 or not event_id.isprintable() or not event_id:",
            "    check_event_id(event_id)",
        ],
        "type": read_word("type", "types"),
        "channel": read_word("channel", "channels"),
        "occurred_at": [
            *read_time("occurred_at"),
            f"if not 0 <= occurred_at <= {validate.MAX_TIME}:",
            "    milliseconds(occurred_at)",
        ],
        "identifiers": [
            "left = most = 200",
            "identifiers = {}",
            *read_blocks(
                [
                    *read_span(),
                    "key = kinds.get(b[i:j])",
                    "if key is None:",
                    "    raise unknown_kind(b[i:j].decode(), kinds.values())",
                    "i = j",
                    *read_string("value"),
                    # n is the length's first byte: odd or above 126 it is no short string
                    "if n > 126 or plain_id(value) is None:",
                    "    value = identifier(key, value)",
                    "identifiers[key] = value",
                ]
            ),
            "if not identifiers:",
            "    raise no_identifier(kinds.values())",
        ],
    }


MADE: list[Generated] = []
# C types of the variables that every generated reader has, and the heads of the functions that have them.
_TYPES = "    cdef Py_ssize_t j\n    cdef int t\n"
_HEADS = re.compile(r"^def (\w+)\(b, i, (.*)\):\n", re.MULTILINE)


class Generated:
    """Generated source with the field of each line.

    It is compiled by Python at import, and ahead of that to C by setup.py, as `module`: that one is used while it was
    made of the same source.
    """

    def __init__(self, name: str, namespace: dict[str, Any]) -> None:
        self.filename = f"<polku {name}>"
        self.module = f"schemas._{name.lower().replace(' ', '_')}"
        self.lines: Lines = []
        self.fields: list[str] = [""]  # by line number, from 1
        self.namespace = namespace
        MADE.append(self)

    def add(self, lines: Lines, field: str = "") -> None:
        """Append lines that concern a field."""
        self.lines += lines
        self.fields += [field] * len(lines)

    @property
    def source(self) -> str:
        """All of it."""
        return "\n".join(self.lines) + "\n"

    def typed(self) -> str:
        """The source for C: what it uses of others is set by `fastest`."""
        names = "".join(f"{name} = None\n" for name in sorted(self.namespace.keys() - self._own()))
        source = _HEADS.sub(lambda head: f"def {head[1]}(bytes b, Py_ssize_t i, {head[2]}):\n{_TYPES}", self.source)
        return f"SOURCE = {self._digest()!r}\n{names}{source}"

    def fastest(self, function: str) -> Callable[..., Any]:
        """The function of this name, compiled ahead if there is such a one and it was made of this very source."""
        plain = self.compile(function)
        try:
            ahead = importlib.import_module(self.module)
        except ImportError:
            return plain
        if self._digest() != ahead.SOURCE:
            return plain
        for name in self.namespace.keys() - self._own():
            setattr(ahead, name, self.namespace[name])
        made: Callable[..., Any] = getattr(ahead, function)
        return made

    def _own(self) -> set[str]:
        return {"__builtins__", *re.findall(r"^def (\w+)", self.source, re.MULTILINE)}

    def _digest(self) -> str:
        return hashlib.sha256(self.source.encode()).hexdigest()

    def compile(self, function: str) -> Callable[..., Any]:
        """The function of this name, compiled by Python."""
        source = self.source
        linecache.cache[self.filename] = (len(source), None, source.splitlines(keepends=True), self.filename)
        exec(compile(source, self.filename, "exec"), self.namespace)  # noqa: S102 - our own constant schema, once
        made: Callable[..., Any] = self.namespace[function]
        return made

    def where(self, trace: TracebackType | None) -> tuple[str, dict[str, Any]]:
        """Return the field being read when an error came, and the variables of the innermost reader."""
        field = ""
        found: dict[str, Any] = {}
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self.filename:
                field = field or self.fields[trace.tb_lineno]
                found = trace.tb_frame.f_locals
            trace = trace.tb_next
        return field, found


def decoder(schema: Schema, structs: dict[str, type], bounds: Bounds) -> Callable[..., Any]:
    """`decode(b, i, kinds)` for records of this schema, from position i to the end of b; raises InvalidRecord alone.

    `structs` are the classes of its records by name.
    `kinds` maps the declared kinds of identifiers, as bytes, to themselves as text; only touchpoints need it.
    """
    is_touchpoint = schema["name"] == "Touchpoint"
    special = touchpoint_fields() if is_touchpoint else {}
    space = {
        name: getattr(avroparts, name)
        for name in ("long", "span", "block", "malformed", "trailing", "truncated", "unpack_double")
    }
    space |= {name: getattr(validate, name) for name in ("identifier", "milliseconds", "no_identifier", "not_finite")}
    space |= {
        name: getattr(validate, name) for name in ("plain_id", "reserved", "too_deep", "too_many", "unknown_kind")
    }
    space |= {"check_event_id": validate.event_id, "RESERVED": validate.RESERVED, "from_bytes": int.from_bytes}
    space |= {"names": avroparts.names(), "types": avroparts.words("type"), "channels": avroparts.words("channel")}
    space |= structs
    code = Generated(schema["name"], space)
    code.add(nested())
    code.add(["def decode(b, i, kinds):"])
    for field in schema["fields"]:
        name = field["name"]
        code.add(indent(special.get(name) or read_type(field["type"], name, bounds)), name)
    code.add(["    if i != len(b):", "        raise truncated() if i > len(b) else trailing()"])
    if is_touchpoint:
        code.add(
            ["    if type in RESERVED:", "        properties = reserved(type, identifiers, properties)"], "properties"
        )
    fields = ", ".join(f"{field['name']}={field['name']}" for field in schema["fields"])
    code.add([f"    return {schema['name']}({fields})"])
    read = code.fastest("decode")
    again = code.namespace["decode"]

    def decode(b: bytes, i: int, kinds: dict[bytes, str]) -> Any:
        try:
            return read(b, i, kinds)
        except _FAULTS:
            pass
        try:
            # What C did tells nothing of where it was.
            return again(b, i, kinds)
        except _FAULTS as error:
            raise _explain(b, error, code) from None

    return decode


def _explain(b: bytes, error: Exception, code: Generated) -> InvalidRecord:
    """Name the field and the rule. What was cut off may look wrong in itself: that it was cut comes first."""
    field, found = code.where(error.__traceback__)
    cut = max(found.get("i", 0), found.get("j", 0)) > len(b)
    if isinstance(error, InvalidRecord) and not cut:
        error.field = error.field or field
        return error
    if cut or not isinstance(error, ValueError):
        error = avroparts.truncated()
    if isinstance(error, Broken):
        return InvalidRecord(error.reason, error.rule, field=field)
    raw = error.object if isinstance(error, UnicodeDecodeError) else b""
    return InvalidRecord(Reason.UTF8, "text must be UTF-8", field=field, value=raw)

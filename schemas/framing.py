"""Which schema wrote a value, and where its record begins, by its first byte and the header `__value_schema_id`."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple, Protocol

from schemas.avroschema import SINGLE_OBJECT
from schemas.errors import InvalidRecord, Reason

HEADER = "__value_schema_id"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Headers = Iterable[tuple[str, bytes | None]] | Mapping[str, bytes | None] | None


class SchemaSource(Protocol):
    """Where writer schemas come from: the memory in front of a schema registry."""

    def get(self, schema_id: int | str) -> str:
        """The schema's JSON text, references resolved.

        `schema_id` is a registry's id (int), a registry's GUID (text), or `crc64:` and sixteen hexadecimal digits: the
        single-object fingerprint as it stands in the bytes. Answers from memory, never blocks; raises
        SchemaUnavailable for what it does not hold, and is asked again.
        """
        ...  # pragma: no cover


class JsonText(Enum):
    """The reader of JSON, beside those of Avro schemas."""

    JSON = "json"


JSON = JsonText.JSON


class Frame(NamedTuple):
    """A value taken apart: its writer schema's id (None: JSON that names none) and where its record begins."""

    schema_id: int | str | None
    begin: int


def is_json_schema(schema: object) -> bool:
    """Whether a registry's schema is a JSON Schema of objects: then the record is JSON, and our rules bind it."""
    return isinstance(schema, dict) and ("$schema" in schema or schema.get("type") == "object")


def frame(value: bytes, headers: Headers) -> Frame:
    """Take a value apart."""
    for name, found in headers.items() if isinstance(headers, Mapping) else headers or ():
        if name == HEADER and found is not None:
            return Frame(_header_id(found), 0)
    first = value[0]
    if first == 0x7B:
        return Frame(None, 0)
    if first == 0:
        if len(value) < 5:
            raise InvalidRecord(
                Reason.TRUNCATED, "after the byte 0x00 must come four bytes of schema id and the record"
            )
        return Frame(int.from_bytes(value[1:5], "big"), 5)
    if value[:2] == SINGLE_OBJECT:
        if len(value) < 10:
            raise InvalidRecord(Reason.TRUNCATED, "after 0xC3 0x01 must come eight bytes of fingerprint and the record")
        return Frame(f"crc64:{value[2:10].hex()}", 10)
    text = value.removeprefix(BYTE_ORDER_MARK).lstrip(b" \t\r\n")
    if text[:1] == b"{":
        return Frame(None, len(value) - len(text))
    raise InvalidRecord(
        Reason.ENCODING,
        "must begin as Confluent framing (0x00), Avro single-object encoding (0xC3 0x01) or a JSON object ('{')",
        value=value[:16],
    )


def _header_id(found: bytes) -> int | str:
    """Confluent's header: 0x00 and a four-byte id, or 0x01 and the sixteen bytes of a GUID."""
    if len(found) == 5 and found[0] == 0:
        return int.from_bytes(found[1:], "big")
    if len(found) == 17 and found[0] == 1:
        return str(uuid.UUID(bytes=found[1:]))
    raise InvalidRecord(
        Reason.ENCODING,
        "must be 0x00 and a four-byte schema id, or 0x01 and a GUID",
        field=f"header {HEADER}",
        value=found,
    )

"""Records written with another schema than ours that resolves to ours: an older, newer or a producer's own version.

fastavro does the resolution of the Avro specification. It trusts what it reads, so a walk over the bytes comes first,
which bounds count, depth and lengths and finds the record's end: the recursion of fastavro's compiled reader has no
guard, and a list of nulls takes no bytes.
"""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro

from schemas import avroparts
from schemas.avroparts import Broken, long, malformed, span, trailing, truncated
from schemas.avroschema import Schema
from schemas.errors import InvalidRecord, Reason

MAX_ITEMS = 10_000  # in all maps and lists of one record, those included that our schema drops
MAX_WALK = 64  # records, maps and lists within each other
MAX_SCHEMA_BYTES = 1024 * 1024

_WAY_OUT = "publish a version that resolves to the published one, then replay the dead letters"


def without_logical_types(schema: Any) -> Any:
    """The schema with plain types only, so that times are read as numbers; times in other units are refused."""
    if isinstance(schema, list):
        return [without_logical_types(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("logicalType") in ("timestamp-micros", "timestamp-nanos"):
        raise incompatible(f"times must be timestamp-millis, not {schema['logicalType']}")
    return {
        name: without_logical_types(part) if name in ("type", "items", "values", "fields") else part
        for name, part in schema.items()
        if name != "logicalType"
    }


def incompatible(why: str) -> InvalidRecord:
    """The refusal of a writer schema that does not resolve to ours."""
    return InvalidRecord(Reason.SCHEMA, f"the writer's schema does not resolve to ours: {why}; {_WAY_OUT}")


class ForeignReader:
    """Reads what one foreign schema wrote into dicts of our schema."""

    def __init__(self, writer: Any, ours: Schema) -> None:
        try:
            self._writer: Any = fastavro.parse_schema(without_logical_types(writer))
        except InvalidRecord:
            raise
        except Exception as error:  # whatever a registry holds that is no schema
            raise incompatible(f"it is no valid Avro schema ({type(error).__name__})") from error
        self._ours = fastavro.parse_schema(without_logical_types(ours))
        self._named: dict[str, Any] = {}
        _collect(self._writer, self._named)

    def read(self, b: bytes, begin: int) -> dict[str, Any]:
        """The record from `begin` to the end of b."""
        try:
            end, _ = self._walk(self._writer, b, begin, MAX_ITEMS, 0)
        except Broken as error:
            raise InvalidRecord(error.reason, error.rule) from error
        except IndexError as error:
            raise InvalidRecord(Reason.TRUNCATED, truncated().rule) from error
        if end < len(b):
            raise InvalidRecord(Reason.TRAILING, trailing().rule)
        try:
            found = fastavro.schemaless_reader(io.BytesIO(b[begin:]), self._writer, self._ours)
        except UnicodeDecodeError as error:
            raise InvalidRecord(Reason.UTF8, "text must be UTF-8", value=error.object) from error
        except Exception as error:  # fastavro raises what Python raises for bytes and schemas that do not fit
            raise incompatible(f"{type(error).__name__}: {str(error)[:200]}") from error
        if not isinstance(found, dict):
            raise incompatible("it is not a record")
        return {name: plain_values(value) for name, value in found.items()}

    def _walk(self, schema: Any, b: bytes, i: int, left: int, depth: int) -> tuple[int, int]:
        """The position after a value at i, and how many items are still allowed."""
        if isinstance(schema, str) and schema in self._named:
            schema = self._named[schema]
        if isinstance(schema, list):
            branch, i = long(b, i)
            if not 0 <= branch < len(schema):
                raise malformed("a union has no such branch")
            return self._walk(schema[branch], b, i, left, depth)
        kind = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(kind, (dict, list)):
            return self._walk(kind, b, i, left, depth)
        if depth > MAX_WALK:
            raise Broken(Reason.TOO_DEEP, f"records, maps and lists may nest at most {MAX_WALK} deep")
        if kind in ("record", "error"):
            left -= 1  # records without bytes can be many: each may hold two of the next
            if left < 0:
                raise Broken(Reason.TOO_MANY, f"at most {MAX_ITEMS} records, maps' and lists' values are read")
            for field in schema["fields"]:
                i, left = self._walk(field["type"], b, i, left, depth + 1)
        elif kind in ("map", "array"):
            return self._walk_blocks(schema, b, i, left, depth + 1)
        else:
            i = _skip(kind, schema, b, i)
        return i, left

    def _walk_blocks(self, schema: Any, b: bytes, i: int, left: int, depth: int) -> tuple[int, int]:
        while b[i]:
            n, i = avroparts.block(b, i)
            left -= n
            if left < 0:
                raise Broken(Reason.TOO_MANY, f"maps and lists may hold at most {MAX_ITEMS} values")
            for _ in range(n):
                if schema["type"] == "map":
                    i = span(b, i)[1]
                    i, left = self._walk(schema["values"], b, i, left, depth)
                else:
                    i, left = self._walk(schema["items"], b, i, left, depth)
        return i + 1, left


def _skip(kind: str, schema: Any, b: bytes, i: int) -> int:
    """The position after a value at i that holds no others."""
    if kind in ("string", "bytes"):
        return span(b, i)[1]
    if kind in ("int", "long"):
        return long(b, i)[1]
    if kind == "enum":
        symbol, i = long(b, i)
        if not 0 <= symbol < len(schema["symbols"]):
            raise malformed("an enum has no such symbol")
        return i
    if kind == "boolean" and b[i] > 1:
        raise malformed("a boolean must be 0 or 1")
    i += schema["size"] if kind == "fixed" else {"null": 0, "boolean": 1, "float": 4, "double": 8}[kind]
    if i > len(b):
        raise truncated()
    return i


def plain_values(value: Any) -> Any:
    """Fastavro's records of List and Object as lists and dicts."""
    if not isinstance(value, dict):
        return value
    return {name: _plain(part) for name, part in value.items()}


def _plain(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "items" in value:
        return [_plain(part) for part in value["items"]]
    return plain_values(value["fields"])


def parse(text: str) -> Any:
    """A writer schema from a registry's JSON text."""
    if len(text) > MAX_SCHEMA_BYTES:
        raise incompatible(f"it is longer than {MAX_SCHEMA_BYTES} bytes")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise incompatible("it is not JSON") from error


def _collect(schema: Any, into: dict[str, Any]) -> None:
    if isinstance(schema, list):
        for branch in schema:
            _collect(branch, into)
    elif isinstance(schema, dict):
        if "name" in schema and schema.get("type") in ("record", "error", "enum", "fixed"):
            into[schema["name"]] = schema
        for field in schema.get("fields", ()):
            _collect(field["type"], into)
        for part in ("type", "items", "values"):
            if isinstance(schema.get(part), (dict, list)):
                _collect(schema[part], into)

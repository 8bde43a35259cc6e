"""The published Avro schemas: what is written today, and every version that was ever published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastavro.schema import fingerprint as _fingerprint
from fastavro.schema import to_parsing_canonical_form

FOLDER = Path(__file__).parent / "avro"
KINDS = ("touchpoint", "action", "decision", "outcome")
SINGLE_OBJECT = b"\xc3\x01"

Schema = dict[str, Any]


def load(kind: str) -> Schema:
    """The present schema of a kind of record."""
    schema: Schema = json.loads((FOLDER / f"{kind}.avsc").read_text("utf-8"))
    return schema


def published(kind: str) -> list[Schema]:
    """Every schema of this kind that was ever published, oldest first: `published/<kind>-<n>.avsc`."""
    paths = sorted((FOLDER / "published").glob(f"{kind}-*.avsc"), key=lambda path: int(path.stem.rpartition("-")[2]))
    return [json.loads(path.read_text("utf-8")) for path in paths]


def fingerprint(schema: Any) -> bytes:
    """CRC-64-AVRO of the Parsing Canonical Form, little-endian, as single-object encoding has it (Avro 1.11)."""
    return bytes.fromhex(_fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def single_object_prefix(schema: Any) -> bytes:
    """The ten bytes before a record in single-object encoding."""
    return SINGLE_OBJECT + fingerprint(schema)

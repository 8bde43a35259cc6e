"""Write the JSON Schemas (Draft 2020-12) in `json/`: `python -m schemas.generate`; `--check` tells of drift.

Records come from `avro/*.avsc` with their docs, and what they are bound to beyond Avro from the rules in `validate.py`;
definitions come from their pydantic models.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from schemas import avroschema, validate
from schemas.avrofast import is_values
from schemas.definition import KINDS as DEFINITION_KINDS
from schemas.definition import Definition
from schemas.outcome import KINDS as OUTCOME_KINDS
from schemas.touchpoint import MAX_NAME_BYTES, MAX_PROPERTIES

FOLDER = Path(__file__).parent / "json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Tree = dict[str, Any]

VALUE: Tree = {
    "description": "null, a boolean, a 64-bit whole number, a finite number, text, or a list or object of these.",
    "type": ["null", "boolean", "number", "string", "array", "object"],
    "items": {"$ref": "#/$defs/value"},
    "propertyNames": {"minLength": 1, "maxLength": MAX_NAME_BYTES},
    "additionalProperties": {"$ref": "#/$defs/value"},
}
TIME: Tree = {"type": "integer", "minimum": 0, "maximum": validate.MAX_TIME}
WORD: Tree = {"pattern": f"^{validate.WORD}$", "maxLength": MAX_NAME_BYTES}

# What a record's fields are bound to beyond their Avro type.
BOUNDS: dict[str, Tree] = {
    "touchpoint.event_id": {"minLength": 1, "maxLength": MAX_NAME_BYTES},
    "touchpoint.type": WORD,
    "touchpoint.channel": WORD,
    "touchpoint.occurred_at": {
        "type": ["integer", "string"],
        "format": "date-time",
        "examples": [1769860800000, "2026-01-31T12:00:00Z"],
    },
    "touchpoint.identifiers": {"minProperties": 1},
    "touchpoint.properties": {"maxProperties": MAX_PROPERTIES},
    "action.if_uncertain": {"enum": ["drop", "repeat"]},
    "outcome.kind": {"enum": list(OUTCOME_KINDS)},
}


def record(kind: str) -> Tree:
    """Return the JSON Schema of a published record's JSON form."""
    source = avroschema.load(kind)
    schema: Tree = {"$schema": DIALECT, "$id": f"urn:polku:{kind}", "title": source["name"]}
    schema |= _record(source, f"{kind}.")
    if kind == "touchpoint":
        schema["additionalProperties"] = False
    if any(is_values(field["type"]) for field in source["fields"]):
        schema["$defs"] = {"value": VALUE}
    return schema


def _record(source: Tree, path: str = "") -> Tree:
    properties = {}
    for field in source["fields"]:
        found = {"description": field["doc"], **_type(field["type"]), **BOUNDS.get(path + field["name"], {})}
        if "default" in field:
            found["default"] = field["default"]
        properties[field["name"]] = found
    required = [field["name"] for field in source["fields"] if "default" not in field]
    return {"description": source["doc"], "type": "object", "properties": properties, "required": required}


def _type(source: Any) -> Tree:
    if is_values(source):
        return {
            "type": "object",
            "propertyNames": VALUE["propertyNames"],
            "additionalProperties": {"$ref": "#/$defs/value"},
        }
    if isinstance(source, list):
        inner = _type(source[1])
        if inner["type"] == "object":
            return {"anyOf": [{"type": "null"}, inner]}
        return {**inner, "type": [inner["type"], "null"]}
    if isinstance(source, dict):
        if source["type"] == "record":
            return _record(source)
        if source["type"] == "map":
            return {"type": "object", "additionalProperties": _type(source["values"])}
        return TIME
    return {"type": {"long": "integer", "string": "string", "boolean": "boolean"}[source]}


def definition(kind: str, model: type[Definition]) -> Tree:
    """Return the JSON Schema of a definition, for editors that complete and check it."""
    return {"$schema": DIALECT, "$id": f"urn:polku:{kind}", **model.model_json_schema(by_alias=True)}


def documents() -> dict[Path, str]:
    """Return every generated file's path and text."""
    schemas = {kind: record(kind) for kind in avroschema.KINDS}
    schemas |= {kind: definition(kind, model) for kind, model in DEFINITION_KINDS.items()}
    return {
        FOLDER / f"{kind}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for kind, schema in schemas.items()
    }


def drifted() -> list[Path]:
    """Return the files whose text is not what would be written now, and files that nothing generates."""
    wanted = documents()
    changed = [path for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text]
    return changed + sorted(set(FOLDER.glob("*")) - set(wanted))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m schemas.generate", description="Write the JSON Schemas.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not up to date")
    if parser.parse_args(arguments).check:
        changed = drifted()
        for path in changed:
            sys.stderr.write(f"not up to date: {path}; run python -m schemas.generate\n")
        return 1 if changed else 0
    FOLDER.mkdir(exist_ok=True)
    for path, text in documents().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

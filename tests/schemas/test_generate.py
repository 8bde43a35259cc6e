"""The generated JSON Schemas: up to date, and true to what the readers accept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas import generate
from schemas.codec import encode_action_json, encode_json
from tests.schemas.test_codec import ACTION, DECISION, EVENT, OUTCOME


def test_what_is_checked_in_is_up_to_date() -> None:
    """The check of the continuous integration passes."""
    assert generate.main(["--check"]) == 0


def test_drift_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing, changed or left-over file fails the check and is named; writing mends the first two."""
    monkeypatch.setattr(generate, "FOLDER", tmp_path / "json")
    assert generate.main(["--check"]) == 1
    assert "touchpoint.json" in capsys.readouterr().err
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    assert {path.stem for path in (tmp_path / "json").iterdir()} == {
        "touchpoint",
        "action",
        "decision",
        "outcome",
        "journey",
        "offer",
        "policy",
    }
    (tmp_path / "json" / "action.json").write_text("{}")
    (tmp_path / "json" / "banner.json").write_text("{}")
    assert generate.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "action.json" in told
    assert "banner.json" in told
    assert "decision.json" not in told


@pytest.mark.parametrize("path", sorted(generate.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_references_lead_somewhere(path: Path) -> None:
    """Each schema names the dialect and itself, and every reference in it is defined in it."""
    schema = json.loads(path.read_text("utf-8"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:polku:{path.stem}"

    def walk(tree: Any) -> None:
        if isinstance(tree, dict):
            if isinstance(tree.get("$ref"), str):
                place: Any = schema
                for step in tree["$ref"].removeprefix("#/").split("/"):
                    place = place[step]
            tree = list(tree.values())
        if isinstance(tree, list):
            for part in tree:
                walk(part)

    walk(schema)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("touchpoint", encode_json(EVENT)),
        ("action", encode_action_json(ACTION)),
        ("decision", encode_json(DECISION)),
        ("outcome", encode_json(OUTCOME)),
    ],
)
def test_a_record_has_the_fields_of_its_schema(kind: str, value: bytes) -> None:
    """The JSON that is written has the names, the required fields and the types that the schema says."""
    schema = generate.record(kind)
    tree = json.loads(value)
    assert set(tree) == set(schema["properties"])
    assert set(schema["required"]) <= set(tree)
    types = {str: "string", int: "integer", bool: "boolean", dict: "object", type(None): "null"}
    for name, found in tree.items():
        told = schema["properties"][name]
        options = told.get("type") or [part["type"] for part in told["anyOf"]]
        assert types[type(found)] in ([options] if isinstance(options, str) else options), name
        assert told["description"]

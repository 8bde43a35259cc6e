"""Definitions: what is read from a folder, how it is published, and what tells one content from another."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest

from schemas.journey import Handler, Journey
from streams.definitions import DefinitionError, fingerprint, from_json, load, split_template, to_json
from tests.language.test_broken import HERE

if TYPE_CHECKING:
    from pathlib import Path

BASE = HERE / "base"


def test_what_a_folder_holds() -> None:
    """Journeys, the policy and templates, with their names."""
    found = load(BASE)
    assert [(each.name, each.version) for each in found.journeys] == [("card", 1)]
    assert found.policy is not None
    assert found.policy.model.purposes["requested-service"].templates == ["resume"]
    assert set(found.templates) == {("resume", "email"), ("thanks", "email"), ("thanks", "sms")}
    assert found.templates["resume", "email"].subject == "Go on"
    assert found.templates["resume", "email"].body == "Go on: {{ link }}\n"
    assert found.problems == []


def test_on_arrival_is_a_key_without_a_value() -> None:
    """Presence alone tells; it survives publishing."""
    (journey,) = load(BASE).journeys
    (handler,) = journey.model.stages["submitted"]
    assert handler.on_arrival
    assert not journey.model.stages["interested"][0].on_arrival
    again = from_json(to_json(journey)).model
    assert isinstance(again, Journey)
    assert again.stages["submitted"][0].on_arrival
    assert again == journey.model


def test_words_that_yaml_1_1_would_change(tmp_path: Path) -> None:
    """`no`, `on`, times and dates stay text."""
    shutil.copytree(BASE, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "journeys" / "card.yaml"
    path.write_text(path.read_text().replace("banner: incentive", "banner: no, on: 12:30, off: 2026-03-02, n: 0o17"))
    (journey,) = load(tmp_path).journeys
    params = journey.model.stages["interested"][0].do[0]["show_banner"]
    assert params == {"banner": "no", "on": "12:30", "off": "2026-03-02", "n": 15, "link": "/cards/apply"}


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("version: 1\n", "version: 1   # a comment\n", True),
        ("again: after 30d\n", "stale_after: 1d\nagain: after 30d\n", True),
        ("{banner: incentive, link: /cards/apply}", "{link: /cards/apply, banner: incentive}", True),
        ("again: after 30d", "again: after 31d", False),
        ("to: applying", "to: abandoned", False),
        ("- on arrival:\n      do:", "- after: 1s\n      do:", False),
    ],
)
def test_fingerprints(old: str, new: str, *, same: bool, tmp_path: Path) -> None:
    """Spelling does not change a fingerprint; content does."""
    shutil.copytree(BASE, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "journeys" / "card.yaml"
    before = load(tmp_path).journeys[0].fingerprint
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert (load(tmp_path).journeys[0].fingerprint == before) is same


def test_stage_order_is_content() -> None:
    """Stages stand in the order of progress, so another order is another definition."""
    stages = {"a": [Handler(when="x", to="b")], "b": [Handler(when="x", end=True)]}
    enter = {"when": "x"}
    one = Journey.model_validate({"journey": "j", "version": 1, "enter": enter, "stages": stages})
    two = Journey.model_validate(
        {"journey": "j", "version": 1, "enter": enter, "stages": dict(reversed(stages.items()))}
    )
    assert fingerprint(one) != fingerprint(two)


def test_versions_side_by_side(tmp_path: Path) -> None:
    """Several versions of a journey may stand in a folder, under other file names."""
    shutil.copytree(BASE, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / "journeys" / "card.yaml").read_text()
    (tmp_path / "journeys" / "card-2.yaml").write_text(text.replace("version: 1", "version: 2"))
    found = load(tmp_path)
    assert sorted((each.name, each.version) for each in found.journeys) == [("card", 1), ("card", 2)]
    assert found.problems == []


def test_publishing_keeps_everything(tmp_path: Path) -> None:
    """A published definition is read back with name, version, fingerprint and stage order; policies come first."""
    shutil.copytree(BASE, tmp_path, dirs_exist_ok=True)
    shutil.copytree(BASE.parent / "offered", tmp_path, dirs_exist_ok=True)
    definitions = load(tmp_path).loaded()
    assert [(each.kind, each.name) for each in definitions] == [
        *(("policy", "base"), ("offer", "gold-card")),
        *(("journey", "card"), ("journey", "offers")),
    ]
    for loaded in definitions:
        value = to_json(loaded)
        assert set(msgspec.json.decode(value)) == {"kind", "name", "version", "fingerprint", "body"}
        again = from_json(value)
        assert (again.kind, again.name, again.version, again.fingerprint) == (
            loaded.kind,
            loaded.name,
            loaded.version,
            loaded.fingerprint,
        )
        assert again.model == loaded.model


def test_a_changed_body_is_refused() -> None:
    """A body that is not the published one does not pass for it."""
    (journey,) = load(BASE).journeys
    with pytest.raises(DefinitionError, match="not the one that was published"):
        from_json(to_json(journey).replace(b"after 30d", b"after 31d"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Subject: Hi\n\nBody\n", ("Hi", "Body\n", 3)),
        ("Subject: Hi\n", ("Hi", "", 3)),
        ("Body: with a colon\n", (None, "Body: with a colon\n", 1)),
        ("", (None, "", 1)),
    ],
)
def test_templates_with_and_without_subject(text: str, expected: tuple[str | None, str, int]) -> None:
    """The first lines may be headers; without a subject all is body."""
    assert split_template(text) == expected

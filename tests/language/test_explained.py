"""Explanations: for each gate and construct a case in which `explain` names the rule, the value and the way out.

A case is one file in `explained/`:

    title: a sentence
    policy: {...}        laid over BASE below, key by key; a key that is null is taken out
    journeys: [...]      else LETTER below
    offers: [...]
    given: [...]         the steps of a story (docs/journey-language.md, "Stories")
    asked: {customer: c-1, journey: letter, at: 2026-03-02T12:00:00Z}     each may be left out
    decision: {...}      one that must have been made, with what was found (`value`) and asked for (`bound`)
    told: |              lines of `polku explain --verbose`, in this order
    otherwise: {...}     what would have changed it: a policy, journeys or given instead; then nothing is decided so,
                         and `sends` (how many actions more, 1) go out
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from streams.checks import check_directory
from streams.definitions import library, load, read_document
from streams.explain import Story, explain
from streams.problems import errors
from streams.storyfile import moment, read
from streams.storyplay import play
from streams.tell import tell
from tests.language.test_broken import HERE

CASES = sorted(path.stem for path in (HERE / "explained").iterdir())
BASE: dict[str, Any] = {
    "policy": "shop",
    "version": 1,
    "purposes": {
        "marketing": {"basis": "consent"},
        "receipts": {"basis": "contract", "templates": ["receipt"], "ceiling": 2},
        "requested": {"basis": "request", "templates": ["resume"], "ceiling": 2},
        "staff": {"basis": "internal"},
    },
    "channels": {"email": {"address": "email"}, "sms": {"address": "phone"}, "web": {"standing": True}, "desk": {}},
    "actions": {
        "send_message": {"channels": ["email", "sms"]},
        "show_banner": {"channels": ["web"]},
        "tell_staff": {"channels": ["desk"], "purpose": "staff"},
    },
}
LETTER: dict[str, Any] = {
    "journey": "letter",
    "version": 1,
    "purpose": "marketing",
    "enter": {"when": "hello"},
    "stages": {
        "written": [
            {"on arrival": None, "do": [{"send_message": {"template": "letter"}}]},
            {"when": "goodbye", "end": True},
            {"after": "30d", "end": True},
        ]
    },
}
TEMPLATES = ("letter", "receipt", "resume", "reminder")


def case(name: str) -> dict[str, Any]:
    """The case in a file."""
    document, problems = read_document("case", HERE / "explained" / f"{name}.yaml")
    assert problems == []
    assert document is not None
    found: dict[str, Any] = document.root.plain()
    return found


def laid_over(base: Any, patch: Any) -> Any:
    """`patch` over `base`, key by key."""
    if not (isinstance(base, dict) and isinstance(patch, dict)):
        return patch
    keys = [*base, *(key for key in patch if key not in base)]
    made = {key: laid_over(base.get(key), patch[key]) if key in patch else base[key] for key in keys}
    return {key: value for key, value in made.items() if value is not None or key == "on arrival"}


def folder(path: Path, told: dict[str, Any]) -> Path:
    """The definitions of a case, as a person would have them."""
    policy = laid_over(BASE, told.get("policy", {}))
    for kind in ("journeys", "offers", "templates"):
        (path / kind).mkdir(parents=True)
    _write(path / "policy.yaml", policy)
    for journey in told.get("journeys", [LETTER]):
        _write(path / "journeys" / f"{journey['journey']}-{journey['version']}.yaml", journey)
    for offer in told.get("offers", []):
        _write(path / "offers" / f"{offer['offer']}.yaml", offer)
    for name in TEMPLATES:
        for channel in policy["channels"]:
            (path / "templates" / f"{name}.{channel}.liquid").write_text("Subject: s\n\nx")
    if not any((path / "offers").iterdir()):
        (path / "offers").rmdir()
    return path


def _write(path: Path, what: Any) -> None:
    path.write_text(json.dumps(what))  # JSON is YAML


def story_of(path: Path, told: dict[str, Any]) -> Story:
    """What came of a case, as explained to who asks."""
    definitions = folder(path, told)
    assert [str(each) for each in errors(check_directory(definitions))] == []
    given = path / "case_test.yaml"
    _write(given, {"test": told["title"], "given": told["given"], "expect": []})
    (story,), problems = read(given)
    assert problems == []
    known = library(load(definitions).loaded())
    simulator = play(known, story).simulator
    asked = told.get("asked", {})
    return explain(
        {index: list(enumerate(entries)) for index, entries in enumerate(simulator.journal)},
        simulator.count,
        known,
        f"customer:{asked.get('customer', 'c-1')}",
        at=moment(asked["at"]) if "at" in asked else None,
        journey=asked.get("journey"),
    )


def page_of(story: Story) -> str:
    """How it is told, with what would have changed each verdict."""
    page = io.StringIO()
    tell(story, story.name, Console(file=page, soft_wrap=True, highlight=False), verbose=True)
    return page.getvalue()


def _decided(story: Story, wanted: dict[str, Any]) -> bool:
    decisions = [line.decision for line in story.lines if line.decision is not None]
    return any(all(getattr(each, key) == value for key, value in wanted.items()) for each in decisions)


def _sent(story: Story) -> int:
    return sum(line.action is not None for line in story.lines)


@pytest.mark.parametrize("name", CASES)
def test_explained(name: str, tmp_path: Path) -> None:
    """The rule, the value and the way out are told; what would have changed it does change it."""
    told = case(name)
    story = story_of(tmp_path / "told", told)
    times = [line.at for line in story.lines]
    assert times == sorted(times)
    page = page_of(story)
    left = [line.strip() for line in page.splitlines()]
    for line in told["told"].splitlines():
        assert line.strip() in left, f"{line.strip()!r} is not told here, or not in this order:\n{page}"
        left = left[left.index(line.strip()) + 1 :]
    wanted = told.get("decision")
    assert wanted is None or _decided(story, wanted), [line.decision for line in story.lines if line.decision]
    otherwise = told.get("otherwise")
    if otherwise is not None:
        changed = story_of(tmp_path / "otherwise", told | otherwise)
        assert wanted is None or not _decided(changed, wanted), page_of(changed)
        assert _sent(changed) - _sent(story) == otherwise.get("sends", 1), page_of(changed)


def covered() -> set[tuple[str, str]]:
    """The (gate, reason) of the decisions that the cases are about."""
    wanted = [case(name).get("decision", {}) for name in CASES]
    return {(each["gate"], each["reason"]) for each in wanted if each}

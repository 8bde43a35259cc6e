"""The page on offers: its definitions are sound, and its stories come true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from streams.checks import check_directory
from streams.definitions import load
from streams.story import run_all
from streams.storyfile import read
from tests.cli.running import polku
from tests.language.test_stories import printed
from tests.support.kafka import ROOT

PAGE = (ROOT / "docs" / "offers.md").read_text()
EXAMPLES = re.findall(r"^```yaml (\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The page's examples as a folder of definitions."""
    for kind in ("journeys", "offers"):
        (tmp_path / kind).mkdir()
    for number, (kind, text) in enumerate(EXAMPLES):
        place = {"policy": "policy.yaml", "story": "journeys/visit_test.yaml"}.get(kind, f"{kind}s/{number}.yaml")
        (tmp_path / place).write_text(text)
    return tmp_path


def test_the_examples_are_sound_and_come_true(folder: Path) -> None:
    """All of them together."""
    assert [str(each) for each in check_directory(folder)] == []
    stories, problems = read(folder / "journeys" / "visit_test.yaml")
    assert problems == []
    assert len(stories) == 3
    for result in run_all(load(folder), stories):
        assert result.passed, printed(result)


def test_the_next_best_action_is_as_printed(folder: Path) -> None:
    """As text and as JSON, with the runner-up and why another lost."""
    (shown,) = re.findall(r"^\$ polku next [^\n]*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    events = folder / "touchpoints.jsonl"

    def seen(**traits: object) -> None:
        told = {"event_id": "e-1", "type": "profile_updated", "channel": "web", "occurred_at": "2026-03-02T10:00:00Z"}
        events.write_text(json.dumps({**told, "identifiers": {"customer": "c-1"}, "properties": traits}) + "\n")

    seen(age=40, income=5000, travels=0.5)
    asked = ("next", "c-1", "--place", "agent-desk", "-d", folder, "--events", events)
    ran = polku(*asked)
    assert (ran.code, ran.out) == (0, shown)
    assert "2 offers of 2 may be made" in ran.err
    first, second = polku(*asked, "--json").rows
    assert first == {
        "rank": 1,
        "offer": "gold-card",
        "title": "Gold card",
        "score": 72.0,
        "propensity": 0.4,
        "context": 1.0,
        "value": 120.0,
        "lever": 1.5,
        "params": {"text": "Ask about the gold card"},
    }
    assert (second["rank"], second["offer"]) == (2, "travel-insurance")
    seen(age=4)
    ran = polku(*asked)
    assert "  -  gold-card  not-eligible: the customer may not get it" in ran.out
    assert polku(*asked, "--json").rows[1] == {"rank": None, "offer": "gold-card", "reason": "not-eligible"}
    assert "no offer in force has the place" in polku(*asked[:3], "nowhere", *asked[4:]).err
    ran = polku("next", "c-9", *asked[2:])
    assert (ran.code, "nothing is known of customer:c-9" in ran.err) == (2, True)

"""The pictures: everything once and in its place, whatever the journey."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings

from schemas.journey import Journey
from streams.definitions import load
from streams.drawing import drawing
from streams.mermaid import mermaid
from streams.svg import svg
from streams.textwidth import width
from tests.drawing.journeys import journeys, ways
from tests.support.kafka import ROOT

SVG = "{http://www.w3.org/2000/svg}"
SIZES = {"title": 20, "name": 15, "tag": 11}
BOLD = {"title", "name", "tag", "trigger", "to"}
SEEDS = load(ROOT / "seeds")


def moved(element: ET.Element) -> tuple[float, float]:
    """How far a group is moved."""
    found = re.findall(r"-?[\d.]+", element.get("transform", "translate(0 0)"))
    return float(found[0]), float(found[1])


def numbers(element: ET.Element, *names: str) -> list[float]:
    """Attributes as numbers."""
    return [float(element.get(name, "0")) for name in names]


def look(journey: Journey, picture: str) -> None:
    """Check all that can be told without eyes."""
    root = ET.fromstring(picture)  # noqa: S314 - our own
    wide, high = numbers(root, "width", "height")
    (body,) = root.findall(f"{SVG}g")
    left, top = moved(body)
    cards = [each for each in body if each.get("data-card")]
    titles = [each.get("data-card") for each in cards]
    assert titles == ["Way in", *journey.stages, *(["In any stage"] if journey.any_stage else [])]
    places = []
    for card in cards:
        x, y = moved(card)
        frame = next(each for each in card if each.get("class") == "card")
        w, h = numbers(frame, "width", "height")
        places.append((x, y, x + w, y + h))
        assert left + x >= 4
        assert left + x + w + 4 <= wide
        assert top <= top + y
        assert top + y + h + 4 <= high
        for text in card.iter(f"{SVG}text"):
            tx, ty = numbers(text, "x", "y")
            kind = str(text.get("class"))
            end = tx + width(text.text or "", SIZES.get(kind, 12), bold=kind in BOLD)
            assert tx >= 10
            assert end <= w - 4, text.text
            assert 10 <= ty <= h - 3
    for one, other in combinations(places, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    arrows = [each for each in body if each.get("class") == "arrow"]
    drawn = sorted((str(each.get("data-from")), str(each.get("data-to"))) for each in arrows)
    assert drawn == sorted(ways(journey))
    for arrow in arrows:
        points = [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.e+]+) (-?[\d.e+]+)", str(arrow.get("d")))]
        assert all(0 <= left + x <= wide and 0 <= top + y <= high for x, y in points)
        # Upright lines run between the columns, level ones through no card.
        for (x1, y1), (x2, y2) in pairwise(points):
            for a, b, c, d in places:
                middle_x, middle_y = (x1 + x2) / 2, (y1 + y2) / 2
                assert not (a + 1 < middle_x < c - 1 and b + 1 < middle_y < d - 1)
    for text in root.findall(f"{SVG}text"):
        kind = str(text.get("class"))
        (x,) = numbers(text, "x")
        assert x + width(text.text or "", SIZES.get(kind, 12), bold=kind in BOLD) <= wide


@settings(max_examples=40, deadline=None)
@given(journeys())
def test_any_journey_can_be_drawn(journey: Journey) -> None:
    """Valid XML; each stage and each transition once; no overlaps, nothing outside, the same again."""
    picture = svg(drawing(journey))
    look(journey, picture)
    assert svg(drawing(journey)) == picture


@settings(max_examples=40, deadline=None)
@given(journeys())
def test_any_journey_has_a_flowchart(journey: Journey) -> None:
    """One line a box, one an arrow, whatever stands in the texts; nothing that Mermaid could take for syntax."""
    lines = mermaid(drawing(journey)).splitlines()[3:]
    arrows = [line for line in lines if "-->" in line]
    ends = sum(handler.end for all_of in [*journey.stages.values(), journey.any_stage] for handler in all_of)
    assert len(arrows) == len(ways(journey)) + ends
    for line in lines:
        for quoted in re.findall(r'"([^"]*)"', line):
            plain = re.sub(r"<b>|</b>|<br/>|#\d+;", "", quoted)
            assert re.fullmatch(r"[\w .,:;!?/+*=≥≤→…·()%-]*", plain)


@pytest.mark.parametrize("journey", SEEDS.journeys, ids=lambda journey: journey.name)
def test_the_journeys_of_the_seeds(journey: object) -> None:
    """The pictures that the documentation shows."""
    model = journey.model  # type: ignore[attr-defined]  # one of the seeds' journeys
    assert SEEDS.policy is not None
    look(model, svg(drawing(model, SEEDS.policy.model)))


MERMAID = """\
---
title: "A card: <first> \\"steps\\""
---
flowchart LR
  s0(["<b>Way in</b>"])
  s1["<b>first</b><br/>on arrival<br/>send message: hello"]
  s2["<b>all done (goal)</b>"]
  s3["<b>In any stage</b>"]
  stop(((end)))
  s0 -- "when a<br/>if page begins with #34;/cards#34;" --> s1
  s1 -- "after 30m of silence<br/>remembers page" --> s2
  s1 -- "after 90d" --> stop
  s2 -- "on arrival" --> stop
  s3 -- "when b" --> s2
  classDef goal stroke-width:4px
  class s2 goal
  classDef anywhere stroke-dasharray:6 4
  class s3 anywhere
"""


def test_mermaid_golden() -> None:
    """The whole text of a small journey."""
    body = {
        "journey": "card",
        "title": 'A card: <first> "steps"',
        "version": 1,
        "goal": "all-done",
        "enter": {"when": "a", "if": 'event.page.startsWith("/cards")'},
        "stages": {
            "first": [
                {"on arrival": None, "do": [{"send_message": {"template": "hello"}}]},
                {"after": "30m of silence", "set": {"page": "event.page"}, "to": "all-done"},
                {"after": "90d", "end": True},
            ],
            "all-done": [{"on arrival": None, "end": True}],
        },
        "any stage": [{"when": "b", "to": "all-done"}],
    }
    assert mermaid(drawing(Journey.model_validate(body))) == MERMAID

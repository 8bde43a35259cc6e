"""Journeys to draw: a table of words, and random ones."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from schemas.journey import Journey

TEXTS = st.text(
    st.characters(codec="utf-8") | st.sampled_from('<>&"]\x00\x07→😀漢"'),
    min_size=1,
    max_size=60,
)
EVENTS = st.sampled_from(["form_started", "page_viewed", "order.placed", "a" * 200])
CONDITIONS = st.sampled_from(
    ['event.page.startsWith("/credit-cards")', 'has(traits.age) && traits.age >= 18 || vars.x != "<b>&"', "x" * 900]
)


@st.composite
def handlers(draw: st.DrawFn, stages: list[str], *, anywhere: bool) -> dict[str, Any]:
    """One handler that the model takes."""
    trigger = "when" if anywhere else draw(st.sampled_from(["when", "after", "on arrival"]))
    values = {"when": EVENTS | st.lists(EVENTS, min_size=1, max_size=3), "after": st.just("30m of silence")}
    made: dict[str, Any] = {trigger: draw(values[trigger]) if trigger in values else None}
    if draw(st.booleans()):
        made["if"] = draw(CONDITIONS)
    if draw(st.booleans()):
        made["set"] = {"page": "event.page", "email": "event.email"}
    if draw(st.booleans()):
        made["do"] = [{"send_message": {"template": "hello", "text": draw(TEXTS)}}, {"show_banner": {"b": draw(TEXTS)}}]
    way = draw(st.sampled_from(["to", "to", "end", "stay"]))
    if way == "to":
        made["to"] = draw(st.sampled_from(stages))
    elif way == "end" or not {"set", "do"} & made.keys():
        made["end"] = True
    return made


@st.composite
def journeys(draw: st.DrawFn) -> Journey:
    """A journey of up to nine stages, whatever leads where."""
    stages = [f"stage-{number}" for number in range(draw(st.integers(1, 9)))]
    if draw(st.booleans()):
        stages[-1] = "s" + "w" * 63
    body: dict[str, Any] = {
        "journey": "random",
        "title": draw(TEXTS),
        "version": 1,
        "enter": [{"when": draw(EVENTS), "to": draw(st.sampled_from(stages))} for _ in range(draw(st.integers(1, 3)))],
        "stages": {stage: draw(st.lists(handlers(stages, anywhere=False), max_size=4)) for stage in stages},
        "any stage": draw(st.lists(handlers(stages, anywhere=True), max_size=3)),
    }
    if draw(st.booleans()):
        body["goal"] = draw(st.sampled_from(stages))
    return Journey.model_validate(body)


def ways(journey: Journey) -> list[tuple[str, str]]:
    """From where to where each transition leads, in the order of the definition."""
    first = next(iter(journey.stages))
    enter = journey.enter if isinstance(journey.enter, list) else [journey.enter]
    found = [("way-in", entry.to or first) for entry in enter]
    for stage, all_of in [*journey.stages.items(), ("any-stage", journey.any_stage)]:
        found += [(stage, handler.to) for handler in all_of if handler.to]
    return found

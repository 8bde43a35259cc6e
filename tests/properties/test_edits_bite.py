"""The law of edits notices: a rule left out leaves somebody behind."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings

from streams.engine import edits
from streams.engine.profile import Profile
from streams.engine.rules import CompiledJourney, Rules
from streams.engine.step import Step
from tests.engine.effort import examples
from tests.properties.test_edits import STEPS, Done, play, stranded, versions


def _nobody_wakes(profile: Profile, journey: CompiledJourney, rules: Rules, step: Step) -> None:
    """Move, and leave the profile's timer as it was."""
    profile.now = max(step.watermark, profile.now)
    found = edits.move(profile, profile.instances[journey.name], journey, rules, profile.now)
    edits.tell(profile, found, profile.now, step)


def _into_nothing(stage: str, journey: CompiledJourney) -> str:
    """Unmapped or not, stay in the stage of this name."""
    return journey.moved.get(stage, stage)


@pytest.mark.parametrize(
    ("name", "wrong"), [("follow", _nobody_wakes), ("destination", _into_nothing)], ids=["no timer", "no stage"]
)
def test_a_rule_left_out_is_noticed(name: str, wrong: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer that is not set, a stage that is not there."""
    monkeypatch.setattr(edits, name, wrong)

    @settings(examples(200), phases=[Phase.generate], database=None, derandomize=True)
    @given(versions(), STEPS)
    def law(known: list[object], steps: list[Done]) -> None:
        shop = play(known, steps)  # type: ignore[arg-type]
        stranded(shop, known)  # type: ignore[arg-type]

    with pytest.raises((AssertionError, KeyError)):
        law()

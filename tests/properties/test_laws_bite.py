"""Each law of what is published fails when the engine's rule for it is switched off: the random logs reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from streams.engine import gates, promises, timing
from tests.properties import test_laws
from tests.properties.logs import logs

if TYPE_CHECKING:
    from collections.abc import Callable

ENOUGH = settings(
    max_examples=400,
    phases=[Phase.generate],  # a counterexample is what is wanted; its smallest form is not
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def _gate(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        gate = getattr(gates, name)
        monkeypatch.setattr(gates, "GATES", tuple(each for each in gates.GATES if each is not gate))

    return patch


def _no_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "DAY", 0)


def _eager_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (timing.Elapsed, timing.Silence):
        original = kind.due

        def due(timer: Any, profile: Any, instance: Any, original: Any = original) -> Any:
            return max(0, original(timer, profile, instance) - 1)

        monkeypatch.setattr(kind, "due", due)


def _deaf_to_events(monkeypatch: pytest.MonkeyPatch) -> None:
    original = timing.Silence.due

    def due(timer: Any, profile: Any, instance: Any) -> Any:
        activity, profile.activity = profile.activity, 0
        try:
            return original(timer, profile, instance)
        finally:
            profile.activity = activity

    monkeypatch.setattr(timing.Silence, "due", due)


def _eager_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    original = promises.moments
    monkeypatch.setattr(promises, "moments", lambda of: ((at - 1, *which) for at, *which in original(of)))


def _promises_nobody_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "keep", lambda *_: None)


def _promises_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    original = promises.make

    def make(instance: Any, vow: Any, moment: Any) -> None:
        instance.promises.pop(vow.name, None)
        original(instance, vow, moment)

    monkeypatch.setattr(promises, "make", make)


def _promises_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "end", lambda *_: None)


BITES: list[tuple[Any, Callable[[pytest.MonkeyPatch], None]]] = [
    (test_laws.test_no_action_without_consent, _gate("_consent")),
    (test_laws.test_nothing_skips_do_not_contact, _gate("_do_not_contact")),
    (test_laws.test_no_marketing_while_a_complaint_is_open, _gate("_hold")),
    (test_laws.test_the_ceiling_holds_in_every_window, _no_ceiling),
    (test_laws.test_no_timer_is_early_and_no_silence_was_broken, _eager_timers),
    (test_laws.test_no_timer_is_early_and_no_silence_was_broken, _deaf_to_events),
    (test_laws.test_a_promise_is_at_risk_and_broken_at_its_moments, _eager_promises),
    (test_laws.test_a_promise_is_at_risk_and_broken_at_its_moments, _promises_nobody_keeps),
    (test_laws.test_a_promise_is_at_risk_and_broken_at_its_moments, _promises_put_off),
    (test_laws.test_no_promise_is_lost_or_told_twice_when_profiles_become_one, _promises_forgotten),
]
MERGING = {test_laws.test_no_promise_is_lost_or_told_twice_when_profiles_become_one: test_laws.MERGING}


@pytest.mark.parametrize(("law", "switch_off"), BITES)
def test_the_law_sees_the_missing_rule(
    law: Any, switch_off: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the rule some log breaks the law."""
    switch_off(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        ENOUGH(given(MERGING.get(law, logs()))(law.hypothesis.inner_test))()

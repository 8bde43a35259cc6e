"""Laws of pressure: what goes out is allowed, below every cap, far enough apart, never in quiet hours, never lost.

And each law fails when the engine's rule for it is switched off: the random customers reach it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from schemas.policy import Cap
from streams.engine import contacts, gates, journeys, limits, merge, waiting
from tests.engine.effort import examples
from tests.properties.pressed import PressedCustomers

if TYPE_CHECKING:
    from collections.abc import Callable

ENOUGH = settings(
    max_examples=300,
    stateful_step_count=25,
    phases=[Phase.generate],
    database=None,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

TestPressure = PressedCustomers.TestCase
TestPressure.settings = settings(examples(100), stateful_step_count=25)


def _without(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        gate = getattr(gates, name)
        monkeypatch.setattr(gates, "GATES", tuple(each for each in gates.GATES if each is not gate))

    return patch


def _nothing(*_args: Any, **_more: Any) -> None:
    return None


def _no_withdrawal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contacts, "withdraw", _nothing)


def _no_drop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "drop_covered", _nothing)


def _nobody_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "due", lambda *_: 0)


def _merges_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    original = merge.unite

    def unite(profile: Any, other: Any, *more: Any) -> Any:
        other.contacts = {}
        return original(profile, other, *more)

    monkeypatch.setattr(merge, "unite", unite)


def _slots_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    original = limits._limit

    def limit(name: str, written: Any) -> Any:
        made = original(name, written)
        object.__setattr__(made, "at_most", made.at_most + isinstance(written, Cap))
        return made

    monkeypatch.setattr(limits, "_limit", limit)


def _lost_when_released(monkeypatch: pytest.MonkeyPatch) -> None:
    original = journeys._release

    def release(profile: Any, now: int, *more: Any) -> None:
        for instance in profile.instances.values():
            instance.held = [held for held in instance.held if not 0 < held.until <= now]
        original(profile, now, *more)

    monkeypatch.setattr(journeys, "_release", release)


BITES: list[tuple[str, Callable[[pytest.MonkeyPatch], None]]] = [
    ("no consent", _without("_consent")),
    ("held marketing leaked|what was bought", _without("_hold")),
    ("above the", _without("_caps")),
    ("above the", _slots_too_many),
    ("above the|too close", _merges_forget),
    ("too close together", _without("_distance")),
    ("quiet hours", _without("_quiet")),
    ("no consent|held marketing leaked|what was bought", _no_withdrawal),
    ("what waited for the order went out", _no_drop),
    ("overdue", _nobody_is_woken),
    ("lost", _lost_when_released),
]


@pytest.mark.parametrize(("law", "switch_off"), BITES)
def test_the_law_sees_the_missing_rule(
    law: str, switch_off: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the rule some customers break the law."""
    switch_off(monkeypatch)
    with pytest.raises(AssertionError, match=law):
        run_state_machine_as_test(PressedCustomers, settings=ENOUGH)

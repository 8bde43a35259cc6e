"""One web address for several members, and settings that travel to another process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from streams.front import Merged
from streams.metrics import Metrics
from streams.settings import Settings


def _merged(*members: Metrics) -> list[str]:
    texts = {number: metrics.render().decode() for number, metrics in enumerate(members)}
    registry: Any = Merged(texts)
    return generate_latest(registry).decode().splitlines()


def test_members_metrics_are_told_apart_by_a_label() -> None:
    """Each family stands once, with the samples of all; names, labels and values stay."""
    one, two = Metrics(), Metrics()
    one.routed.labels("touchpoints").inc(3)
    two.routed.labels("touchpoints").inc(4)
    two.lag.labels("journal", 1).set(7)
    one.commit.labels("router").observe(0.1)
    lines = _merged(one, two)
    assert 'polku_records_routed_total{member="0",topic="touchpoints"} 3.0' in lines
    assert 'polku_records_routed_total{member="1",topic="touchpoints"} 4.0' in lines
    assert 'polku_consumer_lag_records{member="1",partition="1",topic="journal"} 7.0' in lines
    assert 'polku_transaction_seconds_bucket{agent="router",le="0.16",member="0"} 1.0' in lines
    told = [line for line in lines if line.startswith("# TYPE")]
    assert len(told) == len(set(told))
    alone = one.render().decode().splitlines()
    kinds = [line for line in alone if line.startswith("# TYPE")]
    assert set(kinds) <= set(told)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"bootstrap": "a:1,b:2", "data_dir": Path("/tmp/x"), "processes": 3, "leave_on_stop": True},
        {"identifier_kinds": ("customer", "card"), "guarantee": "at_least_once", "store": "memory", "mark_grace": 0.5},
        {"sasl_username": "u", "sasl_password": "p, with commas"},
    ],
)
def test_settings_travel_by_the_environment(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was set here, by flag or variable, is what the other process has."""
    settings = Settings(**given)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings

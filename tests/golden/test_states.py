"""States that released versions wrote are read for ever, and the engine goes on from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.engine.partition import Partition
from streams.engine.profile import Profile, decode, encode
from streams.engine.store import MemoryStore
from tests.engine.making import DAY, START, event
from tests.golden.states import FOLDER
from tests.properties.logs import DEFINITIONS

FILES = sorted(FOLDER.glob("state-v*.json"))
NEWEST = max(FILES, key=lambda path: int(path.stem[7:]))


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _begins_with(value: Any, expected: Any) -> bool:
    """Whether a value is what was written then, but for fields that were appended since, at any depth."""
    if isinstance(value, list) and isinstance(expected, list):
        return len(value) >= len(expected) and all(map(_begins_with, value, expected))
    if isinstance(value, dict) and isinstance(expected, dict):
        return value.keys() == expected.keys() and all(_begins_with(value[key], expected[key]) for key in expected)
    return bool(value == expected)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_state_of_a_released_version_reads_as_it_did(path: Path) -> None:
    """Every field then known has the value it had, whatever was appended since."""
    golden = _read(path)
    for name, written in golden["states"].items():
        profile = decode(bytes.fromhex(written))
        assert profile.id == name
        assert _begins_with(json.loads(msgspec.json.encode(profile)), golden["read"][name])
        assert decode(encode(profile)) == profile


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_engine_goes_on_from_a_released_version(path: Path) -> None:
    """Timers are taken up and fire, events are applied, and what waited still waits for its answer."""
    golden = _read(path)
    store = MemoryStore()
    store.ingest(((name.encode(), bytes.fromhex(written)) for name, written in golden["states"].items()), 1)
    partition = Partition(0, 1, DEFINITIONS, store, bytes.fromhex(golden["meta"]))
    assert partition.rules.stops == {"marketing", "journey:card"}
    assert set(partition.active) == {"policy/shop", "journey/card", "journey/coupon", "journey/receipts"}
    assert store.due(None, START + 3650 * DAY, 10)
    for offset, name in enumerate(store.states, 1_000_000):
        partition.apply(offset, event(name, f"new-{name}", at=START + 30 * DAY))
    output = partition.collect()
    assert output.stats.timers > 0
    assert decode(output.states["customer:dan"]).waiting == ["device:f"]
    assert decode(output.states["customer:dan"]).parked[-1].event_id == "new-customer:dan"  # type: ignore[union-attr]


def test_the_newest_golden_states_show_every_field() -> None:
    """A field that none of them has a value for could change its meaning unseen."""
    fresh = json.loads(msgspec.json.encode(Profile(0, "")))
    shown = {
        field
        for state in _read(NEWEST)["read"].values()
        for field, value, default in zip(Profile.__struct_fields__, state, fresh, strict=False)
        if value != default
    }
    assert set(Profile.__struct_fields__) - shown == set()

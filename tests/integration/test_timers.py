"""Timers due while nothing ran: each fires once, after the backlog before it was read, however they are sliced."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from schemas.journal import Event
from streams.records import read
from tests.support import oracle
from tests.support.installation import Installation, until
from tests.support.workers import produce

POLICY = """\
policy: bank
version: 1
purposes:
  ads: {basis: internal}
channels:
  ads: {}
actions:
  suppress_ads: {channels: [ads], purpose: ads}
"""
JOURNEY = """\
journey: silent
version: 1
purpose: ads
enter: {when: hello}
stages:
  waiting:
    - when: bye
      end: true
    - after: 8s of silence
      do:
        - suppress_ads: {topic: everything}
      end: true
"""
SILENCE = 8000  # ms
CUSTOMERS = 3000


def _definitions(folder: Path) -> Path:
    (folder / "journeys").mkdir(parents=True)
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "journeys" / "silent.yaml").write_text(JOURNEY)
    return folder


def _say(installation: Installation, kind: str, customers: range) -> None:
    """Each of these customers does something."""

    def event(number: int) -> dict[str, Any]:
        return {
            "event_id": f"{kind}-{number}",
            "type": kind,
            "channel": "web",
            "occurred_at": int(time.time() * 1000),
            "identifiers": {"customer": f"c-{number}"},
            "properties": {},
        }

    produce(installation.bootstrap, installation.topics.touchpoints, ((f"c-{n}", event(n)) for n in customers))


def test_timers_due_while_everything_was_down(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Whoever spoke in time is not called silent; the others once, although workers are killed between the slices."""
    definitions = _definitions(tmp_path / "definitions")
    options = {"max_transaction_records": "60"}
    with Installation(kafka_bootstrap, topic_prefix, definitions, tmp_path, options) as installation:
        worker = installation.start()
        _say(installation, "hello", range(CUSTOMERS))
        _all_entered(installation)
        worker.kill()
        spoke = time.monotonic()
        # The first fifth ends it, the second speaks again: neither was read before its timer was due.
        _say(installation, "bye", range(CUSTOMERS // 5))
        _say(installation, "again", range(CUSTOMERS // 5, 2 * CUSTOMERS // 5))
        time.sleep(max(0.0, spoke + 9 - time.monotonic()))
        _say(installation, "late", range(CUSTOMERS - 10, CUSTOMERS))

        expected = 4 * CUSTOMERS // 5
        worker = installation.start(store=0, wait=False)
        until(lambda: _actions(installation), 90, lambda: "a slice")
        worker.kill()
        before = _actions(installation).total()
        assert 0 < before < expected, "killed between two slices"
        worker = installation.start(store=0)
        until(lambda: _actions(installation).total() >= expected, 90, lambda: "all of them")
        installation.settle()
    found = oracle.dump(installation.settings, definitions)
    oracle.check(found)
    assert _actions(installation) == Counter(f"c-{number}" for number in range(CUSTOMERS // 5, CUSTOMERS))
    spoken: dict[str, int] = {}
    for entries in found.journal.values():
        for _, entry in entries:
            if isinstance(entry, Event) and entry.type != "late":
                spoken[entry.profile] = max(spoken.get(entry.profile, 0), entry.origin.time)
    assert all(action.proposed_at == spoken[action.profile] + SILENCE for action in found.actions)


def _all_entered(installation: Installation) -> None:
    settings, changelog = installation.settings, installation.topics.changelog
    until(
        lambda: len({r.key for r in read(settings, changelog) if r.key and r.key[:1] != b"\x00"}) == CUSTOMERS,
        60,
        lambda: "all states",
    )


def _actions(installation: Installation) -> Counter[str]:
    """Committed actions by customer."""
    actions = read(installation.settings, installation.topics.actions("ads"))
    return Counter(record.key.decode() for record in actions if record.key)

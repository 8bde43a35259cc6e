"""The oracle, from outside, on random touchpoints: partitioners, brokers, guarantees and fetch sizes vary."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.installation import Installation
from tests.support.randomlog import DEFINITIONS, Shape, produce, touchpoints


def _run(
    bootstrap: str, prefix: str, folder: Path, partitioner: str, shape: Shape, seed: int, **options: str
) -> oracle.Dump:
    installation = Installation(bootstrap, prefix, DEFINITIONS, folder, options)
    try:
        installation.start()
        log = touchpoints(seed, shape, int(time.time() * 1000))
        assert produce(bootstrap, installation.topics.touchpoints, log, partitioner) == shape.events
        installation.settle()
    finally:
        installation.stop()
    return oracle.dump(installation.settings, DEFINITIONS)


@pytest.mark.parametrize(
    ("fetch", "partitioner"), [(5000, "consistent_random"), (7, "murmur2_random"), (1, "consistent_random")]
)
def test_exactly_once_on_apache_kafka(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path, fetch: int, partitioner: str
) -> None:
    """What is published is what the engine computes from the journal, whatever the fetches and the keys."""
    found = _run(kafka_bootstrap, topic_prefix, tmp_path, partitioner, Shape(), fetch, max_poll_records=str(fetch))
    computed = oracle.check(found)
    assert len(computed.actions) > 500


def test_at_least_once_on_the_embedded_broker(embedded_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Without a crash, the embedded broker gives the same."""
    found = _run(
        embedded_bootstrap,
        topic_prefix,
        tmp_path,
        "murmur2_random",
        Shape(),
        3,
        guarantee="at_least_once",
        store="memory",
    )
    computed = oracle.check(found)
    assert len(computed.actions) > 500


def test_simple_logs_need_no_journal(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Where each customer has one identifier and one origin partition, the touchpoints alone give the same actions."""
    shape = Shape(events=5000, simple=True)
    found = _run(kafka_bootstrap, topic_prefix, tmp_path, "consistent_random", shape, 11)
    oracle.check(found)
    published, simulated = oracle.simulated_actions(found)
    assert published == simulated
    assert len(published) > 200

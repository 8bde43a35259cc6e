"""The page about performance says what was measured, and where."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from tests.benchmarks import costs, latency, throughput
from tests.benchmarks.bench import medians
from tests.benchmarks.report import page

SPEED = {"events_per_s": 43_210, "cpu_us_per_event": 12.34, "least_per_s": 40_123, "most_per_s": 45_678}
LATE = {"rate": 1000.0, "actions": 10_001, "p50_ms": 51.0, "p99_ms": 102.0, "p999_ms": 204.0, "max_ms": 408.0}
RESULTS: dict[str, Any] = {
    "machine": {"cores": 2, "processor": "a processor", "system": "Linux", "python": "3.11"},
    "sections": {"throughput": {"at": "2026-11-23 12:00 UTC", "commit": "abc1234", "scale": 1.0, "load": 0.1}},
    "exactly_once": True,
    "throughput": {
        "events": 300_000,
        "rounds": 2,
        "medians": {"journeys": SPEED, "quix": SPEED | {"events_per_s": 14_403, "cpu_us_per_event": 70.0}},
    },
    "latency": {
        "1000/s, 4 partitions": {"polku": LATE, "kafka-streams": LATE | {"p99_ms": 204.0}},
        "1000/s, 12 partitions": {"polku": LATE},
    },
    "journeys": {"1": SPEED, "2": SPEED, "100": SPEED | {"cpu_us_per_event": 13.574}},
    "customers": {"10000": SPEED, "1000000": SPEED | {"cpu_us_per_event": 14.808}},
    "anonymous": {"0.5": SPEED},
    "timers": {"p99_ms": 1234.5},
    "recovery": {"10": {"profiles": 10, "read_per_s": 7_654_321, "runs": []}},
}


def test_the_ratios_are_those_of_what_was_measured() -> None:
    """Each section gives its own; what was not measured gives none."""
    assert throughput.ratios(RESULTS["throughput"]) == {"journeys_vs_quix": 3.0}
    assert latency.ratios(RESULTS) == {"p50_vs_kafka_streams": 1.0, "p99_vs_kafka_streams": 0.5}
    assert costs.ratios(RESULTS) == {"journeys_100_vs_2": 1.1, "customers_1m_vs_10k": 1.2}
    assert costs.ratios({}) == {}


def test_the_page_shows_them() -> None:
    """Numbers, the run they are from, and plots that are XML."""
    drawn = {}

    def plot(name: str, drawing: str) -> str:
        drawn[name] = ET.fromstring(drawing)  # noqa: S314 - it was made a moment ago
        return f"![{name}]"

    text = "\n".join(page(RESULTS | {"ratios": {"journeys_vs_quix": 3.0}}, plot))
    expected = [
        "abc1234",
        "2026-11-23 12:00 UTC",
        "43,210",
        "40,123 to 45,678",
        "12.3 µs",
        "10,001",
        "50%",
        "1,000,000",
        "| 3.00 |",
    ]
    assert [each for each in [*expected, "7,654,321", "1,234.5"] if each not in text] == []
    assert set(drawn) == {"throughput", "cpu", "latency", "costs"}
    assert len(drawn["throughput"].findall("{*}rect")) == 2


def test_what_is_compared_are_medians() -> None:
    """Of each program by itself; how far its runs lie apart stands beside."""
    runs = [
        {"what": what, "events_per_s": rate, "cpu_us_per_event": 1e6 / rate}
        for what, rate in [("journeys", 40_000), ("quix", 15_000), ("journeys", 20_000), ("journeys", 44_000)]
    ]
    assert medians(runs) == {
        "journeys": {
            "events_per_s": 40_000,
            "cpu_us_per_event": 25.0,
            "runs": 3,
            "least_per_s": 20_000,
            "most_per_s": 44_000,
        },
        "quix": {
            "events_per_s": 15_000,
            "cpu_us_per_event": 66.67,
            "runs": 1,
            "least_per_s": 15_000,
            "most_per_s": 15_000,
        },
    }

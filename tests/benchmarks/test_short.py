"""A short measurement that fails on gross regressions only: ratios of CPU within one run, bounds several times away."""

from __future__ import annotations

import io
import time

import fastavro

from schemas import avroschema
from tests.benchmarks.bench import Bench
from tests.benchmarks.events import expected_actions, polku_value, samples

EVENTS, CUSTOMERS = 20_000, 700
# Measured on 2 cores: the whole worker costs 3 times what fastavro takes to decode the events, stock Faust 50 times.
MOST = 12.0


def decoding(values: list[bytes]) -> float:
    """CPU seconds that fastavro takes for the events, the best of three."""
    schema = fastavro.parse_schema(avroschema.load("touchpoint"))
    found = []
    for _ in range(3):
        began = time.process_time()
        for value in values:
            fastavro.schemaless_reader(io.BytesIO(value[10:]), schema, None)
        found.append(time.process_time() - began)
    return min(found)


def test_an_event_costs_a_few_times_its_decoding(kafka_bootstrap: str) -> None:
    """Router and journeys in one process, exactly once, from the first event to the last commit; each action once."""
    given = list(samples(EVENTS, CUSTOMERS))
    bench = Bench(kafka_bootstrap, None, EVENTS, 1)
    values = [polku_value(each, bench.began, devices=False) for each in given]
    made = bench.installation("short")
    try:
        made.begin()
        made.fill(given, lambda each: values[each.number])
        found = made.run("worker", EVENTS)
        assert made.count_actions(given) == {"actions": expected_actions(given), "actions_twice": 0}
    finally:
        made.remove()
    assert found["restarts"] == 0
    ratio = found["cpu_us_per_event"] * EVENTS / 1e6 / decoding(values)
    print(f"CPU per event {found['cpu_us_per_event']} us, {ratio:.1f} times decoding")
    assert ratio < MOST

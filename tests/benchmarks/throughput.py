"""Events per second and CPU per event: the router and the journeys agent, apart and together, beside other engines.

Every round runs each program once, so that a slow minute of the machine hits all; what is compared are medians. All do
the job of the mini bank journey; of Polku, the actions that reached Kafka are counted, and each must be there once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.benchmarks import peers
from tests.benchmarks.bench import Bench, medians, say
from tests.benchmarks.events import create, delete, fill, peer_value, polku_value, samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.events import Sample

EVENTS_PER_CUSTOMER = 30
KAFKA_STREAMS_EVENTS = 600_000
WARM_COPIES = 5
FAUST_EVENTS = 20_000
AT_LEAST = "at_least_once"
KINDS: dict[str, dict[str, object]] = {
    "": {},
    " without decisions": {"decisions": "off"},
    f" {AT_LEAST}": {"guarantee": AT_LEAST},
}


def section(bench: Bench) -> dict[str, Any]:
    """Measure all, each round once."""
    given = list(samples(bench.sized(bench.events), max(1, bench.sized(bench.events) // EVENTS_PER_CUSTOMER)))
    runs: list[dict[str, Any]] = []

    def note(result: dict[str, Any]) -> None:
        runs.append(result)
        say(result)

    beside = Beside(bench, bench.peers, len(given)) if bench.peers is not None else None
    for number in range(bench.rounds):
        for result in polku(bench, given):
            note(result)
        if beside is not None:
            for result in beside.round(first=number == 0):
                note(result)
    return {"events": len(given), "rounds": bench.rounds, "medians": medians(runs), "runs": runs}


def polku(bench: Bench, given: list[Sample]) -> list[dict[str, Any]]:
    """Run each agent alone, then both in one process; with and without decisions; by both guarantees."""
    found = []
    for kind, settings in KINDS.items():
        alone = bench.installation("a", settings)
        alone.begin()
        alone.fill(given, lambda each: polku_value(each, bench.began, devices=False))
        found.append(alone.run("router", len(given)) | {"what": f"router{kind}"})
        found.append(alone.run("journeys", len(given)) | {"what": f"journeys{kind}"} | alone.count_actions(given))
        alone.remove()
        both = bench.installation("b", settings)
        both.begin()
        both.fill(given, lambda each: polku_value(each, bench.began, devices=False))
        found.append(both.run("worker", len(given)) | {"what": f"worker{kind}"} | both.count_actions(given))
        both.remove()
    return found


class Beside:
    """The other engines, all on one topic that holds the same events in their schema."""

    def __init__(self, bench: Bench, folder: Path, events: int) -> None:
        self._bench, self._folder, self._events = bench, folder, events
        self._topic = f"peers{bench.began}"
        # The program on the JVM needs more to warm up; the others read the beginning.
        self._cold = max(events, bench.sized(KAFKA_STREAMS_EVENTS))
        schema = peers.schema(folder)
        given = samples(self._cold, max(1, self._cold // EVENTS_PER_CUSTOMER))
        create(bench.bootstrap, self._topic)
        fill(bench.bootstrap, self._topic, given, lambda each: peer_value(each, bench.began, schema))

    def round(self, *, first: bool) -> list[dict[str, Any]]:
        """Run each once; what takes long, in the first round only."""
        bench, folder, topic = self._bench, self._folder, self._topic
        boot = bench.bootstrap
        found = [
            {"what": "quix"} | peers.quix(folder, boot, topic, self._events),
            {"what": "kafka-streams"} | peers.kafka_streams(folder, boot, topic, self._cold),
            {"what": "decode-only"} | peers.decode_only(folder, boot, topic, self._events),
        ]
        if first:
            found += [
                {"what": "quix at_least_once"} | peers.quix(folder, boot, topic, self._events, exactly_once=False),
                {"what": "kafka-streams at_least_once"}
                | peers.kafka_streams(folder, boot, topic, self._cold, exactly_once=False),
                {"what": "faust at_least_once"} | peers.faust(boot, topic, bench.sized(FAUST_EVENTS)),
            ]
            if boot == peers.FIXED_BOOTSTRAP:
                long = f"{topic}x{WARM_COPIES}"
                peers.copy(folder, topic, long, WARM_COPIES)
                warm = peers.kafka_streams(folder, boot, long, self._cold * WARM_COPIES)
                found.append({"what": "kafka-streams warm"} | warm)
                delete(boot, long)
        for part in ("peer-quix-", "peer-ks-", "peer-faust-", "changelog__peer-"):
            delete(boot, part)
        return found


def ratios(results: dict[str, Any]) -> dict[str, float]:
    """Return how Polku compares."""
    middle = results["medians"]

    def rate(mine: str, other: str, key: str = "events_per_s") -> float | None:
        return round(middle[mine][key] / middle[other][key], 3) if mine in middle and other in middle else None

    found = {
        "journeys_vs_quix": rate("journeys", "quix"),
        "whole_vs_quix": rate("worker", "quix"),
        "cpu_vs_kafka_streams": rate("journeys", "kafka-streams", "cpu_us_per_event"),
        "exactly_once_vs_at_least_once": rate("worker", f"worker {AT_LEAST}"),
        "journeys_exactly_once_vs_at_least_once": rate("journeys", f"journeys {AT_LEAST}"),
        "journeys_without_decisions_vs_quix": rate("journeys without decisions", "quix"),
        "whole_without_decisions_vs_quix": rate("worker without decisions", "quix"),
        "cpu_without_decisions_vs_kafka_streams": rate(
            "journeys without decisions", "kafka-streams", "cpu_us_per_event"
        ),
        "cpu_vs_kafka_streams_warm": rate("journeys", "kafka-streams warm", "cpu_us_per_event"),
        "journeys_vs_decode_only": rate("journeys", "decode-only"),
    }
    return {name: value for name, value in found.items() if value is not None}

"""What an event costs as journeys, customers, properties, anonymous events, partitions or processes grow.

Each section varies one thing and keeps the others. CPU is of the whole process, per event.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, TopicPartition

from schemas.codec import encode_touchpoint_avro
from schemas.touchpoint import Touchpoint
from tests.benchmarks.bench import DEFINITIONS, FOLDER, Bench, Installation, median, say, with_journeys
from tests.benchmarks.events import PROPERTIES, TYPES, Sample, polku_value, samples
from tests.support.installation import committed
from tests.support.kafka import admin_client
from tests.support.workers import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EVENTS = 120_000
EVENTS_PER_CUSTOMER = 30
# Of what must not cost more as it grows: the machine alone makes two runs of one thing differ by a third.
ROUNDS = 3
JOURNEYS = (1, 2, 10, 100)
CUSTOMERS = (10_000, 100_000, 1_000_000)
PROPERTY_COUNTS = (3, 10, 50)
ANONYMOUS = (0.0, 0.5, 1.0)
PARTITIONS = (1, 4, 12)
PROCESSES = (1, 2, 4)
# Of small transactions, so that the first commit soon shows that all have begun.
SMALL: dict[str, object] = {"max_transaction_records": 5000, "touchpoints_partitions": 12, "journal_partitions": 12}
WATCHER = """\
journey: watcher
version: 1
purpose: service
enter:
  when: page_viewed
stages:
  watching:
    - when: form_submitted
      to: seen
  seen:
    - when: page_viewed
      to: watching
"""


def journeys(bench: Bench) -> dict[str, Any]:
    """Vary the number of journeys; each event concerns two of them (with one journey: that one)."""
    return {"journeys": each(bench, "journeys", JOURNEYS, of_journeys, ROUNDS)}


def of_journeys(bench: Bench, count: int) -> dict[str, Any]:
    """Run the journeys agent with so many journeys."""
    events, pairs = bench.sized(EVENTS), max(1, count // 2)
    made = bench.installation("journeys", definitions=definitions(count))
    # Each customer belongs to one pair, so that all are at work and no profile grows.
    given = [
        Sample(each.number, each.customer, each.kind if count == 1 else f"{each.kind}_{int(each.customer[1:]) % pairs}")
        for each in samples(events, events // EVENTS_PER_CUSTOMER)
    ]
    made.begin()
    made.fill(given, lambda each: polku_value(each, bench.began, devices=False))
    made.run("router", events)
    result = made.run("journeys", events)
    made.remove()
    return result


def definitions(count: int) -> Path:
    """Return a folder of so many journeys: pairs of mini bank and watcher, each pair on event types of its own."""
    bank, journeys = (DEFINITIONS / "journeys" / "mini_bank.yaml").read_text(), {}
    if count == 1:
        journeys["mini_bank"] = bank
    for pair in range(count // 2):
        for name, text in (("mini-bank", bank), ("watcher", WATCHER)):
            own = text.replace(f"journey: {name}", f"journey: {name}-{pair}")
            for kind in TYPES:
                own = own.replace(f"when: {kind}", f"when: {kind}_{pair}")
            journeys[f"{name.replace('-', '_')}_{pair}"] = own
    return with_journeys(FOLDER / f"definitions-{count}", journeys)


def customers(bench: Bench) -> dict[str, Any]:
    """Vary the number of customers who are known already when the measured events come."""
    return {"customers": each(bench, "customers", [*map(bench.sized, CUSTOMERS)], of_customers, ROUNDS)}


def of_customers(bench: Bench, count: int) -> dict[str, Any]:
    """Run the journeys agent when so many customers are known."""
    events, chance = bench.sized(EVENTS), random.Random(2)
    made = bench.installation("customers")
    made.begin()
    first = [Sample(each, f"c{each}", chance.choice(TYPES)) for each in range(count)]
    made.fill(first, lambda each: polku_value(each, bench.began, devices=False))
    made.run("worker", count)
    later = [Sample(count + each, f"c{chance.randrange(count)}", chance.choice(TYPES)) for each in range(events)]
    made.fill(later, lambda each: polku_value(each, bench.began, devices=False))
    made.run("router", events, before=count)
    result = made.run("journeys", events, before=count)
    made.remove()
    return result


def each(
    bench: Bench, what: str, choices: Sequence[Any], run: Callable[[Bench, Any], dict[str, Any]], rounds: int = 1
) -> dict[str, Any]:
    """Run for each choice in turn, so many rounds; return the medians."""
    runs: dict[str, list[dict[str, Any]]] = {str(choice): [] for choice in choices}
    for _ in range(rounds):
        for choice in choices:
            runs[str(choice)].append(run(bench, choice))
            say({"what": what, "choice": choice, **runs[str(choice)][-1]})
    return {choice: median(found) for choice, found in runs.items()}


def properties(bench: Bench) -> dict[str, Any]:
    """Vary the number of properties of each event."""

    def with_properties(count: int) -> Callable[[Sample], bytes]:
        more = {f"property_{number}": f"value {number}" for number in range(count - len(PROPERTIES))}

        def value(each: Sample) -> bytes:
            return encode_touchpoint_avro(
                Touchpoint(
                    event_id=f"{each.number:032x}",
                    type=each.kind,
                    channel="web",
                    occurred_at=bench.began + each.number,
                    identifiers={"customer": each.customer},
                    properties=PROPERTIES | more,
                )
            )

        return value

    return {"properties": whole(bench, "properties", PROPERTY_COUNTS, with_properties)}


def anonymous(bench: Bench) -> dict[str, Any]:
    """Vary the share of events that name a device only; all others name the customer and the device."""

    def share(wanted: float) -> Callable[[Sample], bytes]:
        chance = random.Random(3)

        def value(each: Sample) -> bytes:
            identifiers = {"customer": each.customer, "device": f"d{each.customer}"}
            if chance.random() < wanted:
                del identifiers["customer"]
            return encode_touchpoint_avro(
                Touchpoint(
                    event_id=f"{each.number:032x}",
                    type=each.kind,
                    channel="web",
                    occurred_at=bench.began + each.number,
                    identifiers=identifiers,
                    properties=PROPERTIES,
                )
            )

        return value

    return {"anonymous": whole(bench, "anonymous", ANONYMOUS, share)}


def partitions(bench: Bench) -> dict[str, Any]:
    """Vary the number of partitions of the touchpoints and the journal."""

    def value(_: int) -> Callable[[Sample], bytes]:
        return lambda each: polku_value(each, bench.began, devices=False)

    def settings(count: int) -> dict[str, object]:
        return {"touchpoints_partitions": count, "journal_partitions": count}

    return {"partitions": whole(bench, "partitions", PARTITIONS, value, settings)}


def whole(
    bench: Bench,
    what: str,
    choices: Sequence[Any],
    value: Callable[[Any], Callable[[Sample], bytes]],
    settings: Callable[[Any], dict[str, object]] = lambda _: {},
) -> dict[str, Any]:
    """Run router and journeys together for each choice."""
    events = bench.sized(EVENTS)
    given = list(samples(events, events // EVENTS_PER_CUSTOMER))

    def once(bench: Bench, choice: Any) -> dict[str, Any]:
        made = bench.installation(what, settings(choice))
        made.begin()
        made.fill(given, value(choice))
        result = made.run("worker", events)
        made.remove()
        return result

    return each(bench, what, choices, once)


def processes(bench: Bench) -> dict[str, Any]:
    """Vary the number of processes of one worker, over 12 partitions."""
    events = bench.sized(2 * EVENTS)
    given = list(samples(events, events // EVENTS_PER_CUSTOMER))

    def once(bench: Bench, count: int) -> dict[str, Any]:
        made = bench.installation("processes", SMALL)
        made.begin()
        made.fill(given, lambda each: polku_value(each, bench.began, devices=False))
        result = backlog(bench, made, count, events)
        made.remove()
        return result

    return {"processes": each(bench, "processes", PROCESSES, once)}


def backlog(bench: Bench, made: Installation, count: int, events: int) -> dict[str, Any]:
    """Measure from a tenth of the backlog routed to its end, from outside."""
    folder = FOLDER / f"{made.prefix}processes"
    folder.mkdir(parents=True)
    group = made.prefix.rstrip(".")
    settings: dict[str, Any] = {"bootstrap": bench.bootstrap, "prefix": made.prefix, "group": group, **made.settings}
    worker = WorkerProcess(folder, definitions=DEFINITIONS, processes=count, **settings)

    admin = admin_client(bench.bootstrap)

    def done() -> tuple[int, bool]:
        offsets = committed(admin, group)
        routed = sum(offset for (topic, _), offset in offsets.items() if topic == worker.topics.touchpoints)
        if routed < events:
            return routed, False
        found = ends(bench.bootstrap, worker.topics.journal, worker.settings.journal_partitions)
        # Marks come for ever: what is within the last few of them is done.
        slack = 60 * worker.settings.journal_partitions
        return routed, sum(offsets.get((worker.topics.journal, index), 0) for index in range(len(found))) >= sum(
            found
        ) - slack

    with worker.start():
        while (at := done()[0]) < events / 10:
            time.sleep(0.05)
        began, cpu = time.perf_counter(), tree_cpu(worker.pid)
        while not done()[1]:
            time.sleep(0.05)
        seconds, spent = time.perf_counter() - began, tree_cpu(worker.pid) - cpu
        worker.stop()
    return {
        "events": events - at,
        "seconds": round(seconds, 3),
        "events_per_s": round((events - at) / seconds),
        "cpu_us_per_event": round(spent / (events - at) * 1e6, 2),
    }


def ends(bootstrap: str, topic: str, count: int) -> list[int]:
    """The ends of a topic's partitions."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench"})
    try:
        return [consumer.get_watermark_offsets(TopicPartition(topic, index), timeout=10)[1] for index in range(count)]
    finally:
        consumer.close()


def tree_cpu(pid: int) -> float:
    """CPU seconds of a process and of all beneath it."""
    ticks, parents, spent = os.sysconf("SC_CLK_TCK"), {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            parents[int(folder.name)], spent[int(folder.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    tree = {pid}
    while more := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return sum(spent.get(each, 0) for each in tree) / ticks


def ratios(results: dict[str, Any]) -> dict[str, float]:
    """Return how the largest compares with the smallest."""
    found = {}
    if "journeys" in results:
        cpu = {count: each["cpu_us_per_event"] for count, each in results["journeys"].items()}
        found["journeys_100_vs_2"] = round(cpu["100"] / cpu["2"], 3)
    if "customers" in results:
        ordered = [
            each["cpu_us_per_event"] for _, each in sorted(results["customers"].items(), key=lambda pair: int(pair[0]))
        ]
        found["customers_1m_vs_10k"] = round(ordered[-1] / ordered[0], 3)
    return found

"""docs/performance.md and its plots, made from build/bench.json: `python -m tests.benchmarks.report`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tests.benchmarks.plots import Bar, bars
from tests.benchmarks.run import RESULTS, load
from tests.support.kafka import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE, PLOTS = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance"
COMMITTED = 0.5  # of the full size: a smaller run is no measurement to publish

TITLE = """\
# Performance

Measured by `make bench`: every program beside the others in one run, on one machine that the broker shares; this page
and its plots are made from its results by `python -m tests.benchmarks.report`. The peers are independent programs that
do the same job, the mini bank journey: decode an event, skip a repetition, keep the customer's stage and timers, emit
an action or none. In Polku that is [a journey in YAML](../tests/benchmarks/mini_bank/journeys/mini_bank.yaml), and it
passes the gates and writes the decisions as any other. Numbers compare within a run; machines differ.
"""

# Name in the results, name on the page, whether it is Polku.
THROUGHPUT = (
    ("router", "Polku, router alone", True),
    ("journeys", "Polku, journeys agent alone", True),
    ("journeys without decisions", "… without the decisions topic", True),
    ("journeys at_least_once", "… at least once", True),
    ("worker", "Polku, both in one process", True),
    ("worker without decisions", "… without the decisions topic", True),
    ("worker at_least_once", "… at least once", True),
    ("quix", "Quix Streams", False),
    ("quix at_least_once", "… at least once", False),
    ("kafka-streams", "Kafka Streams, Java, first 600,000", False),
    ("kafka-streams at_least_once", "… at least once", False),
    ("kafka-streams warm", "Kafka Streams, Java, 3,000,000", False),
    ("faust at_least_once", "Faust, at least once", False),
    ("decode-only", "aiokafka + fastavro, reading only", False),
)
MEANINGS = {
    "journeys_vs_quix": "events/s of the journeys agent, in Quix Streams'",
    "whole_vs_quix": "events/s of router and journeys in one process, in Quix Streams'",
    "cpu_vs_kafka_streams": "CPU per event of the journeys agent, in Kafka Streams' over its first 600,000 events",
    "cpu_vs_kafka_streams_warm": "the same, in Kafka Streams' over 3,000,000 events",
    "exactly_once_vs_at_least_once": "events/s of both in one process, exactly once in at least once",
    "p50_vs_kafka_streams": "median latency at 1,000/s over 4 partitions, in Kafka Streams'",
    "p99_vs_kafka_streams": "p99 latency at 1,000/s over 4 partitions, in Kafka Streams'",
    "journeys_100_vs_2": "CPU per event with 100 journeys of which it concerns two, in that with two",
    "customers_1m_vs_10k": "CPU per event with 1,000,000 customers, in that with 10,000",
    "recovery_vs_read": "profiles recovered a second, in what aiokafka alone reads of that changelog",
}
COSTS = {
    "journeys": ("Journeys, of which an event concerns two", "journeys agent"),
    "customers": ("Customers known before", "journeys agent"),
    "properties": ("Properties of each event", "router and journeys"),
    "anonymous": ("Share of events that name a device only", "router and journeys"),
    "partitions": ("Partitions", "router and journeys"),
    "processes": ("Processes, over 12 partitions", "router and journeys"),
}


def page(results: dict[str, Any], plot: Callable[[str, str], str]) -> Iterator[str]:
    """Yield the page's parts; `plot` keeps an SVG under a name and returns how the page shows it."""
    yield TITLE
    yield ran(results)
    yield from compared(results)
    if "throughput" in results:
        yield from throughput(results["throughput"], plot)
    if "latency" in results:
        yield from latency(results["latency"], plot)
    yield from costs(results, plot)
    yield from others(results)


def ran(results: dict[str, Any]) -> str:
    """Say which run it is."""
    machine, sections = results["machine"], results["sections"]
    commits = sorted({each["commit"] for each in sections.values()})
    times = sorted(each["at"] for each in sections.values())
    when = times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
    return (
        f"{when}, commit {', '.join(commits)}; {machine['cores']} cores ({machine['processor']}), {machine['system']}, "
        f"Python {machine['python']}. Every action was there once: {'yes' if results['exactly_once'] else 'NO'}.\n"
    )


def compared(results: dict[str, Any]) -> Iterator[str]:
    """Yield the ratios."""
    rows = [(meaning, results["ratios"][name]) for name, meaning in MEANINGS.items() if name in results["ratios"]]
    yield "## In short\n"
    yield table(["", "ratio"], [[meaning, f"{ratio:.2f}"] for meaning, ratio in rows])


def throughput(found: dict[str, Any], plot: Callable[[str, str], str]) -> Iterator[str]:
    """Yield rates and CPU."""
    medians = found["medians"]
    rows = [(title, ours, medians[name]) for name, title, ours in THROUGHPUT if name in medians]
    yield "## Throughput\n"
    yield (
        f"{found['events']:,} touchpoints, medians of {found['rounds']} rounds with the least and the most "
        "rate; exactly once where nothing else is said. CPU is that of the whole process, without the broker's.\n"
    )
    yield table(
        ["", "events/s", "least to most", "CPU per event"],
        [
            [
                title,
                f"{each['events_per_s']:,.0f}",
                f"{each['least_per_s']:,.0f} to {each['most_per_s']:,.0f}",
                f"{each['cpu_us_per_event']:.1f} µs",
            ]
            for title, _, each in rows
        ],
    )
    rates = [Bar(title, each["events_per_s"], f"{each['events_per_s']:,.0f}", ours) for title, ours, each in rows]
    yield plot("throughput", bars("Events per second", rates))
    cpu = [
        Bar(title, each["cpu_us_per_event"], f"{each['cpu_us_per_event']:.1f} µs", ours)
        for title, ours, each in rows
        if not title.startswith("Faust")
    ]
    yield plot("cpu", bars("CPU per event", cpu))


def latency(found: dict[str, Any], plot: Callable[[str, str], str]) -> Iterator[str]:
    """Yield latencies."""
    yield "## Latency\n"
    yield (
        "From `produce` of a touchpoint until a `read_committed` consumer has its action; one clock. Polku takes two "
        "hops, two transactions; Kafka Streams one, with its commit interval at 100 ms.\n"
    )
    rows, drawn = [], []
    for name, programs in found.items():
        for program, each in programs.items():
            title = f"{'Polku' if program == 'polku' else 'Kafka Streams'}, {name}"
            rows.append(
                [title, f"{each['rate']:,.0f}", f"{each['actions']:,}", *(f"{each[key]:.0f}" for key in MEASURES)]
            )
            text = f"{each['p50_ms']:.0f} / {each['p99_ms']:.0f} ms"
            drawn.append(Bar(title, each["p99_ms"], text, program == "polku"))
    yield table(["", "touchpoints/s", "actions", "p50 ms", "p99 ms", "p99.9 ms", "most ms"], rows)
    yield plot("latency", bars("Touchpoint to action: p50 / p99 (the bar)", drawn))


MEASURES = ("p50_ms", "p99_ms", "p999_ms", "max_ms")


def costs(results: dict[str, Any], plot: Callable[[str, str], str]) -> Iterator[str]:
    """Yield what an event costs as things grow."""
    measured = {name: results[name] for name in COSTS if name in results}
    if not measured:
        return
    yield "## What an event costs as things grow\n"
    drawn, rows = [], []
    for name, found in measured.items():
        title, what = COSTS[name]
        for choice, each in found.items():
            shown = f"{float(choice):,.0%}" if name == "anonymous" else f"{int(choice):,}"
            rows.append([title, shown, what, f"{each['events_per_s']:,}", f"{each['cpu_us_per_event']:.1f} µs"])
            drawn.append(Bar(f"{name}: {shown}", each["cpu_us_per_event"], f"{each['cpu_us_per_event']:.1f} µs"))
    yield table(["", "", "of", "events/s", "CPU per event"], rows)
    yield plot("costs", bars("CPU per event", drawn))


OTHERS = (
    ("timers", "## Timers: from due until a `read_committed` consumer has the action\n"),
    ("recovery", "## Recovery\n"),
    ("memory", "## Memory\n"),
)


def others(results: dict[str, Any]) -> Iterator[str]:
    """Yield what recovery takes by the number of profiles, and memory; and how late timers are."""
    for name, title in OTHERS:
        if name not in results:
            continue
        columns = [results[name]] if name == "timers" else list(results[name].values())
        keys = [key for key, value in columns[0].items() if isinstance(value, int | float)]
        yield title
        yield table(
            ["", *("" for _ in columns)],
            [[key.replace("_", " "), *(f"{each[key]:,}" for each in columns)] for key in keys],
        )


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table; numbers stand to the right."""
    aligned = ["---" if number == 0 else "---:" for number in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, aligned, *rows)) + "\n"


def main() -> int:
    """Write the page and its plots."""
    results = load()
    if not results:
        sys.stderr.write(f"there is no {RESULTS.name}: run make bench\n")
        return 1
    PLOTS.mkdir(exist_ok=True)

    def plot(name: str, drawing: str) -> str:
        (PLOTS / f"{name}.svg").write_text(drawing)
        return f"![{name}](performance/{name}.svg)\n"

    PAGE.write_text("\n".join(page(results, plot)))
    small = [name for name, each in results["sections"].items() if each["scale"] < COMMITTED]
    if small:
        sys.stderr.write(f"measured with --quick, not to be published: {', '.join(small)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

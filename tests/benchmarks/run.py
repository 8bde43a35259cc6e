"""`make bench`: Polku and its peers on one Apache Kafka, in sections; each merges what it found into build/bench.json.

make bench                                          # everything, some 25 minutes on 2 cores
make bench ARGS="--quick"                           # the same, a fifth of the size
make bench ARGS="--only throughput,latency --rounds 3 --events 600000"
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streams.devbroker import answers
from tests.benchmarks import costs, latency, peers, seedset, throughput, timers
from tests.benchmarks.bench import FOLDER, Bench, last_line, say
from tests.support.kafka import BUILD, ROOT, ExternalKafka, KafkaMissing, start_kafka

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.kafka import Kafka

RESULTS = BUILD / "bench.json"
QUICK = 0.2
# Half of what one worker does is asked of both programs when no throughput was measured.
CAPACITY = 24_000.0
RECOVERED, REMEMBERED = (10_000, 100_000, 1_000_000), (2_000_000,)


def program(name: str, profiles: Sequence[int]) -> Callable[[Bench], dict[str, Any]]:
    """Return a section that is a program of its own and prints a line of JSON, for each number of profiles."""

    def section(bench: Bench) -> dict[str, Any]:
        found = {}
        for count in map(bench.sized, profiles):
            command = [sys.executable, "-m", f"tests.benchmarks.{name}", f"--bootstrap={bench.bootstrap}"]
            found[str(count)] = last_line([*command, f"--profiles={count}"], ROOT, within=1200)
            say({"what": name} | found[str(count)])
        return {name: found}

    return section


def measured_latency(bench: Bench) -> dict[str, Any]:
    """Measure latency, also at half of what the throughput section found."""
    medians = load().get("throughput", {}).get("medians", {})
    return latency.section(bench, medians.get("worker", {}).get("events_per_s", CAPACITY))


SECTIONS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "throughput": lambda bench: {"throughput": throughput.section(bench)},
    "latency": measured_latency,
    "journeys": costs.journeys,
    "seeds": seedset.section,
    "customers": costs.customers,
    "properties": costs.properties,
    "anonymous": costs.anonymous,
    "partitions": costs.partitions,
    "processes": costs.processes,
    "timers": timers.section,
    "recovery": program("recovery", RECOVERED),
    "memory": program("memory", REMEMBERED),
}


def ratios(results: dict[str, Any]) -> dict[str, float]:
    """Return how Polku compares, from all sections measured so far."""
    found: dict[str, float] = {}
    if "throughput" in results:
        found |= throughput.ratios(results["throughput"])
    if "latency" in results:
        found |= latency.ratios(results)
    found |= costs.ratios(results)
    if "recovery" in results:
        found["recovery_vs_read"] = largest(results["recovery"])["recovery_vs_read"]
    return found


def largest(found: dict[str, Any]) -> dict[str, Any]:
    """Return what was measured with most profiles."""
    result: dict[str, Any] = found[max(found, key=int)]
    return result


def load() -> dict[str, Any]:
    """Return what was measured before."""
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    return found


def merge(name: str, found: dict[str, Any], bench: Bench) -> None:
    """Keep a section's results beside those of the others."""
    results = load() | found
    results.setdefault("sections", {})[name] = {
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": commit(),
        "scale": bench.scale,
        "load": round(os.getloadavg()[1], 1),
    }
    results["machine"] = machine()
    results["exactly_once"] = results.get("exactly_once", True) and bench.exact
    results["ratios"] = ratios(results)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """Return what all of it ran on: the programs and the broker share it."""
    model = next(
        (line.partition(":")[2].strip() for line in lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "system": platform.system(),
        "python": platform.python_version(),
    }


def lines(path: str) -> list[str]:
    """Return a file's lines, none when it is not there."""
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def commit() -> str:
    """Return what was measured, as git names it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def broker() -> Kafka:
    """Return a broker: the one in the environment, else one started here, if possible where peers look for it."""
    if bootstrap := os.environ.get("POLKU_TEST_BOOTSTRAP"):
        return ExternalKafka(bootstrap)
    port = int(peers.FIXED_BOOTSTRAP.partition(":")[2])
    return start_kafka(FOLDER / "kafka", None if answers(port) else port)


def main() -> int:
    """Measure the sections asked for and print the summary; exit code 1 when an action was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"sections, comma-separated: {','.join(SECTIONS)}")
    parser.add_argument("--events", type=int, default=300_000, help="events of each run of the throughput section")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of the throughput section")
    parser.add_argument("--quick", action="store_true", help="a fifth of the size, one round")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else list(SECTIONS)
    if unknown := [name for name in chosen if name not in SECTIONS]:
        parser.error(f"there is no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        kafka = broker()
    except KafkaMissing as error:
        sys.stderr.write(f"the benchmark needs Apache Kafka: {error}\n")
        return 1
    exact = True
    try:
        folder = peers.folder()
        if folder is None:
            sys.stderr.write("no peers here: only Polku is measured; POLKU_PEERS names their folder\n")
        else:
            peers.python(folder)
            peers.kafka_streams_command(folder)
        for name in chosen:
            scale = QUICK if arguments.quick else 1.0
            rounds = 1 if arguments.quick else arguments.rounds
            bench = Bench(kafka.bootstrap, folder, arguments.events, rounds, scale)
            merge(name, SECTIONS[name](bench), bench)
            exact = exact and bench.exact
    finally:
        kafka.stop()
        shutil.rmtree(FOLDER, ignore_errors=True)
    for name, ratio in load()["ratios"].items():
        sys.stdout.write(f"{name:44} {ratio}\n")
    sys.stdout.write(f"exactly once: {exact}; everything is in build/bench.json\n")
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())

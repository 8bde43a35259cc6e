"""What a worker takes in memory however many customers there are, and how soon it serves after a restart.

    python -m tests.benchmarks.memory [--profiles 2000000] [--events 300000] [--cache-mb 128] [--bootstrap ...]

The installation's changelog is filled with profiles; a worker rebuilds its stores from it, then handles touchpoints of
customers drawn from all of them; then it is stopped and started again, killed and started again. `first` is the same
start before there was any profile. Prints one line of JSON; memory is resident memory in MB.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from typing import Any

from streams.settings import Settings
from tests.benchmarks.events import delete, polku_value, samples
from tests.benchmarks.events import fill as produce
from tests.benchmarks.profiles import DEFINITIONS, fill, peak_memory
from tests.support.installation import Installation, settle
from tests.support.kafka import BUILD, KafkaMissing, find_kafka
from tests.support.workers import WorkerProcess

FOLDER = BUILD / "memory"


class Measured:
    """A worker on an installation whose stores are in one folder, and what was measured of it."""

    def __init__(self, bootstrap: str, cache_mb: int) -> None:
        self.folder = FOLDER / f"m{time.time_ns()}"
        self.folder.mkdir(parents=True)
        options = {"cache_mb": str(cache_mb), "leave_on_stop": "true", "instance": "one"}
        self.installation = Installation(bootstrap, f"{self.folder.name}.", DEFINITIONS, self.folder, options)
        self.settings: Settings = self.installation.settings
        self.found: dict[str, Any] = {"cache_mb": cache_mb}

    def start(self, what: str) -> WorkerProcess:
        """Start the worker; note how long it took until it served, and the memory that took."""
        began = time.perf_counter()
        worker = self.installation.start(store=0)
        assert worker.process is not None
        self.found[f"{what}_seconds"] = round(time.perf_counter() - began, 2)
        self.found[f"{what}_peak_mb"] = peak_memory(worker.process.pid)
        return worker

    def run(self, profiles: int, events: int) -> dict[str, Any]:
        """Measure all of it."""
        self.start("first").stop()
        self.found |= {"profiles": profiles, "state_bytes": round(fill(self.settings, profiles) / profiles)}
        worker = self.start("rebuild")
        assert worker.process is not None
        self.found["profiles_recovered"] = int(worker.metric("polku_recovered_records_total"))
        at = int(time.time() * 1000)
        began = time.perf_counter()
        produce(
            self.settings.bootstrap,
            self.installation.topics.touchpoints,
            samples(events, profiles),
            lambda each: polku_value(each, at, devices=False),
        )
        settle(self.settings, [worker], within=1200)
        self.found |= {"events": events, "events_seconds": round(time.perf_counter() - began, 1)}
        self.found["peak_mb"] = peak_memory(worker.process.pid)
        assert worker.stop() == 0
        worker = self.start("restart")
        worker.kill()
        self.start("after_kill")
        self.installation.stop()
        return self.found

    def clean(self) -> None:
        """Leave nothing."""
        self.installation.stop()
        delete(self.settings.bootstrap, self.settings.prefix)
        shutil.rmtree(self.folder, ignore_errors=True)


def main() -> int:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", type=int, default=2_000_000)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--cache-mb", type=int, default=128)
    parser.add_argument("--bootstrap", default=None)
    arguments = parser.parse_args()
    kafka = None
    if (bootstrap := arguments.bootstrap) is None:
        try:
            kafka = find_kafka(FOLDER / "kafka")
        except KafkaMissing as error:
            sys.stderr.write(f"the benchmark needs Apache Kafka: {error}\n")
            return 1
        bootstrap = kafka.bootstrap
    measured = Measured(bootstrap, arguments.cache_mb)
    try:
        found = measured.run(arguments.profiles, arguments.events)
    finally:
        measured.clean()
        if kafka is not None:
            kafka.stop()
            shutil.rmtree(FOLDER, ignore_errors=True)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

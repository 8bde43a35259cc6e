"""How late timers fire, seen from outside: many come due each second while many more wait.

    python -m tests.benchmarks.timers --bootstrap ... [--pending 1000000] [--rate 1000] [--seconds 60]

Customers enter a stage that waits for days; then, `rate` a second, some of them enter another whose timer is due after
30 seconds, and gives an action. How late that is: when a `read_committed` reader has the action, less when it was due
by the record time that the broker gave the touchpoint; both are clocks of one machine. Prints a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from schemas.codec import decode_action
from tests.benchmarks.bench import FOLDER, last_line, say, with_journeys
from tests.benchmarks.events import Sample, delete, fill, polku_value
from tests.benchmarks.latency import Watcher, pace, quantiles
from tests.support.installation import Installation, until
from tests.support.kafka import ROOT

if TYPE_CHECKING:
    from tests.benchmarks.bench import Bench
    from tests.support.workers import WorkerProcess

PENDING, RATE, SECONDS = 1_000_000, 1000.0, 60.0
AFTER = 30  # seconds
# A journey that waits for days, and one whose timers come due.
JOURNEYS = {
    "patient": """\
journey: patient
version: 1
purpose: service
enter:
  when: parked
stages:
  waiting:
    - after: 90d
      end: true
""",
    "prompt": f"""\
journey: prompt
version: 1
purpose: service
enter:
  when: called
stages:
  waiting:
    - after: {AFTER}s
      do:
        - send_reminder: {{template: resume}}
      end: true
""",
}
SETTLES_WITHIN = 1800.0  # seconds, for all that wait
ARRIVES_WITHIN = 120.0
HISTOGRAM = "polku_timer_lateness_seconds"


def section(bench: Bench) -> dict[str, Any]:
    """Measure once."""
    command = [sys.executable, "-m", "tests.benchmarks.timers", f"--bootstrap={bench.bootstrap}"]
    command += [f"--pending={bench.sized(PENDING)}", f"--seconds={max(5.0, SECONDS * bench.scale)}"]
    found = last_line(command, ROOT, within=SETTLES_WITHIN + 600)
    say({"what": "timers"} | found)
    return {"timers": found}


class Run:
    """One measurement on an installation of its own."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.pending: int = arguments.pending
        self.rate: float = arguments.rate
        self.called = random.Random(11).sample(range(self.pending), int(arguments.rate * arguments.seconds))
        self.folder = FOLDER / f"timers{time.time_ns()}"
        definitions = with_journeys(self.folder / "definitions", JOURNEYS)
        self.installation = Installation(arguments.bootstrap, f"{self.folder.name}.", definitions, self.folder)

    def measure(self) -> dict[str, Any]:
        """Park all, call some, and see when their timers fire; each must fire once."""
        made, at = self.installation, int(time.time() * 1000)
        with made:
            worker = made.start()
            given = (Sample(number, f"c{number}", "parked") for number in range(self.pending))
            fill(made.bootstrap, made.topics.touchpoints, given, lambda each: polku_value(each, at, devices=False))
            made.settle(SETTLES_WITHIN)
            due, seen = self._call(worker)
            found = own_lateness(worker)
            assert worker.stop() == 0
        late = [moment * 1000 - due[customer] for moment, customer in seen]
        once = len(seen) == len({customer for _, customer in seen}) == len(self.called)
        assert once, f"{len(self.called)} timers were due, {len(seen)} fired"
        assert min(late) > -1, f"a timer fired {-min(late):.0f} ms early"
        return {"pending": self.pending, "rate": self.rate, **quantiles(late), **found}

    def _call(self, worker: WorkerProcess) -> tuple[dict[str, int], list[tuple[float, str]]]:
        """Return when each timer was due (ms), and when whose action came (s), by the clock of the world."""
        made, due, failed = self.installation, dict[str, int](), list[object]()
        topics, count = made.topics, made.settings.journal_partitions

        def delivered(error: object, message: Any) -> None:
            if error is None:
                # On a topic with LogAppendTime this is the broker's time.
                due[message.key().decode()] = message.timestamp()[1] + AFTER * 1000
            else:
                failed.append(error)

        at = int(time.time() * 1000) - self.pending
        calls = [Sample(self.pending + number, f"c{each}", "called") for number, each in enumerate(self.called)]
        values = [(each.customer, polku_value(each, at, devices=False)) for each in calls]
        to_world = time.time() - time.perf_counter()
        watcher = Watcher(made.bootstrap, topics.actions("web"), count)
        try:
            pace(made.bootstrap, topics.touchpoints, self.rate, values, delivered)
            assert not failed, failed[0]
            until(
                lambda: len(watcher.seen) >= len(calls) or not worker.runs,
                AFTER + ARRIVES_WITHIN,
                lambda: f"{len(calls)} timers fire; {len(watcher.seen)} did",
            )
            time.sleep(2)  # one that fires twice shows itself by the next watermark
        finally:
            watcher.stop()
        return due, [(moment + to_world, decode_action(value).customer or "") for moment, value in watcher.seen]


def own_lateness(worker: WorkerProcess) -> dict[str, Any]:
    """Return what the worker itself noted: the share of its timers that were no later than so many seconds."""
    count = worker.metric(f"{HISTOGRAM}_count")
    shares = {f"{le}_s": worker.metric(f"{HISTOGRAM}_bucket", f'le="{le}"') / count for le in ("1.0", "2.0", "4.0")}
    mean = worker.metric(f"{HISTOGRAM}_sum") / count
    return {
        "noted_by_worker": {"fired": int(count), "mean_ms": round(mean * 1000, 1)},
        "noted_within": {name: round(share, 5) for name, share in shares.items()},
    }


def main() -> int:
    """Measure once and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--pending", type=int, default=PENDING)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    arguments = parser.parse_args()
    if arguments.rate * arguments.seconds > arguments.pending:
        parser.error("only customers who wait are called: rate x seconds must not exceed --pending")
    run = Run(arguments)
    try:
        found = run.measure()
    finally:
        delete(arguments.bootstrap, run.folder.name)
        shutil.rmtree(run.folder, ignore_errors=True)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make soak`: one worker for hours. Its memory must be flat after the first tenth, and every action there once.

make soak                                    # 10,000,000 touchpoints
make soak ARGS="--events 300000 --every 0.5"

A process of its own writes touchpoints as long as no more than `--waiting` of them are not done: the worker always has
work. Half of the customers come within the first tenth, the others little by little. Resident memory, open files and
what is done are noted every few seconds; all of it stands in build/soak.json. Exit code 0 only for a good verdict.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tests.benchmarks.bench import DEFINITIONS, count_actions, with_journeys
from tests.benchmarks.events import TYPES, Expected, Sample, fill, polku_value
from tests.benchmarks.run import commit, machine
from tests.support.installation import Installation
from tests.support.kafka import BUILD, KafkaFailed, KafkaMissing, start_kafka

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.sharedctypes import Synchronized

    from tests.support.workers import WorkerProcess

FOLDER, RESULTS = BUILD / "soak", BUILD / "soak.json"
# The bounds of the verdict.
MOST_GROWTH, MOST_PEAK = 0.10, 1.25
# Fewer readings than these say nothing about memory.
LEAST_READINGS, LEAST_IN_SECOND_TENTH = 20, 3
STUCK_AFTER = 180.0  # seconds in which nothing is done
LEAST_DISK = 5_000_000_000  # bytes: other programs live here too
# So that the disk does not fill: what is unread is 30 MB a partition at most. 64 MB: whole segments are deleted.
RETENTION = {"retention.bytes": "268435456", "segment.bytes": "67108864"}
# Timers come due all the time, and do nothing that the expected actions would have to know.
VISIT = """\
journey: visit
version: 1
purpose: service
again: always
enter:
  when: page_viewed
stages:
  here:
    - after: 30s
      end: true
"""


class Reading(NamedTuple):
    """What was seen at one moment: since the beginning, done by then; megabytes, open file descriptors."""

    seconds: float
    events: int
    rss_mb: float
    private_mb: float
    files: int


class Failed(Exception):
    """The run cannot go on; the message says why."""


def flatness(events: int, readings: Sequence[Reading]) -> tuple[dict[str, float], list[str]]:
    """Return what memory did after the first tenth of `events`, and what is wrong with that."""
    rest = [each for each in readings if each.events >= events / 10]
    second = [each.rss_mb for each in rest if each.events < events / 5]
    if len(rest) < LEAST_READINGS or len(second) < LEAST_IN_SECOND_TENTH:
        return {}, [f"{len(rest)} readings after the first tenth, {len(second)} of them in the second: too few"]
    slope, at_zero = statistics.linear_regression([each.events for each in rest], [each.rss_mb for each in rest])
    first, last = (at_zero + slope * each.events for each in (rest[0], rest[-1]))
    median, most = statistics.median(second), max(each.rss_mb for each in rest)
    found = {"growth": last / first - 1, "peak": most / median, "second_tenth_mb": median, "most_mb": most}
    wrong = []
    if found["growth"] >= MOST_GROWTH:
        wrong.append(f"memory grows: a line through it goes from {first:.0f} to {last:.0f} MB")
    if found["peak"] >= MOST_PEAK:
        wrong.append(f"memory peaks at {most:.0f} MB; its median in the second tenth is {median:.0f}")
    return {name: round(value, 4) for name, value in found.items()}, wrong


def stream(events: int, customers: int) -> Iterator[Sample]:
    """Give the same events every time: each of a random customer of those who have come by then."""
    chance = random.Random(5)
    for number in range(events):
        share = number / events
        come = 5 * share if share < 0.1 else 0.5 + (share - 0.1) / 1.8
        yield Sample(number, f"c{chance.randrange(int(come * customers) + 1)}", chance.choice(TYPES))


class Producing:
    """The process that writes the touchpoints, and counts the actions that they must give."""

    def __init__(self, bootstrap: str, topic: str, arguments: argparse.Namespace) -> None:
        here = multiprocessing.get_context("spawn")
        self.done: Synchronized[int] = here.Value("q", 0)
        self.expected: Synchronized[int] = here.Value("q", -1)
        given = bootstrap, topic, arguments.events, arguments.customers, arguments.waiting, self.done, self.expected
        self._process = here.Process(target=write, args=given, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def check(self) -> bool:
        """Tell whether all is written. Raises Failed when it never will be."""
        if self._process.exitcode:
            raise Failed(f"the producer ended with code {self._process.exitcode}")
        return self._process.exitcode == 0


def write(
    bootstrap: str,
    topic: str,
    events: int,
    customers: int,
    waiting: int,
    done: Synchronized[int],
    expected: Synchronized[int],
) -> None:
    """Write the stream, no more than `waiting` events ahead of what is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started this process ends it
    rules = Expected()

    def paced() -> Iterator[Sample]:
        for each in stream(events, customers):
            while each.number - done.value > waiting:
                time.sleep(0.1)
            rules.see(each)
            yield each

    def value(each: Sample) -> bytes:
        return polku_value(each, int(time.time() * 1000) - each.number, devices=False)

    fill(bootstrap, topic, paced(), value)
    expected.value = rules.actions


def memory(pid: int) -> tuple[float, float, int]:
    """Return a process's resident and private memory in MB, and how many files it has open."""
    proc = Path("/proc") / str(pid)
    kilobytes: dict[str, int] = {}
    for name in ("status", "smaps_rollup"):
        for line in (proc / name).read_text().splitlines():
            key, _, value = line.partition(":")
            if value.endswith(" kB"):
                kilobytes[key] = int(value.split()[0])
    private = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return round(kilobytes["VmRSS"] / 1024, 1), round(private / 1024, 1), sum(1 for _ in (proc / "fd").iterdir())


def keep_disk(installation: Installation) -> None:
    """Let the broker delete what was read long ago; actions stay, to be counted."""
    topics = installation.topics
    wanted = [
        ConfigResource(
            ResourceType.TOPIC,
            name,
            incremental_configs=[
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in RETENTION.items()
            ],
        )
        for name in (topics.touchpoints, topics.journal, topics.decisions)
    ]
    # Kept in a variable: a collected client drops its pending calls.
    admin = AdminClient({"bootstrap.servers": installation.bootstrap, "log_level": 2})
    for altered in admin.incremental_alter_configs(wanted).values():
        altered.result(30)


def definitions(folder: Path) -> Path:
    """Return the mini bank, whose timer never comes due in a run of hours, and a journey whose timers always do."""
    bank = (DEFINITIONS / "journeys" / "mini_bank.yaml").read_text()
    return with_journeys(folder, {"mini_bank": bank.replace("after: 30m", "after: 30d"), "visit": VISIT})


class Soak:
    """One run, and what was noted of it."""

    def __init__(self, arguments: argparse.Namespace, bootstrap: str) -> None:
        self.arguments, self.readings = arguments, list[Reading]()
        self.events: int = arguments.events
        self.found: dict[str, Any] = {"events": self.events, "customers": arguments.customers}
        self.installation = Installation(bootstrap, "soak.", definitions(FOLDER / "definitions"), FOLDER)
        self.console = Console(stderr=True)
        self._began = time.monotonic()
        self._tenths = 0

    def run(self) -> list[str]:
        """Write, watch and count; return what is wrong."""
        with self.installation as made:
            worker = made.start()
            keep_disk(made)
            self._began = time.monotonic()
            with Producing(made.bootstrap, made.topics.touchpoints, self.arguments) as producing:
                self._watch(worker, producing)
                expected = producing.expected.value
            seconds = self.readings[-1].seconds
            self.found |= {"seconds": seconds, "events_per_s": round(self.events / seconds)}
            made.settle(within=900)
            self.found["timers_fired"] = int(worker.metric("polku_timers_fired_total"))
            self.found["task_restarts"] = int(worker.metric("polku_task_restarts_total"))
            code = worker.stop()
        count, different = count_actions(made.bootstrap, made.settings.prefix)
        self.found["actions"] = {"expected": expected, "there": count, "different": different}
        self.found["memory"], wrong = flatness(self.events, self.readings)
        if not expected == count == different:
            wrong.append(f"{expected} actions are expected, {count} are there, {different} of them different")
        if code:
            wrong.append(f"the worker ended with code {code}")
        return wrong

    def _watch(self, worker: WorkerProcess, producing: Producing) -> None:
        """Note readings until all is done."""
        columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        with Progress(*columns, console=self.console) as progress:
            task, moved = progress.add_task("", total=self.events), time.monotonic()
            while not (producing.check() and producing.done.value >= self.events):
                time.sleep(self.arguments.every)
                reading = self._read(worker, producing.done.value)
                if reading.events > producing.done.value:
                    moved = time.monotonic()
                producing.done.value = reading.events
                self.readings.append(reading)
                text = describe(reading)
                progress.update(task, completed=reading.events, description=text)
                if reading.events * 10 // self.events > self._tenths:
                    self._tenths = reading.events * 10 // self.events
                    progress.console.print(f"{self._tenths}/10: {text}", highlight=False)
                if time.monotonic() - moved > STUCK_AFTER:
                    raise Failed(f"nothing was done for {STUCK_AFTER:.0f} s: {worker.get('readyz')}")
                if shutil.disk_usage(FOLDER).free < LEAST_DISK:
                    raise Failed("the disk is nearly full")

    def _read(self, worker: WorkerProcess, before: int) -> Reading:
        if not worker.runs:
            raise Failed(f"the worker ended: {worker.log.read_text()[-2000:]}")
        # The journal holds some entries more than touchpoints: the passing of time. A busy worker may not answer.
        routed = int(worker.metric("polku_records_routed_total", 'topic="touchpoints"'))
        done = max(before, min(routed, int(worker.metric("polku_journal_entries_total"))))
        return Reading(round(time.monotonic() - self._began, 1), done, *memory(worker.pid))

    def keep(self, verdict: str, wrong: Sequence[str]) -> None:
        """Write all of it to build/soak.json."""
        noted = {"readings": {name: [getattr(each, name) for each in self.readings] for name in Reading._fields}}
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        about = {"verdict": verdict, "wrong": list(wrong), "at": when, "commit": commit(), "machine": machine()}
        RESULTS.write_text(json.dumps(about | self.found | noted) + "\n")


def describe(reading: Reading) -> str:
    """Return a reading as a line."""
    rate = reading.events / max(0.1, reading.seconds)
    return (
        f"{reading.events:,} done, {rate:,.0f}/s, {reading.rss_mb:.0f} MB ({reading.private_mb:.0f} private), "
        f"{reading.files} files"
    )


def main() -> int:
    """Run once, keep what was found and say the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--customers", type=int, default=None, help="default: one for 50 events")
    parser.add_argument("--waiting", type=int, default=500_000, help="touchpoints written and not done, at most")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two readings")
    arguments = parser.parse_args()
    arguments.customers = arguments.customers or max(1, arguments.events // 50)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        kafka = start_kafka(FOLDER / "kafka")
    except (KafkaMissing, KafkaFailed) as error:
        sys.stderr.write(f"the soak needs Apache Kafka: {error}\n")
        return 1
    soak, verdict, wrong = Soak(arguments, kafka.bootstrap), "failed", list[str]()
    try:
        wrong = soak.run()
        verdict = "failed" if wrong else "good"
    except (Failed, AssertionError) as error:
        wrong = [str(error)]
    except KeyboardInterrupt:
        verdict = "interrupted"
    finally:
        soak.keep(verdict, wrong)
        kafka.stop()
        # The worker's log and store stay for who looks into a failure.
        shutil.rmtree(FOLDER / "kafka" if verdict == "failed" else FOLDER, ignore_errors=True)
    for line in wrong:
        sys.stdout.write(f"{line}\n")
    numbers = {name: value for name, value in soak.found.items() if name != "customers"}
    sys.stdout.write(f"{verdict}: {json.dumps(numbers)}; everything is in build/soak.json\n")
    return 0 if verdict == "good" else 1


if __name__ == "__main__":
    sys.exit(main())

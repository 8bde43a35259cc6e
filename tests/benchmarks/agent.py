"""One measured run of a worker, or of one of its two agents: a program that ends with a line of JSON.

    python -m tests.benchmarks.agent worker|router|journeys --bootstrap ... --prefix ... --events N ...

The settings, the event loop and the collector are those of `polku worker`. With one agent, the other's partitions stay
closed. Time and CPU (all threads of the process) run from the first record's processing to the commit of the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

import streams.app
from streams.journeys import JourneysTask
from streams.router import RouterTask
from streams.settings import Settings
from streams.shell import Shell
from streams.tasks import State, Task
from streams.worker import GC_THRESHOLDS, serve

RUN_WITHIN = 300.0  # seconds
LOOK_EVERY = 0.03


class Idle(Task):
    """A partition that nobody serves: its records are never fetched."""

    agent = "idle"

    async def _run(self) -> None:
        await asyncio.Event().wait()

    async def recover(self) -> None:
        """Nothing is kept."""

    async def absorb(self, records: list[Any]) -> int:
        """Nothing is taken."""
        return len(records)

    def tick(self) -> None:
        """Nothing is due."""

    def forget(self) -> None:
        """Nothing is kept."""

    async def submit(self, count: int) -> Any:
        """Nothing is written."""
        raise NotImplementedError(count)


class Meter:
    """The clock and the CPU of the measured part."""

    def __init__(self) -> None:
        self.began: tuple[float, float] | None = None

    def watch(self, task: type[Task]) -> None:
        """Begin at the first call of `task.absorb`."""
        absorb = task.absorb

        async def first(this: Task, records: list[Any]) -> int:
            if self.began is None:
                self.began = time.perf_counter(), time.process_time()
            setattr(task, "absorb", absorb)  # noqa: B010 - no wrapper in the measured part
            return await absorb(this, records)

        setattr(task, "absorb", first)  # noqa: B010 - mypy refuses to replace a method otherwise

    def report(self, what: str, events: int) -> dict[str, Any]:
        """Return what the run came to."""
        if self.began is None:
            raise RuntimeError("nothing was processed")
        seconds, cpu = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
        return {
            "what": what,
            "events": events,
            "seconds": round(seconds, 3),
            "events_per_s": round(events / seconds),
            "cpu_us_per_event": round(cpu / events * 1e6, 2),
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


def committed(task: Task) -> bool:
    """Tell whether the task has nothing that it took and did not commit."""
    waiting = task.inbox.records or task.held or task.absorbed
    return task.state is State.SERVING and not waiting and task._commit is None


async def done(shell: Shell, what: str, events: int) -> bool:
    """Tell whether every event is routed, the journal is read to its end, and all of it is committed."""
    tasks = shell.tasks.tasks
    if what != "journeys":
        touchpoints = [task for tp, task in tasks.items() if tp.topic == shell.topics.touchpoints]
        # The input was written without transactions, so offsets count its events.
        if sum(task.position for task in touchpoints) < events or not all(map(committed, touchpoints)):
            return False
    if what == "router":
        return True
    journal = [tp for tp in tasks if tp.topic == shell.topics.journal]
    ends = await shell.frontier.ends(journal)
    progress = await shell.consumer.call(shell.consumer.thread.progress(journal))
    return bool(journal) and all(
        tp in progress and progress[tp].position >= max(ends[tp], 1) and committed(tasks[tp]) for tp in journal
    )


async def measure(arguments: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Run until all events are processed and committed."""
    what, events, stop, meter = arguments.what, arguments.events, asyncio.Event(), Meter()
    meter.watch(JourneysTask if what == "journeys" else RouterTask)
    shells: list[Shell] = []
    serving = asyncio.create_task(serve(settings, stop, lambda shell, _: shells.append(shell)))
    deadline = time.monotonic() + RUN_WITHIN
    while not (shells and await done(shells[0], what, arguments.before + events)):
        if serving.done():
            await serving
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} has not done its events within {RUN_WITHIN:.0f} s")
        await asyncio.sleep(LOOK_EVERY)
    report: dict[str, Any] = meter.report(what, events) if events else {"what": "begun"}
    restarts = next(iter(shells[0].metrics.restarts.collect())).samples
    batches = {
        sample.name.rpartition("_")[2]: sample.value
        for sample in next(iter(shells[0].metrics.batch.collect())).samples
        if sample.labels.get("agent") == ("router" if what == "router" else "journeys")
    }
    if batches.get("count"):
        report["records_per_transaction"] = round(batches["sum"] / batches["count"])
    report["restarts"] = sum(int(sample.value) for sample in restarts if sample.name.endswith("_total"))
    stop.set()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(serving, 30)
    return report


def main() -> int:
    """Run once and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["worker", "router", "journeys"])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--definitions", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--before", type=int, default=0, help="events that are done already: not measured")
    parser.add_argument("--set", action="append", default=[], help="a setting of the worker: name=value")
    arguments = parser.parse_args()
    given: dict[str, Any] = dict(each.split("=", 1) for each in arguments.set)
    settings = Settings(
        bootstrap=arguments.bootstrap,
        prefix=arguments.prefix,
        group=arguments.prefix.rstrip("."),
        definitions=arguments.definitions,
        data_dir=arguments.data,
        web_port=None,
        **given,
    )
    if arguments.what == "router":
        setattr(streams.app, "JourneysTask", Idle)  # noqa: B010 - a name that app.py imports
    elif arguments.what == "journeys":
        setattr(streams.app, "RouterTask", Idle)  # noqa: B010 - as above
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.write(json.dumps(runner.run(measure(arguments, settings))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

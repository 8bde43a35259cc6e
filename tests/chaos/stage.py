"""What a schedule is played on: workers in seats, touchpoints that flow, and moments with a transaction open."""

from __future__ import annotations

import contextlib
import pickle
import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streams.definitionlog import publish_definitions
from streams.definitions import load
from tests.chaos.channel import Sinks
from tests.chaos.cluster import Cluster
from tests.chaos.network import Line
from tests.chaos.programs import SteppedClock, worker
from tests.support import oracle
from tests.support.faults import Traffic, freeze_in_transaction, written
from tests.support.forked import Forked, Shim
from tests.support.installation import Installation, committed
from tests.support.randomlog import DEFINITIONS, Shape
from tests.support.workers import WorkerProcess

HERE = Path(__file__).parent
PARTITIONS = {"touchpoints_partitions": 3, "outcomes_partitions": 1, "journal_partitions": 3}
TASKS = sum(PARTITIONS.values())
# Short, so that a schedule is: a worker that says nothing for 3 s is taken for dead.
SESSION = 3.0
OPTIONS = {"session_timeout": SESSION, "heartbeat_interval": 0.4, "transaction_timeout": 4.0, "fetch_wait": 0.1}
# Shares of the schedules whose workers are known to their group by name, and in which each partition has a standby.
NAMED, WITH_STANDBYS = 0.5, 0.3
# Faults take some ten seconds, so that this gives each schedule some 5,000 touchpoints and 1,500 actions.
RATE = 400.0
CUSTOMERS = 400
ENDLESS = 1_000_000
IN_TRANSACTION_WITHIN = 45.0
READY_WITHIN = 60.0


class ForkedWorker(WorkerProcess):
    """A worker that is forked; `shims` run in it first."""

    shims: tuple[Shim, ...] = ()

    def _launch(self) -> Forked:
        return Forked(worker, self.environment, self.log, self.shims)


@dataclass(slots=True)
class Seat:
    """A place for one worker at a time, with a line to the broker, a folder for the store and a clock of its own."""

    number: int
    line: Line
    data: Path
    clock: SteppedClock
    worker: ForkedWorker | None = None
    started: int = 0

    @property
    def taken(self) -> bool:
        """Whether a worker runs here."""
        return self.worker is not None and self.worker.runs

    @property
    def sitting(self) -> ForkedWorker:
        """The worker that runs here."""
        assert self.worker is not None
        return self.worker


class NoTransaction(AssertionError):
    """There was no moment with a transaction open: nothing flows any more."""


@dataclass(slots=True)
class Stage:
    """One installation on a cluster. `chance` draws everything that the schedule's seed decides."""

    cluster: Cluster
    folder: Path
    seed: int
    shims: tuple[Shim, ...] = ()
    options: dict[str, Any] = field(default_factory=lambda: dict(OPTIONS))
    chance: random.Random = field(init=False)
    installation: Installation = field(init=False)
    seats: list[Seat] = field(init=False)
    traffic: Traffic = field(init=False)
    poison: list[bytes | None] = field(default_factory=list)
    definitions: Path = field(init=False)
    named: bool = field(init=False)
    sinks: Sinks = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.folder.mkdir(parents=True)
        now, self.definitions = self.folder / "definitions", self.folder / "definitions-later"
        for folder, more in ((now, ("journeys",)), (self.definitions, ("journeys", "later"))):
            shutil.copytree(DEFINITIONS, folder)
            for each in more:
                shutil.copytree(HERE / each, folder / "journeys", dirs_exist_ok=True)
        # How members are known to their group, and whether others keep warm copies, is none of the faults' business.
        manner = random.Random(f"manner of {self.seed}")
        self.named = manner.random() < NAMED
        self.options["standbys"] = int(manner.random() < WITH_STANDBYS)
        options = {name.upper(): str(value) for name, value in (self.options | PARTITIONS).items()}
        self.installation = Installation(
            self.cluster.broker.bootstrap, f"s{self.seed}-{time.time_ns() % 10**9}.", now, self.folder, options
        )
        self.sinks = Sinks(
            self.cluster.network, self.installation.settings, self.folder, self.definitions / "templates"
        )
        self.seats = [
            Seat(number, line, self.folder / f"data-{number}", SteppedClock(self.folder / f"clock-{number}"))
            for number, line in enumerate(self.cluster.lines)
        ]

    # Workers

    @property
    def running(self) -> list[Seat]:
        """The seats with a worker."""
        return [seat for seat in self.seats if seat.taken]

    @property
    def free(self) -> list[Seat]:
        """The seats without one."""
        return [seat for seat in self.seats if not seat.taken]

    def start(self, seat: Seat) -> ForkedWorker:
        """Start a worker in a seat, with what its predecessor left in the store; it serves a little later."""
        installation = self.installation
        one = ForkedWorker(
            self.folder,
            f"worker-{seat.number}-{seat.started}",
            bootstrap=self.cluster.bootstrap(seat.line),
            prefix=installation.prefix,
            group=installation.settings.group,
            definitions=installation.definitions,
            data_dir=seat.data,
            instance=f"seat-{seat.number}" if self.named else None,
            **self.options,
            **PARTITIONS,
        )
        one.shims = (seat.clock, *self.shims)
        one.start()
        seat.worker, seat.started = one, seat.started + 1
        installation.workers.append(one)
        return one

    def all_serve(self, seats: list[Seat] | None = None, within: float = READY_WITHIN) -> None:
        """Wait until the workers of these seats (of all) serve every task among them."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            chosen = seats or self.running
            states = [seat.sitting.get("readyz") or {"ready": False, "tasks": {}} for seat in chosen]
            tasks = {name for state in states for name in state["tasks"]}
            if len(tasks) == TASKS and all(state["ready"] for state in states):
                return
            time.sleep(0.05)
        raise AssertionError(f"not all tasks are served within {within:.0f} s: {states}")

    def frozen(self, these: list[Seat] | None = None) -> tuple[list[Seat], int]:
        """Freeze a worker, or all of these, with a transaction of its own open.

        Returns the seats, and in how many partitions a transaction is open.
        """
        partitions = written(self.installation)
        deadline = time.monotonic() + IN_TRANSACTION_WITHIN
        while time.monotonic() < deadline:
            seats = these or [self.chance.choice(self.running)]
            found = freeze_in_transaction(self.installation.admin, partitions, [seat.sitting for seat in seats])
            if found:
                return seats, len(found)
        raise NoTransaction(f"no transaction was open at any of the moments within {IN_TRANSACTION_WITHIN:.0f} s")

    # The rest of the world

    def activate_later_definitions(self) -> None:
        """Publish the definitions' next versions."""
        publish_definitions(self.installation.settings, load(self.definitions).loaded())

    def flow(self) -> Traffic:
        """Let touchpoints flow."""
        shape = Shape(events=ENDLESS, customers=CUSTOMERS)
        self.traffic = Traffic(self.installation, self.seed, shape, RATE)
        return self.traffic

    def pause(self, least: float, most: float) -> None:
        """Let some time pass, as chance will have it."""
        time.sleep(self.chance.uniform(least, most))

    def stop(self) -> list[int]:
        """End all workers in order; return their exit codes."""
        running = self.running
        for seat in running:
            seat.sitting.thaw()
            seat.sitting.terminate()
        return [seat.sitting.stop() for seat in running]

    def testify(self) -> None:
        """Keep what a person needs to find out why a schedule failed, beside the logs.

        Of each worker what it says of its tasks and its metrics; of the group its offsets; of the topics all records.
        """
        settings = self.installation.settings
        for seat in self.running:
            seat.sitting.thaw()
            said = f"{seat.sitting.get('readyz')}\n{seat.sitting.get('metrics')}"
            (self.folder / f"seat-{seat.number}.txt").write_text(said)
        offsets = committed(self.installation.admin, settings.group)
        (self.folder / "offsets.txt").write_text("\n".join(f"{place} {at}" for place, at in sorted(offsets.items())))
        found = oracle.dump(settings, self.definitions, self.installation.admin)
        (self.folder / "records.pickle").write_bytes(pickle.dumps(found.records))

    def clear(self) -> None:
        """End whatever still runs, and remove what the schedule left on disk and on the broker."""
        for seat in self.running:
            seat.sitting.kill()
        self.sinks.close()
        with contextlib.suppress(Exception):
            admin = self.installation.admin
            mine = [name for name in admin.list_topics(timeout=5).topics if name.startswith(self.installation.prefix)]
            for done in admin.delete_topics(mine).values():
                done.result(10)
        self.installation.stop()
        for seat in self.seats:
            shutil.rmtree(seat.data, ignore_errors=True)

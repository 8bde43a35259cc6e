"""Play schedules: `make chaos SEED=n SCHEDULES=m` plays those with the seeds n to n+m-1.

One fault again and again: make chaos ARGS="--only 'kill -9 of one worker' --times 10 --touchpoints 50000".

Results stand in build/chaos.json as they come. What was played well before with the same code is not played again, so
an interrupted run goes on where it was. Exit code 1 when a schedule failed, with the command that plays it again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.cluster import Cluster
from tests.chaos.faults import FAULTS
from tests.chaos.schedules import LEAST_TOUCHPOINTS, Result, faults_of, play
from tests.chaos.stage import Stage
from tests.support.kafka import BUILD, ROOT, KafkaFailed, KafkaMissing

RESULTS = BUILD / "chaos.json"
FOLDER = BUILD / "chaos"
# Logs of topics long gone and a heap that has grown make a broker slow to start again.
PER_CLUSTER = 10
CODE = ("streams", "schemas", "connectors", "tests/chaos", "tests/support")

console = Console(stderr=True)


def fingerprint() -> str:
    """What tells this code from any other: a hash of all of it."""
    digest = hashlib.sha256()
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Results:
    """The schedules played with one code, by seed, in a file."""

    def __init__(self, path: Path, code: str) -> None:
        self._path, self._code = path, code
        self.rows: dict[int, dict[str, Any]] = {}
        if path.exists():
            stored = json.loads(path.read_text())
            if stored["code"] == code:
                self.rows = {row["seed"]: row for row in stored["schedules"]}

    def add(self, result: Result) -> None:
        """Keep a result, in place of an earlier one of its seed."""
        self.rows[result.seed] = result.row()
        self._write()

    def played(self, seed: int) -> bool:
        """Whether this schedule was played and nothing was wrong."""
        return seed in self.rows and self.rows[seed]["failure"] is None

    def _write(self) -> None:
        rows = [self.rows[seed] for seed in sorted(self.rows)]
        text = json.dumps({"code": self._code, "hits": hits(rows), "schedules": rows}, indent=1)
        partial = self._path.with_suffix(".partial")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text + "\n")
        partial.rename(self._path)


def hits(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How often each fault struck while a transaction was open, in schedules that the oracle found good."""
    counted = Counter(name for row in rows if row["failure"] is None for name, open_ in row["hits"].items() if open_)
    return {name: counted[name] for name in FAULTS}


def report(rows: list[dict[str, Any]]) -> None:
    """Print the table of faults and what was checked in all."""
    good = [row for row in rows if row["failure"] is None]
    counted = hits(rows)
    partitions: Counter[str] = Counter()
    for row in good:
        partitions.update(row["hits"])
    table = Table("fault", "hits in open transactions", "partitions (sinks: calls) open then")
    for name in FAULTS:
        table.add_row(name, str(counted[name]), str(partitions[name]))
    out = Console(width=100)
    out.print(table)
    if good:
        total = {name: sum(row[name] for row in good) for name in ("touchpoints", "poison", "actions", "decisions")}
        out.print(
            f"{len(good)} schedules, {total['touchpoints']:,} touchpoints, {total['poison']:,} poison records, "
            f"{total['actions']:,} actions (at least {min(row['actions'] for row in good):,} each), "
            f"{total['decisions']:,} decisions: 0 missing, 0 repeated, 0 unknown; states equal byte for byte, "
            "committed offsets at the ends"
        )


@contextlib.contextmanager
def cluster_for(number: int) -> Iterator[Cluster]:
    """A cluster with an empty folder of its own."""
    folder = FOLDER / f"kafka-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    with Cluster(folder) as cluster:
        yield cluster
    shutil.rmtree(folder, ignore_errors=True)


def run(seeds: list[int], results: Results) -> list[int]:
    """Play what is left of these schedules; return the seeds of those that failed."""
    left = [seed for seed in seeds if not results.played(seed)]
    failed: list[int] = []
    began = time.monotonic()
    done = 0
    while done < len(left):
        with cluster_for(left[done]) as cluster:
            for seed in left[done : done + PER_CLUSTER]:
                done += 1
                result = _one(cluster, seed)
                results.add(result)
                rest = (time.monotonic() - began) / done * (len(left) - done)
                verdict = "[green]good[/]" if result.failure is None else "[bold red]FAILED[/]"
                console.print(
                    f"{done}/{len(left)} seed {seed} {verdict} in {result.seconds:.0f} s: {result.touchpoints} "
                    f"touchpoints, {result.actions} actions; {', '.join(result.faults)}; {rest / 60:.0f} min left"
                )
                if result.failure is not None:
                    failed.append(seed)
                    console.print(result.failure, markup=False, highlight=False)
                    console.print(f"its logs are in {FOLDER / f'seed-{seed}'}; again: {again(seed)}", markup=False)
                    break  # who knows what state the broker is in
    return failed


def _one(cluster: Cluster, seed: int) -> Result:
    folder = FOLDER / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    with console.status(f"seed {seed}") as status:
        result = play(Stage(cluster, folder, seed), say=lambda what: status.update(f"seed {seed}: {what}"))
    if result.failure is None:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def again(seed: int) -> str:
    """The command that plays one schedule again."""
    return f"make chaos SEED={seed} SCHEDULES=1"


def alone(seed: int, fault: str, times: int, touchpoints: int) -> int:
    """Play one fault `times` while so many touchpoints flow; print what came of it."""
    with cluster_for(seed) as cluster:
        result = play(Stage(cluster, FOLDER / f"seed-{seed}", seed), [fault] * times, least=touchpoints)
    report([result.row()])
    if result.failure is not None:
        console.print(result.failure, markup=False, highlight=False)
    return 1 if result.failure is not None else 0


def main() -> int:
    """Play, report, and return the exit code."""
    parser = argparse.ArgumentParser(description="Play schedules of faults, and ask the oracle after each.")
    parser.add_argument("--seed", type=int, default=1, help="the first schedule's seed")
    parser.add_argument("--schedules", type=int, default=10, help="how many; their seeds follow each other")
    parser.add_argument("--show", action="store_true", help="only say which faults these schedules consist of")
    parser.add_argument("--only", choices=sorted(FAULTS), help="this fault alone, in one schedule")
    parser.add_argument("--times", type=int, default=10, help="with --only: how often it strikes")
    parser.add_argument("--touchpoints", type=int, default=LEAST_TOUCHPOINTS, help="with --only: at least so many")
    given = parser.parse_args()
    if given.only is not None:
        shutil.rmtree(FOLDER / f"seed-{given.seed}", ignore_errors=True)
        return alone(given.seed, given.only, given.times, given.touchpoints)
    seeds = list(range(given.seed, given.seed + given.schedules))
    if given.show:
        for seed in seeds:
            console.print(f"{seed}: {', '.join(faults_of(seed))}", markup=False, highlight=False)
        return 0
    results = Results(RESULTS, fingerprint())
    for number in (signal.SIGTERM, signal.SIGINT):  # in the background a shell has them ignored, or end nothing else
        signal.signal(number, signal.default_int_handler)
    try:
        failed = run(seeds, results)
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on from here")
        return 1
    except (KafkaMissing, KafkaFailed) as error:
        console.print(f"no Apache Kafka: {error}", markup=False)
        return 1
    report([results.rows[seed] for seed in seeds])
    for seed in failed:
        console.print(f"[bold red]failed:[/] seed {seed}; again: {again(seed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""How fast local stores are rebuilt from the changelog, beside aiokafka alone reading it; and what they take then.

    python -m tests.benchmarks.recovery [--profiles 1000000] [--rounds 1] [--bootstrap ...]

Each part runs in a process of its own, in turn: `read` is one consumer of aiokafka over all partitions that looks at
nothing, `recover` what a worker does at its start, all partitions at once, into empty stores; `again` the same with the
stores that it left. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streams.settings import Settings
from streams.stores import Resources, RocksStore
from streams.tables import recover
from streams.topics import Topics
from streams.transport import register
from tests.benchmarks.events import delete
from tests.benchmarks.profiles import fill, peak_memory
from tests.support.kafka import BUILD, ROOT, KafkaMissing, find_kafka

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FOLDER = BUILD / "recovery"


def settings_of(bootstrap: str, prefix: str) -> Settings:
    """Return the settings of the installation `prefix`."""
    return Settings(bootstrap=bootstrap, prefix=prefix, group=prefix.strip("."), data_dir=FOLDER / prefix)


def create_changelog(settings: Settings) -> None:
    """Make the changelog topic as a worker's preflight does."""
    topics = Topics.of(settings)
    (spec,) = (spec for spec in topics.specs() if spec.name == topics.changelog)
    admin = AdminClient({"bootstrap.servers": settings.bootstrap})  # kept: a collected client drops its pending calls
    admin.create_topics([NewTopic(spec.name, spec.partitions, 1, config=spec.config())])[spec.name].result(30)


def changelogs(settings: Settings) -> list[TopicPartition]:
    """Return the partitions of the changelog."""
    return [TopicPartition(Topics.of(settings).changelog, index) for index in range(settings.journal_partitions)]


async def read(settings: Settings) -> int:
    """Read the changelog to its end with aiokafka as it comes; return how many records that were."""
    consumer = AIOKafkaConsumer(
        **settings.aiokafka(), enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    try:
        tps = changelogs(settings)
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        count = 0
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            fetched = await consumer.getmany(timeout_ms=200)
            count += sum(map(len, fetched.values()))
        return count
    finally:
        await consumer.stop()


async def restore(settings: Settings) -> int:
    """Bring the stores up to the changelog's end, as the tasks of a worker do; return how many records that took."""
    register()
    resources = Resources()
    tps = changelogs(settings)
    stores = [RocksStore(settings.data_dir / str(tp.partition), "topic", resources) for tp in tps]
    try:
        return sum(await asyncio.gather(*(recover(settings, *each) for each in zip(tps, stores, strict=True))))
    finally:
        for store in stores:
            store.close()


PARTS: dict[str, Callable[[Settings], Awaitable[int]]] = {"read": read, "recover": restore, "again": restore}


def run_part(part: str, settings: Settings) -> dict[str, Any]:
    """Run one part in this process."""

    async def timed() -> tuple[int, float, float]:
        began, cpu = time.perf_counter(), time.process_time()
        count = await PARTS[part](settings)
        return count, time.perf_counter() - began, time.process_time() - cpu

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        count, seconds, cpu = runner.run(timed())
    return {
        "part": part,
        "records": count,
        "seconds": round(seconds, 3),
        "records_per_s": round(count / seconds),
        "cpu_us_per_record": round(cpu / max(1, count) * 1e6, 2),
        "rss_mb": peak_memory("self"),
    }


def in_process(part: str, bootstrap: str, prefix: str) -> dict[str, Any]:
    """Run one part in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.recovery", "--part", part, "--prefix", prefix]
    done = subprocess.run([*command, "--bootstrap", bootstrap], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{part} ended with code {done.returncode}: {done.stderr.strip()[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    sys.stderr.write(json.dumps(result) + "\n")
    return result


def measure(bootstrap: str, profiles: int, rounds: int) -> dict[str, Any]:
    """Fill a changelog, and run each part so many times."""
    prefix = f"recovery{time.time_ns()}."
    settings = settings_of(bootstrap, prefix)
    create_changelog(settings)
    runs: list[dict[str, Any]] = []
    try:
        size = fill(settings, profiles)
        for _ in range(rounds):
            shutil.rmtree(settings.data_dir, ignore_errors=True)
            runs += [in_process(part, bootstrap, prefix) for part in PARTS]
            for part, expected in zip(PARTS, (profiles, profiles, 0), strict=True):
                assert [run["records"] for run in runs if run["part"] == part] == [expected] * (len(runs) // 3), part
        stored = sum(path.stat().st_size for path in settings.data_dir.rglob("*") if path.is_file())
    finally:
        delete(bootstrap, prefix)
        shutil.rmtree(settings.data_dir, ignore_errors=True)
    rates = {part: statistics.median(run["records_per_s"] for run in runs if run["part"] == part) for part in PARTS}
    return {
        "profiles": profiles,
        "state_bytes": round(size / profiles),
        "store_bytes_per_profile": round(stored / profiles),
        "read_per_s": rates["read"],
        "recover_per_s": rates["recover"],
        "recovery_vs_read": round(rates["recover"] / rates["read"], 3),
        "restart_seconds": max(run["seconds"] for run in runs if run["part"] == "again"),
        "runs": runs,
    }


def main() -> int:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--bootstrap", default=None)
    parser.add_argument("--part", choices=list(PARTS), default=None, help=argparse.SUPPRESS)
    parser.add_argument("--prefix", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part is not None:
        result = run_part(arguments.part, settings_of(arguments.bootstrap, arguments.prefix))
    elif arguments.bootstrap is not None:
        result = measure(arguments.bootstrap, arguments.profiles, arguments.rounds)
    else:
        try:
            kafka = find_kafka(FOLDER / "kafka")
        except KafkaMissing as error:
            sys.stderr.write(f"the benchmark needs Apache Kafka: {error}\n")
            return 1
        try:
            result = measure(kafka.bootstrap, arguments.profiles, arguments.rounds)
        finally:
            kafka.stop()
            shutil.rmtree(FOLDER, ignore_errors=True)
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""An installation that already has profiles: its changelog as workers would have written it, without their work.

States are those the engine leaves after the mini bank's events, each under as many names as are wanted.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from schemas.journal import partition_of
from schemas.touchpoint import Touchpoint
from streams.definitions import library, load
from streams.engine.profile import decode, encode
from streams.simulator import Simulator
from streams.topics import Topics
from tests.benchmarks.events import PROPERTIES, samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.settings import Settings

DEFINITIONS = Path(__file__).parent / "mini_bank"
PATTERNS = 200
EVENTS_PER_CUSTOMER = 30


def name_of(number: int) -> str:
    """Return the customer's id."""
    return f"c{number}"


def states(count: int) -> Iterator[tuple[str, bytes]]:
    """Give `count` profiles with their states: customers of the mini bank after 30 events each, in the last minutes."""
    simulator = Simulator(library(load(DEFINITIONS).loaded()), 1)
    begin = int(time.time() * 1000) - 60_000
    for each in samples(PATTERNS * EVENTS_PER_CUSTOMER, PATTERNS):
        touchpoint = Touchpoint(
            event_id=f"{each.number:032x}",
            type=each.kind,
            channel="web",
            occurred_at=begin + each.number,
            identifiers={"customer": each.customer},
            properties=PROPERTIES,
        )
        simulator.touchpoint(touchpoint, begin + each.number)
    patterns = [decode(state) for _, state in sorted(simulator.states().items())]
    for pattern in patterns:
        pattern.offset = -1
    for number in range(count):
        pattern = patterns[number % len(patterns)]
        pattern.id = f"customer:{name_of(number)}"
        yield pattern.id, encode(pattern)


def peak_memory(process: int | str) -> int:
    """Return the most memory that a process had resident so far, in MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) // 1024


def fill(settings: Settings, count: int) -> int:
    """Write `count` profiles to the changelog, which must exist; return the bytes of their states."""
    topic, partitions = Topics.of(settings).changelog, settings.journal_partitions
    producer = Producer({"bootstrap.servers": settings.bootstrap, "linger.ms": 20, "acks": "all"})
    size = 0
    for profile, state in states(count):
        size += len(state)
        while True:
            try:
                producer.produce(topic, state, key=profile, partition=partition_of(profile, partitions))
                break
            except BufferError:
                producer.poll(0.05)
    if left := producer.flush(60):
        raise RuntimeError(f"{left} states could not be written to {topic}")
    return size

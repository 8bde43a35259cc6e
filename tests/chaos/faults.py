"""The faults: what each does to an installation under load.

A fault returns in how many partitions a transaction was verifiably open when it struck: the worker concerned had been
stopped with SIGSTOP in the middle of one, and only then. (Sinks have calls in place of transactions.) What it breaks
stays broken for a while chosen by chance, and is mended by the fault itself or, at the latest, when the schedule ends.
"""

from __future__ import annotations

import resource
import shutil
import time
from collections.abc import Callable

from confluent_kafka import Producer

from tests.chaos.network import Weather
from tests.chaos.stage import SESSION, Stage
from tests.schemas import malformed

SINKS = "kill -9 of the sinks"  # schedules with it have sinks
POISON = 40
STEPS = (3.0, 30.0, 3600.0, 86_400.0)  # seconds, back or ahead: what NTP and people do


def kill_one(stage: Stage) -> int:
    """`kill -9` of one worker; another starts in its place, with its store."""
    (seat,), found = stage.frozen()
    seat.sitting.kill()
    stage.pause(0, 1)
    stage.start(seat)
    return found


def kill_all(stage: Stage) -> int:
    """`kill -9` of all workers at once; as many start again."""
    seats, found = stage.frozen(stage.running)
    for seat in seats:
        seat.sitting.kill()
    stage.pause(0, 1)
    for seat in seats:
        stage.start(seat)
    return found


def freeze(stage: Stage) -> int:
    """SIGSTOP of a worker until others have taken over what it served, then SIGCONT: a zombie."""
    _accompanied(stage)
    (seat,), found = stage.frozen()
    others = [other for other in stage.running if other is not seat]
    time.sleep(SESSION)
    stage.all_serve(others)
    seat.sitting.thaw()
    return found


def broker_restart(stage: Stage) -> int:
    """The broker stops in order and starts again."""
    (seat,), found = stage.frozen()
    stage.cluster.broker.stop()
    seat.sitting.thaw()
    stage.pause(0, 1)
    stage.cluster.broker.start()
    return found


def broker_kill(stage: Stage) -> int:
    """`kill -9` of the broker; it starts again on the same data."""
    (seat,), found = stage.frozen()
    stage.cluster.broker.kill()
    seat.sitting.thaw()
    stage.pause(0, 1)
    stage.cluster.broker.start()
    return found


def network_cut(stage: Stage) -> int:
    """A worker is cut off, with or without being told, for less or more than its session."""
    (seat,), found = stage.frozen()
    stage.cluster.weather(seat.line, stage.chance.choice((Weather.SILENT, Weather.DOWN)))
    seat.sitting.thaw()
    stage.pause(*stage.chance.choice(((0.2, 1.5), (SESSION, SESSION + 1.5))))
    stage.cluster.weather(seat.line, Weather.FINE)
    return found


def network_slow(stage: Stage) -> int:
    """Whatever passes between a worker and the broker is held up."""
    (seat,), found = stage.frozen()
    stage.cluster.weather(seat.line, Weather.SLOW, stage.chance.choice(((0.0, 0.02), (0.02, 0.1), (0.1, 0.3))))
    seat.sitting.thaw()
    stage.pause(2, 3)
    stage.cluster.weather(seat.line, Weather.FINE)
    return found


def worker_joins(stage: Stage) -> int:
    """One more worker joins while another has a transaction open: partitions move."""
    if not stage.free:
        stage.chance.choice(stage.running).sitting.stop()
    (seat,), found = stage.frozen()
    stage.start(stage.chance.choice(stage.free))
    time.sleep(SESSION / 3)
    seat.sitting.thaw()
    return found


def worker_leaves(stage: Stage) -> int:
    """A worker is asked to end (SIGTERM) while it has a transaction open."""
    _accompanied(stage)
    (seat,), found = stage.frozen()
    assert seat.sitting.stop() == 0, seat.sitting.log.read_text()[-2000:]
    return found


def disk_full(stage: Stage) -> int:
    """No file of a worker's can grow any more: the store cannot be written after a commit. Then it is restarted."""
    (seat,), found = stage.frozen()
    largest = max((path.stat().st_size for path in seat.data.rglob("*") if path.is_file()), default=0)
    _, most = resource.prlimit(seat.sitting.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(seat.sitting.pid, resource.RLIMIT_FSIZE, (largest, most))
    seat.sitting.thaw()
    stage.pause(1, 3)
    seat.sitting.kill()
    stage.start(seat)
    return found


def store_deleted(stage: Stage) -> int:
    """`kill -9` of a worker, and its store is gone when it starts again."""
    (seat,), found = stage.frozen()
    seat.sitting.kill()
    shutil.rmtree(seat.data)
    stage.start(seat)
    return found


def store_stale(stage: Stage) -> int:
    """`kill -9` of a worker, and it starts again with a store from some time ago, as from a backup."""
    (seat,), _ = stage.frozen()
    copy = seat.data.with_name(f"{seat.data.name}-copy")
    shutil.copytree(seat.data, copy)
    seat.sitting.thaw()
    stage.pause(1, 2)
    _, found = stage.frozen([seat])
    seat.sitting.kill()
    shutil.rmtree(seat.data)
    copy.rename(seat.data)
    stage.start(seat)
    return found


def clock_stepped(stage: Stage) -> int:
    """A worker's wall clock is stepped, back and ahead or the other way round; then it is put right, or not."""
    (seat,), found = stage.frozen()
    first = stage.chance.choice((-1, 1))
    seat.clock.step(first * stage.chance.choice(STEPS))
    seat.sitting.thaw()
    stage.pause(1, 2)
    seat.clock.step(-first * stage.chance.choice(STEPS))
    stage.pause(1, 2)
    if stage.chance.random() < 0.5:
        seat.clock.step(0)
    return found


def poison(stage: Stage) -> int:
    """Records that nobody can read arrive in a burst."""
    (seat,), found = stage.frozen()
    producer = Producer({"bootstrap.servers": stage.installation.bootstrap, "enable.idempotence": True, "log_level": 0})
    kinds = list(malformed.KINDS.values())
    for _ in range(POISON):
        value = stage.chance.choice(kinds)(stage.chance)
        stage.poison.append(value)
        producer.produce(stage.installation.topics.touchpoints, key=str(stage.chance.random()), value=value)
    assert producer.flush(30) == 0
    seat.sitting.thaw()
    return found


def definition_activated(stage: Stage) -> int:
    """The next version of a journey is published: it takes effect at one place of each journal partition."""
    (seat,), found = stage.frozen()
    stage.activate_later_definitions()
    seat.sitting.thaw()
    return found


def sinks_killed(stage: Stage) -> int:
    """`kill -9` of the sinks in the middle of calls, and again at any moment; returns how many calls were under way."""
    found = stage.sinks.kill_in_a_call()
    stage.sinks.start()
    stage.pause(0, 4)
    stage.sinks.kill()
    stage.sinks.start()
    return found


def _accompanied(stage: Stage) -> None:
    """Make sure that somebody else can take over."""
    if len(stage.running) == 1:
        stage.start(stage.chance.choice(stage.free))
        stage.all_serve()


FAULTS: dict[str, Callable[[Stage], int]] = {
    "kill -9 of one worker": kill_one,
    "kill -9 of all workers": kill_all,
    "SIGSTOP past the session, then SIGCONT": freeze,
    "broker restart": broker_restart,
    "broker kill -9": broker_kill,
    "network cut": network_cut,
    "network slow": network_slow,
    "worker joins": worker_joins,
    "worker leaves": worker_leaves,
    "disk full under the store": disk_full,
    "store deleted": store_deleted,
    "store stale": store_stale,
    "clock stepped": clock_stepped,
    "poison entries": poison,
    "definition activated": definition_activated,
    SINKS: sinks_killed,
}

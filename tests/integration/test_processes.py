"""Several processes as one worker: who ends is started again, nobody is left behind, and a name is one process's."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from tests.support import oracle
from tests.support.installation import settle, until
from tests.support.workers import SEEDS, STOP_WITHIN, WorkerProcess, journeys_of_customers, produce

TASKS = 12


def worker(folder: Path, bootstrap: str, prefix: str, name: str = "worker", **settings: object) -> WorkerProcess:
    """A worker of the installation `prefix`, not started."""
    return WorkerProcess(folder, name, bootstrap=bootstrap, prefix=prefix, group=prefix.strip("."), **settings)


def pids(one: WorkerProcess) -> dict[str, int]:
    """The members' process ids."""
    return {number: member["pid"] for number, member in one.get("readyz")["members"].items()}


def is_there(pid: int) -> bool:
    """Whether a process runs; one that ended and was not asked for its exit code does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def gone(found: dict[str, int]) -> None:
    """Wait until none of these processes runs."""
    until(lambda: not any(map(is_there, found.values())), STOP_WITHIN, lambda: f"the members {found} end")


def test_members_share_the_partitions_and_one_that_ends_comes_back(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """A member killed under load gets its partitions back; the other never lost its own; one address tells of both."""
    records = list(journeys_of_customers(60))
    half = len(records) // 2
    made = worker(tmp_path, kafka_bootstrap, topic_prefix, processes=2, session_timeout=20)
    with made.start() as one:
        one.ready(TASKS)
        found = pids(one)
        produce(kafka_bootstrap, one.topics.touchpoints, records[:half])
        before = one.metric("polku_rebalances_total", 'member="1"')
        os.kill(found["0"], signal.SIGKILL)
        until(lambda: one.metric("polku_member_restarts_total") == 1, 30, lambda: "the member is started again")
        produce(kafka_bootstrap, one.topics.touchpoints, records[half:])
        one.ready(TASKS)
        assert pids(one)["1"] == found["1"]
        assert pids(one)["0"] != found["0"]
        assert one.metric("polku_members_running") == 2
        assert one.metric("polku_rebalances_total", 'member="1"') == before
        settle(one.settings, [one])
        assert one.metric("polku_tasks", 'member="0"') == one.metric("polku_tasks", 'member="1"') == TASKS / 2
        assert one.get("healthz") == {"stopped": [], "silent": []}
        found = pids(one)
        assert one.stop() == 0
        gone(found)
    lines = one.log.read_text().splitlines()
    assert len(lines) == 1, lines
    assert "a member ended and is started again" in lines[0]
    assert "SIGKILL" in lines[0]
    assert {path.name for path in one.settings.data_dir.iterdir()} == {"member-0", "member-1"}
    oracle.check(oracle.dump(one.settings, SEEDS))


def test_members_end_with_their_supervisor(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Killed, it can tell them nothing any more; they end all the same."""
    with worker(tmp_path, kafka_bootstrap, topic_prefix, processes=2).start() as one:
        one.ready(TASKS)
        found = pids(one)
        one.kill()
        gone(found)


def test_asked_twice_it_ends_at_once(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Members that do not stop in order are not waited for."""
    with worker(tmp_path, kafka_bootstrap, topic_prefix, processes=2, stop_timeout=300).start() as one:
        one.ready(TASKS)
        found = pids(one)
        for pid in found.values():
            os.kill(pid, signal.SIGSTOP)
        one.signal(signal.SIGINT)
        time.sleep(0.5)
        assert one.runs
        one.signal(signal.SIGINT)
        assert one.process is not None
        assert one.process.wait(STOP_WITHIN) == 128 + signal.SIGINT
        gone(found)


def test_a_worker_with_a_name_gets_its_partitions_back(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Restarted within the session timeout, in order or not, it moves nobody's partitions."""
    ours = {"session_timeout": 30}
    first = worker(tmp_path, kafka_bootstrap, topic_prefix, "first", instance="a", **ours)
    second = worker(tmp_path, kafka_bootstrap, topic_prefix, "second", instance="b", **ours)
    with first.start() as one, second.start() as two:
        until(lambda: one.serves(TASKS // 2) and two.serves(TASKS // 2), 60, lambda: "both serve")
        tasks, before = one.get("readyz")["tasks"], two.metric("polku_rebalances_total")
        for end in (one.stop, one.kill):
            end()
            one.start().ready(TASKS // 2)
            assert one.get("readyz")["tasks"] == tasks
            assert two.metric("polku_rebalances_total") == before
            assert two.serves(TASKS // 2)


def test_a_name_taken_by_another_process_ends_the_first(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """They do not take it from each other in turn: the older one ends, and says why."""
    first = worker(tmp_path, kafka_bootstrap, topic_prefix, "first", instance="a")
    second = worker(tmp_path, kafka_bootstrap, topic_prefix, "second", instance="a")
    with first.start() as one, second as two:
        one.ready(TASKS)
        two.start()
        assert one.process is not None
        assert one.process.wait(60) == 2
        two.ready(TASKS)
        time.sleep(2 * two.settings.heartbeat_interval)
        assert two.serves(TASKS)
        assert two.stop() == 0
    assert "another process has joined the group" in one.log.read_text()
    assert "POLKU_INSTANCE" in one.log.read_text()
    assert two.log.read_text() == ""

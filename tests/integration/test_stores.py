"""A worker whose local stores are taken, damaged, or of another changelog: what it does about it, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rocksdict import Options, Rdict

from schemas.touchpoint import Touchpoint
from streams.stores import RocksStore
from tests.support import oracle
from tests.support.installation import Installation, until
from tests.support.randomlog import DEFINITIONS, Shape, produce, touchpoints
from tests.support.workers import WorkerProcess

ANEW = "a local store is built anew from the changelog"
AT = 1_772_445_600_000


def _lines(worker: WorkerProcess, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def _folder(installation: Installation, partition: int) -> Path:
    settings = installation.settings
    return installation.folder / "data-0" / settings.group / installation.topics.changelog / str(partition)


def _damage(folder: Path) -> None:
    """Change bytes all over what the store holds, leaving what is read at the opening."""
    for table in folder.glob("*.sst"):
        content = bytearray(table.read_bytes())
        for at in range(100, len(content) * 3 // 4, 400):
            content[at] ^= 0x40
        table.write_bytes(content)


def test_what_is_wrong_with_a_store(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Taken: waited for. Damaged, wherever that shows: built anew. Ahead of its changelog: a person must look."""
    log = list(touchpoints(1, Shape(events=4000, customers=200), AT))
    with Installation(kafka_bootstrap, topic_prefix, DEFINITIONS, tmp_path) as installation:

        def publish(some: list[Touchpoint]) -> None:
            produce(kafka_bootstrap, installation.topics.touchpoints, iter(some), "consistent_random")
            installation.settle()

        worker = installation.start()
        publish(log[:2000])
        assert worker.stop() == 0
        held = RocksStore(_folder(installation, 0), worker.settings.prefix)  # another's, as far as it can tell
        assert held.offset == 0
        for partition in (1, 2):
            _damage(_folder(installation, partition))
        worker = installation.start(store=0, wait=False)
        until(lambda: _lines(worker, "the local store cannot be used"), 60, lambda: "the store that is taken")
        until(lambda: len((worker.get("readyz") or {"tasks": {}})["tasks"]) > 0, 60, lambda: "the others")
        assert not worker.serves()
        held.close()
        worker.ready()
        publish(log[2000:])
        anew = {Path(line["path"]).name: line["reason"] for line in _lines(worker, ANEW)}
        assert len(_lines(worker, ANEW)) == len(anew) == 3
        assert anew["0"] == "it is a copy of another topic"
        assert all("orruption" in anew[partition] for partition in ("1", "2"))
        assert worker.stop() == 0

        topic_id = _topic_id(_folder(installation, 3))
        ahead = RocksStore(_folder(installation, 3), topic_id)
        assert ahead.offset > 0
        ahead.ingest([], ahead.offset + 1_000_000)
        ahead.close()
        worker = installation.start(store=0, wait=False)
        stopped = [f"{installation.topics.journal}-3"]
        until(lambda: (worker.get("healthz") or {}).get("stopped") == stopped, 60, lambda: "the stop")
        (line,) = _lines(worker, "a task has stopped: its partition is not served, and time stands still for all")
        assert "the local store includes" in line["error"]
        assert worker.stop() == 0
    oracle.check(oracle.dump(installation.settings, DEFINITIONS))


def _topic_id(folder: Path) -> str:
    with Rdict(str(folder), Options(raw_mode=True), column_families={"timers": Options(raw_mode=True)}) as store:
        topic_id: Any = store[b"\x00topic"]
    return str(topic_id, "ascii")

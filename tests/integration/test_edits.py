"""An edit that instances follow, published while a worker is at work: what a replay computes is what was published."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from schemas.journal import Activate
from streams.definitionlog import publish_definitions
from streams.definitions import load
from streams.engine.profile import decode
from streams.journaldump import entries
from streams.records import read
from tests.support import oracle
from tests.support.installation import settle
from tests.support.workers import SEEDS, WorkerProcess, journeys_of_customers, produce

EDITS = (
    ("version: 1\n", "version: 2\nedits: follow\nmoved: {interested: curious}\n"),
    ("  interested:\n", "  curious:\n"),
)


def second(folder: Path) -> Path:
    """The seeds, with a second version of the card journey beside the first: a stage has another name."""
    shutil.copytree(SEEDS, folder)
    text = (folder / "journeys" / "credit-card-application.yaml").read_text()
    for before, after in EDITS:
        assert text.count(before) == 1
        text = text.replace(before, after)
    (folder / "journeys" / "credit-card-application-2.yaml").write_text(text)
    return folder


def test_an_edit_under_load_is_computed_again_byte_for_byte(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    """Touchpoints before, during and after it, and a crash; all who run are in the new version, in a stage of it."""
    folder = second(tmp_path / "definitions")
    options: dict[str, Any] = {"bootstrap": kafka_bootstrap, "prefix": topic_prefix, "group": topic_prefix.strip(".")}
    with WorkerProcess(tmp_path, **options, definitions=SEEDS).start() as worker:
        worker.ready(12)
        records = list(journeys_of_customers(300))
        third = len(records) // 3
        produce(kafka_bootstrap, worker.topics.touchpoints, records[:third])
        assert publish_definitions(worker.settings, load(folder).loaded()) == 1
        produce(kafka_bootstrap, worker.topics.touchpoints, records[third : 2 * third])
        worker.kill()
        worker.start().ready(12)
        produce(kafka_bootstrap, worker.topics.touchpoints, records[2 * third :])
        settle(worker.settings, [worker])
        assert worker.stop() == 0
        found = oracle.dump(worker.settings, folder)
        oracle.check(found)
    told = entries(read(worker.settings, worker.topics.journal))
    activated = [
        partition
        for partition, stream in told.items()
        for _, entry in stream
        if isinstance(entry, Activate) and (entry.name, entry.version) == ("credit-card-application", 2)
    ]
    assert sorted(activated) == [0, 1, 2, 3], "once in each partition, although the worker was killed"
    states = {record.key: record.value for record in read(worker.settings, worker.topics.changelog)}
    running = [
        (instance.version, instance.stage)
        for key, state in states.items()
        if key != b"\x00partition" and state is not None
        for instance in decode(state).instances.values()
        if not instance.ended and instance.journey == "credit-card-application"
    ]
    assert {version for version, _ in running} <= {2}
    assert "interested" not in {stage for _, stage in running}

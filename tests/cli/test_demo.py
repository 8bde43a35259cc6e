"""demo: the bank card story end to end, and what it does when a part of it fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from streams import demo
from tests.cli.running import SEEDS, polku
from tests.support.kafka import ROOT

ARRIVE = [
    "the site shows the card incentive",
    "the e-mail is in the inbox",
    "its link resumes page 2",
    "ads on the subject are suppressed",
    "the banner is gone",
    "the onboarding message arrives by push, the preferred channel",
    "it is held back",
    "no message went out meanwhile",
    "now the message goes out",
]


def start(temporary: Path, **environment: str) -> subprocess.Popen[str]:
    """`polku demo --json` as a process of its own, with a group that all it starts belongs to."""
    return subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "demo", "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def left_behind(process: subprocess.Popen[Any]) -> bool:
    """Whether anything of the process's group still runs."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_whole_story_arrives(tmp_path: Path) -> None:
    """Every step, exit code 0, nothing left running and no files; settings of another installation do not disturb."""
    process = start(tmp_path, POLKU_PREFIX="another.", POLKU_GROUP="other", POLKU_GUARANTEE="exactly_once")
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, out + err
    rows = [json.loads(line) for line in out.splitlines()]
    arrived = [row["text"].removeprefix("✓ ").split(",")[0] for row in rows if row["text"].startswith("✓")]
    assert arrived == [text.split(",")[0] for text in ARRIVE]
    assert not any(row["failed"] for row in rows)
    assert next(row["seconds"] for row in rows if "seconds" in row) < 60
    assert err == ""
    assert not left_behind(process)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_interrupted_it_ends_all_it_started(number: signal.Signals, tmp_path: Path) -> None:
    """Stopped while its parts are starting, the demo leaves nothing running."""
    process = start(tmp_path)
    assert process.stdout is not None
    assert "A broker at " in process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert not left_behind(process)


def test_a_part_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When the sinks cannot start the demo says so, with what they said, at once, and exits 1."""
    shutil.copytree(SEEDS, tmp_path / "seeds")
    with (tmp_path / "seeds" / "connectors-demo.yaml").open("a") as config:
        config.write("  pigeon:\n    kind: pigeon\n")
    monkeypatch.setattr(demo, "SEEDS", tmp_path / "seeds")
    began = time.monotonic()
    ran = polku("demo", "--json")
    assert ran.code == 1
    last = ran.rows[-1]
    assert last["failed"]
    assert "the sinks ended with code 2: error: " in last["text"]
    assert "pigeon" in last["text"]
    assert ran.err.startswith("what the parts said is in ")
    assert time.monotonic() - began < 30


def test_a_step_that_does_not_arrive_fails_the_demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Seeds whose journey shows something else: the demo says which step did not come true, and exits 1."""
    shutil.copytree(SEEDS, tmp_path / "seeds")
    journey = tmp_path / "seeds" / "journeys" / "credit-card-application.yaml"
    sound = journey.read_text()
    silent = sound.replace("show_banner: {banner: credit-card-incentive", "show_banner: {banner: another")
    assert silent != sound
    journey.write_text(silent)
    monkeypatch.setattr(demo, "SEEDS", tmp_path / "seeds")
    monkeypatch.setattr(demo, "ARRIVES_WITHIN", 2.0)
    ran = polku("demo")
    assert ran.code == 1
    assert "✗ did not come true within 2 s: the site shows the card incentive" in ran.out

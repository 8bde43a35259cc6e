"""The README's commands and programs, run as a stranger would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.definitions import load
from streams.devbroker import free_port
from tests.support.kafka import ROOT

README = (ROOT / "README.md").read_text()
PORT = "19092"


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[str]:
    """`polku worker --embedded --port`, as in the README, at a free port; yields the broker's address."""
    port, web = free_port(), free_port()
    environment = {**os.environ, "POLKU_DATA_DIR": str(tmp_path), "POLKU_SESSION_TIMEOUT": "2"}
    command = [sys.executable, "-m", "streams.cli", "worker", "--embedded", "--port", str(port), "-d", "seeds"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--web-port", str(web)], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while not _ready(web):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, "the worker does not become ready"
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def run(command: list[str]) -> str:
    """What a command printed; it must succeed."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_first_event_in_three_ways(worker: str) -> None:
    """The command line, plain JSON and Avro each bring an event in, and `explain` tells of all three."""
    polku = [sys.executable, "-m", "streams.cli"]
    (shell,) = blocks("bash")
    here = shell.replace(f"127.0.0.1:{PORT}", worker).replace("polku publish", f"{' '.join(polku)} publish")
    run(["bash", "-ec", here])
    programs = blocks("python")
    assert len(programs) == 2
    for program in programs:
        run([sys.executable, "-c", program.replace(f"127.0.0.1:{PORT}", worker)])
    deadline = time.monotonic() + 20
    told = ""
    while told.count("page_viewed") < 2 or "form_started" not in told:
        assert time.monotonic() < deadline, told
        told = run([*polku, "explain", "device:d-1", "--bootstrap", worker])
    assert "show_banner not sent: consent says never-given" in told


def test_journey_in_the_readme_is_a_good_one(tmp_path: Path) -> None:
    """The example passes the checks with the seeds' policy and templates."""
    (journey,) = blocks("yaml")
    seeds = ROOT / "seeds"
    (tmp_path / "journeys").mkdir()
    (tmp_path / "journeys" / "card.yaml").write_text(journey)
    (tmp_path / "policy.yaml").write_text((seeds / "policy.yaml").read_text())
    (tmp_path / "templates").symlink_to(seeds / "templates")
    assert [str(problem) for problem in load(tmp_path).problems] == []
    run([sys.executable, "-m", "streams.cli", "check", str(tmp_path)])


def test_links_of_the_readme_lead_somewhere() -> None:
    """Every relative link names a file or folder that is there."""
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []

"""The programs that Polku is compared with: where they are, their environment, and one run of each.

They live outside this project, by default in ../shared/bench beside it (`POLKU_PEERS` names another place), and run
unmodified in an environment of their own with the packages that they ask for.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

import fastavro

from tests.benchmarks.bench import last_line
from tests.support.kafka import BUILD, ROOT

ENVIRONMENT = BUILD / "peers-venv"
COMMIT_MS = 5000  # Quix's default, with which it is at its fastest
GUARANTEES = {True: "exactly-once", False: "at-least-once"}
FIXED_BOOTSTRAP = "127.0.0.1:9092"  # where copy_topic.py looks for the broker


def folder() -> Path | None:
    """Return where the peers are, None when they are not there."""
    named = Path(os.environ.get("POLKU_PEERS") or ROOT.parent / "shared" / "bench")
    path = named if named.is_absolute() else ROOT / named
    return path if (path / "quix_bank.py").is_file() else None


def schema(peers: Path) -> Any:
    """Return the schema that the peers read."""
    return fastavro.parse_schema(json.loads((peers / "touchpoint.avsc").read_text()))


def python(peers: Path) -> Path:
    """Return the Python of the peers' environment, made the first time and when their requirements change."""
    program, stamp = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "requirements.txt"
    wanted = (peers / "requirements.txt").read_text()
    if not stamp.is_file() or stamp.read_text() != wanted:
        sys.stderr.write("installing the peers' packages into build/peers-venv\n")
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run([program, "-m", "pip", "install", "-q", "-r", peers / "requirements.txt"], check=True)
        stamp.write_text(wanted)
    return program


def quix(peers: Path, bootstrap: str, topic: str, events: int, *, exactly_once: bool = True) -> dict[str, Any]:
    """Run the mini bank journey in Quix Streams."""
    program = [str(python(peers)), str(peers / "quix_bank.py"), f"--bootstrap={bootstrap}", f"--topic={topic}"]
    program += [f"--events={events}", f"--guarantee={GUARANTEES[exactly_once]}", f"--commit-ms={COMMIT_MS}"]
    return last_line([*program, f"--app-id=peer-quix-{time.time_ns()}"], BUILD)


def kafka_streams(peers: Path, bootstrap: str, topic: str, events: int, *, exactly_once: bool = True) -> dict[str, Any]:
    """Run the mini bank journey in Kafka Streams, with one thread."""
    command = [*kafka_streams_command(peers), "--bootstrap", bootstrap, "--topic", topic, "--events", str(events)]
    command += ["--guarantee", GUARANTEES[exactly_once], "--commit-ms", str(COMMIT_MS)]
    return last_line([*command, "--app-id", f"peer-ks-{time.time_ns()}"], BUILD)


def faust(bootstrap: str, topic: str, events: int) -> dict[str, Any]:
    """Run the mini bank journey in stock Faust."""
    program = [sys.executable, "-m", "tests.benchmarks.faust_bank", f"--bootstrap={bootstrap}", f"--topic={topic}"]
    return last_line([*program, f"--events={events}", f"--app-id=peer-faust-{time.time_ns()}"], ROOT)


def copy(peers: Path, topic: str, target: str, times: int) -> None:
    """Copy a topic several times into a new one; the program knows one broker's address only."""
    subprocess.run(
        [python(peers), peers / "copy_topic.py", topic, target, str(times)], check=True, stdout=subprocess.DEVNULL
    )


def kafka_streams_command(peers: Path) -> list[str]:
    """Return how to start the Kafka Streams program, built by Maven in build/ the first time and when it changes."""
    source, target = peers / "kstreams", BUILD / "kstreams"
    files = {path.relative_to(source): path.read_bytes() for path in sorted(source.rglob("*")) if path.is_file()}
    # The sources name the schema by a link, which a copy may have turned into text.
    files[Path("src/main/avro/touchpoint.avsc")] = (peers / "touchpoint.avsc").read_bytes()
    stamp = target / "built"
    wanted = hashlib.sha256(b"".join(files.values())).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        sys.stderr.write("building the Kafka Streams program into build/kstreams\n")
        shutil.rmtree(target, ignore_errors=True)
        for name, content in files.items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(content)
        subprocess.run(["mvn", "-q", "-B", "clean", "package"], cwd=target, check=True)
        stamp.write_text(wanted)
    java = ["java", "-Xms512m", "-Xmx512m", "-XX:+UseParallelGC", "-cp"]
    return [*java, f"{target}/target/classes:{target}/target/lib/*", "bank.BankStreams"]


def kafka_streams_process(
    peers: Path, bootstrap: str, topic: str, name: str, *, commit_ms: int
) -> subprocess.Popen[bytes]:
    """Start the Kafka Streams program, exactly once, one thread, sending at once; it runs until it is ended."""
    command = [*kafka_streams_command(peers), "--bootstrap", bootstrap, "--topic", topic, "--events", str(10**9)]
    command += ["--guarantee", "exactly-once", "--app-id", name, "--commit-ms", str(commit_ms), "--linger-ms", "0"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def decode_only(peers: Path, bootstrap: str, topic: str, events: int) -> dict[str, Any]:
    """Read and decode every event with aiokafka and fastavro, nothing else."""
    program = [str(python(peers)), str(peers / "decode_only.py"), f"--bootstrap={bootstrap}", f"--topic={topic}"]
    return last_line([*program, f"--events={events}", "--client=aiokafka"], BUILD)

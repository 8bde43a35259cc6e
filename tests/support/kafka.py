"""A real Apache Kafka for tests, benchmarks and `make kafka`: one found in the environment, or one started here."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Protocol, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.devbroker import answers, free_port

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "deploy" / "kafka"
BUILD = ROOT / "build"
ADVICE = "set POLKU_TEST_BOOTSTRAP=host:port, or start Docker, or install Java 17 or later and Maven"
READY_WITHIN = 60.0  # seconds; measured: 3 to 5 on 2 idle cores
STOP_WITHIN = 30.0
JAVA_AT_LEAST = 17
STORAGE_ID = "cG9sa3UtbG9jYWwta2Fma2E"  # a cluster id is 16 bytes in base64


class KafkaMissing(Exception):
    """No Apache Kafka can be had here; the message says what to install."""


class KafkaFailed(RuntimeError):
    """Apache Kafka is here and does not work: never a reason to skip a test."""


class Kafka(Protocol):
    """A running broker: where it is, and how to be done with it."""

    bootstrap: str

    def stop(self) -> None:
        """Be done with it; a broker that someone else runs stays up."""


class OwnKafka(Kafka, Protocol):
    """A broker that was started here."""

    def wait(self) -> int:
        """Wait until the broker ends by itself and return its exit code."""


class ExternalKafka:
    """A broker that someone else runs."""

    def __init__(self, bootstrap: str) -> None:
        """Check that a broker answers at `bootstrap`."""
        self.bootstrap = bootstrap
        wait_until_ready(bootstrap, 10)

    def stop(self) -> None:
        """Leave it as it is."""


def admin_client(bootstrap: str) -> AdminClient:
    """A client to hold on to: it is back within a moment of its broker, however long that was gone."""
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 2, "reconnect.backoff.max.ms": 100})


def broker_answers(admin: AdminClient) -> bool:
    """Tell whether a client's Kafka broker lists its topics."""
    try:
        return bool(admin.list_topics(timeout=1).brokers)
    except KafkaException:
        return False


def wait_until_ready(
    bootstrap: str,
    seconds: float,
    process: subprocess.Popen[bytes] | None = None,
    admin: AdminClient | None = None,
) -> None:
    """Return once the broker answers; raises `KafkaFailed` after `seconds`, or when `process` has ended."""
    asking = admin_client(bootstrap) if admin is None else admin
    deadline = time.monotonic() + seconds
    while not broker_answers(asking):
        if process is not None and (code := process.poll()) is not None:
            raise KafkaFailed(f"Apache Kafka ended with code {code}")
        if time.monotonic() > deadline:
            raise KafkaFailed(f"no Kafka broker answers at {bootstrap}")
        time.sleep(0.05)


class KafkaProcess:
    """Apache Kafka as a child process with its data in `folder`; it can be killed, paused and started again."""

    def __init__(self, folder: Path, port: int | None = None, heap: str = "1g", *, java: Sequence[str] = ()) -> None:
        """Take `port`, or any free one; `java` are options of the machine, the jars come from `jars()`."""
        self.folder = folder
        self.port = port or free_port()
        self.controller_port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.heap = heap
        self._java = java
        self.properties = ""  # more of them, after those of the file
        self._process: subprocess.Popen[bytes] | None = None
        self._admin: AdminClient | None = None

    @property
    def log(self) -> Path:
        """Where the broker writes what it has to say."""
        return self.folder / "broker.log"

    @property
    def pid(self) -> int:
        """The broker's process id."""
        if self._process is None:
            raise KafkaFailed("Apache Kafka is not running")
        return self._process.pid

    def start(self) -> Self:
        """Format the storage if it is new, start the broker and wait until it answers."""
        properties = self.folder / "server.properties"
        self.folder.mkdir(parents=True, exist_ok=True)
        libraries = jars()
        if not (self.folder / "data" / "meta.properties").exists():
            template = Template((CONFIG / "server.properties").read_text())
            properties.write_text(
                template.substitute(
                    port=self.port, controller_port=self.controller_port, data=(self.folder / "data").resolve()
                )
                + self.properties
            )
            self._format(libraries, properties)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "java",
                    f"-Xmx{self.heap}",
                    *(self._java or ("-XX:+UseG1GC",)),
                    f"-Dlog4j2.configurationFile={CONFIG / 'log4j2.properties'}",
                    "-cp",
                    f"{libraries}/*",
                    "kafka.Kafka",
                    str(properties),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal ends the tests first, the broker after them
            )
        if self._admin is None:
            self._admin = admin_client(self.bootstrap)
        try:
            wait_until_ready(self.bootstrap, READY_WITHIN, self._process, self._admin)
        except KafkaFailed as error:
            self.kill()
            raise KafkaFailed(f"{error}; its log is {self.log}") from error
        return self

    def _format(self, libraries: Path, properties: Path) -> None:
        command = ["java", "-Xmx256m", "-cp", f"{libraries}/*", "kafka.tools.StorageTool", "format", "--standalone"]
        done = subprocess.run(
            [*command, "-t", STORAGE_ID, "-c", str(properties)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise KafkaFailed(f"formatting Kafka's storage failed: {(done.stdout + done.stderr)[:500]}")

    def _end(self, sign: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(sign)
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """Shut the broker down in order; its data stay. Stopping twice is fine."""
        self._admin = None
        self.resume()
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker as `kill -9` does; its data stay as they are."""
        self._end(signal.SIGKILL)

    def wait(self) -> int:
        """Wait until the broker ends by itself and return its exit code."""
        return self._process.wait() if self._process is not None else 0

    def restart(self) -> None:
        """Stop in order and start again on the same port and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the broker: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen broker go on; no effect on a running or stopped one."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()


def java_version() -> int:
    """Return the major version of the `java` on the path, 0 when there is none that runs."""
    if shutil.which("java") is None:
        return 0
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found.group(1)) if found else 0


def kafka_version() -> str:
    """Return the version of Apache Kafka that deploy/kafka/pom.xml names."""
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", (CONFIG / "pom.xml").read_text())
    if found is None:
        raise KafkaFailed("deploy/kafka/pom.xml names no kafka.version")
    return found.group(1)


def jars() -> Path:
    """Return a folder with Kafka's jars, fetched once per version by Maven; raises `KafkaMissing` with the way out."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "polku"
    target = cache / f"kafka-{kafka_version()}"
    if java_version() < JAVA_AT_LEAST:
        raise KafkaMissing(ADVICE)
    if target.is_dir():
        return target
    if shutil.which("mvn") is None:
        raise KafkaMissing(ADVICE)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may start at once
        if target.is_dir():
            return target
        partial = cache / f"{target.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-f", str(CONFIG / "pom.xml"), "dependency:copy-dependencies"]
        done = subprocess.run(
            [*command, "-DincludeScope=runtime", f"-DoutputDirectory={partial}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise KafkaMissing(f"Maven could not fetch Apache Kafka: {done.stdout.strip()[:500]}")
        partial.rename(target)
    return target


def find_kafka(folder: Path) -> Kafka:
    """Return a running Apache Kafka, from the environment or else one started here; raises `KafkaMissing`."""
    for name in ("POLKU_TEST_BOOTSTRAP", "POLKU_BOOTSTRAP"):
        if bootstrap := os.environ.get(name):
            return ExternalKafka(bootstrap)
    return start_kafka(folder)


def start_kafka(folder: Path, port: int | None = None) -> OwnKafka:
    """Start Apache Kafka by Docker, else by Java with data in `folder`; raises `KafkaMissing` with what to install."""
    if docker_answers():
        from tests.support.docker_kafka import start  # noqa: PLC0415 - testcontainers is slow to import

        try:
            return start(kafka_version(), port)
        except KafkaMissing:
            if java_version() < JAVA_AT_LEAST:
                raise
    return KafkaProcess(folder, port).start()


def docker_answers() -> bool:
    """Tell whether a Docker engine answers."""
    if shutil.which("docker") is None:
        return False
    try:
        command = ["docker", "version", "--format", "{{.Server.Version}}"]
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def main() -> int:
    """Run Apache Kafka in the foreground until interrupted, with its address on standard output."""
    port = int(os.environ.get("POLKU_KAFKA_PORT", "9092"))
    folder = BUILD / "kafka"
    shutil.rmtree(folder, ignore_errors=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if answers(port):
        sys.stderr.write(f"port {port} is taken; set POLKU_KAFKA_PORT to another\n")
        return 1
    try:
        kafka = start_kafka(folder, port)
    except (KafkaMissing, KafkaFailed) as error:
        sys.stderr.write(f"no Apache Kafka: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 0
    try:
        sys.stdout.write(f"{kafka.bootstrap}\n")
        sys.stdout.flush()
        sys.stderr.write(f"Apache Kafka {kafka_version()} is up; Ctrl-C ends it and its data\n")
        code = kafka.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        kafka.stop()
    sys.stderr.write(f"Apache Kafka ended by itself with code {code}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())

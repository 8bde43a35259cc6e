"""Fixtures for brokers, and one line at the end that says what to install when Apache Kafka is missing."""

from __future__ import annotations

import gc
import os
import shutil
import tomllib
import uuid
from typing import TYPE_CHECKING, NoReturn

import pytest

from streams.devbroker import EmbeddedBroker
from tests.support.kafka import ADVICE, BUILD, ROOT, Kafka, KafkaMissing, KafkaProcess, find_kafka

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WITHOUT_KAFKA = "needs Apache Kafka"


def pytest_configure() -> None:
    """Refuse to test modules that were compiled from another source than the one that is here."""
    names = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["polku"]["compiled"]
    for source in (ROOT / f"{name.replace('.', '/')}.py" for name in names):
        for made in source.parent.glob(f"{source.stem}.*.so"):
            if made.stat().st_mtime < source.stat().st_mtime:
                pytest.exit(f"{made.name} is older than {source.name}: run `make compile`, or delete it", 2)


def give_up(error: KafkaMissing) -> NoReturn:
    """Skip the test, or fail it where a real Kafka is required."""
    if os.environ.get("POLKU_REQUIRE_KAFKA") == "1":
        pytest.fail(f"POLKU_REQUIRE_KAFKA=1, and there is no Apache Kafka: {error}", pytrace=False)
    why = "" if str(error) == ADVICE else f" ({error})"
    pytest.skip(f"{WITHOUT_KAFKA}{why}: {ADVICE}")


def fresh(name: str) -> Path:
    """Return an empty folder under build/ for a broker of this test run."""
    folder = BUILD / f"kafka-{name}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


@pytest.fixture(scope="session")
def kafka_or_missing() -> Iterator[Kafka | KafkaMissing]:
    """One Apache Kafka for the whole run, looked for once: the tests that need it say so by using `kafka`."""
    folder = fresh("session")
    try:
        found = find_kafka(folder)
    except KafkaMissing as error:
        yield error
        return
    try:
        yield found
    finally:
        if isinstance(found, KafkaProcess):
            found.kill()  # an orderly stop of some thousand partitions takes a minute, for data that is deleted next
        found.stop()
        shutil.rmtree(folder / "data", ignore_errors=True)


@pytest.fixture
def kafka(kafka_or_missing: Kafka | KafkaMissing) -> Kafka:
    """A real Apache Kafka, shared by the whole run: use topics of your own, see `topic_prefix`."""
    if isinstance(kafka_or_missing, KafkaMissing):
        give_up(kafka_or_missing)
    return kafka_or_missing


@pytest.fixture
def kafka_bootstrap(kafka: Kafka) -> str:
    """The address of a real Apache Kafka."""
    return kafka.bootstrap


@pytest.fixture
def kafka_process() -> Iterator[KafkaProcess]:
    """An Apache Kafka of the test's own, which it may kill, pause and restart; needs Java."""
    folder = fresh(uuid.uuid4().hex[:8])
    process = KafkaProcess(folder)
    try:
        process.start()
    except KafkaMissing as error:
        give_up(error)
    try:
        yield process
    finally:
        process.stop()
        shutil.rmtree(folder / "data", ignore_errors=True)


@pytest.fixture
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """A fresh embedded broker: no transactions, nothing in it."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def embedded_bootstrap(embedded_broker: EmbeddedBroker) -> str:
    """The address of a fresh embedded broker."""
    return embedded_broker.bootstrap


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics and groups that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}."


@pytest.fixture(autouse=True)
def nothing_left_to_collect(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test of the shell leaves behind is finalised with that test.

    A fenced producer leaves futures that log a traceback when they are collected. Formatting one parses source, and
    CPython 3.11 fails with a SystemError when that happens inside another parse: whichever test parses next would
    fail for it.
    """
    yield
    if request.path.parent.name in {"chaos", "integration", "shell"}:
        gc.collect()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once what is missing and how to get it."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", []) if report.longrepr]
    if missing := next((reason for reason in reasons if WITHOUT_KAFKA in reason), ""):
        terminalreporter.write_line(f"Tests were skipped: one {missing.removeprefix('Skipped: ')}", yellow=True)

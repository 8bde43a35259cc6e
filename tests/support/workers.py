"""Workers as processes, as in production, so that tests can kill, pause and restart them; and traffic for them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Self

from confluent_kafka import Producer

from streams.devbroker import free_port
from streams.settings import Settings
from streams.topics import Topics
from tests.support.kafka import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.support.forked import Forked

SEEDS = ROOT / "seeds"
READY_WITHIN = 90.0
STOP_WITHIN = 40.0
PAGES = ("/credit-cards", "/credit-cards/gold", "/loans", "/mortgages")


class WorkerProcess:
    """One worker; its log is in `folder`. Settings are given as keyword arguments, without the prefix POLKU_."""

    def __init__(self, folder: Path, name: str = "worker", **settings: Any) -> None:
        self.port = free_port()
        self.log = folder / f"{name}.log"
        given = {"data_dir": folder / name, "definitions": SEEDS, "web_port": self.port} | settings
        self.environment = {f"POLKU_{key.upper()}": str(value) for key, value in given.items() if value is not None}
        chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        self.settings = Settings(**chosen)
        self.topics = Topics.of(self.settings)
        self.process: subprocess.Popen[bytes] | Forked | None = None

    def start(self) -> Self:
        """Start the process, not waiting for it to serve."""
        self.process = self._launch()
        return self

    def _launch(self) -> subprocess.Popen[bytes] | Forked:
        others = {name: value for name, value in os.environ.items() if not name.startswith("POLKU_")}
        with self.log.open("ab") as log:
            program = ["streams.worker"] if self.settings.processes == 1 else ["streams.cli", "worker"]
            return subprocess.Popen(
                [sys.executable, "-m", *program],
                cwd=ROOT,
                env={**others, **self.environment, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def ready(self, tasks: int | None = None) -> Self:
        """Wait until all of its tasks serve (and there are so many); raises AssertionError with the log."""
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            if self.serves(tasks):
                return self
            assert self.process is not None
            assert self.process.poll() is None, f"the worker ended: {self.log.read_text()}"
            time.sleep(0.1)
        raise AssertionError(f"not ready: {self.get('readyz')} {self.log.read_text()}")

    def get(self, path: str) -> Any:
        """Return the JSON (or the text) at a path of its web server, None when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=2) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        except (OSError, TimeoutError):
            return None
        return body.decode() if path == "metrics" else json.loads(body)

    def metric(self, name: str, label: str = "") -> float:
        """Return the sum of a metric over its labels, or over those with `label`, such as `result="fenced"`."""
        lines = (self.get("metrics") or "").splitlines()
        mine = [line for line in lines if line.startswith((f"{name} ", f"{name}{{")) and label in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in mine)

    def serves(self, tasks: int | None = None) -> bool:
        """Tell whether it says that all of its tasks serve (and that there are so many)."""
        found = self.get("readyz") or {"ready": False}
        return bool(found["ready"]) and (tasks is None or len(found["tasks"]) == tasks)

    @property
    def runs(self) -> bool:
        """Tell whether the process is there."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process is not None
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Stop its clock."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        self.thaw()
        self.signal(signal.SIGTERM)

    def stop(self) -> int:
        """Ask it to end; return its exit code, -9 when it did not end by itself."""
        assert self.process is not None
        self.terminate()
        try:
            return self.process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.runs:
            self.kill()


def journeys_of_customers(customers: int, seed: int = 1) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give (key, touchpoint as JSON) of the bank story for many customers, each in its own order, mixed."""
    chance = random.Random(seed)
    waiting: list[list[tuple[str, str, dict[str, Any], bool]]] = []
    for number in range(customers):
        customer, device = f"c-{seed}-{number}", f"d-{seed}-{number}"
        steps: list[tuple[str, dict[str, Any], bool]] = [
            ("consent_given", {"purpose": "personalisation"}, False),
            ("page_viewed", {"page": chance.choice(PAGES)}, False),
            ("page_viewed", {"page": "/credit-cards/gold"}, False),
            ("form_started", {"form": "credit-card"}, True),
            ("form_page_submitted", {"page_number": 1, "email": f"{customer}@example.com"}, True),
            ("form_left", {"form": "credit-card"}, True),
            ("form_submitted", {"form": "credit-card"}, True),
        ]
        waiting.append([(f"{customer}/{device}", kind, body, known) for kind, body, known in steps])
    count = 0
    while waiting:
        index = chance.randrange(len(waiting))
        ids, kind, body, known = waiting[index].pop(0)
        if not waiting[index]:
            waiting.pop(index)
        customer, device = ids.split("/")
        identifiers = {"device": device} | ({"customer": customer} if known else {})
        count += 1
        yield (
            device,
            {
                "event_id": f"e-{seed}-{count}",
                "type": kind,
                "channel": "web",
                "occurred_at": int(time.time() * 1000),
                "identifiers": identifiers,
                "properties": body,
            },
        )


def produce(bootstrap: str, topic: str, records: Iterable[tuple[str, Any]], rate: float | None = None) -> int:
    """Publish records (dicts as JSON, bytes as they are), `rate` a second at most; return how many."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    began, count = time.monotonic(), 0
    for count, (key, value) in enumerate(records, 1):
        producer.produce(topic, key=key, value=value if isinstance(value, bytes) else json.dumps(value).encode())
        producer.poll(0)
        if rate is not None:
            time.sleep(max(0.0, began + count / rate - time.monotonic()))
    assert producer.flush(30) == 0
    return count

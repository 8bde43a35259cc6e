"""One member of a supervised worker: a process like any worker's, tied to its supervisor by a line.

The line is a socket that the supervisor made. It says what was found when the installation was opened; the member
answers where its web server listens. When the line ends, the supervisor is gone, and the member stops in order.

`python -m streams.member NUMBER DESCRIPTOR` runs one; the supervisor is who calls it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from streams.opening import Opening
from streams.settings import Settings
from streams.worker import run_worker

if TYPE_CHECKING:
    from streams.health import Health

MARGIN = 5.0
"""Seconds that a member without supervisor has beyond POLKU_STOP_TIMEOUT, then it ends at once."""


class Line:
    """The member's end of the line."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._reader = self._socket.makefile("rb")

    def orders(self) -> dict[str, Any]:
        """Return what the supervisor says first: counts, topic_ids, and whether to serve health and metrics."""
        return dict(json.loads(self._reader.readline()))

    def tell_port(self, port: int | None) -> None:
        """Say where this member's web server listens."""
        self._socket.sendall(json.dumps({"port": port}).encode() + b"\n")

    def watch(self, stop_timeout: float) -> None:
        """End this process when the line does; a thread, so that a busy event loop does not keep it from that."""

        def end() -> None:
            self._reader.readline()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(stop_timeout + MARGIN)
            os._exit(1)

        threading.Thread(target=end, name="line", daemon=True).start()


def run_member(number: int, descriptor: int) -> int:
    """Run until SIGTERM, or until the supervisor is gone; return the process's exit code."""
    line = Line(descriptor)
    orders = line.orders()
    settings = Settings().model_copy(
        update={"web_host": "127.0.0.1", "web_port": 0 if orders["web"] else None, "definitions": None}
    )
    line.watch(settings.stop_timeout)

    def started(_: object, health: Health) -> None:
        line.tell_port(health.port)

    return run_worker(settings, started, Opening(orders["counts"], orders["topic_ids"]), member=number)


if __name__ == "__main__":
    sys.exit(run_member(int(sys.argv[1]), int(sys.argv[2])))

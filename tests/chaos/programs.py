"""What runs in the processes of a schedule, and what is changed in them from within before it does.

Polku itself knows nothing of a clock that is stepped, or of lanes that fence nobody.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
import time
from pathlib import Path
from typing import Any

from connectors.config import load
from connectors.run import run_sinks
from streams.settings import Settings
from streams.transactions import TransactionalLane
from streams.worker import run_worker

_OFFSET = struct.Struct("d")


def worker() -> int:
    """Run a worker with the environment's settings."""
    return run_worker(Settings())


def sinks() -> int:
    """Run the sinks of the environment's POLKU_SINKS."""
    settings = Settings()
    asyncio.run(run_sinks(load(Path(os.environ["POLKU_SINKS"])), settings.bootstrap, settings.prefix))
    return 0


class SteppedClock:
    """A wall clock that another process can step: `time.time` plus the seconds that stand in a file.

    What runs by `time.monotonic`, as time-outs do, is not touched; nor are clocks of the kernel and of libraries in C.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(_OFFSET.pack(0.0))

    def step(self, seconds: float) -> None:
        """Let the clock differ from the true one by `seconds` from now on."""
        with self.path.open("r+b") as file:
            file.write(_OFFSET.pack(seconds))

    def __call__(self) -> None:
        """Put it in place, in the process whose clock it is."""
        with self.path.open("rb") as file:
            shared = mmap.mmap(file.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)
        true_time, offset = time.time, _OFFSET.unpack_from
        time.time = lambda: true_time() + offset(shared)[0]


def without_fencing() -> None:
    """Give each process transactional ids of its own, so that no owner of a partition ends its predecessor's."""
    begin = TransactionalLane.__init__

    def unfenced(self: Any, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        self.transactional_id += f"-{os.getpid()}"

    TransactionalLane.__init__ = unfenced  # type: ignore[method-assign]

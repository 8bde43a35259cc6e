"""Programs of ours as processes that are forked from one which has imported everything: started in 20 ms, not 1 s.

Each is a process like any other: with settings, limits, log and signals of its own. `shims` run in it first, to change
what a test changes of its world: its clock, say.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

PRELOADED = ["streams.worker", "connectors.run", "tests.chaos.programs"]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)

Shim = Callable[[], None]


class Forked:
    """A program under way, with as much of the interface of subprocess.Popen as tests use."""

    def __init__(
        self, program: Callable[[], int], environment: Mapping[str, str], log: Path, shims: tuple[Shim, ...] = ()
    ) -> None:
        self._process = _context.Process(target=_run, args=(program, dict(environment), log, shims), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # its exit code is a moment later here than its end
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit code. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("forked", timeout or 0)
        return code


def _run(
    program: Callable[[], int], environment: dict[str, str], log: Path, shims: tuple[Shim, ...]
) -> None:  # pragma: no cover - in the child
    for name in [name for name in os.environ if name.startswith("POLKU_")]:
        del os.environ[name]
    os.environ.update(environment)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    for shim in shims:
        shim()
    sys.exit(program())

"""One worker of several processes: a supervisor opens the installation, starts the members and keeps them running.

Members are workers of one consumer group, each with its own folder beneath POLKU_DATA_DIR and its own name in the
group, so that one that was restarted gets its partitions back. The supervisor touches no partition: it restarts who
ends, passes signals on, and answers for all on one web address. When it dies itself, its members stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams import logs
from streams.catalogue import Catalogue
from streams.front import Front
from streams.metrics import SupervisorMetrics
from streams.opening import REFUSALS, open_installation, refused
from streams.settings import worker_name
from streams.topics import Topics

if TYPE_CHECKING:
    from streams.opening import Opening
    from streams.settings import Settings

BACKOFF = (0.5, 30.0)
"""Seconds until a member that ended is started again: the first time, and at most."""

STEADY = 60.0
"""A member that ran for so many seconds had recovered from what ended it before."""

NOT_AGAIN = 2
"""The exit code of who was given something wrong: starting it again would end the same way."""

log = logs.get("supervisor")


@dataclass(slots=True)
class Member:
    """One member: its process, if it runs, and where its web server listens, once it said so."""

    number: int
    process: asyncio.subprocess.Process | None = None
    port: int | None = None

    @property
    def runs(self) -> bool:
        """Tell whether its process is there."""
        return self.process is not None and self.process.returncode is None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.process.pid if self.process is not None and self.runs else None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process, if it runs."""
        if self.process is not None and self.runs:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


class Supervisor:
    """Keeps `count` members running until it is asked to stop."""

    def __init__(self, settings: Settings, count: int, opening: Opening) -> None:
        self._settings = settings
        self.members = [Member(number) for number in range(count)]
        self.metrics = SupervisorMetrics()
        self._orders = {
            "counts": opening.counts,
            "topic_ids": opening.topic_ids,
            "web": settings.web_port is not None,
        }
        self._stopping = asyncio.Event()
        self._signals: list[signal.Signals] = []

    def ask_to_stop(self, number: signal.Signals) -> None:
        """Let the members stop in order; asked again, end them at once."""
        self._signals.append(number)
        self._stopping.set()
        for member in self.members:
            member.signal(signal.SIGTERM if len(self._signals) == 1 else signal.SIGKILL)

    async def run(self) -> int:
        """Keep the members running until asked to stop; return the exit code, 0 when all ended in order."""
        keeping = [asyncio.create_task(self._keep(member)) for member in self.members]
        await self._stopping.wait()
        _, late = await asyncio.wait(keeping, timeout=self._settings.stop_timeout)
        for member in self.members:
            member.signal(signal.SIGKILL)
        if late:
            log.error("members did not stop in time and were ended", seconds=self._settings.stop_timeout)
        codes = await asyncio.gather(*keeping)
        if NOT_AGAIN in codes:
            return NOT_AGAIN
        if len(self._signals) > 1:
            return 128 + self._signals[-1]
        return int(any(codes))

    async def _keep(self, member: Member) -> int:
        """Start a member again and again; return the exit code with which it ended for good."""
        backoff = BACKOFF[0]
        while True:
            began = time.monotonic()
            code = await self._run_once(member)
            if self._stopping.is_set():
                return code
            if code == NOT_AGAIN:
                log.error("a member cannot go on; all stop", member=member.number)
                self.ask_to_stop(signal.SIGTERM)
                return code
            backoff = BACKOFF[0] if time.monotonic() - began > STEADY else backoff
            log.error("a member ended and is started again", member=member.number, ended=ending(code), seconds=backoff)
            self.metrics.restarts.labels(str(member.number)).inc()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff)
                return 0
            backoff = min(2 * backoff, BACKOFF[1])

    async def _run_once(self, member: Member) -> int:
        mine, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=mine)
        try:
            with theirs:
                member.process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-m", "streams.member", str(member.number), str(theirs.fileno())),
                    pass_fds=[theirs.fileno()],
                    env=self._environment(member),
                    stdin=asyncio.subprocess.DEVNULL,
                    process_group=0,  # Ctrl-C is the supervisor's to pass on
                )
            if self._stopping.is_set():  # asked while it was being started
                member.signal(signal.SIGTERM)
            writer.write(json.dumps(self._orders).encode() + b"\n")
            telling = asyncio.create_task(self._listen(member, reader))
            code = await member.process.wait()
            await telling
        finally:
            member.port = None
            writer.close()
        return code

    async def _listen(self, member: Member, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                member.port = json.loads(line)["port"]

    def _environment(self, member: Member) -> dict[str, str]:
        """A member's settings: the supervisor's, with its own folder, and its own name in the group."""
        settings = self._settings
        mine = {
            "data_dir": settings.data_dir / f"member-{member.number}",
            "instance": f"{settings.instance or worker_name()}-{member.number}",
            # A name that nobody chose is nobody's after the supervisor: leaving frees the partitions at once.
            "leave_on_stop": settings.leave_on_stop or settings.instance is None,
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith("POLKU_")}
        return others | settings.model_copy(update=mine).environment()


def ending(code: int) -> str:
    """Return in words how a process ended."""
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


async def supervise(settings: Settings) -> int:
    """Open the installation, and keep its members running until SIGTERM or SIGINT. Raises what REFUSALS names."""
    opening = await open_installation(settings)
    if opening.definitions:
        catalogue = Catalogue(settings, Topics.of(settings))
        try:
            await catalogue.start()
            await catalogue.publish(opening.definitions)
        finally:
            await catalogue.stop()
    supervisor = Supervisor(settings, settings.processes, opening)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.ask_to_stop, number)
    front = Front(settings, supervisor)
    await front.start()
    try:
        return await supervisor.run()
    finally:
        await front.stop()


def run_supervisor(settings: Settings) -> int:
    """Run POLKU_PROCESSES members until SIGTERM or SIGINT; return the process's exit code: 0 only for success."""
    logs.configure(settings.log_level)
    try:
        return asyncio.run(supervise(settings))
    except REFUSALS as error:
        return refused(error)

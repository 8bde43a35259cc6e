"""A network between workers and the broker that can be cut or slowed: a TCP proxy on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Coroutine
from enum import Enum
from typing import Any, Self, TypeVar

import uvloop

CHUNK = 1 << 18

T = TypeVar("T")


class Weather(Enum):
    """What the line does to what passes."""

    FINE = "fine"
    SLOW = "slow"  # every piece is held up
    SILENT = "silent"  # nothing passes and nobody is told; what was sent arrives when the line is back
    DOWN = "down"  # connections break, and new ones are refused


class Line:
    """Forwards the connections made to `port` to the port `target`; lives in the loop of a `Network`."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._weather = Weather.FINE
        self._delay = (0.0, 0.0)
        self._fine = asyncio.Event()
        self._fine.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more, and break every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()

    async def change(self, weather: Weather, delay: tuple[float, float] = (0.0, 0.0)) -> None:
        """Let another weather begin; `delay` is between what and what seconds a slow line holds a piece up."""
        if self._weather is Weather.DOWN and weather is not Weather.DOWN:
            await self.open()
        self._weather, self._delay = weather, delay
        if weather is Weather.DOWN:
            await self.close()
        if weather is Weather.SILENT:
            self._fine.clear()
        else:
            self._fine.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._fine.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self._target, limit=CHUNK)
        except OSError:
            self._writers.discard(writer)
            writer.transport.abort()
            return
        self._writers.add(back)
        try:
            await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))
        finally:
            for each in (writer, back):
                self._writers.discard(each)
                each.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(CHUNK):
                if self._weather is Weather.SLOW:
                    await asyncio.sleep(random.uniform(*self._delay))
                await self._fine.wait()
                writer.write(piece)
                await writer.drain()
        writer.transport.abort()


class Network:
    """Lines to the broker's listeners, each on a port of its own, in a thread of their own."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._lines: list[Line] = []

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something in the network's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def line(self, target: int) -> Line:
        """Open a line to the port `target`."""

        async def opened() -> Line:
            line = Line(target)
            await line.open()
            return line

        self._lines.append(self.run(opened()))
        return self._lines[-1]

    def change(self, line: Line, weather: Weather, delay: tuple[float, float] = (0.0, 0.0)) -> None:
        """Let another weather begin on a line."""
        self.run(line.change(weather, delay))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for line in self._lines:
            self.run(line.close())
        self.run(asyncio.sleep(0.05))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

"""When to try again: full jitter on a capped exponential, never before a Retry-After, and the pause of a dead channel.

Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from connectors.metrics import PAUSED


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between tries: uniform in [0, min(cap, base * 2**n)]. Nobody profits from synchronised retries."""

    base: float = 1.0
    cap: float = 60.0
    uniform: Callable[[float, float], float] = random.SystemRandom().uniform

    def seconds(self, failures: int, retry_after: float | None = None) -> float:
        """The wait after `failures` (from 1) failures; a `retry_after` is a floor, with the base as jitter on top."""
        if retry_after is not None:
            return retry_after + self.uniform(0, self.base)
        return self.uniform(0, min(self.cap, self.base * 2.0 ** min(failures - 1, 30)))


class Circuit:
    """Pauses a channel that is down: after `threshold` failures in a row single calls probe it, ever more rarely.

    `passed` counts the calls that reached the channel, by which an action can be told from a channel at fault.
    """

    def __init__(self, sink: str, backoff: Backoff, threshold: int = 3) -> None:
        self.passed = 0
        self._backoff = backoff
        self._threshold = threshold
        self._failures = 0
        self._until = 0.0
        self._probe = asyncio.Lock()
        self._up = asyncio.Event()
        self._up.set()
        self._paused = PAUSED.labels(sink)
        self._paused.set(0)

    @property
    def paused(self) -> bool:
        """Whether the channel is held to be down."""
        return not self._up.is_set()

    def reached(self) -> None:
        """A call got an answer of the channel."""
        self.passed += 1
        self._failures = 0
        self._until = 0.0
        self._up.set()
        self._paused.set(0)

    def failed(self, retry_after: float | None) -> float:
        """A call found the channel down; returns the seconds its action should wait.

        A channel that says how long it will be away is believed at once.
        """
        self._failures += 1
        wait = self._backoff.seconds(self._failures, retry_after)
        if self._failures >= self._threshold or retry_after is not None:
            self._until = max(self._until, time.monotonic() + wait)
            self._up.clear()
            self._paused.set(1)
        return wait

    async def enter(self, deadline: float) -> Probe | None:
        """Wait for leave to call, at most `deadline` seconds: None when it passed. Leave the probe when done."""
        try:
            async with asyncio.timeout(deadline):
                while not self._up.is_set():
                    await self._probe.acquire()
                    wait = self._until - time.monotonic()
                    if wait <= 0:
                        return Probe(self._probe)
                    self._probe.release()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._up.wait()
        except TimeoutError:
            return None
        return Probe(None)


class Probe:
    """Leave to call the channel; while it is down there is one at a time."""

    def __init__(self, lock: asyncio.Lock | None) -> None:
        self._lock = lock

    def leave(self) -> None:
        """The call is over."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

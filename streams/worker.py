"""Run a worker: preflight, definitions, Faust's app, health; a graceful stop on SIGTERM and SIGINT.

`python -m streams.worker` runs one with the environment's settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from typing import TYPE_CHECKING, Any

import uvloop

from streams import logs
from streams.app import build_app
from streams.catalogue import Catalogue
from streams.health import Health
from streams.metrics import Metrics
from streams.opening import REFUSALS, open_installation, refused
from streams.preflight import Preflight
from streams.registry import Registry
from streams.settings import Settings
from streams.shell import Shell
from streams.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.opening import Opening

# Records and states make no cycles: with Python's own thresholds the collector takes a seventh of the CPU (36 against
# 31 us per event, measured on the prototype).
GC_THRESHOLDS = (50_000, 50, 50)

say = logs.errors("worker")


class NameTaken(Exception):
    """Another process has joined the group under this one's name."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            f"another process has joined the group {settings.group} as {settings.instance}, and has this one's "
            "partitions now: give each worker a POLKU_INSTANCE of its own"
        )


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    started: Callable[[Shell, Health], None] | None = None,
    opening: Opening | None = None,
) -> None:
    """Serve until `stop` is set, then end gracefully: commit what was absorbed, and leave the group.

    Raises what REFUSALS names before anything is served, NameTaken when another process has taken this one's place in
    the group, and RuntimeError when Faust's app crashed. `opening` is what a supervisor found. `started` is called once
    the web server listens; partitions come a little later.
    """
    found = await open_installation(settings) if opening is None else opening
    topics, metrics, preflight = Topics.of(settings), Metrics(), Preflight(settings)
    preflight.topic_ids = found.topic_ids
    registry, catalogue = Registry(settings.schema_registry, topics), Catalogue(settings, topics)
    shell = Shell(settings, topics, metrics, catalogue, registry, preflight, found.counts)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    app = build_app(settings, shell)
    health = Health(shell)
    async with contextlib.AsyncExitStack() as stack:
        for service in (registry, catalogue, health, shell.frontier, shell.standbys):
            stack.push_async_callback(service.stop)
            await service.start()
        await catalogue.publish(found.definitions)
        stack.push_async_callback(app.stop)
        stack.push_async_callback(shell.tasks.finish)
        await start_app(app, stop)
        if started is not None:
            started(shell, health)
        while not (stop.is_set() or app.should_stop):
            if shell.consumer.thread.name_taken:
                raise NameTaken(settings)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.25)
    if app.crash_reason is not None and not stop.is_set():
        raise RuntimeError("the worker's Faust app crashed") from app.crash_reason


async def start_app(app: object, stop: asyncio.Event) -> None:
    """Start Faust's app; give up when `stop` is set before the group is joined."""
    starting = asyncio.ensure_future(app.start())  # type: ignore[attr-defined]  # faust's types are not exported
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        starting.result()
    else:
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting


def run_worker(
    settings: Settings,
    started: Callable[[Shell, Health], None] | None = None,
    opening: Opening | None = None,
    **said: Any,
) -> int:
    """Run a worker until SIGTERM or SIGINT; return the process's exit code: 0 only for success.

    2 means that starting it again would end the same way. `said` stands in every line of the log.
    """
    logs.configure(settings.log_level, **said)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)

    async def main() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            await serve(settings, stop, started, opening)
        except REFUSALS as error:
            return refused(error)
        except NameTaken as error:
            say("the worker ends", problem=str(error))
            return 2
        except RuntimeError as error:
            say("the worker has crashed", error=str(error.__cause__ or error))
            return 1
        return 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


if __name__ == "__main__":
    sys.exit(run_worker(Settings()))

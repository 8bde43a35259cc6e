"""Run a worker: preflight, definitions, Faust's app, health; a graceful stop on SIGTERM and SIGINT.

`python -m streams.worker` runs one with the environment's settings.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from typing import TYPE_CHECKING

import uvloop

from streams import logs
from streams.app import build_app
from streams.catalogue import Catalogue, Changed
from streams.checks import check
from streams.definitions import load
from streams.health import Health
from streams.metrics import Metrics
from streams.preflight import Preflight, PreflightError
from streams.problems import errors
from streams.registry import Registry
from streams.settings import Settings
from streams.shell import Shell
from streams.topics import CHANNELS, Topics

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.definitions import Definitions

# Records and states make no cycles: with Python's own thresholds the collector takes a seventh of the CPU (36 against
# 31 us per event, measured on the prototype).
GC_THRESHOLDS = (50_000, 50, 50)

say = logs.get("worker").error


class DefinitionsRefused(Exception):
    """The folder of definitions has errors; the message lists them."""


async def serve(
    settings: Settings, stop: asyncio.Event, started: Callable[[Shell, Health], None] | None = None
) -> None:
    """Serve until `stop` is set, then end gracefully: commit what was absorbed, and leave the group.

    Raises PreflightError, Changed or DefinitionsRefused before anything is served, and RuntimeError when Faust's app
    crashed. `started` is called once the app runs; partitions come a little later.
    """
    definitions = read_definitions(settings)
    topics, metrics = Topics.of(settings), Metrics()
    preflight = Preflight(settings)
    channels = dict.fromkeys(CHANNELS)
    if definitions is not None and definitions.policy is not None:
        channels |= dict.fromkeys(definitions.policy.model.channels)
    counts = await preflight.run(channels)
    registry, catalogue = Registry(settings.schema_registry, topics), Catalogue(settings, topics.definitions)
    shell = Shell(settings, topics, metrics, catalogue, registry, preflight, counts)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    app = build_app(settings, shell)
    health = Health(shell)
    async with contextlib.AsyncExitStack() as stack:
        for service in (registry, catalogue, health, shell.frontier):
            stack.push_async_callback(service.stop)
            await service.start()
        if definitions is not None:
            await catalogue.publish([*definitions.journeys, *filter(None, [definitions.policy])])
        stack.push_async_callback(app.stop)
        stack.push_async_callback(shell.tasks.finish)
        await start_app(app, stop)
        if started is not None:
            started(shell, health)
        while not (stop.is_set() or app.should_stop):
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


def read_definitions(settings: Settings) -> Definitions | None:
    """Return the folder's definitions, None when no folder is set. Raises DefinitionsRefused."""
    if settings.definitions is None:
        return None
    definitions = load(settings.definitions)
    if found := errors(check(definitions)):
        raise DefinitionsRefused("\n".join(str(problem) for problem in found))
    return definitions


def run_worker(settings: Settings) -> int:
    """Run a worker until SIGTERM or SIGINT; return the process's exit code: 0 only for success."""
    logs.configure(settings.log_level)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)

    async def main() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            await serve(settings, stop)
        except PreflightError as error:
            for finding in error.findings:
                say("the worker does not start", problem=finding.problem, way_out=finding.way_out)
            return 1
        except (Changed, DefinitionsRefused) as error:
            say("the worker does not start", problem=str(error))
            return 2
        except RuntimeError as error:
            say("the worker has crashed", error=str(error.__cause__ or error))
            return 1
        return 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


if __name__ == "__main__":
    sys.exit(run_worker(Settings()))

"""Running the sinks of a connectors.yaml, with /healthz and /metrics beside them. `polku sinks` is this."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from connectors.config import Config, MetricsSettings, make
from connectors.delivery import Delivery
from connectors.kafka import KafkaBroker
from connectors.names import Names
from connectors.sink import Sink
from connectors.standing import Standing

log = structlog.get_logger("polku.sinks")

Runtime = Delivery | Standing


async def run_sinks(
    config: Config,
    bootstrap: str,
    prefix: str = "",
    *,
    stop: asyncio.Event | None = None,
    only: Iterable[str] | None = None,
    kafka: Mapping[str, Any] | None = None,
    embedded: bool = False,
) -> None:
    """Run all sinks of `config`, or those named in `only`, until `stop` is set or one of them cannot go on.

    `kafka` holds aiokafka's options for the connection, `embedded` says that it is to the embedded broker. A sink that
    cannot go on (OffsetOutsideLog, TopicMismatch, a port taken) ends all: whoever restarts the process restarts all of
    them. On `stop`, without one on SIGTERM or SIGINT, calls under way are waited for.
    """
    if stop is None:
        stop = asyncio.Event()
        _stop_on_signals(stop)
    broker = KafkaBroker(bootstrap, kafka, embedded=embedded)
    names = list(config.sinks) if only is None else [name for name in config.sinks if name in set(only)]
    runtimes = [runtime(config, name, make(config, name), broker, prefix) for name in names]
    server = await serve(config.metrics, runtimes)
    tasks = [asyncio.create_task(one.run(stop), name=one.name) for one in runtimes]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        stop.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.cleanup()
        await broker.close()


def _stop_on_signals(stop: asyncio.Event) -> None:
    """The first SIGTERM or SIGINT stops in an orderly way, a second one at once."""
    loop = asyncio.get_running_loop()

    def told() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)


def runtime(config: Config, name: str, sink: Sink, broker: KafkaBroker, prefix: str) -> Runtime:
    """The runtime that a sink needs."""
    terms = config.sinks[name].terms(name)
    topics = Names(prefix, config.channel(name))
    return Standing(sink, terms, topics, broker) if sink.standing else Delivery(sink, terms, topics, broker)


async def serve(settings: MetricsSettings, runtimes: list[Runtime]) -> web.AppRunner:
    """Serve /healthz (200 unless a sink has stopped), /readyz (200 when all serve) and /metrics."""

    def states() -> dict[str, str]:
        return {one.name: one.state for one in runtimes}

    async def health(request: web.Request) -> web.Response:
        found = states()
        return web.json_response({"sinks": found}, status=503 if "stopped" in found.values() else 200)

    async def ready(request: web.Request) -> web.Response:
        found = states()
        return web.json_response({"sinks": found}, status=200 if set(found.values()) <= {"serving", "paused"} else 503)

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application(client_max_size=1024)
    app.router.add_get("/healthz", health)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, settings.host, settings.port).start()
    return runner

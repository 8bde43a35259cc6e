"""Commands that run something: demo, worker, sinks."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from streams.commands_definitions import Bootstrap, Json, Prefix
from streams.terminal import UsageError, command, err


def register(app: typer.Typer) -> None:
    """Add these commands."""
    command(app)(demo)
    command(app)(worker)
    command(app)(sinks)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="leave everything running and print the addresses")] = False,  # noqa: FBT002 - an option, named where it is used
    json: Json = False,  # noqa: FBT002 - as above
) -> None:
    """Play the bank card story on this machine.

    End to end, with a broker, a worker, the sinks, a mail server and a web server; no network. Exit code 1 when a step
    does not arrive.

    Example: polku demo
    Example: polku demo --keep
    """
    from streams.demo import Demo  # noqa: PLC0415 - imports servers that only the demo needs

    if not Demo(keep=keep, json=json).play():
        raise typer.Exit(1)


def worker(  # noqa: PLR0913, PLR0917 - a parameter for each flag
    definitions: Annotated[
        Path | None, typer.Option("--definitions", "-d", help="folder of definitions to publish at start")
    ] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    embedded: Annotated[  # noqa: FBT002 - an option, named where it is used
        bool, typer.Option("--embedded", help="with a broker of its own, in memory: for trying things out")
    ] = False,
    port: Annotated[
        int | None, typer.Option("--port", help="with --embedded: the broker's port; else any free one")
    ] = None,
    guarantee: Annotated[
        str | None, typer.Option("--guarantee", help="exactly_once (default) or at_least_once")
    ] = None,
    web_port: Annotated[int | None, typer.Option("--web-port", help="port of /healthz, /readyz and /metrics")] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, max=256, help="members, each a process; about one a core")
    ] = None,
) -> None:
    """Run a worker: router and journeys.

    Settings are environment variables POLKU_*; flags come before them. It ends on SIGTERM and Ctrl-C. With several
    processes, one that ends is started again, and one address answers for all.

    Example: polku worker --embedded -d seeds
    Example: POLKU_BOOTSTRAP=kafka:9092 polku worker -d seeds
    Example: polku worker -d seeds --processes 4
    """
    from streams.commands_kafka import settings_of  # noqa: PLC0415 - these imports take half a second that --help
    from streams.devbroker import EmbeddedBroker  # noqa: PLC0415 - and the other commands need not pay

    if definitions is not None and not definitions.is_dir():
        raise UsageError(f"--definitions {definitions}: there is no such folder")
    given = {"definitions": definitions, "prefix": prefix, "web_port": web_port, "guarantee": guarantee}
    settings = settings_of(bootstrap=bootstrap, processes=processes, **given)
    if settings.processes > 1:
        if embedded or not settings.exactly_once:
            raise UsageError("--processes needs a broker with transactions: at_least_once is for one process")
        from streams.supervisor import run_supervisor  # noqa: PLC0415 - as above

        raise typer.Exit(run_supervisor(settings))
    from streams.worker import run_worker  # noqa: PLC0415 - as above; a supervisor needs no Faust

    if not embedded:
        raise typer.Exit(run_worker(settings))
    if bootstrap is not None:
        raise UsageError("--embedded brings its own broker; leave out --bootstrap, or --embedded")
    with EmbeddedBroker(port) as broker:
        err.print(f"embedded broker at {broker.bootstrap}; it forgets everything when this ends")
        code = run_worker(settings_of(bootstrap=broker.bootstrap, **(given | {"guarantee": "at_least_once"})))
    raise typer.Exit(code)


def sinks(
    config: Annotated[Path, typer.Option("--config", "-c", help="what connects to what: see seeds/connectors.yaml")],
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    embedded: Annotated[  # noqa: FBT002 - an option, named where it is used
        bool, typer.Option("--embedded", help="the broker is the embedded one: no idempotent producers, no compaction")
    ] = False,
) -> None:
    """Run the sinks: they deliver actions to channels.

    And report what became of them as outcomes.

    Example: polku sinks --config seeds/connectors.yaml
    """
    from connectors.config import ConfigError, load  # noqa: PLC0415 - only this command needs the connectors
    from connectors.run import run_sinks  # noqa: PLC0415 - as above
    from streams.commands_kafka import settings_of  # noqa: PLC0415 - as above

    settings = settings_of(bootstrap=bootstrap, prefix=prefix)
    try:
        loaded = load(config)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{config}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{config}: not YAML: {error}") from None
    options = {name: value for name, value in settings.aiokafka().items() if name != "bootstrap_servers"}
    asyncio.run(run_sinks(loaded, settings.bootstrap, settings.prefix, kafka=options, embedded=embedded))

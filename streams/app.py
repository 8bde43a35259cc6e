"""The map of a worker: which topics, table, agents and services there are, and how they hang together.

    touchpoints, outcomes ── router agent ──► journal ── journeys agent ──► actions.*, decisions, ...
                             RouterTask                  JourneysTask, profiles table

Agents only hand each fetch to the task of its partition; everything else is the tasks'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import faust
from yarl import URL

from streams.journeys import JourneysTask
from streams.marks import Frontier
from streams.router import RouterTask
from streams.shell import Shell
from streams.standby import Standbys
from streams.tables import ProfilesTable, TableManager
from streams.tasks import Tasks
from streams.transport import BatchSchema, register

if TYPE_CHECKING:
    from streams.settings import Settings

# The consumer's thread must never look idle to itself: a partition may wait long for a schema.
POLL_INTERVAL = 86_400.0


class Worker(faust.App):
    """Faust's App with those of the shell's things that its parts look for."""

    polku_settings: Settings
    polku_tasks: Tasks
    polku_standbys: Standbys
    polku_journal: str
    polku_receivers: tuple[Any, ...]


def build_app(settings: Settings, shell: Shell) -> Worker:
    """Wire topics, table, agents and tasks together; nothing connects before the app starts."""
    topics = shell.topics
    app = Worker(
        settings.group,
        broker=[URL(f"{register()}://{address.strip()}") for address in settings.bootstrap.split(",")],
        broker_credentials=_credentials(settings),
        store="memory://",
        datadir=str(settings.data_dir),
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_partitions=settings.journal_partitions,
        table_standby_replicas=settings.standbys,
        stream_wait_empty=False,
        broker_session_timeout=settings.session_timeout,
        broker_heartbeat_interval=settings.heartbeat_interval,
        broker_max_poll_interval=POLL_INTERVAL,
        broker_request_timeout=max(10.0, settings.session_timeout + 1.0),
        TableManager=TableManager,
    )
    app.polku_settings = settings
    shell.app = app
    shell.table = ProfilesTable(
        app, topic=topics.changelog, settings=settings, topic_id=shell.preflight.topic_ids.get(topics.changelog, "")
    )
    app.tables.add(shell.table)
    kinds: dict[str, Any] = dict.fromkeys(topics.origins, RouterTask) | {topics.journal: JourneysTask}
    shell.tasks = app.polku_tasks = Tasks(shell, kinds)
    shell.frontier = Frontier(shell)
    shell.standbys, app.polku_journal = Standbys(shell), topics.journal
    app.polku_standbys = shell.standbys

    async def router(stream: Any) -> None:
        async for event in stream.events():
            shell.tasks.deliver(event.value)

    async def journeys(stream: Any) -> None:
        async for event in stream.events():
            shell.tasks.deliver(event.value)

    def fetches(*names: str) -> Any:
        return app.topic(*names, schema=BatchSchema(), acks=False)

    app.agent(fetches(*topics.origins), name="router", concurrency=1)(router)
    app.agent(fetches(topics.journal), name="journeys", concurrency=1)(journeys)

    @app.on_partitions_revoked.connect
    async def revoked(*_: Any, **__: Any) -> None:
        await shell.tasks.revoked()

    @app.on_rebalance_complete.connect
    async def joined(*_: Any, **__: Any) -> None:
        shell.joined = True
        shell.metrics.rebalances.inc()

    # Signals hold their receivers weakly.
    app.polku_receivers = (revoked, joined)
    return app


def _credentials(settings: Settings) -> Any:
    # For Faust's own producer, which sends nothing here but connects; the consumer's are in the transport.
    if settings.sasl_username is None or settings.sasl_password is None:
        return faust.SSLCredentials(context=settings.ssl_context()) if settings.ssl_context() else None
    return faust.SASLCredentials(
        username=settings.sasl_username,
        password=settings.sasl_password.get_secret_value(),
        mechanism=settings.sasl_mechanism,
        ssl_context=settings.ssl_context(),
    )

"""The mini bank journey in stock Faust, as its documentation shows it: an agent over a topic and a table in RocksDB.

    python -m tests.benchmarks.faust_bank --bootstrap ... --topic ... --events N

Timed as the other programs: from the start of the first event's processing to the end of the last one's.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import shutil
import sys
import tempfile
import time
from typing import Any

import fastavro
import faust
from confluent_kafka.admin import AdminClient, NewTopic

from tests.benchmarks import peers

PARTITIONS = 4
SEEN, TIMERS, TIMER = 16, 5, 1_800_000
NEW: dict[str, Any] = {"stage": "new", "count": 0, "last": 0, "timers": [], "seen": [], "shown": False}


class Bank:
    """The state of all customers, and the clock."""

    def __init__(self, app: faust.App, events: int, schema: Any, actions: str) -> None:
        self.app, self.events, self.schema = app, events, schema
        self.done = self.emitted = 0
        self.began = self.ended = (0.0, 0.0)
        self.customers = app.Table("customers", partitions=PARTITIONS)
        self.actions = app.topic(actions, value_serializer="json", key_serializer="raw")

    async def take(self, key: bytes, value: bytes) -> None:
        """Apply one event."""
        if not self.done:
            self.began = time.perf_counter(), time.process_time()
        event: Any = fastavro.schemaless_reader(io.BytesIO(value), self.schema)
        customer = key.decode()
        known: Any = self.customers.get(customer)
        state: dict[str, Any] = dict(known or NEW)
        action = apply(state, event)
        self.customers[customer] = state
        if action is not None:
            self.emitted += 1
            sent = {"customer_id": customer, "action": action, "event_id": event["event_id"], "at": state["last"]}
            await self.actions.send(key=key, value=sent)
        self.done += 1
        if self.done == self.events:
            self.ended = time.perf_counter(), time.process_time()
            self.app._crash(KeyboardInterrupt())


def apply(state: dict[str, Any], event: dict[str, Any]) -> str | None:
    """Change a customer's state; return the action, if any."""
    if event["event_id"] in state["seen"]:
        return None
    state["seen"] = [*state["seen"], event["event_id"]][-SEEN:]
    state["count"] += 1
    state["last"] = event["occurred_at"]
    match event["type"]:
        case "form_started":
            state["stage"] = "applying"
            state["timers"] = [*state["timers"], state["last"] + TIMER][-TIMERS:]
        case "form_submitted":
            state["stage"], state["timers"] = "done", []
        case "form_abandoned" if state["stage"] == "applying":
            return "remind"
        case "page_viewed" if state["count"] > 1 and not state["shown"]:
            if str(event["properties"].get("page", "")).startswith("/credit-cards"):
                state["shown"] = True
                return "show_banner"
    return None


def main() -> int:
    """Run until all events are processed, and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--app-id", required=True)
    arguments = parser.parse_args()
    folder = peers.folder()
    assert folder is not None
    actions = f"{arguments.app_id}-actions"
    admin = AdminClient({"bootstrap.servers": arguments.bootstrap})
    names = [actions, f"{arguments.app_id}-customers-changelog"]
    for made in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        made.result(30)
    data = tempfile.mkdtemp(prefix="peer-faust-state-")
    app = faust.App(
        arguments.app_id,
        broker=f"aiokafka://{arguments.bootstrap}",
        store="rocksdb://",
        datadir=data,
        web_enabled=False,
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        stream_wait_empty=False,
        broker_session_timeout=6,
        broker_heartbeat_interval=1,
        value_serializer="raw",
        key_serializer="raw",
    )
    bank = Bank(app, arguments.events, peers.schema(folder), actions)

    async def agent(stream: Any) -> None:
        async for key, value in stream.items():
            await bank.take(key, value)

    app.agent(app.topic(arguments.topic, key_type=bytes, value_type=bytes))(agent)
    with contextlib.suppress(SystemExit):
        faust.Worker(app, loglevel="ERROR", override_logging=False).execute_from_commandline()
    shutil.rmtree(data, ignore_errors=True)
    seconds, cpu = (end - start for end, start in zip(bank.ended, bank.began, strict=True))
    found = {
        "peer": "faust",
        "guarantee": "at-least-once",
        "events": bank.events,
        "seconds": round(seconds, 3),
        "events_per_s": round(bank.events / seconds),
        "cpu_us_per_event": round(cpu / bank.events * 1e6, 2),
        "actions": bank.emitted,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

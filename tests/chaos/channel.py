"""Channel systems and the sinks that deliver to them: a server that remembers every call, and a process to kill."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from pathlib import Path

from aiohttp import web

from schemas.action import Action
from schemas.codec import decode_action, decode_outcome
from streams.records import read
from streams.settings import Settings
from streams.topics import Topics
from tests.chaos.network import Network
from tests.chaos.programs import sinks
from tests.support.forked import Forked
from tests.support.installation import until

SECRET = "a-secret-of-tests-only"
ANSWERS_AFTER = 0.005  # seconds that a call takes
CALL_WITHIN = 60.0
SETTLED_WITHIN = 600.0
STUCK_AFTER = 60.0  # without a new outcome; a busy machine takes its time, but gets on
QUIET = 4.0  # seconds; the journeys' longest time before something is sent is two, and marks come each second
HONOURS_KEYS = {"ads": True, "email": False, "sms": False}
# What a call may have come before, and what none comes after.
WITHOUT_CALL = {"withdrawn", "expired", "suppressed", "uncertain"}

CONFIG = """\
site: http://bank.example
links: {{secrets: [{secret}]}}
templates: {templates}
metrics: {{port: 0}}
sinks:
"""
SINK = """\
  {name}: {{type: webhook, url: "http://127.0.0.1:{port}/{name}", honours_keys: {keys}, concurrency: 32}}
"""


class Channels:
    """An HTTP server that takes the actions of every channel. `calls`: by action id, the bodies that came."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.calls: dict[str, list[bytes]] = defaultdict(list)
        self.under_way = 0
        self.port = 0
        self._answering = asyncio.Event()
        self._answering.set()
        self._runner: web.AppRunner | None = None

    async def _post(self, request: web.Request) -> web.Response:
        self.calls[request.headers["Idempotency-Key"]].append(await request.read())
        self.under_way += 1
        try:
            await asyncio.sleep(ANSWERS_AFTER)
            await self._answering.wait()
        finally:
            self.under_way -= 1
        return web.Response(status=204)

    def start(self) -> None:
        """Listen on a free port."""

        async def listen() -> None:
            app = web.Application()
            app.router.add_post("/{channel}", self._post)
            self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", 0).start()
            self.port = self._runner.addresses[0][1]

        self._network.run(listen())

    def answer(self, *, calls: bool) -> None:
        """Answer calls, or leave them open until told otherwise."""

        async def change() -> None:
            (self._answering.set if calls else self._answering.clear)()

        self._network.run(change())

    def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            self._network.run(self._runner.cleanup())


class Sinks:
    """The sinks' process, and the channel systems on its other side."""

    def __init__(self, network: Network, settings: Settings, folder: Path, templates: Path) -> None:
        self.channels = Channels(network)
        self._settings, self._folder, self._templates = settings, folder, templates
        self._process: Forked | None = None

    def start(self) -> None:
        """Start the process, and the channel systems if they are not there yet."""
        config = self._folder / "connectors.yaml"
        if not self.channels.port:
            self.channels.start()
            text = CONFIG.format(secret=SECRET, templates=self._templates)
            for name, keys in HONOURS_KEYS.items():
                text += SINK.format(name=name, port=self.channels.port, keys=str(keys).lower())
            config.write_text(text)
        settings = self._settings
        environment = {"BOOTSTRAP": settings.bootstrap, "PREFIX": settings.prefix, "SINKS": str(config)}
        self._process = Forked(
            sinks, {f"POLKU_{name}": value for name, value in environment.items()}, self._folder / "sinks.log"
        )

    def kill(self) -> None:
        """End the process as `kill -9` does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def kill_in_a_call(self) -> int:
        """End it while calls have been received and not been answered; return how many."""
        self.channels.answer(calls=False)
        until(lambda: self.channels.under_way, CALL_WITHIN, lambda: "a call of the sinks", self._runs)
        found = self.channels.under_way
        self.kill()
        self.channels.answer(calls=True)
        return found

    def _runs(self) -> None:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "sinks.log").read_text()[-3000:]

    def stop(self) -> int:
        """Ask the process to end; return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(30)

    def close(self) -> None:
        """Be done with all of it."""
        if self._process is not None:
            self.kill()
        self.channels.stop()

    def settle(self) -> None:
        """Wait until every action of these channels has an outcome, and none has come for a while."""
        last, since, got_on = (-1, -1), time.monotonic(), time.monotonic()

        def settled() -> bool:
            nonlocal last, since, got_on
            time.sleep(0.3)  # reading it all takes as long
            actions, outcomes = _published(self._settings)
            found, now = (len(actions), len(outcomes)), time.monotonic()
            if found != last:
                last, got_on = found, now
            left = len(actions.keys() - outcomes.keys())
            if left or got_on == now:
                since = now
            assert now - got_on < STUCK_AFTER or not left, f"{left} actions get no outcome any more"
            return now - since > QUIET

        until(settled, SETTLED_WITHIN, lambda: "an outcome for every action", self._runs)

    def judge(self) -> int:
        """Raise AssertionError unless the promise to channels was kept; return the number of calls."""
        actions, outcomes = _published(self._settings)
        calls = self.channels.calls
        assert calls.keys() <= actions.keys(), "calls for actions that were never published"
        for action_id, action in actions.items():
            bodies, kinds = calls.get(action_id, []), outcomes[action_id]
            assert bodies or kinds & WITHOUT_CALL, f"{action_id} was never delivered: {kinds}"
            assert len(set(bodies)) <= 1, f"{action_id} was delivered with different bytes"
            repeatable = HONOURS_KEYS[action.channel] or action.if_uncertain == "repeat"
            assert repeatable or len(bodies) <= 1, f"{action_id} was delivered {len(bodies)} times"
        return sum(map(len, calls.values()))


def _published(settings: Settings) -> tuple[dict[str, Action], dict[str, set[str]]]:
    """The actions of these channels by id, and the kinds of their outcomes."""
    topics = Topics.of(settings)
    actions = {
        action.action_id: action
        for name in HONOURS_KEYS
        for action in (decode_action(record.value, record.headers) for record in read(settings, topics.actions(name)))
    }
    outcomes: dict[str, set[str]] = defaultdict(set)
    for record in read(settings, topics.outcomes):
        outcome = decode_outcome(record.value, record.headers)
        outcomes[outcome.action_id].add(outcome.kind)
    return actions, outcomes

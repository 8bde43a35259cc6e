"""Channel systems for the contract suite: each sink beside the real server that it talks to."""

from __future__ import annotations

import asyncio
import contextlib
import email
import json
from collections.abc import AsyncIterator, Callable
from email.message import Message
from email.policy import default
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from connectors.links import Links
from connectors.sink import Sink
from connectors.sinks.email import EmailSettings, EmailSink, Tls
from connectors.sinks.web import WebSettings, WebSink
from connectors.sinks.webhook import WebhookSettings, WebhookSink
from connectors.templates import Templates
from schemas.action import Action

SECRET = "a-secret-of-tests-only"
SIGNING = "whsec_" + "QUFB" * 10
TEMPLATE = """Subject: Go on, {{ traits.first_name | default: 'friend' }}

Page {{ params.page }}: {{ link | default: 'no link' }}
"""


class Mood(Enum):
    """How a channel system takes the next call."""

    FINE = "fine"
    BUSY = "busy"  # try this one again
    DOWN = "down"  # everybody is turned away
    REFUSES = "refuses"  # this one never
    SILENT = "silent"  # takes it, and cuts the line without an answer


def links() -> Links:
    """Return links of a sample site."""
    return Links("https://bank.example", [SECRET], 3600.0)


def cut(transport: asyncio.BaseTransport | None) -> None:
    """Cut a line, if it still stands."""
    if isinstance(transport, asyncio.Transport):
        transport.abort()


class Channel:
    """A channel system: `moods` are for the next calls, `received` are the ids of the actions it took, in order."""

    name = ""
    moods_known: tuple[Mood, ...] = (Mood.FINE,)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.moods: list[Mood] = []
        self.received: list[str] = []
        self.port = 0
        (folder / "resume-application.email.liquid").write_text(TEMPLATE)

    def mood(self) -> Mood:
        """How the next call is taken."""
        return self.moods.pop(0) if self.moods else Mood.FINE

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Run the server, on the same port each time."""
        yield

    def sink(self) -> Sink:
        """Return a sink that talks to this channel."""
        raise NotImplementedError

    async def seen(self, sink: Any, action: Action) -> None:
        """Let the customer see, where that is what receives."""


class Mail(Channel):
    """An SMTP server."""

    name = "email"
    moods_known = tuple(Mood)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.messages: list[Message] = []
        self.recipients: list[str] = []
        self._taken: dict[Envelope, Mood] = {}

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:  # noqa: N802
        """Answer RCPT; the mood is decided here, and kept for DATA."""
        mood = self._taken[envelope] = self.mood()
        if mood is Mood.BUSY:
            return "451 4.7.1 greylisted, ann@example.org"
        if mood is Mood.DOWN:
            return "421 4.3.2 shutting down"
        if mood is Mood.REFUSES:
            return f"550 5.1.1 <{address}> unknown"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take the mail."""
        message = email.message_from_bytes(envelope.original_content or b"", policy=default)
        self.messages.append(message)
        self.recipients += envelope.rcpt_tos
        self.received.append(message["Message-ID"].strip("<>").rpartition("@")[0])
        if self._taken.pop(envelope) is Mood.SILENT:
            cut(server.transport)
        return "250 OK"

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Run an SMTP server in this loop."""
        loop = asyncio.get_running_loop()
        sessions: list[SMTP] = []

        def made() -> SMTP:
            sessions.append(SMTP(self, hostname="mail.example", loop=loop))
            return sessions[-1]

        server = await loop.create_server(made, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for session in sessions:
                cut(session.transport)
            await server.wait_closed()
            await asyncio.sleep(0.01)

    def sink(self) -> EmailSink:
        """Return a sink for this server."""
        settings = EmailSettings.model_validate(
            {
                "type": "email",
                "host": "127.0.0.1",
                "port": self.port or 1,
                "tls": Tls.NONE,
                "from": "The Bank <no-reply@bank.example>",
                "unsubscribe": "https://bank.example/u/{action_id}",
                "timeout": "2s",
            }
        )
        return EmailSink(settings, Templates(self.folder, "email"), links())


class Hook(Channel):
    """An HTTP server that takes webhooks, without or with idempotency keys."""

    name = "webhook"
    moods_known = tuple(Mood)
    keys = False
    answers: ClassVar[dict[Mood, int]] = {Mood.FINE: 204, Mood.BUSY: 500, Mood.DOWN: 503, Mood.REFUSES: 422}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.retry_after: str | None = None

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        mood = self.mood()
        self.requests.append((dict(request.headers), body))
        if mood in (Mood.FINE, Mood.SILENT):
            found = json.loads(body)
            key = request.headers["Idempotency-Key"]
            if not self.keys or key not in self.received:
                self.received.append(found["data"]["action_id"])
        if mood is Mood.SILENT:
            cut(request.transport)
        extra = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        return web.Response(status=self.answers.get(mood, 204), headers=extra)

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Run an HTTP server in this loop."""
        app = web.Application()
        app.router.add_post("/hook", self._post)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()

    def sink(self) -> WebhookSink:
        """Return a sink for this server."""
        settings = WebhookSettings.model_validate(
            {
                "type": "webhook",
                "url": f"http://127.0.0.1:{self.port or 1}/hook",
                "honours_keys": self.keys,
                "withdrawals": self.keys,
                "addressing": not self.keys,
                "secret": SIGNING,
                "timeout": "2s",
            }
        )
        return WebhookSink(settings, Templates(self.folder, "webhook"), links())


class KeyedHook(Hook):
    """One that does what it gets with a known key once only."""

    name = "webhook with keys"
    keys = True


class Page(Channel):
    """A web page that asks the web sink."""

    name = "web"

    def sink(self) -> WebSink:
        """Return a sink that listens on a free port."""
        return WebSink(WebSettings(type="web", port=0), links())

    async def seen(self, sink: WebSink, action: Action) -> None:
        """Ask what to show."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{sink.port}/v1/web/{action.profile}") as response,
        ):
            shown = [found["action_id"] for found in (await response.json())["actions"]]
            if action.action_id in shown:
                self.received.append(action.action_id)


CHANNELS: dict[str, Callable[[Path], Channel]] = {one.name: one for one in (Mail, Hook, KeyedHook, Page)}


def that_can_be(mood: Mood) -> list[str]:
    """Return the names of the channels that know a mood: a page that asks cannot be down."""
    return [name for name, one in CHANNELS.items() if mood in one.moods_known]  # type: ignore[attr-defined]

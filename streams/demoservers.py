"""The demo's other side: a mail server and a receiving web server that keep what reaches them."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from aiosmtpd.controller import Controller

from streams.devbroker import free_port

MAX_BODY = 1 << 20


@dataclass(slots=True)
class Inbox:
    """Everything that reached the other side."""

    mails: list[tuple[list[str], str]] = field(default_factory=list)
    posts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def mail_to(self, address: str) -> str | None:
        """The text of the newest mail to an address."""
        return next((text for to, text in reversed(self.mails) if address in to), None)

    def posted(self, path: str, word: str) -> dict[str, Any] | None:
        """The first thing posted to a path that says `word`."""
        return next((body for where, body in self.posts if where == path and word in json.dumps(body)), None)


class MailServer:
    """SMTP on loopback."""

    def __init__(self, inbox: Inbox) -> None:
        """Mails go to `inbox`."""
        self.port = free_port()
        self._inbox = inbox
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep a mail."""
        message = message_from_bytes(envelope.content, policy=policy.default)
        body = message.get_body(("plain",))
        self._inbox.mails.append((list(envelope.rcpt_tos), str(body.get_content()) if body is not None else ""))
        return "250 kept"

    def __enter__(self) -> Self:
        """Start."""
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._controller.stop()


class WebServer:
    """HTTP on loopback: keeps what is posted."""

    def __init__(self, inbox: Inbox) -> None:
        """Bodies go to `inbox`."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(inbox))
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(inbox: Inbox) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MAX_BODY))
            inbox.posts.append((self.path, json.loads(body or b"{}")))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler

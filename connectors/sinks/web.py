"""The web channel: an HTTP server that a site asks what to show a visitor, and where an opened link resumes.

    GET  /v1/web/{kind:id}[?slot=]                   what to show this visitor now, one action per slot
    POST /v1/web/{kind:id}/{action_id}/clicked       the visitor followed it (outcome `clicked`)
    GET  /v1/resume/{token}[?visitor=kind:id]        where a link resumes; 403 not theirs or not ours, 410 too old

The first showing is the delivery: the outcome `delivered` is written then, once. Every instance of this sink knows
every standing action, so any of them can answer. It listens on loopback unless told otherwise; whoever may ask can ask
about anyone, so it belongs behind the site's own server, or `kinds` limits it to identifiers that cannot be guessed.
"""

from __future__ import annotations

import asyncio
import hmac
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field, SecretStr

from connectors.board import Board, slot_of
from connectors.handling import now_ms
from connectors.links import ExpiredLink, LinkError, Links
from connectors.settings import SinkSettings
from connectors.sink import Context, Delivery
from schemas.action import Action, Withdrawal
from schemas.identifiers import IdentifierError, normalise

MAX_BODY = 4096
MAX_KIND = 64


class WebSettings(SinkSettings):
    """Where to listen, which origins' pages may ask, by which kinds of identifier, and with which bearer token."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8071
    origins: list[str] = Field(default_factory=list)
    kinds: list[str] | None = None
    token: SecretStr | None = None


class WebSink:
    """Answers what to show a visitor."""

    honours_keys = True
    addressing = False
    standing = True
    retracts = True

    def __init__(self, settings: WebSettings, links: Links) -> None:
        self._settings = settings
        self._links = links
        self._context = Context()
        self._board = Board()
        self._runner: web.AppRunner | None = None
        self._reports: set[asyncio.Task[None]] = set()
        self.port = settings.port

    async def start(self, context: Context) -> None:
        """Listen. Until the context is ready every answer is 503."""
        self._context = context
        # The access log would hold identifiers and tokens.
        app = web.Application(client_max_size=MAX_BODY, middlewares=[self._guard])
        app.router.add_get("/v1/web/{identifier}", self._show, allow_head=False)
        app.router.add_post("/v1/web/{identifier}/{action_id}/clicked", self._clicked)
        app.router.add_get("/v1/resume/{token}", self._resume, allow_head=False)
        app.router.add_route("OPTIONS", "/v1/{rest:.*}", self._preflight)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.host, self._settings.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def deliver(self, action: Action, key: str) -> Delivery:
        """Put the action up, to be shown when its visitor comes."""
        self._board.put(action)
        return Delivery()

    async def withdraw(self, withdrawal: Withdrawal) -> None:
        """Take the action down: the next answer is without it."""
        self._board.remove(withdrawal.action_id)

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._reports:
            await asyncio.wait(self._reports, timeout=5)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        response: web.StreamResponse
        if request.method != "OPTIONS" and not self._authorised(request):
            response = _problem(401, "a bearer token is needed")
        elif not self._context.ready():
            response = _problem(503, "not ready")
            response.headers["Retry-After"] = "1"
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = _problem(error.status, error.reason)
        origin = request.headers.get("Origin")
        if origin is not None and (origin in self._settings.origins or "*" in self._settings.origins):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _authorised(self, request: web.Request) -> bool:
        if self._settings.token is None:
            return True
        given = request.headers.get("Authorization", "").encode(errors="replace")
        return hmac.compare_digest(given, b"Bearer " + self._settings.token.get_secret_value().encode())

    async def _preflight(self, request: web.Request) -> web.StreamResponse:
        headers = {
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": "Authorization",
            "Access-Control-Max-Age": "3600",
        }
        return web.Response(status=204, headers=headers)

    def _visitor(self, text: str) -> str:
        kind, colon, value = text.partition(":")
        if not colon or not kind or len(kind) > MAX_KIND:
            raise web.HTTPBadRequest(reason="an identifier is kind:id, for example device:d-81f3")
        if self._settings.kinds is not None and kind not in self._settings.kinds:
            raise web.HTTPForbidden(reason="identifiers of this kind are not answered here")
        try:
            return f"{kind}:{normalise(kind, value)}"
        except IdentifierError as error:
            raise web.HTTPBadRequest(reason="the id is a placeholder, too long, or has control characters") from error

    def _seen(self, identifier: str) -> list[Action]:
        now = now_ms()
        self._board.expire(now)
        return self._board.seen(identifier, now, self._context.resolve, self._context.aliases)

    async def _show(self, request: web.Request) -> web.StreamResponse:
        identifier = self._visitor(request.match_info["identifier"])
        slot = request.query.get("slot")
        seen = [action for action in self._seen(identifier) if slot is None or slot_of(action) == slot]
        for action in seen:
            self._report(action, "delivered")
        return web.json_response({"identifier": identifier, "actions": [self._told(action) for action in seen]})

    def _told(self, action: Action) -> dict[str, Any]:
        """What a page needs, and nothing of what is known about the visitor."""
        link = None
        if action.link is not None:
            link = {
                "path": action.link.path,
                "position": action.link.position,
                "url": self._links.url(action),
                "resume": self._links.token(action),
            }
        return {
            "action_id": action.action_id,
            "action": action.action,
            "slot": slot_of(action),
            "template": action.template,
            "params": action.params,
            "link": link,
            "priority": action.priority,
            "expires_at": action.expires_at,
        }

    async def _clicked(self, request: web.Request) -> web.StreamResponse:
        identifier = self._visitor(request.match_info["identifier"])
        for action in self._seen(identifier):
            if action.action_id == request.match_info["action_id"]:
                self._report(action, "clicked")
                return web.Response(status=204)
        raise web.HTTPNotFound(reason="nothing of that id is shown to this visitor")

    async def _resume(self, request: web.Request) -> web.StreamResponse:
        visitor = request.query.get("visitor")
        visitor = None if visitor is None else self._visitor(visitor)
        try:
            found = self._links.read(request.match_info["token"], now_ms(), visitor, self._context.resolve)
        except ExpiredLink as error:
            raise web.HTTPGone(reason="this link has expired") from error
        except LinkError as error:
            raise web.HTTPForbidden(reason="this link cannot be followed") from error
        return web.json_response({"path": found.path, "position": found.position, "instance": found.instance})

    def _report(self, action: Action, kind: str) -> None:
        """Tell the engine beside the answer: a visitor does not wait for it."""
        task = asyncio.create_task(self._context.report(action, kind, ""))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)


def _problem(status: int, detail: str) -> web.Response:
    return web.json_response({"error": detail}, status=status)

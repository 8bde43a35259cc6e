"""Health: /healthz (the process works), /readyz (every task serves) and /metrics, on loopback unless told otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

if TYPE_CHECKING:
    from streams.settings import Settings
    from streams.shell import Shell


Handler = Callable[[web.Request], Awaitable[web.Response]]


class WebServer:
    """A small web server at POLKU_WEB_HOST and POLKU_WEB_PORT."""

    def __init__(self, settings: Settings, routes: Mapping[str, Handler]) -> None:
        self._settings, self._routes = settings, routes
        self._runner: web.AppRunner | None = None
        self.port: int | None = None

    async def start(self) -> None:
        """Listen, if a port is set; port 0 takes any free one."""
        settings = self._settings
        if settings.web_port is None:
            return
        app = web.Application()
        app.add_routes([web.get(path, handler) for path, handler in self._routes.items()])
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, settings.web_host, settings.web_port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()


class Health(WebServer):
    """The worker's own."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        routes = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}
        super().__init__(shell.settings, routes)

    async def _healthz(self, _: web.Request) -> web.Response:
        stopped = self._shell.tasks.stopped
        return web.json_response({"stopped": stopped}, status=503 if stopped else 200)

    async def _readyz(self, _: web.Request) -> web.Response:
        tasks = self._shell.tasks
        states = {f"{tp.topic}-{tp.partition}": task.state.value for tp, task in sorted(tasks.tasks.items())}
        ready = self._shell.joined and tasks.ready
        return web.json_response({"ready": ready, "tasks": states}, status=200 if ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._shell.metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

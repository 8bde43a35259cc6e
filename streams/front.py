"""The one web address of a worker of several processes: /healthz, /readyz and /metrics of all its members together."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from streams.health import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.settings import Settings
    from streams.supervisor import Member, Supervisor

ANSWERS_WITHIN = 3.0


class Merged(Collector):
    """Metric families of several members, each sample with the label `member`."""

    def __init__(self, texts: dict[int, str]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        """Return each family once."""
        families: dict[str, Metric] = {}
        for number, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    merged.samples.append(sample._replace(labels=sample.labels | {"member": str(number)}))
        return families.values()


class Front:
    """Asks the members, and answers for all."""

    def __init__(self, settings: Settings, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._session: aiohttp.ClientSession | None = None
        self._server = WebServer(
            settings, {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}
        )

    async def start(self) -> None:
        """Listen, if a port is set."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWERS_WITHIN))
        await self._server.start()

    async def stop(self) -> None:
        """Listen no more."""
        await self._server.stop()
        if self._session is not None:
            await self._session.close()

    async def _ask(self, member: Member, path: str) -> str | None:
        assert self._session is not None
        if member.port is None:
            return None
        try:
            async with self._session.get(f"http://127.0.0.1:{member.port}{path}") as answer:
                return await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def _ask_all(self, path: str) -> dict[int, str | None]:
        members = self._supervisor.members
        answers = await asyncio.gather(*(self._ask(member, path) for member in members))
        return {member.number: answer for member, answer in zip(members, answers, strict=True)}

    async def _healthz(self, _: web.Request) -> web.Response:
        answers = await self._ask_all("/healthz")
        stopped: list[str] = []
        silent = []
        for member in self._supervisor.members:
            answer = answers[member.number]
            if answer is not None:
                stopped += json.loads(answer)["stopped"]
            elif member.port is not None and member.runs:  # else it is being started, which is the supervisor's care
                silent.append(member.number)
        status = 503 if stopped or silent else 200
        return web.json_response({"stopped": stopped, "silent": silent}, status=status)

    async def _readyz(self, _: web.Request) -> web.Response:
        texts = await self._ask_all("/readyz")
        answers = {number: json.loads(text) if text is not None else {} for number, text in texts.items()}
        tasks = {name: state for answer in answers.values() for name, state in answer.get("tasks", {}).items()}
        members = {
            str(member.number): {"pid": member.pid, "ready": bool(answers[member.number].get("ready"))}
            for member in self._supervisor.members
        }
        ready = all(member["ready"] for member in members.values())
        found = {"ready": ready, "members": members, "tasks": dict(sorted(tasks.items()))}
        return web.json_response(found, status=200 if ready else 503)

    async def _metrics(self, _: web.Request) -> web.Response:
        answers = await self._ask_all("/metrics")
        registry = CollectorRegistry()
        registry.register(Merged({number: answer for number, answer in answers.items() if answer is not None}))
        metrics = self._supervisor.metrics
        metrics.running.set(sum(member.runs for member in self._supervisor.members))
        body = metrics.render() + generate_latest(registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

"""The catalogue: definitions in the compacted topic, read to its end at start and followed from there.

`publish` writes those of a folder that the topic lacks. A definition once published never changes: the same name and
version with another content is refused, since instances and the journal rely on it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.definition import KINDS
from schemas.journal import Activate
from streams import logs
from streams.definitions import DefinitionError, from_json, to_json
from streams.engine.rules import Library

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.definitions import AnyLoaded
    from streams.settings import Settings

ORDER = {kind: place for place, kind in enumerate(KINDS)}

say = logs.errors("catalogue")


class Changed(Exception):
    """A definition's content changed under the same version."""

    def __init__(self, kind: str, name: str, version: int) -> None:
        super().__init__(
            f"{kind} {name} version {version} is published already, with another content: raise its version"
        )


class Catalogue:
    """Follows the topic; `library` knows all of it, `newest` the highest version of each."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._tp = TopicPartition(topic, 0)
        self._consumer: AIOKafkaConsumer | None = None
        self._follower: asyncio.Task[None] | None = None
        self._newest: dict[tuple[str, str], tuple[int, str]] = {}
        self._known: dict[tuple[str, str, int], str] = {}
        self._grown = asyncio.Event()
        self.library = Library()

    async def start(self) -> None:
        """Read the topic to its end, then follow it."""
        self._consumer = AIOKafkaConsumer(
            **self._settings.aiokafka(),
            client_id=f"{self._settings.group}-definitions",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=int(self._settings.fetch_wait * 1000),
        )
        await self._consumer.start()
        self._consumer.assign([self._tp])
        await self._consumer.seek_to_beginning(self._tp)
        await self._read_to_end()
        self._follower = asyncio.create_task(self._follow(), name="definitions")

    async def stop(self) -> None:
        """Follow no more."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
        if self._consumer is not None:
            await self._consumer.stop()

    async def publish(self, definitions: Iterable[AnyLoaded]) -> int:
        """Write those that the topic lacks; return how many. Raises Changed before writing anything."""
        missing = []
        for each in definitions:
            known = self._known.get((each.kind, each.name, each.version))
            if known is not None and known != each.fingerprint:
                raise Changed(each.kind, each.name, each.version)
            if known is None:
                missing.append(each)
        if not missing:
            return 0
        producer = AIOKafkaProducer(**self._settings.aiokafka(), acks="all")
        await producer.start()
        try:
            for each in sorted(missing, key=lambda one: ORDER.get(one.kind, 9)):
                key = f"{each.kind}/{each.name}/{each.version}".encode()
                await producer.send_and_wait(self._tp.topic, to_json(each), key=key, partition=self._tp.partition)
        finally:
            await producer.stop()
        async with asyncio.timeout(self._settings.transaction_timeout):
            while any((each.kind, each.name, each.version) not in self._known for each in missing):
                self._grown.clear()
                await self._grown.wait()
        return len(missing)

    def newer_than(self, active: dict[str, tuple[int, str]]) -> list[Activate]:
        """Return the entries that put in force what is newer than `active` (kind/name to version, fingerprint)."""
        found = [
            Activate(kind, name, version, fingerprint)
            for (kind, name), (version, fingerprint) in self._newest.items()
            if version > active.get(f"{kind}/{name}", (0, ""))[0]
        ]
        return sorted(found, key=lambda entry: (ORDER.get(entry.kind, 9), entry.name))

    @property
    def size(self) -> int:
        """How many definitions are known."""
        return len(self._known)

    def _take(self, value: bytes | None) -> None:
        if value is None:
            return
        try:
            loaded = from_json(value)
        except DefinitionError as error:
            say("a published definition cannot be read", error=str(error))
            return
        kind, name, version, fingerprint = loaded.kind, loaded.name, loaded.version, loaded.fingerprint
        if self._known.setdefault((kind, name, version), fingerprint) != fingerprint:
            say("a definition was published twice with different content", name=f"{kind}/{name}/{version}")
            return
        self.library.add(loaded.model, fingerprint)
        if version > self._newest.get((kind, name), (0, ""))[0]:
            self._newest[kind, name] = version, fingerprint
        self._grown.set()

    async def _read_to_end(self) -> None:
        assert self._consumer is not None
        end = (await self._consumer.end_offsets([self._tp]))[self._tp]
        while await self._consumer.position(self._tp) < end:
            await self._poll()

    async def _poll(self) -> None:
        assert self._consumer is not None
        for records in (await self._consumer.getmany(timeout_ms=500)).values():
            for record in records:
                self._take(record.value)

    async def _follow(self) -> None:
        while True:
            try:
                await self._poll()
            except KafkaError as error:
                say("definitions cannot be read", error=str(error))
                await asyncio.sleep(1)

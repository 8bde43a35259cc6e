"""The catalogue: definitions and stops in their compacted topics, read to their ends at start and followed from there.

`publish` writes those definitions of a folder that the topic lacks. A definition once published never changes: the same
name and version with another content is refused, since instances and the journal rely on it. Beside its content stands
how it is released (`Release`), of which the newest word counts. What a journal partition lacks of all that, `lacking`
says in entries; each partition's own task writes them, in its own transactions.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.codec import decode_control
from schemas.definition import KINDS
from schemas.errors import InvalidRecord
from schemas.journal import EVERYBODY, Activate, Entry, Stop
from streams import logs
from streams.definitions import DefinitionError, from_json, to_json
from streams.engine.rules import Library
from streams.releases import Release, release_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from schemas.control import Control
    from streams.definitions import AnyLoaded
    from streams.settings import Settings
    from streams.topics import Topics

ORDER = {kind: place for place, kind in enumerate(KINDS)}

say = logs.errors("catalogue")


class Changed(Exception):
    """A definition's content changed under the same version."""

    def __init__(self, kind: str, name: str, version: int) -> None:
        super().__init__(
            f"{kind} {name} version {version} is published already, with another content: raise its version"
        )


class Catalogue:
    """Follows the topics; `library` knows all definitions, `stops` the newest word on each scope.

    `changes` counts what was learnt: whoever has acted on it need not look again before it grows.
    """

    def __init__(self, settings: Settings, topics: Topics) -> None:
        self._settings = settings
        self._definitions = TopicPartition(topics.definitions, 0)
        self._control = TopicPartition(topics.control, 0)
        self._consumer: AIOKafkaConsumer | None = None
        self._follower: asyncio.Task[None] | None = None
        self._known: dict[tuple[str, str, int], str] = {}
        self._releases: dict[tuple[str, str], dict[int, Release]] = {}
        self._grown = asyncio.Event()
        self.library = Library()
        self.stops: dict[str, Control] = {}
        self.changes = 0

    async def start(self) -> None:
        """Read the topics to their ends, then follow them."""
        self._consumer = AIOKafkaConsumer(
            **self._settings.aiokafka(),
            client_id=f"{self._settings.group}-definitions",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=int(self._settings.fetch_wait * 1000),
        )
        await self._consumer.start()
        self._consumer.assign([self._definitions, self._control])
        await self._consumer.seek_to_beginning()
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
            for each in sorted(missing, key=lambda one: ORDER[one.kind]):
                key = f"{each.kind}/{each.name}/{each.version}".encode()
                await producer.send_and_wait(self._definitions.topic, to_json(each), key=key, partition=0)
        finally:
            await producer.stop()
        async with asyncio.timeout(self._settings.transaction_timeout):
            while any((each.kind, each.name, each.version) not in self._known for each in missing):
                self._grown.clear()
                await self._grown.wait()
        return len(missing)

    def lacking(self, in_force: Mapping[str, Any]) -> list[tuple[str, Any, Entry]]:
        """What a partition has to write that has so much `in_force` (as `Partition.in_force`): key, value and entry."""
        found: list[tuple[str, Any, Entry]] = []
        for kind, name in sorted(self._releases, key=lambda pair: (ORDER[pair[0]], pair[1])):
            found += self._versions(kind, name, in_force)
        for scope, word in sorted(self.stops.items()):
            stopped, at = in_force.get(f"stop/{scope}", (False, 0))
            if word.stopped != stopped and word.at >= at:
                entry = Stop(scope, word.stopped, word.by, word.why, word.at)
                found.append((f"stop/{scope}", (word.stopped, word.at), entry))
        return found

    def _versions(self, kind: str, name: str, in_force: Mapping[str, Any]) -> Iterable[tuple[str, Any, Entry]]:
        key, releases = f"{kind}/{name}", self._releases[kind, name]
        active = in_force.get(key, (0, ""))[0]
        full = max((version for version, each in releases.items() if each.share == EVERYBODY), default=0)
        newest = max(releases)
        if full > active:
            each, active = releases[full], full
            fingerprint = self._known[kind, name, full]
            yield (
                key,
                (full, fingerprint),
                Activate(kind, name, full, fingerprint, EVERYBODY, each.by, each.why, each.at),
            )
        if newest > active:
            each, fingerprint = releases[newest], self._known[kind, name, newest]
            value = (newest, fingerprint, each.share, each.at)
            version, _, share, at = in_force.get(f"canary/{key}", (0, "", -1, 0))
            if (newest, each.share) != (version, share) and (newest, each.at) >= (version, at):
                entry = Activate(kind, name, newest, fingerprint, each.share, each.by, each.why, each.at)
                yield f"canary/{key}", value, entry

    @property
    def size(self) -> int:
        """How many definitions are known."""
        return len(self._known)

    def _take(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        if topic == self._control.topic:
            self._stopped((key or b"").decode(errors="replace"), value)
        elif value is not None:
            self._define(value)
        self.changes += 1
        self._grown.set()

    def _define(self, value: bytes) -> None:
        try:
            loaded, release = from_json(value), release_of(value)
        except DefinitionError as error:
            say("a published definition cannot be read", error=str(error))
            return
        kind, name, version, fingerprint = loaded.kind, loaded.name, loaded.version, loaded.fingerprint
        if self._known.setdefault((kind, name, version), fingerprint) != fingerprint:
            say("a definition was published twice with different content", name=f"{kind}/{name}/{version}")
            return
        self.library.add(loaded.model, fingerprint)
        releases = self._releases.setdefault((kind, name), {})
        if version not in releases or release.at >= releases[version].at:
            releases[version] = release

    def _stopped(self, scope: str, value: bytes | None) -> None:
        if value is None:
            return
        try:
            word = decode_control(value)
        except InvalidRecord as error:
            say("a word on what is stopped cannot be read; sinks stop what it is about", scope=scope, error=str(error))
            return
        if scope not in self.stops or word.at >= self.stops[scope].at:
            self.stops[scope] = word

    async def _read_to_end(self) -> None:
        assert self._consumer is not None
        ends = await self._consumer.end_offsets([self._definitions, self._control])
        for tp, end in ends.items():
            while await self._consumer.position(tp) < end:
                await self._poll()

    async def _poll(self) -> None:
        assert self._consumer is not None
        for records in (await self._consumer.getmany(timeout_ms=500)).values():
            for record in records:
                self._take(record.topic, record.key, record.value)

    async def _follow(self) -> None:
        while True:
            try:
                await self._poll()
            except KafkaError as error:
                say("definitions cannot be read", error=str(error))
                await asyncio.sleep(1)

"""The schema registry's client: writer schemas held in memory for the codec, and the ids of what Polku writes.

Speaks the REST interface of Confluent's registry, which others offer as well. The codec asks `source`, which answers
from memory only; who meets a schema that is not there waits, and has it fetched here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import msgspec

from schemas import avroschema
from schemas.errors import SchemaUnavailable

if TYPE_CHECKING:
    from streams.topics import Topics

TIMEOUT = aiohttp.ClientTimeout(total=5)
WRITTEN = ("action", "decision")


class Known:
    """Writer schemas by id: what the codec reads from."""

    def __init__(self) -> None:
        self.schemas: dict[int | str, str] = {}

    def get(self, schema_id: int | str) -> str:
        """Return the schema's text. Raises SchemaUnavailable."""
        found = self.schemas.get(schema_id)
        if found is None:
            raise SchemaUnavailable(schema_id)
        return found


class Registry:
    """One registry, or none (`url` None): then unknown schemas are the codec's to refuse, and output is unframed."""

    def __init__(self, url: str | None, topics: Topics) -> None:
        self._url = url.rstrip("/") if url else None
        self._topics = topics
        self._session: aiohttp.ClientSession | None = None
        self.source = Known() if url else None
        self.ids: dict[str, int] = {}

    async def start(self) -> None:
        """Register the schemas that Polku writes, and remember their ids."""
        if self._url is None:
            return
        self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        for kind in WRITTEN:
            subject = f"{self._topics.prefix}polku.{kind}"
            body = {"schema": msgspec.json.encode(avroschema.load(kind)).decode()}
            async with self._session.post(f"{self._url}/subjects/{subject}/versions", json=body) as answer:
                answer.raise_for_status()
                self.ids[kind] = (await answer.json(content_type=None))["id"]

    async def stop(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()

    async def fetch(self, schema_id: int | str) -> bool:
        """Fetch a writer schema into memory; return whether it is there now."""
        if self._session is None or self.source is None:
            return False
        path = f"schemas/ids/{schema_id}" if isinstance(schema_id, int) else f"schemas/guids/{schema_id}"
        try:
            async with self._session.get(f"{self._url}/{path}") as answer:
                if answer.status != 200:  # noqa: PLR2004 - HTTP's OK
                    return False
                self.source.schemas[schema_id] = (await answer.json(content_type=None))["schema"]
        except (aiohttp.ClientError, TimeoutError, KeyError, ValueError):
            return False
        return True

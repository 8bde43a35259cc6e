"""What the tasks of a worker share: settings, names, counts, metrics, and the services around them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.catalogue import Catalogue
    from streams.marks import Frontier
    from streams.metrics import Metrics
    from streams.preflight import Preflight
    from streams.registry import Registry
    from streams.settings import Settings
    from streams.standby import Standbys
    from streams.tables import ProfilesTable
    from streams.tasks import Tasks
    from streams.topics import Topics, TopicSpec
    from streams.transport import BatchConsumer


@dataclass(slots=True)
class Shell:
    """One worker's shared things. `counts` are the partitions that each topic really has."""

    settings: Settings
    topics: Topics
    metrics: Metrics
    catalogue: Catalogue
    registry: Registry
    preflight: Preflight
    counts: dict[str, int] = field(default_factory=dict)
    app: Any = None
    joined: bool = False
    table: ProfilesTable = field(init=False)
    frontier: Frontier = field(init=False)
    standbys: Standbys = field(init=False)
    tasks: Tasks = field(init=False)

    @property
    def consumer(self) -> BatchConsumer:
        """The group's consumer, once the app has made it."""
        consumer: BatchConsumer = self.app.consumer
        return consumer

    async def require(self, spec: TopicSpec) -> None:
        """Make sure that a topic exists which no start could know of: a channel of a definition published since."""
        self.counts |= await asyncio.to_thread(self.preflight.ensure, [spec])

    def origin_counts(self) -> list[int]:
        """Return the partition counts of the origin topics, in the journal's order."""
        return [self.counts[topic] for topic in self.topics.origins]

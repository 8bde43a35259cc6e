"""Publishing a folder of definitions to a running installation, whose workers then put the newest in force."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from streams.catalogue import Catalogue, Changed
from streams.publish import PublishError
from streams.records import connect, partitions_of
from streams.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.definitions import AnyLoaded
    from streams.settings import Settings


def publish_definitions(settings: Settings, definitions: Sequence[AnyLoaded]) -> int:
    """Write the definitions that the installation lacks; returns how many.

    Raises PublishError, having written nothing, when one was published before with another content, and
    TopicUnreachable when there is no broker or no installation.
    """
    topic = Topics.of(settings).definitions
    consumer = connect(settings)
    try:
        partitions_of(consumer, settings, topic)
    finally:
        consumer.close()
    try:
        return asyncio.run(_publish(settings, topic, definitions))
    except Changed as error:
        raise PublishError(str(error)) from None
    except TimeoutError:
        raise PublishError("the definitions were written, but could not be read back in time; publish again") from None


async def _publish(settings: Settings, topic: str, definitions: Sequence[AnyLoaded]) -> int:
    catalogue = Catalogue(settings, topic)
    try:
        await catalogue.start()
        return await catalogue.publish(definitions)
    finally:
        await catalogue.stop()

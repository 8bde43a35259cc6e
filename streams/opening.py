"""What must hold before a worker serves: sound definitions, and brokers and topics that can keep the promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams import logs
from streams.catalogue import Changed
from streams.checks import check
from streams.definitions import load
from streams.preflight import Preflight, PreflightError
from streams.problems import errors
from streams.topics import CHANNELS

if TYPE_CHECKING:
    from streams.definitions import AnyLoaded, Definitions
    from streams.settings import Settings

say = logs.errors("worker")


class DefinitionsRefused(Exception):
    """The folder of definitions has errors; the message lists them."""


REFUSALS = (PreflightError, Changed, DefinitionsRefused)
"""Why a worker does not start."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What was found: partitions and ids of the topics, and the definitions to publish."""

    counts: dict[str, int]
    topic_ids: dict[str, str]
    definitions: tuple[AnyLoaded, ...] = ()


async def open_installation(settings: Settings) -> Opening:
    """Read the definitions, make the topics that are missing, and check all.

    Raises PreflightError and DefinitionsRefused.
    """
    definitions = read_definitions(settings)
    preflight, channels = Preflight(settings), dict.fromkeys(CHANNELS)
    if definitions is None:
        return Opening(await preflight.run(channels), preflight.topic_ids)
    if definitions.policy is not None:
        channels |= dict.fromkeys(definitions.policy.model.channels)
    counts = await preflight.run(channels)
    return Opening(counts, preflight.topic_ids, tuple(definitions.loaded()))


def read_definitions(settings: Settings) -> Definitions | None:
    """Return the folder's definitions, None when no folder is set. Raises DefinitionsRefused."""
    if settings.definitions is None:
        return None
    definitions = load(settings.definitions)
    if found := errors(check(definitions)):
        raise DefinitionsRefused("\n".join(str(problem) for problem in found))
    return definitions


def refused(error: Exception) -> int:
    """Say why a worker does not start; return the process's exit code."""
    if not isinstance(error, PreflightError):
        say("the worker does not start", problem=str(error))
        return 2
    for finding in error.findings:
        say("the worker does not start", problem=finding.problem, way_out=finding.way_out)
    return 1

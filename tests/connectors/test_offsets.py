"""Committed offsets: a coordinator that does not know yet is asked again, and never taken for one without any."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
)
from aiokafka.protocol.commit import OffsetFetchResponse_v3

from connectors.offsets import committed

TP = TopicPartition("touchpoints", 2)


class Coordinator:
    """Answers what it is told to, in order."""

    group_id = "polku"

    def __init__(self, *answers: OffsetFetchResponse_v3) -> None:
        self.answers = list(answers)
        self.lost = 0

    async def ensure_coordinator_known(self) -> None:
        """Do nothing."""

    async def _send_req(self, request: Any) -> OffsetFetchResponse_v3:
        return self.answers.pop(0)

    def coordinator_dead(self) -> None:
        """Count."""
        self.lost += 1


def group(error: type[KafkaError]) -> OffsetFetchResponse_v3:
    """An answer for the group as a whole, as Kafka gives from version 2 on: it names no partition."""
    return OffsetFetchResponse_v3(0, [], error.errno)


def offset(value: int, code: int = 0) -> OffsetFetchResponse_v3:
    """An answer that names the partition."""
    return OffsetFetchResponse_v3(0, [("touchpoints", [(2, value, "", code)])], 0)


def ask(*answers: OffsetFetchResponse_v3) -> tuple[int | None, Coordinator]:
    """Ask a coordinator that answers so."""
    coordinator = Coordinator(*answers)
    return asyncio.run(committed(SimpleNamespace(_coordinator=coordinator), TP)), coordinator


def test_a_coordinator_that_is_loading_is_asked_again() -> None:
    """After its broker's restart a coordinator knows nothing for a while, and says so for the group as a whole."""
    found, coordinator = ask(group(GroupLoadInProgressError), group(GroupLoadInProgressError), offset(17))
    assert (found, coordinator.lost, coordinator.answers) == (17, 0, [])


def test_another_coordinator_is_looked_for() -> None:
    """One that has handed the group over is given up."""
    found, coordinator = ask(
        group(NotCoordinatorForGroupError), offset(0, NotCoordinatorForGroupError.errno), offset(0)
    )
    assert (found, coordinator.lost) == (0, 2)


def test_none_means_none() -> None:
    """Only an answer about the partition itself says that there is no offset."""
    assert ask(offset(-1))[0] is None
    with pytest.raises(KafkaError, match="lacks touchpoints-2"):
        ask(OffsetFetchResponse_v3(0, [], 0))


def test_a_refusal_is_raised() -> None:
    """Rights are a person's business."""
    with pytest.raises(GroupAuthorizationFailedError):
        ask(group(GroupAuthorizationFailedError))

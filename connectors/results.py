"""What sinks write: outcomes, for the engine, and dead letters, for people."""

from __future__ import annotations

import traceback
import uuid

from connectors.broker import Broker, Record
from connectors.metrics import DEAD_LETTERS
from schemas.action import Action
from schemas.codec import encode_outcome
from schemas.outcome import Outcome

# The stages and headers of Kafka Connect's dead letters, so that its tools read ours:
# https://cwiki.apache.org/confluence/display/KAFKA/KIP-298
CONVERSION, DELIVERY = "VALUE_CONVERTER", "TASK_PUT"
_PREFIX = "__connect.errors."


def outcome_id(action_id: str, kind: str) -> str:
    """The id of an outcome: one of each kind per action, so that a repeat changes nothing."""
    try:
        space = uuid.UUID(action_id)
    except ValueError:
        space = uuid.uuid5(uuid.NAMESPACE_OID, action_id)
    return str(uuid.uuid5(space, kind))


class Results:
    """Writes the outcomes and dead letters of one sink."""

    def __init__(self, broker: Broker, sink: str, outcomes: str, dead: str) -> None:
        self._broker = broker
        self._sink = sink
        self._outcomes = outcomes
        self._dead = dead

    async def outcome(self, action: Action, kind: str, at: int, detail: str = "", *, permanent: bool = False) -> None:
        """Tell the engine what became of an action."""
        outcome = Outcome(
            outcome_id=outcome_id(action.action_id, kind),
            action_id=action.action_id,
            profile=action.profile,
            kind=kind,
            channel=action.channel,
            at=at,
            permanent=permanent,
            detail=detail,
        )
        headers = [("traceparent", action.traceparent.encode())] if action.traceparent else []
        await self._broker.append(self._outcomes, action.profile.encode(), encode_outcome(outcome), headers=headers)

    async def dead_letter(self, record: Record, stage: str, error: BaseException) -> None:
        """Put a record, its bytes as they came, where people look for what could not be delivered."""
        told = {
            "topic": record.topic,
            "partition": str(record.partition),
            "offset": str(record.offset),
            "connector.name": self._sink,
            "task.id": str(record.partition),
            "stage": stage,
            "class.name": f"{type(self).__module__}.{type(self).__qualname__}",
            "exception.class.name": f"{type(error).__module__}.{type(error).__qualname__}",
            "exception.message": str(error),
            "exception.stacktrace": "".join(traceback.format_exception(error))[-4000:],
        }
        kept = [(name, value) for name, value in record.headers if not name.startswith(_PREFIX)]
        headers = [*kept, *((_PREFIX + name, value.encode(errors="replace")) for name, value in told.items())]
        await self._broker.append(self._dead, record.key, record.value, headers=headers)
        DEAD_LETTERS.labels(self._sink, stage).inc()

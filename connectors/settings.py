"""What every sink's section of connectors.yaml has in common."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from connectors.backoff import Backoff
from connectors.handling import Terms

_DURATION = re.compile(r"([1-9][0-9]{0,5})(ms|s|m|h|d|w)")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(value: Any) -> Any:
    """A duration like 500ms, 10s, 15m, 24h, 7d as seconds."""
    if isinstance(value, str):
        found = _DURATION.fullmatch(value)
        if found is None:
            raise ValueError(f"'{value}' is no duration: write a number and a unit, like 500ms, 10s, 15m, 24h or 7d")
        return int(found[1]) * _UNITS[found[2]]
    if isinstance(value, bool) or not isinstance(value, float):
        raise ValueError("a duration needs a unit: write 500ms, 10s, 15m, 24h or 7d")  # noqa: TRY004 - pydantic wants it
    return value


Seconds = Annotated[float, BeforeValidator(seconds)]


class Section(BaseModel):
    """Base: unknown keys are errors, models never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True)


class SinkSettings(Section):
    """How a sink is run. `channel` is the one whose actions it delivers; by default the sink's name."""

    type: str
    channel: Annotated[str | None, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = None
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 8
    attempts: Annotated[int, Field(ge=1, le=100)] = 8
    backoff: Seconds = 1.0
    backoff_cap: Seconds = 60.0

    def terms(self, name: str) -> Terms:
        """The runtime's terms for this sink."""
        return Terms(name, self.concurrency, self.attempts, Backoff(self.backoff, self.backoff_cap))

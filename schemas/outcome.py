"""The outcome: what became of an action at its channel. Published contract: `avro/outcome.avsc`."""

from __future__ import annotations

import msgspec

KINDS = (
    "delivered",
    "bounced",
    "complained",
    "opened",
    "clicked",
    "unsubscribed",
    "converted",
    "failed",
    "expired",
    "withdrawn",
    "suppressed",
    "missed",
    "uncertain",
)


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One fact about one action. `outcome_id` is deterministic; `at` is milliseconds since 1970 UTC.

    `permanent` tells a hard bounce (the address is dead) from a soft one.
    """

    outcome_id: str
    action_id: str
    profile: str
    kind: str
    channel: str
    at: int
    permanent: bool = False
    detail: str = ""

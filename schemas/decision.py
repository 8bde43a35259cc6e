"""The decision: why something was sent or not sent. Published contract: `avro/decision.avsc`."""

from __future__ import annotations

import msgspec

# Of actions and instances; then of promises.
VERDICTS = (
    *("sent", "held", "refused", "withdrawn", "ended", "merged", "pinned", "ignored"),
    *("made", "at-risk", "broken", "kept"),
)


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One verdict.

    `verdict`: sent, held, refused, withdrawn, ended, merged, pinned or ignored; of a promise made, at-risk, broken,
    kept or ended. `gate` is the rule that decided (duplicate, consent, do-not-contact, hold, ceiling, channel,
    journey, stale, ...), `reason` a machine-readable word of that gate, `value` what was found and `bound` what was
    asked for; of a promise, gate `promise`, they are its name, its owner and when it is due. `action_id` is None
    where no action was proposed. `event_id` is the cause (None: a timer). `decision_id` is deterministic.
    """

    decision_id: str
    profile: str
    customer: str | None
    verdict: str
    gate: str
    reason: str
    at: int
    action_id: str | None = None
    action: str | None = None
    channel: str | None = None
    purpose: str | None = None
    journey: str | None = None
    journey_version: int | None = None
    instance_id: str | None = None
    stage: str | None = None
    event_id: str | None = None
    value: str | None = None
    bound: str | None = None
    offer: str | None = None

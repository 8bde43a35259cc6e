"""The action: what Polku asks a channel to do for one customer. Published contract: `avro/action.avsc`."""

from __future__ import annotations

from typing import Any

import msgspec


class Link(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a message's link leads: a path of the site, and the position at which a form resumes (None: no resume)."""

    path: str
    position: str | None = None


class Action(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request to one channel.

    `action_id` is deterministic: a receiver is idempotent by remembering it. Times are milliseconds since 1970 UTC and
    come from the journal, never from a wall clock. `profile` is kind:id of whom it was decided for; `customer` is the
    customer id to use downstream, None while unknown. `to` is the address on an addressing channel. After
    `expires_at` nobody may deliver it. `if_uncertain` says what a sink does when it cannot know whether a call
    succeeded: `drop` or `repeat`. `standing` actions (a banner) last until withdrawn or expired. From `quiet_from` on
    the customer wants quiet: who has not delivered it by then does not, and says `missed`. `offer` names the offer it
    makes.
    """

    action_id: str
    action: str
    channel: str
    profile: str
    customer: str | None
    purpose: str
    basis: str
    journey: str
    journey_version: int
    instance_id: str
    stage: str
    event_id: str | None
    proposed_at: int
    expires_at: int
    priority: int = 0
    to: str | None = None
    template: str | None = None
    link: Link | None = None
    params: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    reason: str = ""
    if_uncertain: str = "drop"
    standing: bool = False
    traceparent: str | None = None
    quiet_from: int | None = None
    offer: str | None = None


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An action that must no longer be delivered, or be removed where it stands. Key in its topic: the action id."""

    action_id: str
    channel: str
    profile: str
    customer: str | None
    reason: str
    at: int


class Suppression(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An address that must not be contacted. A tombstone lifts it.

    Key in its topic: `address_hash(...)` of a dead address, `contact_key(...)` of that where the customer forbade it.
    """

    address: str
    channel: str
    reason: str
    at: int


class Identity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who holds an identifier now. Key in its topic: kind:id; nobody: a tombstone."""

    identifier: str
    customer: str
    since: int

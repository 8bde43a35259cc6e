"""The journal: everything that happens to a profile, in one order, as compact entries.

Encoding: MessagePack arrays whose first element is the entry's tag, so that an entry of any released version stays
readable: tags are never reused and fields are only appended, with defaults. A journal record's key is the profile
(UTF-8); entries for a whole partition (marks, activations, stops, origins) have a null key.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import msgspec

EVERYBODY = 100  # percent: Activate.share
TOUCHPOINTS, OUTCOMES = 0, 1  # Origin.topic
ORIGIN_TOPICS = ("touchpoints", "outcomes")


class Origin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where an entry came from: index into ORIGIN_TOPICS, partition, offset, and record time (ms, LogAppendTime)."""

    topic: int
    partition: int
    offset: int
    time: int


class Entry(msgspec.Struct, frozen=True, array_like=True, tag_field="tag", gc=False):
    """Base of all entries. Trees read from bytes make no cycles, so the collector need not look at them."""


class ProfileEntry(Entry, frozen=True):
    """Base of the entries for one profile (kind:id), whose key they carry."""

    profile: str


class Event(ProfileEntry, tag=1, frozen=True):
    """A touchpoint for `profile`.

    `claims` are the identifiers (kind:id) to whose journals the router wrote a claim for this very event.
    """

    origin: Origin
    event_id: str
    type: str
    channel: str
    occurred_at: int
    identifiers: dict[str, str]
    properties: dict[str, Any]
    claims: list[str] = []
    traceparent: str | None = None


class Outcome(ProfileEntry, tag=2, frozen=True):
    """What became of an action of `profile`."""

    origin: Origin
    outcome_id: str
    action_id: str
    kind: str
    channel: str
    at: int
    permanent: bool = False
    detail: str = ""


class Claim(ProfileEntry, tag=3, frozen=True):
    """To an identifier's owner: `customer` (kind:id; None: nobody) claims `profile`, by (time, event_id)."""

    customer: str | None
    time: int
    event_id: str


class Answer(ProfileEntry, tag=4, frozen=True):
    """To a claimant: its claim (time, event_id) on `identifier` was won, with what the identifier gathered, or lost.

    `gathered` is an encoded profile state, empty when there is nothing, it did not fit, or the identifier is shared
    until `shared_until` (ms).
    """

    identifier: str
    time: int
    event_id: str
    won: bool
    gathered: bytes = b""
    shared_until: int = 0


class Unlink(ProfileEntry, tag=5, frozen=True):
    """To a former holder: `identifier` went to the claim (time, event_id); it ends only an older hold."""

    identifier: str
    time: int
    event_id: str


class Forward(ProfileEntry, tag=6, frozen=True):
    """To an identifier's holder: what arrived for the identifier, with its first origin and time."""

    identifier: str
    entry: Event | Outcome


class Merge(ProfileEntry, tag=7, frozen=True):
    """To the customer `profile` that `source` has become an alias of: all that the source was."""

    source: str
    gathered: bytes


class Mark(Entry, tag=8, frozen=True):
    """From a router: everything of origin (topic, partition) up to `time` is routed."""

    topic: int
    partition: int
    time: int


class TaskMark(Entry, tag=9, frozen=True):
    """From the journeys task of journal partition `partition`: what it forwards of before `time` stands before this."""

    partition: int
    time: int


class Activate(Entry, tag=10, frozen=True):
    """A definition takes effect here: for all, or (a canary) for `share` percent of the profiles that enter.

    `by` and `why` say who wanted it, `at` (ms) when; of two words on one version's share the later counts.
    """

    kind: str
    name: str
    version: int
    fingerprint: str
    share: int = EVERYBODY
    by: str = ""
    why: str = ""
    at: int = 0


class Stop(Entry, tag=11, frozen=True):
    """A stop takes effect (or ends, when `on` is false) here: `scope` is `marketing` or `journey:<name>`.

    `by` and `why` say who wanted it, `at` (ms) when; of two words on one scope the later counts.
    """

    scope: str
    on: bool = True
    by: str = ""
    why: str = ""
    at: int = 0


class Origins(Entry, tag=12, frozen=True):
    """The set of origin partitions whose marks make up the time: partition counts by index into ORIGIN_TOPICS."""

    partitions: list[int]


class Unite(ProfileEntry, tag=13, frozen=True):
    """Two customers are one: to the larger of the pair (`one`, `other`), by bytes; actions then carry the id `into`."""

    origin: Origin
    event_id: str
    one: str
    other: str
    into: str


_ANY = Event | Outcome | Claim | Answer | Unlink | Forward | Merge | Unite | Mark | TaskMark | Activate | Stop | Origins

encode = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes], Entry] = msgspec.msgpack.Decoder(_ANY).decode


def partition_of(profile: str, partitions: int) -> int:
    """The journal partition that owns `profile`: crc32 of its UTF-8 bytes, modulo the partition count."""
    return partition_of_key(profile.encode(), partitions)


def partition_of_key(key: bytes, partitions: int) -> int:
    """The same of a profile's UTF-8 bytes, which are its records' key."""
    return zlib.crc32(key) % partitions

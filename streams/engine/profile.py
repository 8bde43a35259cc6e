"""The state of one profile, and its encoding.

The encoding is MessagePack, array-like: fields are only appended, with defaults, so that a state of any released
version stays readable. `FORMAT` stands first; a state of a later format is refused, never guessed at.
"""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.journal import Event, Forward, Outcome, Unite

FORMAT = 1
RECENT_EVENTS = 64  # event ids remembered for the duplicate rule
MAX_TOPIC = 200  # characters that count of a topic, and of a case's number
RECORD = 16  # bytes of each: the time in ms, big-endian, and the digest

# How far a contact has come; a later state wins a merge. LATE: it was delivered before the sink knew it withdrawn.
EMITTED, DELIVERED, FAILED, WITHDRAWN, LATE = range(5)
TAKES_A_SLOT = frozenset({EMITTED, DELIVERED, LATE})  # of caps, distances and ceilings


class Trait(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A trait's value with its rank (1: said of a known customer), time (ms) and event."""

    value: Any
    rank: int
    at: int
    event_id: str


class Consent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A word on one purpose, or on contact as a whole: when it was said, by which event, and where (`source`)."""

    granted: bool
    at: int
    event_id: str
    source: str = ""


class Case(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An open or closed case of a hold; it is open while it was opened later than it was closed, and `until` (ms)."""

    opened: int = 0
    closed: int = 0
    until: int = 0  # 0: until it is closed


class Kept(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a case carries under one name, from the newest event by (time in ms, event id)."""

    value: Any
    at: int
    event_id: str


class Dossier(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A case of the policy's `cases`: when it was last opened, closed, paused and resumed (ms), and what it carries.

    `since` is the first opening after `closed`; `channels` maps each channel to when the case was last on it.
    """

    opened: int = 0
    closed: int = 0
    paused: int = 0
    resumed: int = 0
    since: int = 0
    keeps: dict[str, Kept] = {}
    channels: dict[str, int] = {}


class Contact(msgspec.Struct, array_like=True, gc=False):
    """An action that was emitted: enough to cap, withdraw and explain it. Times are ms; `address` is hashed."""

    at: int
    expires: int
    channel: str
    purpose: str
    basis: str
    journey: str
    instance: str
    stage: str
    visit: int
    profile: str
    address: str
    standing: bool
    status: int = EMITTED
    action: str = ""
    version: int = 0
    topic: str = ""
    offer: str = ""


class Held(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A proposed action that waits for a hold to end, or `until` (ms), with its evaluated parameters."""

    action_id: str
    path: str
    stage: str
    visit: int
    at: int
    event_id: str | None
    kind: str
    params: dict[str, Any]
    priority: int = 0
    traceparent: str | None = None
    until: int = 0

    @property
    def topic(self) -> str:
        """What it is about, for caps and holds; empty: nothing that is named."""
        topic = self.params.get("topic")
        return topic[:MAX_TOPIC] if isinstance(topic, str) else ""


class Promise(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A promise that is open: the nth of its instance, when it was made, is due and is at risk (ms), and who owns it.

    `due` 0: never; `risk` 0: never, or no more.
    """

    number: int
    made: int
    due: int
    risk: int = 0
    owner: str = ""


class Instance(msgspec.Struct, array_like=True, gc=False):
    """One customer's way through one journey. `fired` maps a timer's index to the base time it fired for."""

    id: str
    journey: str
    version: int
    stage: str
    order: int
    started: int
    entered: int
    profile: str
    event_id: str
    vars: dict[str, Any] = {}
    counts: dict[str, int] = {}
    visits: dict[str, int] = {}
    fired: dict[int, int] = {}
    done: dict[str, int] = {}
    held: list[Held] = []
    converted: int = 0
    ended: int = 0
    why: str = ""
    promises: dict[str, Promise] = {}
    promised: int = 0
    # What `as soon as` of this visit has acted (streams.engine.soon).
    noticed: list[bytes] = []


class Latest(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last value of a property, with the time (ms) and the digest of the event that said it."""

    at: int
    digest: bytes
    value: Any


class Hold(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An identifier that a customer holds, by the claim (time, event_id) that won it."""

    time: int
    event_id: str


class Carried(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The customer id that actions carry, from the newest `customers_merged` (time, event_id)."""

    time: int
    event_id: str
    customer: str


class Profile(msgspec.Struct, array_like=True, gc=False):
    """Everything Polku knows of one customer, or of one identifier that no customer holds."""

    format: int
    id: str
    offset: int = -1
    now: int = 0
    activity: int = 0
    wake: int = 0
    recent: bytes = b""
    counts: dict[str, dict[str, int]] = {}
    traits: dict[str, Trait] = {}
    consents: dict[str, Consent] = {}
    contact: Consent | None = None
    cases: dict[str, Case] = {}
    instances: dict[str, Instance] = {}
    contacts: dict[str, Contact] = {}
    dead: dict[str, int] = {}
    # A customer's side of identity.
    held: dict[str, Hold] = {}
    carried: Carried | None = None
    alias: str | None = None
    parked: list[Event | Outcome | Forward | Unite] = []
    parked_bytes: int = 0
    waiting: list[str] = []
    # An identifier's side of identity.
    owner: str | None = None
    claim: Hold | None = None
    claimants: dict[str, int] = {}
    generation: int = 0
    passed_on: bytes = b""
    # Steps taken while time passes to a mark, by instance; none at rest. So a commit may fall in between.
    steps: dict[str, int] = {}
    # Cases of the policy, by kind/number.
    dossiers: dict[str, Dossier] = {}
    # What windows look at, by event type and property, or two of them (streams.engine.windows).
    series: dict[str, dict[str, bytes]] = {}
    latest: dict[str, dict[str, Latest]] = {}
    # Words on purposes and on contact that newer ones took the place of, the newest first.
    words: dict[str, list[Consent]] = {}
    # A merge or an edit made an `as soon as` true that sends something: it acts with the next event.
    unnoticed: bool = False

    @property
    def is_customer(self) -> bool:
        """Whether this profile is a customer rather than another identifier."""
        return self.id.startswith("customer:")

    @property
    def customer(self) -> str | None:
        """The customer id that actions carry; None for an identifier's profile."""
        if self.carried is not None:
            return self.carried.customer
        return self.id[9:] if self.is_customer else None

    def total(self, event_type: str | None) -> int:
        """How many touchpoints of a type, or of all, this profile has gathered."""
        if event_type is None:
            return sum(sum(counts.values()) for counts in self.counts.values())
        return sum(counts.get(event_type, 0) for counts in self.counts.values())


def new_profile(profile: str) -> Profile:
    """A profile of which nothing is known."""
    return Profile(FORMAT, profile)


class StateError(ValueError):
    """A stored state cannot be read by this version."""


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Profile).decode


def decode(data: bytes) -> Profile:
    """The profile encoded in `data`. Raises StateError for damage and for a later format."""
    try:
        profile = _decode(data)
    except msgspec.MsgspecError as error:
        raise StateError(f"a profile state cannot be read: {error}") from error
    if profile.format > FORMAT:
        raise StateError(f"profile state of format {profile.format}; this version reads up to {FORMAT}: upgrade first")
    return profile


CONTENT = (
    "counts",
    "traits",
    "consents",
    "contact",
    "words",
    "cases",
    "dossiers",
    "instances",
    "contacts",
    "dead",
    "recent",
    "carried",
    "held",
    "activity",
    "series",
    "latest",
)


ESSENTIAL = ("contact", "dead", "carried", "held")


def content(profile: Profile, names: tuple[str, ...] = CONTENT) -> bytes:
    """What `profile` has gathered, encoded, without its identity bookkeeping."""
    part = Profile(FORMAT, profile.id)
    for name in names:
        setattr(part, name, getattr(profile, name))
    return encode(part)


def clear(profile: Profile) -> None:
    """Forget what was gathered (it was handed on) and begin a new generation of counts."""
    fresh = Profile(FORMAT, profile.id)
    for name in CONTENT:
        setattr(profile, name, getattr(fresh, name))
    profile.wake = 0
    profile.generation += 1


def is_empty(profile: Profile) -> bool:
    """Whether there is nothing to hand on."""
    return not (profile.counts or profile.traits or profile.consents or profile.instances or profile.contacts)


def was_passed_on(profile: Profile, digest: bytes) -> bool:
    """Whether an identifier passed this event on, or handed it over with all it had gathered."""
    passed = profile.passed_on
    at = passed.find(digest)
    while at >= 0:
        if at % 8 == 0:
            return True
        at = passed.find(digest, at + 1)
    return False


def pass_on(profile: Profile, digest: bytes) -> bool:
    """Remember that an identifier passed an event on; False if it had before, that is, the event is a repeat."""
    if was_passed_on(profile, digest):
        return False
    profile.passed_on = (profile.passed_on + digest)[-RECENT_EVENTS * 8 :]
    return True


def hand_over(profile: Profile) -> None:
    """An identifier gives away all it gathered: it stays known which events those were, and counts begin anew."""
    recent = profile.recent
    for at in range(0, len(recent), 16):
        pass_on(profile, recent[at + 8 : at + 16])
    clear(profile)


def remember(profile: Profile, digest: bytes, now: int) -> bool:
    """Remember an event id's digest; False if it was known, that is, the event is a repeat."""
    recent = profile.recent
    at = recent.find(digest)
    while at >= 0:
        if at % RECORD == RECORD // 2:
            return False
        at = recent.find(digest, at + 1)
    if len(recent) >= RECENT_EVENTS * RECORD:
        recent = recent[RECORD - RECENT_EVENTS * RECORD :]
    profile.recent = recent + now.to_bytes(8, "big") + digest
    return True

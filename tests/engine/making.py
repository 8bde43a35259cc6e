"""What engine tests are made of: definitions, touchpoints, and tasks whose journals are read one entry at a time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from schemas.definition import Definition
from schemas.journal import TOUCHPOINTS, Entry, Event, Origin
from schemas.journey import Journey
from schemas.outcome import Outcome
from schemas.policy import Policy
from schemas.touchpoint import Touchpoint
from streams.engine.partition import Output, Partition
from streams.engine.profile import Profile, decode, new_profile
from streams.engine.routing import Router
from streams.engine.rules import Library, Rules
from streams.engine.store import MemoryStore
from streams.simulator import Simulator, activations

if TYPE_CHECKING:
    from schemas.action import Action
    from schemas.decision import Decision

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
START = 1_772_445_600_000  # 2026-03-02T10:00:00Z, a Monday

POLICY = Policy.model_validate(
    {
        "policy": "shop",
        "version": 1,
        "purposes": {
            "marketing": {"basis": "consent"},
            "personalisation": {"basis": "consent", "consent": "cookie"},
            "order": {"basis": "contract", "templates": ["receipt"], "ceiling": 2},
            "resume": {"basis": "request", "templates": ["resume"], "ceiling": 3},
            "ads": {"basis": "internal"},
        },
        "channels": {
            "email": {"address": "email"},
            "sms": {"address": "phone", "expires": "1d"},
            "web": {"standing": True, "expires": "30d"},
            "ads": {"expires": "90d"},
        },
        "actions": {
            "message": {"channels": ["email", "sms"], "purpose": "marketing"},
            "mail": {"channels": ["email"]},
            "banner": {"channels": ["web"], "purpose": "personalisation"},
            "stop_ads": {"channels": ["ads"], "purpose": "ads", "if_uncertain": "repeat"},
        },
        "holds": {
            "complaint": {"begins": "complaint_opened", "ends": "complaint_closed", "holds": ["marketing"]},
            "fraud": {"begins": "fraud_suspected", "ends": "fraud_cleared", "holds": ["marketing", "personalisation"]},
        },
        "cases": {
            "complaint": {
                "opens": "complaint_opened",
                "closes": "complaint_closed",
                "moves": "page_viewed",
                "keeps": ["agent", "page"],
            },
        },
    }
)


def journey(name: str, stages: dict[str, Any], **more: Any) -> Journey:
    """A journey entered by `hello`, for marketing, unless said otherwise."""
    return Journey.model_validate(
        {"journey": name, "version": 1, "purpose": "marketing", "enter": {"when": "hello"}, "stages": stages} | more
    )


def library(*definitions: Definition) -> Library:
    """A library of these definitions, and of POLICY unless one is among them."""
    known = Library()
    for each in definitions if any(isinstance(each, Policy) for each in definitions) else (POLICY, *definitions):
        known.add(each, f"fingerprint-{each.version}")
    return known


def rules(*definitions: Definition, stops: tuple[str, ...] = ()) -> Rules:
    """The newest version of each definition in force."""
    known = library(*definitions)
    active = {f"{each.kind}/{each.name}": (each.version, each.fingerprint) for each in activations(known)}
    return Rules(known, active, list(stops))


def touchpoint(
    event_id: str, kind: str, *, occurred: int = START, identifiers: dict[str, str], **properties: Any
) -> Touchpoint:
    """A touchpoint on the web."""
    return Touchpoint(
        event_id=event_id,
        type=kind,
        channel="web",
        occurred_at=occurred,
        identifiers=identifiers,
        properties=properties,
    )


def event(
    profile: str, event_id: str, kind: str = "page_viewed", at: int = START, claims: tuple[str, ...] = (), **more: Any
) -> Event:
    """A journal entry: a touchpoint of `profile` recorded `at`."""
    kind_of, _, name = profile.partition(":")
    identifiers = {kind_of: name} | dict(claim.split(":", 1) for claim in claims)
    return Event(
        profile, Origin(TOUCHPOINTS, 0, 0, at), event_id, kind, "web", at, identifiers, more, list(claims), None
    )


class Shop:
    """One installation in memory; `see` names customers, devices and properties; times are relative to START."""

    def __init__(self, *definitions: Definition, partitions: int = 3) -> None:
        self.simulator = Simulator(library(*definitions), partitions)
        self.failed: set[int] = set()  # numbers of actions whose outcome said so
        self._events = self._outcomes = 0

    def see(
        self, kind: str, at: int, *, event_id: str | None = None, late: int = 0, ids: str = "customer:ann", **more: Any
    ) -> str:
        """A touchpoint arrives `at`, `late` ms after it occurred, of `ids` (kind:id, by comma)."""
        self._events += 1
        event_id = event_id or f"event-{self._events}"
        identifiers = dict(each.split(":", 1) for each in ids.split(","))
        occurred = START + at - late
        self.simulator.touchpoint(
            touchpoint(event_id, kind, occurred=occurred, identifiers=identifiers, **more), START + at
        )
        return event_id

    def outcome(self, action: Action, kind: str, at: int, *, permanent: bool = False) -> None:
        """What became of an action."""
        self._outcomes += 1
        self.simulator.outcome(
            Outcome(
                outcome_id=f"outcome-{self._outcomes}",
                action_id=action.action_id,
                profile=action.profile,
                kind=kind,
                channel=action.channel,
                at=START + at,
                permanent=permanent,
            ),
            START + at,
        )

    def wait(self, until: int) -> None:
        """Time passes."""
        self.simulator.advance_to(START + until)

    def allow(self, *purposes: str, at: int = 0, ids: str = "customer:ann") -> None:
        """The customer consents to these purposes."""
        for purpose in purposes:
            self.see("consent_given", at, ids=ids, purpose=purpose)

    @property
    def actions(self) -> list[Action]:
        """All actions so far."""
        return self.simulator.actions

    @property
    def sent(self) -> list[str]:
        """What was sent, by the parameter `say` or else the template."""
        return [str(action.params.get("say") or action.template) for action in self.actions]

    def verdicts(self, *wanted: str) -> list[tuple[str, str, str]]:
        """(verdict, gate, reason) of every decision so far, or of those with the wanted verdicts."""
        return [
            (each.verdict, each.gate, each.reason)
            for each in self.simulator.decisions
            if not wanted or each.verdict in wanted
        ]

    def decisions(self, verdict: str) -> list[Decision]:
        """The decisions with this verdict."""
        return [each for each in self.simulator.decisions if each.verdict == verdict]

    def withdrawn(self) -> list[str]:
        """What was withdrawn, as in `sent`."""
        said = {action.action_id: say for action, say in zip(self.actions, self.sent, strict=True)}
        return [said[each.action_id] for each in self.simulator.withdrawals]

    def profile(self, name: str = "customer:ann") -> Profile:
        """The state of a profile, or of the customer it has become part of."""
        found = self.simulator.profile(name)
        assert found is not None
        return found

    def stage(self, name: str, profile: str = "customer:ann") -> str:
        """Where the profile is in a journey; with a trailing `.` when that has ended."""
        instance = self.profile(profile).instances[name]
        return instance.stage + ("." if instance.ended else "")


class Tasks:
    """A task and a journal for each profile; a test says which journal is read when."""

    def __init__(self, *definitions: Definition) -> None:
        self.library = library(*definitions)
        self.router = Router()
        self.journals: dict[str, deque[Entry]] = {}
        self.offsets: dict[str, int] = {}
        self.stores: dict[str, MemoryStore] = {}
        self.partitions: dict[str, Partition] = {}
        self.outputs: list[Output] = []
        self._records = 0

    def route(self, event: Touchpoint, at: int = START) -> None:
        """A record goes through the router."""
        self._records += 1
        for entry in self.router.touchpoint(Origin(TOUCHPOINTS, 0, self._records, at), event):
            self.send(entry)

    def send(self, entry: Any) -> None:
        """An entry is written to its profile's journal."""
        self.journals.setdefault(entry.profile, deque()).append(entry)

    def waiting(self, profile: str) -> list[Entry]:
        """What stands in a profile's journal and is not read yet."""
        return list(self.journals.get(profile, ()))

    def read(self, profile: str, entries: int = 1) -> Output:
        """The profile's task reads so many entries; what it sends is written to the journals."""
        task = self.task(profile)
        for _ in range(entries):
            entry = self.journals[profile].popleft()
            task.apply(self.offsets[profile], entry)
            self.offsets[profile] += 1
        output = task.collect()
        self.stores[profile].write(output, self.offsets[profile])
        self.outputs.append(output)
        task.trim(0)
        for each in output.entries:
            self.send(each)
        return output

    def task(self, profile: str) -> Partition:
        """The task of one profile, with every definition in force."""
        task = self.partitions.get(profile)
        if task is None:
            self.stores[profile] = MemoryStore()
            task = self.partitions[profile] = Partition(0, 1, self.library, self.stores[profile])
            for offset, entry in enumerate(activations(self.library)):
                task.apply(offset, entry)
            self.offsets[profile] = len(activations(self.library))
        return task

    def rest(self) -> None:
        """All journals are read to their ends."""
        while True:
            profile = next((name for name, journal in sorted(self.journals.items()) if journal), None)
            if profile is None:
                return
            self.read(profile)

    def state(self, profile: str) -> Profile:
        """The profile's state."""
        encoded = self.stores[profile].states.get(profile) if profile in self.stores else None
        return decode(encoded) if encoded is not None else new_profile(profile)

    def decided(self, reason: str) -> list[Decision]:
        """The decisions so far with this reason."""
        return [each for output in self.outputs for each in output.decisions if each.reason == reason]

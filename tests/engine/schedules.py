"""Random schedules of the identity protocol on the engine itself: one journal and one task per profile, random delays.

Two origin partitions with a router each; the interleaving of all tasks is drawn from a seed. `violations` says what of
oracle (5) does not hold once everything is at rest.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field

from schemas.journal import TOUCHPOINTS, Claim, Entry, Origin
from schemas.touchpoint import CUSTOMERS_MERGED, LOGGED_OUT, Touchpoint
from streams.engine.ids import digest
from streams.engine.partition import Partition
from streams.engine.profile import Profile, decode, new_profile
from streams.engine.routing import Router
from streams.engine.rules import Library
from streams.engine.store import MemoryStore

CUSTOMERS = [f"customer:{name}" for name in "abcd"]
DEVICES = ["device:x", "device:y"]
EVENT_EVERY = 25_000  # ms between events of the log: the one-minute rule of the router leaves out some claims


@dataclass(slots=True)
class World:
    """The tasks, their journals, and what the test knows of what should come of them."""

    random: random.Random
    aliases: bool
    events: int
    repeats: bool = False
    origins: list[deque[tuple[int, Touchpoint]]] = field(default_factory=list)
    routers: list[Router] = field(default_factory=list)
    tasks: dict[str, Partition] = field(default_factory=dict)
    stores: dict[str, MemoryStore] = field(default_factory=dict)
    journals: dict[str, deque[Entry]] = field(default_factory=dict)
    offsets: Counter[str] = field(default_factory=Counter)
    claims: dict[str, list[tuple[tuple[int, str], str | None]]] = field(default_factory=dict)
    views: dict[str, tuple[str, tuple[int, str]]] = field(default_factory=dict)
    expected: set[str] = field(default_factory=set)
    routed: set[str] = field(default_factory=set)
    united: list[tuple[str, str]] = field(default_factory=list)


def _draw(world: World) -> None:
    rnd = world.random
    world.origins = [deque(), deque()]
    world.routers = [Router(), Router()]
    earlier: list[Touchpoint] = []
    for number in range(world.events):
        if world.repeats and earlier and rnd.random() < 0.2:
            world.origins[rnd.randrange(2)].append((number, rnd.choice(earlier)))  # a producer sends it again
            continue
        z, origin, event_id = rnd.random(), rnd.randrange(2), f"e{number:03}"
        identifiers: dict[str, str] = {}
        kind, properties = "page_viewed", {}
        if world.aliases and z < 0.12:
            one, other = rnd.sample(CUSTOMERS, 2)
            kind, properties = CUSTOMERS_MERGED, {"from": one[9:], "into": other[9:]}
            identifiers["customer"] = one[9:]
            world.united.append((one, other))
        else:
            if z < 0.2:
                kind = LOGGED_OUT
            if not 0.2 <= z < 0.5:
                identifiers["customer"] = rnd.choice(CUSTOMERS)[9:]
            if z < 0.92:
                identifiers["device"] = rnd.choice(DEVICES)[7:]
            world.expected.add(event_id)
        event = Touchpoint(
            event_id=event_id, type=kind, channel="web", occurred_at=0, identifiers=identifiers, properties=properties
        )
        world.origins[origin].append((number, event))
        if kind != CUSTOMERS_MERGED:
            earlier.append(event)


def _route(world: World, which: int, written: dict[tuple[int, str], tuple[int, str]]) -> None:
    number, event = world.origins[which].popleft()
    at = number * EVENT_EVERY
    for entry in world.routers[which].touchpoint(Origin(TOUCHPOINTS, which, number, at), event):
        world.journals[entry.profile].append(entry)
        if isinstance(entry, Claim):
            world.claims[entry.profile].append(((entry.time, entry.event_id), entry.customer))
            written[which, entry.profile] = (entry.time, entry.event_id)
    if "customer" not in event.identifiers and event.event_id not in world.routed:
        device = f"device:{event.identifiers['device']}"
        if (which, device) in written:
            world.views[event.event_id] = device, written[which, device]
    world.routed.add(event.event_id)


def run(seed: int, *, aliases: bool = True, events: int = 26, codec: bool = False, repeats: bool = False) -> World:
    """Play one schedule to rest.

    With `codec` each state goes through its encoding after every step; with `repeats` producers send touchpoints again.
    """
    world = World(random.Random(seed), aliases, events, repeats)
    library = Library()
    _draw(world)
    for name in CUSTOMERS + DEVICES:
        world.stores[name], world.journals[name], world.claims[name] = MemoryStore(), deque(), []
        world.tasks[name] = Partition(0, 1, library, world.stores[name])
    written: dict[tuple[int, str], tuple[int, str]] = {}
    for _ in range(10_000):
        ready: list[object] = [which for which in (0, 1) if world.origins[which]]
        ready += [name for name, journal in world.journals.items() if journal]
        if not ready:
            return world
        chosen = ready[int(world.random.random() * len(ready))]  # plainer than choice(), which showed in profiles
        if isinstance(chosen, int):
            _route(world, chosen, written)
            continue
        assert isinstance(chosen, str)
        task = world.tasks[chosen]
        task.apply(world.offsets[chosen], world.journals[chosen].popleft())
        world.offsets[chosen] += 1
        output = task.collect()
        world.stores[chosen].write(output, world.offsets[chosen])
        if codec:
            task.trim(0)
        for entry in output.entries:
            world.journals[entry.profile].append(entry)
    raise AssertionError(f"seed {seed}: messages go round for ever")


def state(world: World, name: str) -> Profile:
    """The state of a profile at rest."""
    encoded = world.stores[name].states.get(name)
    return decode(encoded) if encoded is not None else new_profile(name)


def violations(world: World) -> set[str]:
    """Which parts of oracle (5) do not hold at rest."""
    states = {name: state(world, name) for name in CUSTOMERS + DEVICES}
    bad = set()

    def root(name: str) -> str:
        for _ in states:
            if (alias := states[name].alias) is None:
                return name
            name = alias
        bad.add("aliases in a circle")
        return name

    bad |= _unrest(states)
    marks = {
        name: {profile.recent[at + 8 : at + 16] for at in range(0, len(profile.recent), 16)}
        for name, profile in states.items()
    }
    where = {each: [name for name in states if digest(each) in marks[name]] for each in world.expected}
    if any(len(places) > 1 for places in where.values()):
        bad.add("doubled")
    if any(not places for places in where.values()):
        bad.add("lost")
    if sum(profile.total(None) for profile in states.values()) != len(world.expected):
        bad.add("counts")
    for device in DEVICES:
        newest = max(world.claims[device], key=lambda item: item[0], default=(None, None))[1]
        owner = states[device].owner
        if owner != newest:
            bad.add("not newest claim")
        holders = {name for name in CUSTOMERS if device in states[name].held}
        if holders != ({root(owner)} if owner else set()):
            bad.add("holders are not owners")
    bad |= _not_united(world, root)
    for event_id, (device, since) in world.views.items():
        allowed = {root(who) if who else device for claim, who in world.claims[device] if claim >= since}
        if where[event_id] and where[event_id][0].startswith("customer:") and where[event_id][0] not in allowed:
            bad.add("went to a former customer")
    return bad


def _unrest(states: dict[str, Profile]) -> set[str]:
    bad = set()
    for name in CUSTOMERS:
        profile = states[name]
        if profile.waiting or profile.parked:
            bad.add("stuck")
        if profile.alias and (profile.held or profile.counts):
            bad.add("alias keeps")
    return bad


def _not_united(world: World, root: object) -> set[str]:
    leader = {name: name for name in CUSTOMERS}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for one, other in world.united:
        a, b = find(one), find(other)
        leader[max(a, b)] = min(a, b)
    assert callable(root)
    pairs = ((a, b) for a in CUSTOMERS for b in CUSTOMERS)
    return {"not united"} if any((find(a) == find(b)) != (root(a) == root(b)) for a, b in pairs) else set()

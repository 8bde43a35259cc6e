"""The oracle: what must hold of an installation at rest, checked from outside over committed records.

(1) Every origin offset stands in exactly one journal partition or in the dead letters, in order. (2) The engine over
the dumped journal gives what was published, byte for byte. (3) `simulated_actions`: the same set of actions as from
the touchpoints alone, for logs that allow it. (4) The laws hold on what was published. (5) Nothing is parked, no claim
unanswered, every touchpoint counts once, identifiers and customers agree on who holds what.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from schemas import codec, journal
from schemas.decision import Decision
from schemas.journal import Claim, Event, Mark, Origin, Outcome, TaskMark, Unite, partition_of
from streams.definitions import library, load
from streams.engine.profile import Profile, decode
from streams.engine.rules import Library
from streams.engine.store import META_KEY
from streams.preflight import TRIAL_KEY
from streams.records import Record, TopicUnreachable, read
from streams.settings import Settings
from streams.simulator import Published, Simulator, replay
from streams.topics import CHANNELS, Topics
from tests.support.installation import committed
from tests.support.kafka import admin_client

Encoded = tuple[str, bytes | None, bytes | None]


@dataclass(slots=True)
class Dump:
    """Everything that an installation's topics hold."""

    topics: Topics
    records: dict[str, list[Record]]
    journal: dict[int, list[tuple[int, Any]]] = field(default_factory=dict)
    read_to: dict[int, int] = field(default_factory=dict)
    library: Library = field(default_factory=Library)

    @property
    def states(self) -> dict[str, bytes]:
        """The newest state of each profile in the changelog."""
        newest: dict[str, bytes] = {}
        for record in self.records["profiles-changelog"]:
            if record.key is not None and record.key != META_KEY and record.value is not None:
                newest[record.key.decode()] = record.value
        return newest

    @property
    def actions(self) -> list[Any]:
        """The actions published."""
        decoder = codec.ActionDecoder()
        return [decoder.decode(r.value) for c in CHANNELS for r in self.records.get(f"actions.{c}", [])]

    @property
    def decisions(self) -> list[Decision]:
        """The decisions published."""
        decoder = codec.DecisionDecoder()
        return [decoder.decode(record.value) for record in self.records["decisions"]]


NAMES = (
    "touchpoints",
    "outcomes",
    "journal",
    "profiles-changelog",
    "decisions",
    "actions.withdrawn",
    "suppressions",
    "identities",
    "touchpoints.dlq",
    *(f"actions.{channel}" for channel in CHANNELS),
)


def dump(settings: Settings, definitions: Path | None = None, admin: AdminClient | None = None) -> Dump:
    """Read everything, committed records only."""
    topics = Topics.of(settings)

    def records(name: str) -> list[Record]:
        try:
            return list(read(settings, topics.name(name)))
        except TopicUnreachable:
            return []

    with ThreadPoolExecutor(8) as pool:
        found = Dump(topics, dict(zip(NAMES, pool.map(records, NAMES), strict=True)))
    for record in found.records["journal"]:
        assert record.value is not None
        found.journal.setdefault(record.partition, []).append((record.offset, journal.decode(record.value)))
    for entries in found.journal.values():
        entries.sort(key=lambda item: item[0])
    if definitions is not None:
        found.library = library(load(definitions).loaded())
    offsets = committed(admin_client(settings.bootstrap) if admin is None else admin, settings.group)
    found.read_to = {p: offset for (topic, p), offset in offsets.items() if topic == topics.journal}
    return found


def check(found: Dump) -> Published:
    """Check (1), (2), (4) and (5); returns what the engine computed from the journal."""
    # Marks go on until the workers stop: what came after the last committed offset was not applied by anyone.
    applied = {p: [item for item in entries if item[0] < found.read_to[p]] for p, entries in found.journal.items()}
    computed, states = replay(dict(applied), found.topics.journal_partitions, found.library)
    forwarded = _forwarded(found, computed)
    _every_origin_once(found, forwarded)
    _marks_never_lie(found, forwarded)
    _published(found, computed)
    count, changelog = found.topics.journal_partitions, found.records["profiles-changelog"]
    assert all(r.partition == partition_of(r.key.decode(), count) for r in changelog if r.key and r.key != META_KEY)
    published_states = found.states
    assert published_states.keys() == states.keys(), "profiles differ"
    different = [name for name, state in states.items() if published_states[name] != state]
    assert not different, f"final states differ: {different[:5]} ({len(different)} in all)"
    _states_never_go_back(found)
    _laws(found)
    _at_rest(found, {name: decode(state) for name, state in states.items()})
    return computed


def _forwarded(found: Dump, computed: Published) -> Counter[tuple[int, bytes]]:
    """The entries that tasks wrote for other profiles, each (target, bytes), which must stand there in order."""
    count = found.topics.journal_partitions
    standing = {
        target: [journal.encode(entry) for _, entry in found.journal.get(target, [])] for target in range(count)
    }
    expected: Counter[tuple[int, bytes]] = Counter()
    for (source, target), entries in computed.entries.items():
        encoded = [journal.encode(entry) for entry in entries]
        expected.update((target, each) for each in encoded)
        rest = iter(standing[target])
        missing = [each for each in encoded if not any(each == other for other in rest)]
        assert not missing, f"{len(missing)} entries from {source} to {target} are missing or out of order"
    there = Counter((target, each) for target, all_ in standing.items() for each in all_)
    for key, times in expected.items():
        assert there[key] >= times, "an entry for another profile stands too seldom"
    # Whatever is no router's and no task's work: answers, unlinks and the like must all be expected ones.
    for (target, each), times in there.items():
        entry = journal.decode(each)
        if isinstance(entry, journal.Answer | journal.Unlink | journal.Forward | journal.Merge):
            assert expected[target, each] == times, f"{entry} stands {times} times, expected {expected[target, each]}"
    return expected


def _every_origin_once(found: Dump, forwarded: Counter[tuple[int, bytes]]) -> None:
    left = Counter(forwarded)
    seen: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(
        list
    )  # origin partition -> (journal partition, offset)
    for target, entries in found.journal.items():
        for _, entry in entries:
            if not isinstance(entry, Event | Outcome | Unite):
                continue
            key = target, journal.encode(entry)
            if left[key]:
                left[key] -= 1
                continue
            origin: Origin = entry.origin
            seen[origin.topic, origin.partition].append((target, origin.offset))
    dead: Counter[tuple[str, int, int]] = Counter()
    for record in found.records["touchpoints.dlq"]:
        headers = dict(record.headers)
        place = headers["__connect.errors.partition"], headers["__connect.errors.offset"]
        dead[headers["__connect.errors.topic"].decode(), int(place[0]), int(place[1])] += 1
    for index, name in enumerate(journal.ORIGIN_TOPICS):
        offsets: dict[int, set[int]] = defaultdict(set)
        for record in found.records[name]:
            offsets[record.partition].add(record.offset)
        for partition, expected in offsets.items():
            routed = [offset for _, offset in seen[index, partition]]
            buried = [
                o
                for (topic, p, o), n in dead.items()
                for _ in range(n)
                if topic == found.topics.name(name) and p == partition
            ]
            assert len(routed) == len(set(routed)), f"{name}/{partition}: an offset stands twice in the journal"
            assert sorted(routed + buried) == sorted(expected), (
                f"{name}/{partition}: {len(expected - set(routed) - set(buried))} offsets missing, "
                f"{len(routed) + len(buried) - len(expected)} too many"
            )
            for target in range(found.topics.journal_partitions):
                order = [offset for where, offset in seen[index, partition] if where == target]
                assert order == sorted(order), f"{name}/{partition}: out of order in journal partition {target}"


def encoded(topics: Topics, computed: Published) -> Counter[Encoded]:
    """What the shell must have published of a computation: (topic, key, value)."""
    rows: list[Encoded] = []
    for action in computed.actions:
        key = (action.customer or action.profile).encode()
        rows.append((topics.actions(action.channel), key, codec.encode_action(action)))
    rows += [
        (topics.decisions, (each.customer or each.profile).encode(), codec.encode_decision(each))
        for each in computed.decisions
    ]
    rows += [(topics.withdrawn, each.action_id.encode(), codec.encode_json(each)) for each in computed.withdrawals]
    for address, suppression in computed.suppressions:
        rows.append((topics.suppressions, address.encode(), codec.encode_json(suppression) if suppression else None))
    for identifier, identity in computed.identities:
        rows.append((topics.identities, identifier.encode(), codec.encode_json(identity) if identity else None))
    return Counter(rows)


def _published(found: Dump, computed: Published) -> None:
    names = [f"actions.{channel}" for channel in CHANNELS]
    names += ["decisions", "actions.withdrawn", "suppressions", "identities"]
    records = [record for name in names for record in found.records[name] if record.key != TRIAL_KEY]
    there = Counter((record.topic, record.key, record.value) for record in records)
    expected = encoded(found.topics, computed)
    missing, unknown = expected - there, there - expected
    assert missing == unknown == Counter(), (
        f"{sum(missing.values())} missing {_by_topic(missing)}, {sum(unknown.values())} repeated or unknown "
        f"{_by_topic(unknown)}; found {dict(Counter((record.topic, record.partition) for record in records))}"
    )


def _by_topic(rows: Counter[Encoded]) -> dict[str, int]:
    return dict(Counter(topic for topic, _, _ in rows.elements()))


def _states_never_go_back(found: Dump) -> None:
    """In the changelog each state of a profile includes as much of the journal as the one before it, or more."""
    reached: dict[bytes, int] = {}
    for record in found.records["profiles-changelog"]:
        if record.key is None or record.key == META_KEY:
            continue
        offset = decode(record.value).offset if record.value is not None else -1
        assert offset >= reached.get(record.key, -1) or record.value is None, f"{record.key!r} went back"
        reached[record.key] = offset


def _marks_never_lie(found: Dump, forwarded: Counter[tuple[int, bytes]]) -> None:
    """No router's mark stands before an entry of its origin partition with an earlier record time."""
    left = Counter(forwarded)
    for target, entries in found.journal.items():
        marks: dict[tuple[int, int], int] = defaultdict(int)
        for _, entry in entries:
            if isinstance(entry, Mark):
                source = entry.topic, entry.partition
                marks[source] = max(entry.time, marks[source])
            elif isinstance(entry, Event | Outcome):
                key = target, journal.encode(entry)
                if left[key]:
                    left[key] -= 1  # passed on by an alias: no router's work
                    continue
                source = entry.origin.topic, entry.origin.partition
                assert entry.origin.time >= marks[source], f"{source} {entry.origin} came after its mark"


def time_passes(found: Dump) -> None:
    """Every journal partition has read a mark of every task."""
    count = found.topics.journal_partitions
    assert set(found.journal) == set(range(count))
    for partition, entries in found.journal.items():
        tasks = {entry.partition for _, entry in entries if isinstance(entry, TaskMark)}
        assert tasks == set(range(count)), f"partition {partition} has marks of {tasks} only"


def _laws(found: Dump) -> None:
    actions, decisions = found.actions, found.decisions
    ids = [action.action_id for action in actions]
    assert len(ids) == len(set(ids)), "an action was published twice"
    sent = {decision.action_id for decision in decisions if decision.verdict == "sent"}
    assert sent == set(ids), "an action without a decision, or a decision without its action"
    policy = next(iter(found.library.policies.values()))[1]
    for action in actions:
        purpose = policy.purposes[action.purpose]
        assert action.basis == purpose.basis
        if purpose.basis in ("contract", "request"):
            assert action.template in purpose.templates
        if policy.channels[action.channel].address is not None:
            assert action.to, "an addressed action without an address"


def _at_rest(found: Dump, states: dict[str, Profile]) -> None:
    def root(name: str) -> str:
        while (alias := states[name].alias) is not None:
            name = alias
        return name

    newest: dict[str, tuple[tuple[int, str], str | None]] = {}
    ids: set[str] = set()
    for entries in found.journal.values():
        for _, entry in entries:
            if isinstance(entry, Claim):
                claim = (entry.time, entry.event_id), entry.customer
                newest[entry.profile] = max(newest.get(entry.profile, claim), claim, key=lambda item: item[0])
            elif isinstance(entry, Event):
                ids.add(entry.event_id)
    for name, profile in states.items():
        left = bool(profile.parked or profile.waiting)
        assert not left, f"{name} still waits at rest"
        if profile.alias is not None:
            kept = bool(profile.counts or profile.held)
            assert not kept, f"{name} is an alias and keeps something"
    holders: dict[str, set[str]] = defaultdict(set)
    for name, profile in states.items():
        for held in profile.held:
            holders[held].add(name)
    for identifier, (_, customer) in newest.items():
        assert states[identifier].owner == customer, f"{identifier} does not belong to its newest claim"
        assert holders[identifier] == ({root(customer)} if customer else set()), (
            f"{identifier}: holders and owner disagree"
        )
    total = sum(profile.total(None) for profile in states.values())
    assert total == len(ids), f"{len(ids)} touchpoints count {total} times in the final states"


def simulated_actions(found: Dump, partitions: int = 4) -> tuple[set[str], set[str]]:
    """(3): the ids of the actions published, and of those that the touchpoints alone give in the order they came."""
    simulator = Simulator(found.library, partitions)
    decoder = codec.TouchpointDecoder()
    for record in sorted(found.records["touchpoints"], key=lambda each: (each.timestamp, each.partition, each.offset)):
        simulator.touchpoint(decoder.decode(record.value, record.headers), record.timestamp)
    # The installation went on until it was at rest: long enough for every timer of these journeys that sends.
    simulator.advance_to(simulator.now + 60_000)
    return {action.action_id for action in found.actions}, {action.action_id for action in simulator.actions}

"""The rules in force: definitions compiled once into what the hot path runs.

A `Library` knows definitions by kind, name, version and fingerprint; `Rules` is the view of one journal partition:
the versions that its activations put in force, and the older ones that instances are pinned to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.definition import Definition, kind_of, name_of
from schemas.journey import FIXED, SCORE, Entry, Handler, Journey
from schemas.offer import Offer
from schemas.policy import Policy, several
from schemas.touchpoint import (
    CONSENT_GIVEN,
    CONSENT_WITHDRAWN,
    CONTACT_ALLOWED,
    CONTACT_FORBIDDEN,
    PROFILE_UPDATED,
)
from streams.engine.cases import case_moves
from streams.engine.cel_asking import Window
from streams.engine.conditions import (
    Context,
    ExpressionError,
    Scope,
    asked,
    compile_condition,
    compile_number,
    compile_parameter,
    compile_value,
)
from streams.engine.durations import duration
from streams.engine.ids import digest, percent
from streams.engine.limits import caps, distances
from streams.engine.offers import Capacity, compile_offer
from streams.engine.promises import AT_RISK, BROKEN, Vow, compile_promise
from streams.engine.quiet import quiet_times
from streams.engine.soon import Place, Soon, changed_by, reads_variables
from streams.engine.timing import Dated, Timing, clock_of, compile_timing, timed_by, why
from streams.engine.windows import Plan, plan

if TYPE_CHECKING:
    from streams.engine.profile import Instance, Profile

NEVER, ALWAYS = -1, 0

Condition = Callable[[Context], bool]
Value = Callable[[Context], Any]


class UnknownDefinition(LookupError):
    """The journal activates a definition that this library does not have (yet)."""

    def __init__(self, kind: str, name: str, version: int, fingerprint: str) -> None:
        super().__init__(
            f"{kind} {name} version {version} with fingerprint {fingerprint} is not known here; publish it"
        )
        self.kind, self.name, self.version, self.fingerprint = kind, name, version, fingerprint


@dataclass(frozen=True, slots=True)
class Proposal:
    """One action a handler proposes: where it stands in the definition, its kind and its parameters to evaluate."""

    path: str
    kind: str
    purpose: str
    params: tuple[tuple[str, Any, bool], ...]  # name, constant or function, whether it is a function


class Written(NamedTuple):
    """A condition as it was written, and what it may name: for those who ask why it did not hold."""

    text: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class Reaction:
    """A compiled handler."""

    path: str
    condition: Condition | None
    sets: tuple[tuple[str, Value], ...]
    proposals: tuple[Proposal, ...]
    to: str | None
    end: bool
    written: Written | None = None
    promises: tuple[Vow, ...] = ()
    keeps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timer:
    """A compiled `after` or `at`: `index` names it within its stage, `due` and `mark` are those of its timing.

    `text` is the trigger as written: by it a timer of one version is found again in another. `why` is what a transition
    says of it.
    """

    index: int
    due: Callable[[Profile, Instance], int]
    mark: Callable[[Profile, Instance, int], int]
    reaction: Reaction
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A compiled stage; `reactions` are its own handlers of a type of event and those of any stage, in this order.

    Beside types of events, `at-risk <promise>` and `broken <promise>` are keys of theirs.
    """

    name: str
    order: int
    reactions: dict[str, tuple[tuple[Reaction, ...], tuple[Reaction, ...]]]
    timers: tuple[Timer, ...]
    arrival: tuple[Reaction, ...]
    soon: tuple[Soon, ...] = ()
    soon_by_type: dict[str, tuple[Soon, ...]] = field(default_factory=dict)
    dated: tuple[Dated, ...] = ()


@dataclass(frozen=True, slots=True)
class Entrance:
    """A compiled way in."""

    condition: Condition | None
    sets: tuple[tuple[str, Value], ...]
    to: str
    written: Written | None = None


@dataclass(frozen=True, slots=True)
class CompiledJourney:
    """A journey as the engine runs it; durations in ms."""

    name: str
    version: int
    goals: frozenset[str]
    enter: dict[str, tuple[Entrance, ...]]
    again: int
    stale_after: int
    stages: dict[str, Stage]
    types: frozenset[str]
    counting: bool
    follow: bool
    moved: dict[str, str]
    windows: frozenset[Window]
    holdout: int
    watched: frozenset[str]


def _when(handler: Handler) -> tuple[str, ...]:
    """What a handler reacts to: types of events, or what becomes of a promise."""
    if handler.at_risk is not None:
        return (f"{AT_RISK} {handler.at_risk}",)
    return (f"{BROKEN} {handler.broken}",) if handler.broken is not None else several(handler.when)


def _by_type(pairs: Iterable[tuple[tuple[str, ...], Any]]) -> dict[str, tuple[Any, ...]]:
    table: dict[str, list[Any]] = {}
    for types, item in pairs:
        for each in types:
            table.setdefault(each, []).append(item)
    return {name: tuple(items) for name, items in table.items()}


def _proposal(path: str, kind: str, params: dict[str, Any], purpose: str, scope: Scope) -> Proposal:
    compiled = []
    for name, value in sorted(params.items()):
        if name in FIXED:
            result = value
        elif name in SCORE and isinstance(value, str):
            result = compile_number(value, scope)
        else:
            result = compile_parameter(value, replace(scope, links=name == "link"))
        compiled.append((name, result, callable(result)))
    return Proposal(path, kind, purpose, tuple(compiled))


def scope_of(journey: Journey, *, event: bool) -> Scope:
    """What an expression of the journey may name."""
    return Scope(event=event, vars=None, traits=None, journey=journey.journey, splits=journey.splits)


def _reaction(path: str, handler: Handler, journey: Journey, policy: Policy) -> Reaction:
    scope = scope_of(journey, event=handler.when is not None)
    condition, within = handler.if_, scope
    if handler.soon is not None:
        condition, within = handler.soon, replace(scope, now=False)
    proposals = []
    for number, action in enumerate(handler.do):
        for kind, written in action.items():
            params = {"topic": journey.topic} | written if journey.topic else written
            # A journey may be activated before the policy that knows its kinds of action, or outlive them there.
            known = policy.actions.get(kind)
            purpose = params.get("purpose") or (known.purpose if known is not None else None) or journey.purpose or ""
            proposals.append(_proposal(f"{path}/{number}/{kind}", kind, params, purpose, scope))
    return Reaction(
        path=path,
        condition=compile_condition(condition, within) if condition else None,
        sets=tuple((name, compile_value(written, scope)) for name, written in handler.set.items()),
        proposals=tuple(proposals),
        to=handler.to,
        end=handler.end,
        written=Written(condition, within) if condition else None,
        promises=tuple(compile_promise(name, terms, policy, scope) for name, terms in handler.promise.items()),
        keeps=several(handler.keep),
    )


def _soons(journey: Journey, policy: Policy, stages: dict[str, Stage]) -> dict[str, tuple[Soon, ...]]:
    """The `as soon as` handlers of each stage: its own, then those of any stage that do not lead to it."""
    found: dict[str, tuple[Soon, ...]] = {}
    heard = listens_to(journey)
    anywhere = [(f"any stage/{number}", handler) for number, handler in enumerate(journey.any_stage)]
    for name, handlers in journey.stages.items():
        place = Place(journey, (*handlers, *journey.any_stage), policy, heard)
        listed = [(f"{name}/{number}", handler) for number, handler in enumerate(handlers)]
        listed += [(path, handler) for path, handler in anywhere if handler.to != name]
        made: list[Soon] = []
        words: list[str] = []
        for path, handler in listed:
            if handler.soon is None:
                continue
            reaction = _reaction(path, handler, journey, policy)
            words.append(handler.soon)
            mark = digest(f"{words.count(handler.soon)}\x1f{handler.soon}")
            types = changed_by(handler.soon, place)
            made.append(
                Soon(reaction, mark, types, reads_variables(handler.soon), _quiet(reaction, stages, frozenset()))
            )
        found[name] = tuple(made)
    return found


def _quiet(reaction: Reaction, stages: dict[str, Stage], passed: frozenset[str]) -> bool:
    """Whether nothing is sent by a handler, nor on arrival where it leads."""
    if reaction.proposals:
        return False
    if reaction.to is None or reaction.to in passed:
        return True
    return all(_quiet(each, stages, passed | {reaction.to}) for each in stages[reaction.to].arrival)


def _timer(timing: Timing, handler: Handler, reaction: Reaction) -> Timer:
    text = f"at {handler.at}" if handler.after is None else f"after {handler.after}"
    return Timer(timing.index, timing.due, timing.mark, reaction, text, why(timing, text))


def _stage(name: str, order: int, journey: Journey, policy: Policy, anywhere: dict[str, tuple[Reaction, ...]]) -> Stage:
    when, timers, dated, arrival = [], [], [], []
    clock = clock_of(policy)
    for number, handler in enumerate(journey.stages[name]):
        if handler.soon is not None:
            continue  # in `_soons`
        reaction = _reaction(f"{name}/{number}", handler, journey, policy)
        if reacts := _when(handler):
            when.append((reacts, reaction))
        elif (timing := compile_timing(handler, number, clock)) is not None:
            timers.append(_timer(timing, handler, reaction))
            if isinstance(timing, Dated):
                dated.append(timing)
        else:
            arrival.append(reaction)
    here = _by_type(when)
    reactions = {each: (here.get(each, ()), anywhere.get(each, ())) for each in here.keys() | anywhere.keys()}
    return Stage(name, order, reactions, tuple(timers), tuple(arrival), dated=tuple(dated))


def _entrance(entry: Entry, journey: Journey, first: str) -> tuple[tuple[str, ...], Entrance]:
    scope = scope_of(journey, event=True)
    return several(entry.when), Entrance(
        condition=compile_condition(entry.if_, scope) if entry.if_ else None,
        sets=tuple((name, compile_value(written, scope)) for name, written in entry.set.items()),
        to=entry.to or first,
        written=Written(entry.if_, scope) if entry.if_ else None,
    )


def _again(text: str) -> int:
    return {"never": NEVER, "always": ALWAYS}[text] if " " not in text else duration(text.split()[1])


def listens_to(journey: Journey) -> frozenset[str]:
    """The types of touchpoints that a journey enters with or reacts to."""
    handlers = [*journey.any_stage, *(handler for stage in journey.stages.values() for handler in stage)]
    whens = [entry.when for entry in _entries(journey)] + [handler.when for handler in handlers]
    return frozenset(each for when in whens for each in several(when))


def enters_by(journey: Journey) -> frozenset[str]:
    """The types of touchpoints that a journey is entered with."""
    return frozenset(each for entry in _entries(journey) for each in several(entry.when))


def watches(journey: Journey) -> bool:
    """Whether any handler waits for a condition to become true."""
    return any(handler.soon is not None for stage in (journey.any_stage, *journey.stages.values()) for handler in stage)


def waits_for_silence(journey: Journey) -> bool:
    """Whether any stage waits for silence: then every touchpoint moves a timer."""
    return any(str(handler.after).endswith("silence") for stage in journey.stages.values() for handler in stage)


def _entries(journey: Journey) -> list[Entry]:
    return journey.enter if isinstance(journey.enter, list) else [journey.enter]


def _expressions(journey: Journey) -> Iterator[str]:
    """Every text of a journey that is, or may be, an expression."""
    handlers = [*journey.any_stage, *(handler for stage in journey.stages.values() for handler in stage)]
    entries = _entries(journey)
    parts: list[Entry | Handler] = [*entries, *handlers]
    for part in parts:
        yield part.if_ or ""
        yield from (written for written in part.set.values() if isinstance(written, str))
    for handler in handlers:
        yield from (terms.owner or "" for terms in handler.promise.values())
        yield handler.soon or ""
        for action in handler.do:
            for params in action.values():
                for name, value in params.items():
                    yield from () if name in FIXED else _texts(value)


def _texts(value: Any) -> Iterator[str]:
    """Every text within a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def windows_of(texts: Iterable[str]) -> frozenset[Window]:
    """The windows that expressions ask for; what does not compile asks for none."""
    found: set[Window] = set()
    for text in texts:
        if "profile." in text:
            with suppress(ExpressionError):
                found |= asked(text).windows
    return frozenset(found)


def compile_journey(journey: Journey, policy: Policy) -> CompiledJourney:
    """The journey as the engine runs it, once it has passed the checks; a bad expression raises ExpressionError."""
    entries = _entries(journey)
    anywhere = _by_type(
        [
            (_when(handler), _reaction(f"any stage/{number}", handler, journey, policy))
            for number, handler in enumerate(journey.any_stage)
            if handler.soon is None
        ]
    )
    stages = {name: _stage(name, order, journey, policy, anywhere) for order, name in enumerate(journey.stages)}
    for name, soon in _soons(journey, policy, stages).items():
        stages[name] = replace(
            stages[name], soon=soon, soon_by_type=_by_type([(tuple(sorted(each.types)), each) for each in soon])
        )
    enter = _by_type([_entrance(entry, journey, next(iter(stages))) for entry in entries])
    goals = journey.goal if isinstance(journey.goal, list) else [journey.goal] if journey.goal else []
    return CompiledJourney(
        name=journey.journey,
        version=journey.version,
        goals=frozenset(goals),
        enter=enter,
        again=_again(journey.again),
        stale_after=duration(journey.stale_after),
        stages=stages,
        types=listens_to(journey),
        # Only who asks for counts pays for them: two more dicts to touch per event and instance.
        counting="journey.count" in "".join(_expressions(journey)),
        follow=journey.edits == "follow",
        moved=dict(journey.moved),
        windows=windows_of(_expressions(journey)),
        holdout=journey.holdout or 0,
        watched=frozenset(kind for stage in stages.values() for each in stage.soon for kind in each.types),
    )


@dataclass(slots=True)
class Library:
    """Every definition known here, by (name, version), with its fingerprint."""

    journeys: dict[tuple[str, int], tuple[str, Journey]] = field(default_factory=dict)
    policies: dict[tuple[str, int], tuple[str, Policy]] = field(default_factory=dict)
    offers: dict[tuple[str, int], tuple[str, Offer]] = field(default_factory=dict)
    _compiled: dict[tuple[str, int], tuple[Journey, Policy, CompiledJourney]] = field(default_factory=dict, repr=False)

    def compiled(self, name: str, version: int, policy: Policy) -> CompiledJourney:
        """A journey as the engine runs it under a policy. Raises UnknownDefinition.

        It is kept for the next who asks: each activation makes new rules in each partition, and to compile twenty
        journeys takes 30 ms.
        """
        known = self.journeys.get((name, version))
        if known is None:
            raise UnknownDefinition("journey", name, version, "any")
        kept = self._compiled.get((name, version))
        if kept is not None and kept[0] is known[1] and kept[1] is policy:
            return kept[2]
        compiled = compile_journey(known[1], policy)
        self._compiled[name, version] = known[1], policy, compiled
        return compiled

    def of(self, kind: str) -> dict[tuple[str, int], tuple[str, Any]]:
        """All of one kind; nothing is of a kind that is not known."""
        known: dict[str, dict[tuple[str, int], tuple[str, Any]]] = {
            "policy": self.policies,
            "offer": self.offers,
            "journey": self.journeys,
        }
        return known.get(kind, {})

    def add(self, definition: Definition, fingerprint: str) -> None:
        """Know one more definition."""
        self.of(kind_of(definition))[name_of(definition), definition.version] = fingerprint, definition

    def require(self, kind: str, name: str, version: int, fingerprint: str) -> None:
        """Raise UnknownDefinition unless exactly this definition is known."""
        known = self.of(kind).get((name, version))
        if known is None or known[0] != fingerprint:
            raise UnknownDefinition(kind, name, version, fingerprint)


def newest(library: Library, name: str) -> Journey:
    """The newest version of a journey that is known. Raises LookupError."""
    version = max((version for known, version in library.journeys if known == name), default=0)
    if not version:
        raise LookupError(name)
    return library.journeys[name, version][1]


NO_POLICY = Policy(policy="none", version=1, purposes={}, channels={}, actions={})


Canaries = dict[str, tuple[int, str, int, int]]
"""By kind/name: version, fingerprint, share in percent, and when that was said (ms)."""


class Concern(NamedTuple):
    """What an event of one type may set in motion: journeys, and what is kept or said of the profile itself.

    `former` are the journeys of which a version that is not active listens to it: instances are pinned to the version
    they entered with. `recorded`: windows may look at it.
    """

    listeners: tuple[CompiledJourney, ...]
    former: tuple[str, ...]
    watched: tuple[str, ...]
    journeys: bool  # any of these
    recorded: bool
    understood: bool
    cases: bool


# Types that say something of the profile itself.
UNDERSTOOD = frozenset({PROFILE_UPDATED, CONSENT_GIVEN, CONSENT_WITHDRAWN, CONTACT_FORBIDDEN, CONTACT_ALLOWED})


class Rules:
    """What is in force in one journal partition: active journeys by the event types they listen to, offers, the policy.

    `canaries` are the versions that a share of those who enter come into, `follows` the journeys to whose active
    version instances of earlier ones move. `timed_traits` are the traits that timers read. `concerns` is the index of
    all that by the event's type: a type that is not in it costs an event one look. `places` has the offers by place;
    while one of them has a capacity, entries must be applied in the order of the journal (`ordered`). `competes` maps a
    kind of action to what it competes in.
    """

    __slots__ = (
        "_compiled",
        "_library",
        "_plans",
        "_ran",
        "_windows",
        "active",
        "canaries",
        "capacity",
        "caps",
        "cases_by_type",
        "competes",
        "concerns",
        "distances",
        "dropping",
        "follows",
        "holding_out",
        "holdouts",
        "holds_by_type",
        "listeners",
        "ordered",
        "places",
        "plan",
        "policy",
        "quiet",
        "silence",
        "stops",
        "timed_traits",
        "types",
        "watched",
    )

    def __init__(
        self,
        library: Library,
        active: dict[str, tuple[int, str]],
        stops: list[str],
        capacity: Capacity | None = None,
        canaries: Canaries | None = None,
    ) -> None:
        """`active` maps `kind/name` to (version, fingerprint); `stops` are scopes; `capacity` is the partition's."""
        self._library = library
        self._compiled: dict[tuple[str, int], CompiledJourney] = {}
        policies = [(name[7:], version) for name, (version, _) in sorted(active.items()) if name.startswith("policy/")]
        self.policy = library.policies[policies[-1]][1] if policies else NO_POLICY
        self.stops = frozenset(stops)
        self.canaries = {
            name[8:]: (version, share)
            for name, (version, _, share, _) in sorted((canaries or {}).items())
            if name.startswith("journey/")
        }
        # A journey of which there is nothing but a canary: nobody else comes into it.
        self.active = {name: version for name, (version, _) in self.canaries.items()} | {
            name[8:]: version for name, (version, _) in sorted(active.items()) if name.startswith("journey/")
        }
        offers = [
            library.offers[name[6:], version][1]
            for name, (version, _) in sorted(active.items())
            if name.startswith("offer/")
        ]
        made = [compile_offer(offer, self.policy.time_zone) for offer in offers]
        self.places = _by_type([(tuple(offer.places), offer) for offer in made])
        self.ordered = any(offer.capacity is not None for offer in made)
        self.capacity = capacity or Capacity()
        self.competes = {kind: name for name, each in self.policy.compete.items() for kind in each.actions}
        journeys = [self.journey(name, version) for name, version in sorted(self.active.items())]
        self.listeners = _by_type([(tuple(sorted(self._heard(journey))), journey) for journey in journeys])
        self.follows = {journey.name: journey for journey in journeys if journey.follow}
        # Profiles keep what the versions in force ask for, and those they are pinned to (`plan_for`), not whatever this
        # library happens to know: a replay may know more.
        asked = [journey.windows for journey in journeys]
        asked += [self.journey(name, version).windows for name, (version, _) in self.canaries.items()]
        asked += [windows_of(_texts(model.model_dump())) for model in offers]
        self._windows = frozenset[Window]().union(*asked)
        self.plan = plan(self._windows)
        self._plans: dict[tuple[tuple[str, int], ...], Plan] = {}
        self._ran = [each for each in sorted(library.journeys) if each[0] in self.active]
        holds = self.policy.holds.items()
        self.holds_by_type = _by_type(
            [(several(hold.begins), (name, True)) for name, hold in holds]
            + [(several(hold.ends), (name, False)) for name, hold in holds]
        )
        self.cases_by_type = case_moves(self.policy)
        self._former()
        # What a policy, or no journey, has none of costs a proposed action one look.
        self.dropping = any(hold.then == "drop" for _, hold in holds)
        self.caps, self.distances = caps(self.policy), distances(self.policy)
        self.quiet = quiet_times(self.policy)
        self.holdouts = tuple(
            (name, each.share, frozenset(several(each.purposes))) for name, each in self.policy.holdouts.items()
        )
        self.holding_out = any(library.journeys[each][1].holdout for each in self._ran)

    def _heard(self, journey: CompiledJourney) -> frozenset[str]:
        canary = self.canaries.get(journey.name)
        return journey.types if canary is None else journey.types | self.journey(journey.name, canary[0]).enter.keys()

    def _former(self) -> None:
        ran = [(name, version, self._library.journeys[name, version][1]) for name, version in self._ran]
        former = {
            (name, each) for name, version, model in ran if version != self.active[name] for each in listens_to(model)
        }
        former_by_type = _by_type([((each,), name) for name, each in sorted(former)])
        # Which journeys have an `as soon as` that an event of a type can change, in a version that somebody may be in.
        watching = [(name, version) for name, version, model in ran if watches(model)]
        self.watched = _by_type(
            [
                (tuple(sorted(types)), name)
                for name in dict(watching)
                if (
                    types := frozenset[str]().union(
                        *(self.journey(*each).watched for each in watching if each[0] == name)
                    )
                )
            ]
        )
        self.types = self.listeners.keys() | former_by_type.keys() | self.watched.keys()
        self.silence = any(waits_for_silence(model) for _, _, model in ran)
        self.timed_traits = frozenset[str]().union(*(timed_by(model) for _, _, model in ran))
        others = [model for name, version, model in ran if version != self.active[name]]
        recorded = self.plan.types | {each.kind for model in others for each in windows_of(_expressions(model))}
        case_types = self.holds_by_type.keys() | self.cases_by_type.keys()
        self.concerns = {
            kind: Concern(
                self.listeners.get(kind, ()),
                former_by_type.get(kind, ()),
                self.watched.get(kind, ()),
                kind in self.types,
                kind in recorded,
                kind in UNDERSTOOD,
                kind in case_types,
            )
            for kind in {*self.types, *recorded, *UNDERSTOOD, *case_types}
        }

    def adopt(self, name: str, version: int) -> None:
        """An instance of this version came from elsewhere: it may have been published after these rules were made."""
        if name in self.active and (name, version) not in self._ran:
            self.journey(name, version)
            self._ran = sorted([*self._ran, (name, version)])
            self._former()

    def entered(self, journey: CompiledJourney, profile: str) -> CompiledJourney | None:
        """The version of an active journey that a profile comes into, where there is a canary; None: into none."""
        version = self.canaries[journey.name][0]
        number, share = self.of_canary(journey.name, profile)
        if number < share:
            return self.journey(journey.name, version)
        return None if version == journey.version else journey

    def of_canary(self, name: str, profile: str) -> tuple[int, int]:
        """A profile's number among 100, from 0, and how many of them come into the canary of a journey."""
        version, share = self.canaries[name]
        return percent(f"canary/{name}/{version}", profile), share

    def plan_for(self, profile: Profile) -> Plan:
        """What a profile is to keep for windows: what the definitions in force ask for, and its own older versions."""
        pins = tuple(
            sorted(
                (name, instance.version)
                for name, instance in profile.instances.items()
                if not instance.ended and instance.version != self.active.get(name)
            )
        )
        if not pins:
            return self.plan
        found = self._plans.get(pins)
        if found is None:
            windows = [self.journey(name, version).windows for name, version in pins]
            found = self._plans[pins] = plan(self._windows.union(*windows))
        return found

    def journey(self, name: str, version: int) -> CompiledJourney:
        """The compiled journey that an instance is pinned to."""
        compiled = self._compiled.get((name, version))
        if compiled is None:
            compiled = self._compiled[name, version] = self._library.compiled(name, version, self.policy)
        return compiled

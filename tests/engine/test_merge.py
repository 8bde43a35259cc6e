"""Merging: each field a maximum or a union, so order and repetition change nothing; and what the merge then ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import reasons
from streams.engine.ids import digest, instance_id
from streams.engine.merge import instance_rank, merge, unite
from streams.engine.profile import (
    FORMAT,
    RECENT_EVENTS,
    Carried,
    Case,
    Consent,
    Contact,
    Held,
    Hold,
    Instance,
    Profile,
    Trait,
    content,
    decode,
    encode,
    remember,
)
from streams.engine.step import Step
from tests.engine.effort import examples
from tests.engine.making import DAY, HOUR, START, journey, rules

if TYPE_CHECKING:
    from streams.engine.rules import Rules

NOW = START + 40 * DAY
STAGES = {
    "first": [{"when": "go", "to": "second"}],
    "second": [{"when": "go", "to": "third"}],
    "third": [{"when": "never_mind", "end": True}],
}
RULES = rules(
    *(journey("again-later", STAGES, again="after 30d", version=version) for version in (1, 2)),
    journey("again-always", STAGES, again="always"),
    journey("again-never", STAGES, again="never"),
)
VERSIONS = {"again-later": (1, 2), "again-always": (1,), "again-never": (1,)}

# Few values, so that they meet: equal times, equal keys, the same event seen from two sides.
TIMES = st.integers(0, 5).map(lambda number: START + number * 10 * DAY)
EVENTS = st.integers(0, 5).map("event-{}".format)


def _trait(value: tuple[int, int, str]) -> Trait:
    rank, at, event_id = value
    return Trait(f"{rank}-{event_id}", rank, at, event_id)  # one event says one value


def _instance(value: tuple[str, int, str, int, int, int, dict[int, int]]) -> tuple[str, Instance]:
    name, number, stage, started, ended, version, fired = value
    event_id = f"event-{number}"
    versions = VERSIONS[name]
    made = Instance(
        id=instance_id(f"device:d{number}", name, event_id),
        journey=name,
        version=versions[version % len(versions)],
        stage=stage,
        order=list(STAGES).index(stage),
        started=started,
        entered=started,
        profile=f"device:d{number}",
        event_id=event_id,
        ended=ended and started + ended,
        fired=fired,
    )
    return name, made


def _contact(value: tuple[int, int]) -> tuple[str, Contact]:
    number, status = value
    made = Contact(
        at=START + number,
        expires=NOW + DAY,
        channel="email",
        purpose="marketing",
        basis="consent",
        journey="again-later",
        instance=instance_id(f"device:d{number}", "again-later", f"event-{number}"),
        stage="first",
        visit=1,
        profile=f"device:d{number}",
        address=f"address-{number}",
        standing=False,
        status=status,
    )
    return f"action-{number}", made


def _recent(events: list[tuple[int, str]]) -> bytes:
    profile = Profile(FORMAT, "")
    for at, event_id in sorted(events):
        remember(profile, digest(event_id), at)
    return profile.recent


CONSENTS = st.builds(Consent, st.booleans(), TIMES, EVENTS)
INSTANCES = st.tuples(
    st.sampled_from(sorted(VERSIONS)),
    st.integers(0, 3),
    st.sampled_from(sorted(STAGES)),
    TIMES,
    st.sampled_from([0, DAY, 20 * DAY]),
    st.integers(0, 1),
    st.dictionaries(st.integers(0, 1), st.integers(1, 3), max_size=2),
).map(_instance)
PROFILES = st.builds(
    Profile,
    format=st.just(FORMAT),
    id=st.just("customer:ann"),
    activity=TIMES,
    recent=st.lists(st.tuples(TIMES, EVENTS), max_size=5).map(_recent),
    counts=st.dictionaries(
        st.sampled_from(["customer:ann", "device:d#0", "device:d#1"]),
        st.dictionaries(st.sampled_from(["page_viewed", "hello"]), st.integers(1, 9), min_size=1),
    ),
    traits=st.dictionaries(
        st.sampled_from(["email", "phone", "segment"]), st.tuples(st.integers(0, 1), TIMES, EVENTS).map(_trait)
    ),
    consents=st.dictionaries(st.sampled_from(["marketing", "cookie/marketing", "cookie/personalisation"]), CONSENTS),
    contact=st.none() | CONSENTS,
    cases=st.dictionaries(st.sampled_from(["complaint/1", "fraud/1"]), st.builds(Case, TIMES, TIMES)),
    instances=st.lists(INSTANCES, max_size=3).map(dict),
    contacts=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)).map(_contact), max_size=3).map(dict),
    dead=st.dictionaries(st.sampled_from(["address-0", "address-1"]), TIMES),
    held=st.dictionaries(st.sampled_from(["device:d", "email:e"]), st.builds(Hold, TIMES, EVENTS)),
    carried=st.none() | st.builds(Carried, TIMES, EVENTS, st.sampled_from(["ann", "bea"])),
)


def _carry(profile: Profile) -> Profile:
    """One `customers_merged` names one `into`, so the id is a function of the event."""
    if profile.carried is not None:
        profile.carried = Carried(profile.carried.time, profile.carried.event_id, f"into-{profile.carried.event_id}")
    return profile


MERGEABLE = PROFILES.map(_carry)


def _union(*profiles: Profile) -> Profile:
    """The content of all of them, united from the left; the arguments stay as they are."""
    first, *others = (decode(encode(profile)) for profile in profiles)
    for other in others:
        unite(first, other, RULES, NOW)
    return decode(content(first))


@examples(100)
@given(MERGEABLE, MERGEABLE, MERGEABLE)
def test_merging_is_associative(one: Profile, two: Profile, three: Profile) -> None:
    """Whether a device is merged before or after the customers are, the same comes of it."""
    assert _union(one, two, three) == _union(one, _union(two, three))


@examples(100)
@given(MERGEABLE, MERGEABLE)
def test_merging_is_commutative_in_content(one: Profile, two: Profile) -> None:
    """Which of two became the alias makes no difference to what the united profile knows."""
    assert _union(one, two) == _union(two, one)


@examples(100)
@given(MERGEABLE, MERGEABLE)
def test_repeating_a_merge_changes_nothing(one: Profile, two: Profile) -> None:
    """At least once is as good as once."""
    assert _union(one, two, two) == _union(one, two) == _union(one, two, one)


@examples(100)
@given(MERGEABLE, MERGEABLE)
def test_a_repeated_merge_has_no_effects_but_for_words_said_before(one: Profile, two: Profile) -> None:
    """With all effects: the state stays, nothing more is withdrawn, and decisions repeat only under their own ids."""
    mine, steps = decode(encode(one)), [Step(), Step()]
    merge(mine, decode(encode(two)), RULES, NOW, steps[0])
    before = decode(content(mine))
    merge(mine, decode(encode(two)), RULES, NOW, steps[1])
    assert decode(content(mine)) == before
    assert steps[1].wanted.withdrawals == []
    assert {each.decision_id for each in steps[1].wanted.decisions} <= {
        each.decision_id for each in steps[0].wanted.decisions
    }


@examples(100)
@given(MERGEABLE, MERGEABLE)
def test_nothing_is_sent_because_of_a_merge(one: Profile, two: Profile) -> None:
    """It ends and withdraws, but proposes nothing."""
    step = Step()
    merge(decode(encode(one)), decode(encode(two)), RULES, NOW, step)
    assert step.wanted.actions == []
    assert step.wanted.entries == []
    assert {each.verdict for each in step.wanted.decisions} <= {"merged", "withdrawn"}


@examples(100)
@given(MERGEABLE, MERGEABLE)
def test_after_a_merge_nothing_forbidden_is_on_its_way(one: Profile, two: Profile) -> None:
    """What is emitted and not delivered has consent, no open hold, and a customer who may be contacted."""
    mine = decode(encode(one))
    merge(mine, decode(encode(two)), RULES, NOW, Step())
    pending = [contact for contact in mine.contacts.values() if contact.status == 0]
    if pending:
        assert mine.contact is None or mine.contact.granted
        assert mine.consents["marketing"].granted
        assert all(case.closed >= case.opened for case in mine.cases.values())


# ---- field by field


def _profile(**fields: Any) -> Profile:
    return Profile(FORMAT, "customer:ann", **fields)


TRAITS = [
    ("said of a known customer, over a device's", (1, 0, "a"), (0, 9, "b")),
    ("the later, of one rank", (0, 2, "a"), (0, 1, "b")),
    ("the larger event id, of one time", (0, 1, "b"), (0, 1, "a")),
]


@pytest.mark.parametrize(("winner", "loser"), [pytest.param(*row[1:], id=row[0]) for row in TRAITS])
def test_traits(winner: tuple[int, int, str], loser: tuple[int, int, str]) -> None:
    """By (customer over other kinds, time, event id)."""
    one, two = _profile(traits={"email": _trait(winner)}), _profile(traits={"email": _trait(loser)})
    for mine, theirs in ((one, two), (two, one)):
        assert _union(mine, theirs).traits["email"] == _trait(winner)


WORDS = [
    ("the newer grant", Consent(True, 2, "a"), Consent(False, 1, "z")),
    ("the newer denial", Consent(False, 2, "a"), Consent(True, 1, "z")),
    ("denial wins ties, whatever the event ids", Consent(False, 1, "a"), Consent(True, 1, "z")),
    ("of two alike, the larger event id", Consent(True, 1, "z"), Consent(True, 1, "a")),
]


@pytest.mark.parametrize(("winner", "loser"), [pytest.param(*row[1:], id=row[0]) for row in WORDS])
def test_consents(winner: Consent, loser: Consent) -> None:
    """By (given at, event id), and denial wins ties: for each purpose and for contact as a whole."""
    one, two = (_profile(consents={"marketing": word}, contact=word) for word in (winner, loser))
    for mine, theirs in ((one, two), (two, one)):
        united = _union(mine, theirs)
        assert (united.consents["marketing"], united.contact) == (winner, winner)


def test_a_cookie_consent_is_a_namespace_of_its_own() -> None:
    """What a device agreed to says nothing of the person, and the other way round."""
    device = _profile(consents={"cookie/marketing": Consent(True, 9, "b")})
    person = _profile(consents={"marketing": Consent(False, 1, "a")})
    assert _union(person, device).consents == {
        "cookie/marketing": Consent(True, 9, "b"),
        "marketing": Consent(False, 1, "a"),
    }


def test_a_case_closed_on_one_side_is_closed() -> None:
    """Cases are sets by id: the latest opening and the latest closing count."""
    opened, closed = _profile(cases={"complaint/1": Case(5, 0)}), _profile(cases={"complaint/1": Case(5, 7)})
    assert _union(opened, closed).cases == {"complaint/1": Case(5, 7)}


def test_counts_of_one_source_are_not_added_twice() -> None:
    """Counters are kept by source, so that merging what was merged before adds nothing."""
    device = _profile(counts={"device:d#0": {"page_viewed": 3}})
    more = _profile(counts={"device:d#0": {"page_viewed": 3}, "device:d#1": {"page_viewed": 2}})
    assert _union(device, more, device).total("page_viewed") == 5


def test_event_ids_remembered_on_either_side_stay_known() -> None:
    """A repeat that comes after the merge is found, up to the number remembered."""
    one, two = (_profile(recent=_recent([(at, f"{side}{at}") for at in range(40)])) for side in "ab")
    united = _union(one, two)
    assert len(united.recent) == 16 * RECENT_EVENTS
    assert not remember(united, digest("a39"), 99)
    assert not remember(united, digest("b20"), 99)
    assert remember(united, digest("a0"), 99)


# ---- two instances of one journey


def _one(name: str = "again-later", number: int = 1, **fields: Any) -> Instance:
    made = _instance((name, number, "second", START, 0, 0, {}))[1]
    for key, value in fields.items():
        setattr(made, key, value)
    return made


PAIRS = [
    ("the later version", {"version": 2}, {"version": 1, "order": 2}),
    ("the ended one within its re-entry window", {"ended": NOW - DAY}, {"order": 2}),
    ("the active one, when the window is over", {}, {"ended": NOW - 31 * DAY, "order": 2}),
    ("the one further along", {"order": 2}, {"order": 1, "started": START - DAY}),
    ("the earlier entry", {"started": START}, {"started": START + 1}),
]


@pytest.mark.parametrize(("winner", "loser"), [pytest.param(*row[1:], id=row[0]) for row in PAIRS])
def test_of_two_instances_of_one_journey(winner: dict[str, Any], loser: dict[str, Any]) -> None:
    """The later version, else the ended one within its window, else the further, else the earlier."""
    best, other = _one(number=1, **winner), _one(number=2, **loser)
    assert instance_rank(best, RULES, NOW) > instance_rank(other, RULES, NOW)
    for mine, theirs in ((best, other), (other, best)):
        step = Step()
        profile = decode(encode(_profile(instances={"again-later": mine})))
        merge(profile, decode(encode(_profile(instances={"again-later": theirs}))), RULES, NOW, step)
        assert profile.instances["again-later"].id == best.id
        ended = [(each.verdict, each.instance_id, each.value) for each in step.wanted.decisions]
        assert ended == ([] if other.ended else [("merged", other.id, best.id)])


@pytest.mark.parametrize(("name", "barred"), [("again-never", True), ("again-always", False)])
def test_never_again_bars_for_ever_and_always_never(name: str, barred: bool) -> None:  # noqa: FBT001
    """A journey that ended keeps its place for as long as one may not come into it again."""
    ended, active = _one(name, 1, ended=START + 1), _one(name, 2)
    profile = _profile(instances={name: active})
    merge(profile, _profile(instances={name: ended}), RULES, NOW, Step())
    assert profile.instances[name].id == (ended if barred else active).id


def test_the_instance_that_ends_takes_back_what_it_sent_and_drops_what_it_held() -> None:
    """Only the winner may still speak; the decisions say so."""
    loser, winner = _one(number=1, order=0), _one(number=2, order=2)
    loser.held = [Held("held", "first/0", "first", 1, START, None, "message", {"purpose": "marketing"})]
    action, contact = _contact((1, 0))
    consent = {"marketing": Consent(True, START, "e")}
    mine = _profile(instances={"again-later": loser}, contacts={action: contact}, consents=consent)
    step = Step()
    merge(mine, _profile(instances={"again-later": winner}), RULES, NOW, step)
    assert [(each.action_id, each.reason) for each in step.wanted.withdrawals] == [
        (action, "journey again-later ended: merged")
    ]
    assert [(each.verdict, each.gate, each.reason) for each in step.wanted.decisions] == [
        ("merged", "merge", "another-instance-stays"),
        ("refused", "journey", "instance-ended"),
        ("withdrawn", "withdrawal", "journey again-later ended: merged"),
    ]


def test_a_denial_that_comes_by_merge_takes_back_what_is_on_its_way() -> None:
    """Consents and holds are checked again."""
    action, contact = _contact((1, 0))
    mine = _profile(contacts={action: contact}, consents={"marketing": Consent(True, START, "e")})
    step = Step()
    merge(mine, _profile(consents={"marketing": Consent(False, START + 1, "f")}), RULES, NOW, step)
    assert [(each.action_id, each.reason) for each in step.wanted.withdrawals] == [
        (action, "consent to marketing withdrawn")
    ]


def test_a_consent_that_is_not_known_takes_back_what_is_on_its_way() -> None:
    """As it may have been forgotten, of too many."""
    action, contact = _contact((1, 0))
    step = Step()
    merge(_profile(contacts={action: contact}), _profile(), RULES, NOW, step)
    assert [each.reason for each in step.wanted.withdrawals] == ["no consent to marketing"]
    (decision,) = step.wanted.decisions
    assert (decision.reason, decision.value, decision.bound) == ("no-consent", None, "marketing")
    assert reasons.sentence(decision).endswith("withdrawn: there is no consent to marketing any more")


def test_timers_of_what_was_merged_are_taken_up() -> None:
    """The united profile wakes for the earliest of both."""
    timed: Rules = rules(
        journey("slow", {"s": [{"after": "2d", "end": True}]}), journey("fast", {"s": [{"after": "1h", "end": True}]})
    )
    slow = Instance("i", "slow", 1, "s", 0, NOW, NOW, "customer:ann", "e")
    fast = Instance("j", "fast", 1, "s", 0, NOW, NOW, "device:d", "f")
    mine = _profile(instances={"slow": slow})
    merge(mine, _profile(instances={"fast": fast}), timed, NOW, Step())
    assert mine.wake == NOW + HOUR


RENEWAL = rules(journey("renewal", {"s": [{"at": "traits.renewal 09:00", "end": True}, {"after": "90d", "end": True}]}))
DAY_OF_NOW = datetime.fromtimestamp(NOW / 1000, UTC).date()
DATES = [
    ("learnt by the merge, to come", {}, {"renewal": 2}, 2, False),
    ("learnt by the merge, passed", {}, {"renewal": -2}, 50, True),
    ("known before and due, though not yet fired", {"renewal": -2}, {}, -2, False),
    ("moved by the merge, to a day that has passed", {"renewal": 2}, {"renewal": -2}, 50, True),
    ("moved by the merge, to an earlier day to come", {"renewal": 9}, {"renewal": 2}, 2, False),
]


@pytest.mark.parametrize(("mine", "theirs", "wake", "passed"), [pytest.param(*row[1:], id=row[0]) for row in DATES])
def test_dates_and_merges(mine: dict[str, int], theirs: dict[str, int], wake: int, passed: bool) -> None:  # noqa: FBT001
    """What was due before a merge is due still; of what one learns by it, a day that has passed comes too late."""
    entered = NOW - 40 * DAY

    def said(traits: dict[str, int], at: int) -> dict[str, Trait]:
        return {name: Trait(str(DAY_OF_NOW + timedelta(days=day)), 1, at, "e") for name, day in traits.items()}

    profile = _profile(
        instances={"renewal": Instance("i", "renewal", 1, "s", 0, entered, entered, "customer:ann", "e")},
        traits=said(mine, START),
        now=NOW,
    )
    merge(profile, _profile(traits=said(theirs, START + 1)), RENEWAL, NOW, Step())
    day = datetime.fromtimestamp(profile.wake / 1000, UTC).date()
    assert day - DAY_OF_NOW == timedelta(days=wake)
    assert bool(profile.instances["renewal"].fired) == passed
    before = encode(profile)
    merge(profile, _profile(traits=said(theirs, START + 1)), RENEWAL, NOW, Step())
    assert encode(profile) == before


def test_what_has_fired_on_either_side_of_a_merge_has_fired() -> None:
    """One visit that two profiles tell of: no timer fires again."""
    one, two = _profile(instances={"again-always": _one("again-always", fired={0: 5})}), _profile()
    two.instances = {"again-always": _one("again-always", fired={0: 3, 1: 2})}
    assert _union(one, two).instances["again-always"].fired == {0: 5, 1: 2}
    assert _union(two, one) == _union(one, two)

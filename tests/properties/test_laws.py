"""Laws of what is published, checked against the log alone and not against the engine's own state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from streams.engine.profile import Profile, decode
from tests.engine.effort import examples
from tests.engine.making import DAY, HOUR, MINUTE, POLICY, START, Shop
from tests.properties.logs import ANYONE, OUTCOMES, WHO, Seen, logs, play

if TYPE_CHECKING:
    from schemas.decision import Decision

LOGS = logs()


def _met(gaps: list[int], log: list[Seen]) -> list[Seen]:
    """Two of whom each was promised a parcel turn out to be one; what follows, follows then."""
    met, now = [], 0
    for number, (gap, who) in enumerate(zip(gaps, [*DEVICE_AND_CUSTOMER, "customer:ann,device:d"], strict=True)):
        now += gap * MINUTE + 1
        met.append(Seen("order_placed", now, who, event_id=f"met-{number}"))
    return met + [replace(step, at=step.at + now + 1) for step in log]


DEVICE_AND_CUSTOMER = ["device:d", "device:d", "customer:ann", "customer:ann"]
MERGING = st.builds(
    _met, st.lists(st.sampled_from([0, 5, 200, 400]), min_size=5, max_size=5), logs(ANYONE, switches=True)
)


def _sent(shop: Shop, basis: str | None = None) -> list[tuple[str, Decision]]:
    """(profile, decision) of what was sent, of purposes with this legal basis."""
    return [
        (each.profile, each)
        for each in shop.decisions("sent")
        if basis is None or POLICY.purposes[each.purpose or ""].basis == basis
    ]


def _said_of(log: list[Seen], profile: str, kinds: tuple[str, str], until: int) -> list[tuple[int, bool]]:
    """(when it was given, whether it denies) of the words of two kinds, the granting one first, read by `until`."""
    return [
        (step.at - step.late, step.kind == kinds[1])
        for step in log
        if step.ids == profile and step.kind in kinds and START + step.at <= until
    ]


@examples(80)
@given(LOGS)
def test_no_action_without_consent(log: list[Seen]) -> None:
    """The newest word on the purpose, by when it was given, was a yes; where there was none, nothing was sent."""
    shop = play(log)
    for profile, decision in _sent(shop, "consent"):
        words = [
            word
            for step in log
            if dict(step.properties).get("purpose") == decision.purpose
            for word in _said_of([step], profile, ("consent_given", "consent_withdrawn"), decision.at)
        ]
        assert words, "never asked"
        assert not max(words)[1], "withdrawn"


@examples(80)
@given(LOGS)
def test_nothing_skips_do_not_contact(log: list[Seen]) -> None:
    """While contact is forbidden, only what addresses nobody is done."""
    shop = play(log)
    for profile, decision in _sent(shop):
        words = _said_of(log, profile, ("contact_allowed", "contact_forbidden"), decision.at)
        if words and max(words)[1]:
            assert decision.purpose == "ads"


@examples(80)
@given(LOGS)
def test_no_marketing_while_a_complaint_is_open(log: list[Seen]) -> None:
    """Of any case: opened, and not closed since."""
    shop = play(log)
    for profile, decision in _sent(shop, "consent"):
        if decision.purpose != "marketing":
            continue
        is_open: dict[object, bool] = {}
        for step in log:
            if step.ids == profile and step.kind.startswith("complaint_") and START + step.at <= decision.at:
                is_open[dict(step.properties)["case_id"]] = step.kind == "complaint_opened"
        assert not any(is_open.values())


@examples(80)
@given(LOGS)
def test_the_ceiling_holds_in_every_window(log: list[Seen]) -> None:
    """Whatever failed gave its slot back; what remains of any 24 hours is at most the ceiling."""
    shop = play(log)
    back = {shop.actions[number].action_id for number in shop.failed} | {
        each.action_id for each in shop.simulator.withdrawals
    }
    for name, purpose in POLICY.purposes.items():
        if purpose.basis not in {"contract", "request"}:
            continue
        for profile in {profile for profile, _ in _sent(shop)}:
            times = [
                each.at
                for owner, each in _sent(shop)
                if owner == profile and each.purpose == name and each.action_id not in back
            ]
            assert all(sum(1 for each in times if begin <= each < begin + DAY) <= purpose.ceiling for begin in times)


@examples(80)
@given(LOGS)
def test_no_timer_is_early_and_no_silence_was_broken(log: list[Seen]) -> None:
    """A timer's stage was entered exactly so long ago, or nothing was heard of the customer for exactly so long."""
    shop = play(log)
    entered: dict[str, int] = {}
    for move in shop.simulator.published.transitions:
        if move.why.startswith("after "):
            waited = int(move.why.split()[1]) * 1000
            heard = [START + step.at for step in log if step.ids == move.profile and _is_touchpoint(step)]
            silent = waited in {30 * MINUTE, 3 * DAY}
            since = max(at for at in heard if at < move.at) if silent else entered[move.instance]
            assert move.at == max(since, entered[move.instance]) + waited
        if move.to_stage is not None:
            entered[move.instance] = move.at


def _promised(shop: Shop) -> dict[str | None, list[tuple[str, int]]]:
    """(verdict, ms after START) of each instance's decisions on its promise, as they came."""
    found: dict[str | None, list[tuple[str, int]]] = {}
    for each in shop.simulator.decisions:
        if each.gate == "promise":
            found.setdefault(each.instance_id, []).append((each.verdict, each.at - START))
    return found


@examples(80)
@given(LOGS)
def test_a_promise_is_at_risk_and_broken_at_its_moments(log: list[Seen]) -> None:
    """Exactly what the log says: at risk after five hours, broken after 25, once each, and not when it was kept."""
    shop = play(log)
    expected = [each for who in WHO for each in _moments(log, who, log[-1].at + 7 * DAY)]
    found = [(verdict, at) for each in _promised(shop).values() for verdict, at in each]
    assert sorted(found) == sorted(expected)


def _moments(log: list[Seen], who: str, until: int) -> list[tuple[str, int]]:
    """What becomes of the promises of one customer, from what was seen alone."""
    seen = [
        step for step in log if step.ids == who and step.kind in {"order_placed", "page_submitted", "something_else"}
    ]
    entry = next((at for at, step in enumerate(seen) if step.kind == "order_placed"), len(seen))
    became: list[tuple[str, int]] = []
    made: int | None = None

    def pass_to(now: int) -> int | None:
        if made is None:
            return None
        if became[-1][0] == "made" and made + 5 * HOUR <= now:
            became.append(("at-risk", made + 5 * HOUR))
        if made + 25 * HOUR <= now:
            became.append(("broken", made + 25 * HOUR))
            return None
        return made

    for step in seen[entry + 1 :]:
        made = pass_to(step.at)
        if step.kind == "something_else":
            became += [("kept", step.at)] if made is not None else []
            made = None
        elif made is None:
            made = step.at
            became.append(("made", made))
    pass_to(until)
    return became


@examples(80)
@given(MERGING)
def test_no_promise_is_lost_or_told_twice_when_profiles_become_one(log: list[Seen]) -> None:
    """Each is made, perhaps at risk, and then kept, broken or ended: never early, and nothing after."""
    shop = play(log)
    for told in _promised(shop).values():
        made = 0
        before = "ended"
        for verdict, at in told:
            if verdict == "made":
                assert before in {"kept", "broken", "ended"}
                made = at
            elif verdict == "at-risk":
                assert before == "made"
                assert at >= made + 5 * HOUR
            else:
                assert before in {"made", "at-risk"}
                assert verdict != "broken" or (before == "at-risk" and at >= made + 25 * HOUR)
            before = verdict
        assert before in {"kept", "broken", "ended"}


def _is_touchpoint(step: Seen) -> bool:
    return step.kind not in OUTCOMES and step.kind != "wait"


@examples(60)
@given(logs(ANYONE, switches=True))
def test_every_touchpoint_counts_in_exactly_one_final_state(log: list[Seen]) -> None:
    """At rest nothing is parked and no claim unanswered; owners and holders agree."""
    shop = play(log)
    states = {name: decode(state) for name, state in shop.simulator.states().items()}
    counted = [step for step in log if _is_touchpoint(step) and step.kind != "customers_merged"]
    assert sum(profile.total(None) for profile in states.values()) == len(counted)
    for name, profile in states.items():
        assert not profile.parked
        assert not profile.waiting
        for held in profile.held:
            assert _root(states, states[held].owner) == name
        if profile.owner is not None:
            assert name in states[_root(states, profile.owner)].held


def _root(states: dict[str, Profile], name: str | None) -> str:
    assert name is not None
    alias = states[name].alias if name in states else None
    return name if alias is None else _root(states, alias)


@examples(60)
@given(LOGS, st.data())
def test_a_repeated_event_id_changes_nothing(log: list[Seen], data: st.DataObject) -> None:
    """A producer that sends some touchpoints again, at once or later, changes no action, decision or state."""
    touchpoints = [step for step in log if _is_touchpoint(step)]
    repeated = data.draw(st.lists(st.sampled_from(touchpoints), max_size=5), label="repeated")
    delays = [data.draw(st.sampled_from([1, HOUR, 2 * DAY]), label="after") for _ in repeated]
    repeats = [
        (step.at + delay, Seen(step.kind, step.at + delay, step.ids, step.properties, step.late + delay, step.event_id))
        for step, delay in zip(repeated, delays, strict=True)
    ]
    waits = [(at, Seen("wait", at)) for at, _ in repeats]

    def with_them(more: list[tuple[int, Seen]]) -> Shop:
        return play([step for _, step in sorted([(step.at, step) for step in log] + more, key=lambda pair: pair[0])])

    once, twice = with_them(waits), with_them(repeats)
    assert once.actions == twice.actions
    assert once.simulator.decisions == twice.simulator.decisions
    assert once.simulator.withdrawals == twice.simulator.withdrawals
    for name in ("customer:ann", "customer:bea"):
        mine, theirs = once.profile(name), twice.profile(name)
        assert (mine.counts, mine.traits, mine.consents, mine.contact) == (
            theirs.counts,
            theirs.traits,
            theirs.consents,
            theirs.contact,
        )
        assert (mine.instances, mine.contacts, mine.activity) == (theirs.instances, theirs.contacts, theirs.activity)


@examples(60)
@given(logs(ANYONE, switches=True))
def test_ids_are_unique_and_each_action_has_its_decision(log: list[Seen]) -> None:
    """One `sent` decision per action; no action, and no decision, has another's id."""
    shop = play(log)
    actions = [action.action_id for action in shop.actions]
    assert len(set(actions)) == len(actions)
    assert sorted(actions) == sorted(each.action_id or "" for each in shop.decisions("sent"))
    decisions = [each.decision_id for each in shop.simulator.decisions]
    assert len(set(decisions)) == len(decisions)
    withdrawn = [each.action_id for each in shop.simulator.withdrawals]
    assert len(set(withdrawn)) == len(withdrawn)
    assert set(withdrawn) <= set(actions)

"""Random schedules of the identity protocol: oracle (5) holds in each, and fails where a rule of it is switched off."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from schemas.journal import Answer, Claim, Event, Forward, Merge, Unite, Unlink
from streams.engine import identity, routing
from streams.engine.profile import Hold, clear, content
from tests.engine.effort import LONGER
from tests.engine.schedules import run, violations

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.engine.profile import Profile
    from streams.engine.step import Step

MUTANT_SCHEDULES = 1_000  # the shyest of the rules below shows itself within 150


# 20,000 together, at 1.3 to 1.8 ms each on one core of a shared machine of two.
@pytest.mark.parametrize(
    ("schedules", "aliases", "parked", "codec"),
    [
        pytest.param(3_000, False, 500, False, id="claims, answers, unlinks"),
        pytest.param(7_000, True, 500, False, id="with aliases"),
        pytest.param(5_000, True, 2, False, id="with aliases and overflow at 2 parked"),
        pytest.param(5_000, True, 500, True, id="with aliases and repeated touchpoints, each state through its codec"),
    ],
)
def test_the_protocol_has_no_violation(
    *, schedules: int, aliases: bool, parked: int, codec: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the interleaving: nothing lost, doubled or stuck; owners, holders and newest claims agree."""
    monkeypatch.setattr(identity, "MAX_PARKED", parked)
    found: Counter[str] = Counter()
    first: dict[str, int] = {}
    for seed in range(schedules * LONGER):
        for violation in violations(run(seed, aliases=aliases, codec=codec, repeats=codec)):
            found[violation] += 1
            first.setdefault(violation, seed)
    assert not found, f"first seeds: {first}"


# ---- the mutants: each leaves out one rule


def _without(kind: type, only: Callable[[Any], bool] = lambda _: True) -> Callable[[pytest.MonkeyPatch], None]:
    """Messages of this kind are never sent by the protocol."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("identifier", "customer"):
            original = getattr(identity, name)

            def silenced(profile: Any, entry: Any, rules: Any, step: Step, apply: Any, run: Any = original) -> None:
                run(profile, entry, rules, step, apply)
                step.effects = [each for each in step.effects if not (isinstance(each[2], kind) and only(each[2]))]

            monkeypatch.setattr(identity, name, silenced)

    return patch


def _unlink_ends_any_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def unlink(profile: Profile, entry: Unlink, _step: Step) -> None:
        profile.held.pop(entry.identifier, None)

    monkeypatch.setattr(identity, "_unlink", unlink)


def _answers_mark_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    original, drain = identity._answer, identity._drain

    def answer(profile: Profile, entry: Answer, rules: Any, step: Step, apply: Any) -> None:
        queued, profile.parked = profile.parked[1:], profile.parked[:1]
        original(profile, entry, rules, step, apply)
        profile.parked += queued
        drain(profile, rules, step, apply)

    monkeypatch.setattr(identity, "_answer", answer)


def _marks_stay_behind_when_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    original = identity._pass_on
    claims: dict[str, list[str]] = {}
    queue = identity._queue

    def remember(profile: Profile, entry: Any, *, first: bool) -> None:
        if isinstance(entry, Event):
            claims.setdefault(entry.event_id, entry.claims)
        queue(profile, entry, first=first)

    def pass_on(profile: Profile, entry: Any, step: Step) -> None:
        if isinstance(entry, Event):
            entry = msgspec.structs.replace(entry, claims=claims.get(entry.event_id, entry.claims))
        original(profile, entry, step)

    monkeypatch.setattr(identity, "_queue", remember)
    monkeypatch.setattr(identity, "_pass_on", pass_on)


def _nothing_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_park", identity._handle)


def _last_claim_read_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    original = identity._claim

    def claim(profile: Profile, entry: Claim, step: Step) -> None:
        profile.claim = None
        original(profile, entry, step)

    monkeypatch.setattr(identity, "_claim", claim)


def _oldest_claim_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    original = identity._claim

    def claim(profile: Profile, entry: Claim, step: Step) -> None:
        if profile.claim is not None:
            profile.claim = Hold(2**62, "")
        original(profile, entry, step)

    monkeypatch.setattr(identity, "_claim", claim)


def _answers_keep_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(profile: Profile) -> None:
        profile.generation += 1

    monkeypatch.setattr(identity, "hand_over", keep)


def _answers_bring_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_unite_content", lambda *_: None)


def _late_answers_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "MAX_PARKED", 2)
    original = identity._answer

    def answer(profile: Profile, entry: Answer, rules: Any, step: Step, apply: Any) -> None:
        if entry.identifier in profile.waiting or any(
            isinstance(parked, Event) and parked.event_id == entry.event_id for parked in profile.parked
        ):
            original(profile, entry, rules, step, apply)

    monkeypatch.setattr(identity, "_answer", answer)


def _an_alias_drops(kind: type) -> Callable[[pytest.MonkeyPatch], None]:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        original = identity._pass_on

        def pass_on(profile: Profile, entry: Any, step: Step) -> None:
            if not isinstance(entry, kind):
                original(profile, entry, step)

        monkeypatch.setattr(identity, "_pass_on", pass_on)

    return patch


def _aliases_keep_their_own_id_in_unites(monkeypatch: pytest.MonkeyPatch) -> None:
    def pass_on(profile: Profile, entry: Any, step: Step) -> None:
        assert profile.alias is not None
        step.add("entries", msgspec.structs.replace(entry, profile=profile.alias))

    monkeypatch.setattr(identity, "_pass_on", pass_on)


def _whoever_is_named_first_becomes_the_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    def unite(profile: Profile, entry: Unite, step: Step) -> None:
        other = entry.other if entry.one == profile.id else entry.one
        if other != profile.id:
            profile.alias = other
            step.add("entries", Merge(other, profile.id, content(profile)))
            clear(profile)

    entries = routing.Router.touchpoint

    def touchpoint(*arguments: Any) -> list[Any]:
        found = entries(*arguments)
        return [msgspec.structs.replace(each, profile=each.one) if isinstance(each, Unite) else each for each in found]

    monkeypatch.setattr(routing.Router, "touchpoint", touchpoint)
    monkeypatch.setattr(identity, "_unite", unite)


def _aliases_keep_their_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    original = identity._unite

    def unite(profile: Profile, entry: Unite, step: Step) -> None:
        held, profile.held = profile.held, {}
        original(profile, entry, step)
        profile.held = held

    monkeypatch.setattr(identity, "_unite", unite)


def _overflow_forgets_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "MAX_PARKED", 2)

    def park(profile: Profile, entry: Any, rules: Any, step: Step, apply: Any) -> None:
        identity._queue(profile, entry, first=False)
        while profile.waiting and len(profile.parked) > identity.MAX_PARKED:
            identity._take(profile)
            profile.waiting = []
            identity._drain(profile, rules, step, apply)

    monkeypatch.setattr(identity, "_park", park)


def _every_event_says_it_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    original = identity.customer

    def customer(profile: Profile, entry: Any, rules: Any, step: Step, apply: Any) -> None:
        if isinstance(entry, Event) and profile.alias is None and "device" in entry.identifiers:
            entry = msgspec.structs.replace(entry, claims=[f"device:{entry.identifiers['device']}"])
        original(profile, entry, rules, step, apply)

    monkeypatch.setattr(identity, "customer", customer)


def _holders_take_what_is_not_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives for an identifier goes to whoever held it first."""
    original = identity.identifier
    first: dict[str, str] = {}

    def identifier(profile: Profile, entry: Any, rules: Any, step: Step, apply: Any) -> None:
        if isinstance(entry, Claim) and profile.claim is None:
            first.pop(profile.id, None)  # a new schedule
        if isinstance(entry, Event) and profile.owner is not None:
            step.add("entries", Forward(first.setdefault(profile.id, profile.owner), profile.id, entry))
        else:
            original(profile, entry, rules, step, apply)
            if profile.owner is not None:
                first.setdefault(profile.id, profile.owner)

    monkeypatch.setattr(identity, "identifier", identifier)


def _identifiers_forget_what_they_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "was_passed_on", lambda *_: False)
    monkeypatch.setattr(identity, "pass_on", lambda *_: True)


MUTANTS: list[tuple[str, Callable[[pytest.MonkeyPatch], None], str]] = [
    ("an unlink ends only an older hold", _unlink_ends_any_hold, "holders are not owners"),
    ("a change of hands unlinks the former holder", _without(Unlink), "holders are not owners"),
    ("losers are answered", _without(Answer, lambda answer: not answer.won), "stuck"),
    ("winners are answered", _without(Answer, lambda answer: answer.won), "lost"),
    ("what arrives for a held identifier is forwarded", _without(Forward), "lost"),
    ("it is forwarded to the present holder", _holders_take_what_is_not_theirs, "went to a former customer"),
    ("an answer marks its entry in the queue", _answers_mark_nothing, "stuck"),
    ("the mark stays when an alias passes the entry on", _marks_stay_behind_when_passed_on, "stuck"),
    ("later entries queue behind a parked one", _nothing_queues, "stuck"),
    ("the newest claim wins, not the one read last", _last_claim_read_wins, "not newest claim"),
    ("the newest claim wins, not the first", _oldest_claim_wins, "not newest claim"),
    ("an answer hands over, it does not copy", _answers_keep_a_copy, "doubled"),
    ("an answer's content is merged", _answers_bring_nothing, "lost"),
    ("an answer that comes late still merges", _late_answers_are_dropped, "lost"),
    ("the event that overflows goes on", _overflow_forgets_the_event, "lost"),
    ("an alias passes on events", _an_alias_drops(Event), "lost"),
    ("an alias passes on answers", _an_alias_drops(Answer), "stuck"),
    ("an alias passes on forwards", _an_alias_drops(Forward), "lost"),
    ("an alias passes on unlinks", _an_alias_drops(Unlink), "holders are not owners"),
    ("an alias passes on unites", _an_alias_drops(Unite), "not united"),
    ("an alias replaces its own id in a unite", _aliases_keep_their_own_id_in_unites, "for ever"),
    ("the larger becomes the alias of the smaller", _whoever_is_named_first_becomes_the_alias, "for ever"),
    ("an alias hands its holds on", _aliases_keep_their_holds, "alias keeps"),
    ("a repeat of what was passed on is nobody's", _identifiers_forget_what_they_passed_on, "doubled"),
    ("the entry says which claims the router wrote", _every_event_says_it_claims, "stuck"),
]


@pytest.mark.parametrize(("switch_off", "violation"), [pytest.param(*mutant[1:], id=mutant[0]) for mutant in MUTANTS])
def test_each_rule_is_needed(
    switch_off: Callable[[pytest.MonkeyPatch], None], violation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the rule, some schedule violates the oracle in just the way that the rule prevents."""
    switch_off(monkeypatch)
    seen: Counter[str] = Counter()
    for seed in range(MUTANT_SCHEDULES):
        try:
            seen.update(violations(run(seed, repeats=True)))
        except AssertionError as error:
            seen["for ever" if "for ever" in str(error) else "crash"] += 1
        if violation in seen:
            return
    pytest.fail(f"{MUTANT_SCHEDULES} schedules without the rule show {dict(seen) or 'no violation'}, not {violation!r}")

"""Each rule of the identity protocol, told as a small story: one journal per profile, read when the story says so."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.action import Identity
from schemas.journal import OUTCOMES, Answer, Claim, Event, Forward, Merge, Origin, Outcome, Unite, Unlink
from schemas.touchpoint import LOGGED_OUT, PROFILE_UPDATED
from streams.engine import identity
from streams.engine.profile import decode
from tests.engine.making import DAY, HOUR, MINUTE, START, Tasks, event, journey, touchpoint

ANN, BEA, CAT, DAN = (f"customer:{name}" for name in ("ann", "bea", "cat", "dan"))
PHONE = "device:phone"


def _see(tasks: Tasks, event_id: str, ids: str, at: int = 0, kind: str = "page_viewed", **more: Any) -> None:
    identifiers = dict(each.split(":", 1) for each in ids.split(","))
    tasks.route(touchpoint(event_id, kind, occurred=START + at, identifiers=identifiers, **more), START + at)


def _merge(tasks: Tasks, event_id: str, source: str, into: str, at: int = 0) -> None:
    names: dict[str, Any] = {"from": source, "into": into}
    _see(tasks, event_id, f"customer:{source}", at, "customers_merged", **names)


def _of(entries: list[Any], kind: type) -> list[Any]:
    return [each for each in entries if isinstance(each, kind)]


def _big(number: int) -> dict[str, Any]:
    return {f"trait{number}": "x" * 1000}


# ---- claims and answers


def test_who_logs_in_takes_over_what_the_device_gathered() -> None:
    """An anonymous history becomes part of the customer who claims the device, and is there before the event is."""
    tasks = Tasks()
    for number in range(3):
        _see(tasks, f"view-{number}", PHONE, at=number)
    tasks.rest()
    _see(tasks, "login", f"{ANN},{PHONE}", at=MINUTE)
    tasks.read(ANN)
    assert tasks.state(ANN).total(None) == 0, "the event waits for its answer"
    tasks.read(PHONE)
    tasks.read(ANN)
    ann = tasks.state(ANN)
    assert ann.total("page_viewed") == 4
    assert list(ann.held) == [PHONE]
    assert tasks.state(PHONE).total(None) == 0
    assert tasks.state(PHONE).owner == ANN


def test_what_waits_is_released_in_order() -> None:
    """Later entries queue behind a parked one, each in its turn, whatever they are."""
    tasks = Tasks()
    _see(tasks, "first", f"{ANN},{PHONE}", at=0, kind=PROFILE_UPDATED, seen="first")
    _see(tasks, "second", ANN, at=1, kind=PROFILE_UPDATED, seen="second")
    tasks.send(Outcome(ANN, Origin(OUTCOMES, 0, 0, START + 2), "o", "a", "delivered", "email", START + 2))
    _see(tasks, "third", f"{ANN},email:a@example.com", at=3, kind=PROFILE_UPDATED, seen="third")
    _see(tasks, "fourth", ANN, at=4, kind=PROFILE_UPDATED, seen="fourth")
    tasks.read(ANN, 5)
    assert [getattr(each, "event_id", "o") for each in tasks.state(ANN).parked] == [
        "first",
        "second",
        "o",
        "third",
        "fourth",
    ]
    tasks.read(PHONE)
    tasks.read(ANN)  # the answer for the device releases all but what waits for the address
    assert tasks.state(ANN).traits["seen"].value == "second"
    assert [getattr(each, "event_id", "") for each in tasks.state(ANN).parked] == ["third", "fourth"]
    tasks.rest()
    assert tasks.state(ANN).traits["seen"].value == "fourth"
    assert tasks.state(ANN).parked_bytes == 0


def test_who_holds_the_identifier_waits_for_nothing() -> None:
    """A second event of holder and device is applied at once, though it claims again after a minute."""
    tasks = Tasks()
    _see(tasks, "one", f"{ANN},{PHONE}")
    tasks.rest()
    _see(tasks, "two", f"{ANN},{PHONE}", at=2 * MINUTE)
    tasks.read(ANN)
    assert tasks.state(ANN).total(None) == 2
    tasks.rest()
    assert tasks.state(ANN).held[PHONE].event_id == "two"


def test_a_claim_left_out_is_not_waited_for() -> None:
    """Within a minute the router does not ask again, says so in the entry, and the entry waits for no answer."""
    tasks = Tasks()
    _see(tasks, "one", f"{ANN},{PHONE}")
    _see(tasks, "two", f"{ANN},{PHONE}", at=MINUTE - 1)
    (claim,) = tasks.waiting(PHONE)
    assert isinstance(claim, Claim)
    tasks.rest()
    assert tasks.state(ANN).total(None) == 2


def test_an_event_with_two_identifiers_waits_for_both_answers() -> None:
    """It is released by the last answer, whichever that is."""
    tasks = Tasks()
    _see(tasks, "one", f"{ANN},{PHONE},email:a@example.com")
    tasks.read(ANN)
    tasks.read(PHONE)
    tasks.read(ANN)
    assert (tasks.state(ANN).total(None), tasks.state(ANN).waiting) == (0, ["email:a@example.com"])
    tasks.rest()
    assert (tasks.state(ANN).total(None), tasks.state(ANN).waiting) == (1, [])


def test_an_answer_that_comes_while_its_entry_queues_is_marked_on_it() -> None:
    """When its turn comes the entry does not wait for an answer that has been."""
    tasks = Tasks()
    _see(tasks, "first", f"{ANN},{PHONE}")
    _see(tasks, "second", f"{ANN},email:a@example.com", at=1)
    tasks.read(ANN, 2)
    tasks.send(Claim("email:a@example.com", BEA, START + 2, "newer"))
    tasks.read("email:a@example.com", 2)
    (answer,) = tasks.waiting(ANN)[:1]
    assert isinstance(answer, Answer)
    tasks.read(ANN, 2)  # the answer, and the unlink for Bea's newer claim
    queued = tasks.state(ANN).parked[1]
    assert isinstance(queued, Event)
    assert queued.claims == []
    tasks.rest()
    assert tasks.state(ANN).total(None) == 2


def test_the_mark_stays_when_an_alias_passes_the_entry_on() -> None:
    """The answer has been: the target does not wait for it either."""
    tasks = Tasks()
    _see(tasks, "first", f"{BEA},{PHONE}")
    tasks.send(Unite(BEA, Origin(0, 0, 0, START + 1), "u", ANN, BEA, "ann"))
    _see(tasks, "second", f"{BEA},email:b@example.com", at=2)
    tasks.read(BEA, 3)  # the unite queues behind the first event, the second event behind the unite
    tasks.send(Claim("email:b@example.com", CAT, START + 3, "newer"))
    tasks.read("email:b@example.com", 2)
    tasks.read(BEA)  # the answer to `second` marks it where it queues
    tasks.read(PHONE)
    tasks.read(BEA, 2)
    passed = _of(tasks.waiting(ANN), Event)
    assert [(each.event_id, each.claims) for each in passed] == [("second", [])]
    tasks.rest()
    assert tasks.state(ANN).total(None) == 2


def test_an_answer_releases_after_the_timers_due_by_then() -> None:
    """What fell silent before the parked event is silent when it is applied."""
    silent = journey(
        "silence", {"waiting": [{"after": "30m of silence", "to": "silent"}], "silent": [{"after": "90d", "end": True}]}
    )
    tasks = Tasks(silent)
    _see(tasks, "hello", ANN, kind="hello")
    _see(tasks, "back", f"{ANN},{PHONE}", at=HOUR)
    tasks.read(ANN, 2)
    assert tasks.state(ANN).instances["silence"].stage == "waiting", "the event queues, and its time with it"
    tasks.rest()
    instance = tasks.state(ANN).instances["silence"]
    assert (instance.stage, instance.entered) == ("silent", START + 30 * MINUTE)
    assert tasks.state(ANN).activity == START + HOUR


# ---- newest claims, changes of hands


@pytest.mark.parametrize(
    ("first", "second", "holder"),
    [
        pytest.param((0, "e1", ANN), (1, "e2", BEA), BEA, id="the later"),
        pytest.param((1, "e1", ANN), (0, "e2", BEA), ANN, id="an older one read later loses"),
        pytest.param((0, "e1", ANN), (0, "e2", BEA), BEA, id="at the same time, by event id"),
        pytest.param((0, "e2", ANN), (0, "e1", BEA), ANN, id="at the same time, by event id, read later"),
        pytest.param((0, "e1", ANN), (1, "e2", None), None, id="for nobody"),
        pytest.param((1, "e1", None), (0, "e2", BEA), None, id="nobody's claim counts by its time too"),
    ],
)
def test_the_newest_claim_wins(first: Any, second: Any, holder: str | None) -> None:
    """By (record time, event id), in whatever order they are read; every claim of a customer is answered."""
    tasks = Tasks()
    for time, event_id, customer in (first, second):
        tasks.send(Claim(PHONE, customer, START + time, event_id))
    answers = _of(tasks.read(PHONE, 2).entries, Answer)
    assert tasks.state(PHONE).owner == holder
    assert [(each.profile, each.event_id) for each in answers] == [
        (customer, event_id) for _, event_id, customer in (first, second) if customer is not None
    ]


def test_a_change_of_hands_unlinks_the_former_holder_by_the_winning_claim() -> None:
    """The unlink carries the claim that won."""
    tasks = Tasks()
    tasks.send(Claim(PHONE, ANN, START, "e1"))
    tasks.send(Claim(PHONE, BEA, START + 1, "e2"))
    assert _of(tasks.read(PHONE, 2).entries, Unlink) == [Unlink(ANN, PHONE, START + 1, "e2")]


def test_an_unlink_ends_only_an_older_hold() -> None:
    """Unlinks from a time before the present hold come late and end nothing."""
    tasks = Tasks()
    tasks.send(Answer(ANN, PHONE, START + 5, "e5", won=True))
    for at, event_id, held in ((4, "e4", True), (5, "e5", True), (5, "e50", False)):
        tasks.send(Unlink(ANN, PHONE, START + at, event_id))
        tasks.rest()
        assert (PHONE in tasks.state(ANN).held) is held


def test_an_older_answer_does_not_shorten_a_hold() -> None:
    """Answers may overtake each other by way of an alias: the newest claim that won is the hold."""
    tasks = Tasks()
    tasks.send(Answer(ANN, PHONE, START + 5, "e5", won=True))
    tasks.send(Answer(ANN, PHONE, START + 4, "e4", won=True))
    tasks.rest()
    assert tasks.state(ANN).held[PHONE].event_id == "e5"


def test_a_device_that_changes_hands_gives_nothing_to_the_former_customer() -> None:
    """What comes after the new claim, and what was gathered in between, is the new holder's; banners there go."""
    banner = journey("banner", {"shown": [{"on arrival": None, "do": [{"banner": {"say": "welcome"}}]}]})
    tasks = Tasks(banner)
    _see(tasks, "consent", PHONE, kind="consent_given", purpose="personalisation")
    _see(tasks, "hello", PHONE, at=1, kind="hello")
    _see(tasks, "ann-in", f"{ANN},{PHONE}", at=2)
    tasks.rest()
    (action,) = tasks.outputs[1].actions or [each for output in tasks.outputs for each in output.actions]
    before = tasks.state(ANN).total(None)
    _see(tasks, "bea-in", f"{BEA},{PHONE}", at=HOUR)
    _see(tasks, "view", PHONE, at=HOUR + 1)
    tasks.rest()
    assert tasks.state(ANN).total(None) == before
    assert tasks.state(ANN).held == {}
    assert tasks.state(BEA).total(None) == 2
    withdrawn = [(each.action_id, each.reason) for output in tasks.outputs for each in output.withdrawals]
    assert withdrawn == [(action.action_id, "device changed hands")]


def test_logged_out_claims_for_nobody() -> None:
    """The device then gathers on its own, and hands that to whoever comes next."""
    tasks = Tasks()
    _see(tasks, "in", f"{ANN},{PHONE}")
    _see(tasks, "out", f"{ANN},{PHONE}", at=1, kind=LOGGED_OUT)
    _see(tasks, "view", PHONE, at=2)
    tasks.rest()
    assert tasks.state(ANN).held == {}
    assert tasks.state(ANN).total(None) == 2
    assert tasks.state(PHONE).total(None) == 1
    _see(tasks, "bea-in", f"{BEA},{PHONE}", at=3)
    tasks.rest()
    assert tasks.state(BEA).total(None) == 2
    assert tasks.state(PHONE).total(None) == 0


# ---- forwards


def test_forwards_carry_the_first_origin_and_time() -> None:
    """The holder's timers go by when it was recorded, not by when it was passed on."""
    tasks = Tasks()
    _see(tasks, "in", f"{ANN},{PHONE}")
    tasks.rest()
    _see(tasks, "view", PHONE, at=HOUR)
    (routed,) = tasks.waiting(PHONE)
    (forward,) = tasks.read(PHONE).entries
    assert forward == Forward(ANN, PHONE, routed)  # type: ignore[arg-type]  # the event that was routed
    tasks.rest()
    assert tasks.state(ANN).now == START + HOUR


def test_outcomes_of_what_was_sent_to_a_device_are_forwarded_too() -> None:
    """The action was the device's, its history is the customer's now."""
    tasks = Tasks()
    tasks.send(Claim(PHONE, ANN, START, "e1"))
    outcome = Outcome(PHONE, Origin(OUTCOMES, 0, 0, START), "o", "a", "delivered", "web", START)
    tasks.send(outcome)
    assert _of(tasks.read(PHONE, 2).entries, Forward) == [Forward(ANN, PHONE, outcome)]


def test_an_alias_passes_forwards_on() -> None:
    """The chain keeps the first origin."""
    tasks = Tasks()
    _see(tasks, "in", f"{BEA},{PHONE}")
    _merge(tasks, "merge", "bea", "ann", at=1)
    tasks.rest()
    _see(tasks, "view", PHONE, at=2)
    tasks.rest()
    assert tasks.state(ANN).total(None) == 2
    assert tasks.state(ANN).now == START + 2


# ---- bounds


def test_over_500_parked_entries_the_event_goes_on() -> None:
    """With a decision; the late answer still merges, and what queued goes on in order."""
    tasks = Tasks()
    _see(tasks, "view", PHONE)
    tasks.rest()
    _see(tasks, "login", f"{ANN},{PHONE}", at=MINUTE)
    for number in range(identity.MAX_PARKED):
        _see(tasks, f"e{number}", ANN, at=MINUTE + number)
    tasks.read(ANN, identity.MAX_PARKED)
    assert len(tasks.state(ANN).parked) == identity.MAX_PARKED
    tasks.read(ANN)
    ann = tasks.state(ANN)
    assert (ann.parked, ann.parked_bytes, ann.waiting) == ([], 0, [])
    assert ann.total(None) == identity.MAX_PARKED + 1
    (decision,) = tasks.decided("too-many-parked")
    assert (decision.verdict, decision.gate, decision.event_id) == ("ignored", "identity", "login")
    tasks.rest()
    assert tasks.state(ANN).total(None) == identity.MAX_PARKED + 2
    assert list(tasks.state(ANN).held) == [PHONE]


def test_over_256_kib_the_event_goes_on() -> None:
    """The bytes of what is parked are bounded, not its number alone."""
    tasks = Tasks()
    _see(tasks, "login", f"{ANN},{PHONE}")
    for number in range(3):
        _see(tasks, f"e{number}", ANN, at=number, text="x" * 100_000)
    tasks.read(ANN, 3)
    assert 200_000 < tasks.state(ANN).parked_bytes < identity.MAX_PARKED_BYTES
    tasks.read(ANN)
    assert tasks.state(ANN).parked == []
    assert tasks.state(ANN).total(None) == 4
    assert len(tasks.decided("too-many-parked")) == 1


def test_only_the_event_that_waits_goes_on_without_its_answer() -> None:
    """The next that claims waits again, in a queue that is shorter by what went on."""
    tasks = Tasks()
    _see(tasks, "login", f"{ANN},{PHONE}")
    _see(tasks, "one", ANN)
    _see(tasks, "mail", f"{ANN},email:a@example.com", at=1)
    for number in range(identity.MAX_PARKED - 2):
        _see(tasks, f"e{number}", ANN, at=2)
    tasks.read(ANN, identity.MAX_PARKED + 1)
    ann = tasks.state(ANN)
    assert ann.waiting == ["email:a@example.com"]
    assert (ann.total(None), len(ann.parked)) == (2, identity.MAX_PARKED - 1)
    tasks.rest()
    assert tasks.state(ANN).total(None) == identity.MAX_PARKED + 1


def test_what_does_not_fit_is_answered_empty_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a decision, and nothing is lost: the identifier keeps what it gathered."""
    monkeypatch.setattr(identity, "MAX_GATHERED_BYTES", 5000)
    tasks = Tasks()
    for number in range(6):
        _see(tasks, f"e{number}", PHONE, kind=PROFILE_UPDATED, **_big(number))
    _see(tasks, "login", f"{ANN},{PHONE}", at=1)
    tasks.rest()
    (decision,) = tasks.decided("too-large-to-hand-over")
    assert (decision.profile, decision.event_id) == (PHONE, "login")
    assert tasks.state(PHONE).total(None) == 6
    assert tasks.state(ANN).total(None) == 1
    assert list(tasks.state(ANN).held) == [PHONE], "the claim is won all the same"


def test_a_customer_too_large_to_hand_over_becomes_an_alias_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who it is, what it holds and what it forbids go on; the rest stays, with a decision."""
    monkeypatch.setattr(identity, "MAX_GATHERED_BYTES", 5000)
    tasks = Tasks()
    _see(tasks, "in", f"{BEA},{PHONE}")
    _see(tasks, "stop", BEA, kind="contact_forbidden")
    for number in range(6):
        _see(tasks, f"e{number}", BEA, kind=PROFILE_UPDATED, **_big(number))
    _merge(tasks, "merge", "bea", "ann", at=1)
    _see(tasks, "view", PHONE, at=2)
    tasks.rest()
    assert len(tasks.decided("too-large-to-hand-over")) == 1
    assert (tasks.state(BEA).alias, tasks.state(BEA).held, tasks.state(BEA).total(None)) == (ANN, {}, 8)
    ann = tasks.state(ANN)
    assert (list(ann.held), ann.total(None)) == ([PHONE], 1)
    assert ann.contact is not None
    assert not ann.contact.granted


def test_at_most_100_identifiers_are_held() -> None:
    """The oldest are let go by a claim for nobody that any later claim beats; owner and holder agree."""
    tasks = Tasks()
    for number in range(102):
        _see(tasks, f"e{number:03}", f"{ANN},device:d{number:03}", at=number)
    tasks.rest()
    held = tasks.state(ANN).held
    assert len(held) == identity.MAX_HELD
    assert sorted(held) == [f"device:d{number:03}" for number in range(2, 102)]
    assert [tasks.state(f"device:d{number:03}").owner for number in (0, 1, 2)] == [None, None, ANN]
    _see(tasks, "back", f"{BEA},device:d000", at=103)
    tasks.rest()
    assert tasks.state("device:d000").owner == BEA


# ---- shared identifiers


def _shared(customers: tuple[str, ...], every: int) -> Tasks:
    tasks = Tasks()
    for number, customer in enumerate(customers):
        _see(tasks, f"in-{number}", f"{customer},{PHONE}", at=number * every)
        tasks.rest()
    return tasks


def test_an_identifier_of_three_customers_is_not_shared() -> None:
    """A family's tablet follows who is logged in."""
    tasks = _shared((ANN, BEA, CAT, ANN, BEA), DAY)
    _see(tasks, "view", PHONE, at=5 * DAY)
    tasks.rest()
    assert tasks.state(BEA).total(None) == 3


def test_an_identifier_of_more_than_three_customers_in_30_days_keeps_its_events() -> None:
    """The winner holds it, the answer says until when it is shared, and its own events are nobody's."""
    tasks = _shared((ANN, BEA, CAT), DAY)
    _see(tasks, "in-dan", f"{DAN},{PHONE}", at=3 * DAY)
    tasks.read(DAN)
    (answer, _) = sorted(tasks.read(PHONE).entries, key=lambda each: type(each).__name__)
    assert isinstance(answer, Answer)
    assert (answer.won, answer.gathered, answer.shared_until) == (True, b"", START + 30 * DAY)
    tasks.rest()
    _see(tasks, "view", PHONE, at=4 * DAY)
    tasks.rest()
    assert tasks.state(PHONE).owner == DAN
    assert list(tasks.state(DAN).held) == [PHONE]
    assert (tasks.state(DAN).total(None), tasks.state(PHONE).total(None)) == (1, 1)


def test_it_is_shared_no_longer_than_30_days() -> None:
    """Once the fourth newest claimant is 30 days gone, the holder gets what arrives."""
    tasks = _shared((ANN, BEA, CAT, DAN), DAY)
    _see(tasks, "view", PHONE, at=30 * DAY)
    tasks.rest()
    assert tasks.state(DAN).total(None) == 2


def test_four_customers_over_a_longer_time_do_not_share() -> None:
    """Eleven days apart, no 30 days see more than three."""
    tasks = _shared((ANN, BEA, CAT, DAN), 11 * DAY)
    _see(tasks, "view", PHONE, at=34 * DAY)
    tasks.rest()
    assert tasks.state(DAN).total(None) == 2


def test_a_kiosk_remembers_no_more_claimants_than_it_takes() -> None:
    """The newest four say whether it is shared; a state stays small however many log in."""
    tasks = _shared(tuple(f"customer:{number:03}" for number in range(50)), MINUTE)
    assert sorted(tasks.state(PHONE).claimants) == [f"customer:{number:03}" for number in range(46, 50)]


# ---- customers that are one


def test_customers_merged_goes_to_the_larger_which_becomes_an_alias() -> None:
    """It sends all that it was to the smaller, keeps nothing, and passes on what reaches it."""
    tasks = Tasks()
    _see(tasks, "a", ANN)
    _see(tasks, "b", f"{BEA},{PHONE}")
    tasks.rest()
    _merge(tasks, "merge", "ann", "bea", at=1)
    (merge,) = tasks.read(BEA).entries
    assert isinstance(merge, Merge)
    assert merge.profile == ANN
    assert decode(merge.gathered).total(None) == 1
    tasks.rest()
    _see(tasks, "late", BEA, at=2)
    tasks.rest()
    assert tasks.state(BEA).alias == ANN
    assert (tasks.state(BEA).total(None), tasks.state(BEA).held) == (0, {})
    assert (tasks.state(ANN).total(None), list(tasks.state(ANN).held)) == (3, [PHONE])


def test_an_alias_replaces_its_own_id_in_a_merge_by_its_targets() -> None:
    """Cat merged with Bea, who is Ann by then, is merged with Ann, by way of the larger of the two."""
    tasks = Tasks()
    _merge(tasks, "m1", "bea", "ann")
    tasks.rest()
    tasks.send(Unite(BEA, Origin(0, 0, 1, START + 1), "m2", BEA, CAT, "cat"))
    (passed,) = tasks.read(BEA).entries
    assert passed == Unite(CAT, Origin(0, 0, 1, START + 1), "m2", ANN, CAT, "cat")
    _see(tasks, "c", CAT, at=2)
    tasks.rest()
    assert tasks.state(CAT).alias == ANN
    assert tasks.state(ANN).total(None) == 1


def test_a_merge_with_oneself_changes_nothing_but_the_name() -> None:
    """Two that are one already are merged again: the newer `into` is carried."""
    tasks = Tasks()
    for number, into in enumerate(("bea", "ann", "bea")):
        _merge(tasks, f"m{number}", "ann", into, at=number)
    tasks.rest()
    assert tasks.state(ANN).alias is None
    assert tasks.state(ANN).customer == "bea"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_into_of_the_newest_is_the_id_that_actions_carry(order: tuple[int, int]) -> None:
    """In whatever order the two are read; the profile keeps its own name."""
    mail = journey("mail", {"sent": [{"on arrival": None, "do": [{"message": {"template": "hi"}}]}]})
    tasks = Tasks(mail)
    merges = [
        Unite(BEA, Origin(0, 0, 0, START + 1), "m1", ANN, BEA, "bea"),
        Unite(CAT, Origin(0, 0, 1, START + 2), "m2", ANN, CAT, "cat"),
    ]
    for which in order:
        tasks.send(merges[which])
        tasks.rest()
    _see(tasks, "consent", BEA, at=3, kind="consent_given", purpose="marketing")
    _see(tasks, "address", BEA, at=3, kind=PROFILE_UPDATED, email="a@example.com")
    _see(tasks, "hello", BEA, at=4, kind="hello")
    tasks.rest()
    (action,) = [each for output in tasks.outputs for each in output.actions]
    assert (action.profile, action.customer) == (ANN, "cat")


def test_messages_take_the_path_the_merge_took() -> None:
    """An alias of an alias passes on to its own target, which passes on in turn, so nothing overtakes the merge."""
    tasks = Tasks()
    _merge(tasks, "m1", "cat", "bea")
    tasks.rest()
    _merge(tasks, "m2", "bea", "ann", at=1)
    tasks.rest()
    _see(tasks, "view", CAT, at=2)
    assert [each.profile for each in tasks.read(CAT).entries] == [BEA]
    tasks.rest()
    assert tasks.state(ANN).total(None) == 1


def test_a_merge_waits_its_turn_behind_a_parked_event() -> None:
    """What queued before it is applied by the customer, what queued after it is passed on."""
    tasks = Tasks()
    _see(tasks, "login", f"{BEA},{PHONE}")
    _merge(tasks, "merge", "bea", "ann", at=1)
    _see(tasks, "after", BEA, at=2)
    tasks.read(BEA, 3)
    assert tasks.state(BEA).alias is None
    tasks.read(PHONE)
    sent = tasks.read(BEA).entries
    assert [type(each).__name__ for each in sent] == ["Merge", "Event"]
    tasks.rest()
    assert tasks.state(ANN).total(None) == 2


# ---- the identities topic


def test_only_an_identifiers_owner_writes_who_holds_it() -> None:
    """Each change of hands is written once by the identifier; an alias says whom it has become part of."""
    tasks = Tasks()
    _see(tasks, "a", f"{ANN},{PHONE}")
    _see(tasks, "a2", f"{ANN},{PHONE}", at=2 * MINUTE)
    _see(tasks, "b", f"{BEA},{PHONE}", at=3 * MINUTE)
    _see(tasks, "out", f"{BEA},{PHONE}", at=4 * MINUTE, kind=LOGGED_OUT)
    _merge(tasks, "merge", "bea", "ann", at=5 * MINUTE)
    said: dict[str, list[Any]] = {}
    for profile in (PHONE, ANN, BEA):
        while tasks.waiting(profile):
            said.setdefault(profile, []).extend(tasks.read(profile).identities)
    tasks.rest()
    assert said[PHONE] == [
        (PHONE, Identity(identifier=PHONE, customer="ann", since=START)),
        (PHONE, Identity(identifier=PHONE, customer="bea", since=START + 3 * MINUTE)),
        (PHONE, None),
    ]
    assert said.get(ANN, []) == []
    assert all(name == BEA for name, _ in said[BEA])
    assert [word for output in tasks.outputs for word in output.identities][-1] == (
        BEA,
        Identity(identifier=BEA, customer="ann", since=START + 5 * MINUTE),
    )


def test_a_repeated_event_id_counts_once_wherever_the_first_stood() -> None:
    """The repeat finds the first: in the queue, on the device before it was claimed, or with the customer."""
    tasks = Tasks()
    _see(tasks, "view", PHONE)
    _see(tasks, "view", PHONE, at=1)
    _see(tasks, "login", f"{ANN},{PHONE}", at=2)
    _see(tasks, "login", f"{ANN},{PHONE}", at=3)
    _see(tasks, "view", PHONE, at=4)
    tasks.rest()
    assert tasks.state(ANN).total(None) == 2


@pytest.mark.parametrize("later", ["customer:bea,device:phone", "customer:ann,device:phone"])
def test_a_repeat_after_the_device_changed_hands_is_nobodys(later: str) -> None:
    """What the former holder got, gathered or forwarded, is neither the next one's nor the device's own."""
    tasks = Tasks()
    _see(tasks, "gathered", PHONE)
    _see(tasks, "in", f"{ANN},{PHONE}", at=1)
    tasks.rest()
    _see(tasks, "forwarded", PHONE, at=2)
    tasks.rest()
    kind = LOGGED_OUT if later.startswith(ANN) else "page_viewed"
    _see(tasks, "change", later, at=3, kind=kind)
    tasks.rest()
    for number, repeated in enumerate(("gathered", "forwarded")):
        _see(tasks, repeated, PHONE, at=4 + number)
    tasks.rest()
    assert sum(tasks.state(name).total(None) for name in (ANN, BEA, PHONE)) == 4
    assert tasks.state(PHONE).total(None) == 0


def test_an_event_for_a_customer_alone_goes_the_plain_way_and_the_general_one_alike() -> None:
    """The fast path for entries that ask nothing gives the bytes that the protocol gives."""
    plain, general = Tasks(), Tasks()
    entry = event(ANN, "e1", at=START + 5)
    plain.send(entry)
    general.send(Forward(ANN, ANN, entry))
    plain.rest()
    general.rest()
    assert plain.stores[ANN].states == general.stores[ANN].states

"""Offers: who may get them, which is best for a place, how often in all, and what competes at one moment."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.offer import Offer
from schemas.policy import Policy
from streams.engine.arbitration import MAX_TOLD, Score, rank, score
from streams.engine.moment import Moment
from streams.engine.offers import Capacity
from streams.engine.profile import FORMAT, Profile, Trait
from streams.engine.step import Step
from tests.engine.making import DAY, HOUR, MINUTE, POLICY, START, Shop, journey, rules

WEB = {"web": {"banner": "x"}}


def offer(name: str, version: int = 1, **more: Any) -> Offer:
    """An offer for the web, unless said otherwise."""
    return Offer.model_validate({"offer": name, "version": version, "places": WEB} | more, by_alias=True, by_name=False)


def customer(**traits: Any) -> Profile:
    """A customer with these traits."""
    return Profile(FORMAT, "customer:ann", traits={name: Trait(value, 1, START, "e") for name, value in traits.items()})


def ranking(*offers: Offer, now: int = START, only: list[str] | None = None, **traits: Any) -> tuple[list[str], Any]:
    """The offers that may be made, best first, and why each other may not."""
    known = rules(*offers, stops=("offer:stopped",))
    found = rank(Moment(customer(**traits), None, now, known, Step()), "web", only)
    return [each.offer.name for each in found.ranked], found.lost


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, None),
        ({"eligible": "traits.age >= 18"}, None),
        ({"eligible": "traits.age >= 65"}, "not-eligible"),
        ({"eligible": "traits.nothing == 1"}, "not-eligible"),
        ({"valid": {"from": "2026-03-02"}}, None),
        ({"valid": {"from": "2026-03-03"}}, "not-yet-valid"),
        ({"valid": {"until": "2026-03-02"}}, None),
        ({"valid": {"until": "2026-03-01"}}, "no-longer-valid"),
        ({"valid": {"from": "2026-03-02", "until": "2026-03-02"}}, None),
        ({"places": {"web": [{"if": "traits.age > 40", "banner": "old"}]}}, "no-creative"),
        ({"places": {"web": [{"if": "traits.age > 40", "banner": "old"}, {"banner": "any"}]}}, None),
        ({"offer": "stopped"}, "stopped"),
        ({"capacity": 1}, None),
    ],
)
def test_who_may_get_an_offer(given: dict[str, Any], reason: str | None) -> None:
    """By condition, days (both included), a creative that fits, and stops; what is absent denies."""
    one = offer(**({"name": "one"} | {("name" if key == "offer" else key): value for key, value in given.items()}))
    names, lost = ranking(one, age=30)
    assert (names, lost) == (([one.offer], {}) if reason is None else ([], {one.offer: reason}))


def test_days_are_those_of_the_policys_zone() -> None:
    """In Helsinki, 2 March 2026 is from 22:00 UTC of the first to 22:00 UTC of the second."""
    policy = Policy.model_validate(POLICY.model_dump() | {"time_zone": "Europe/Helsinki"})
    known = rules(policy, offer("one", valid={"from": "2026-03-02", "until": "2026-03-02"}))
    begin = START - 12 * HOUR
    for now, may in [(begin - 1, False), (begin, True), (begin + DAY - 1, True), (begin + DAY, False)]:
        assert bool(rank(Moment(customer(), None, now, known, Step()), "web").ranked) == may


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((0.5, 2, 100, 1.5), 150.0),
        ((1, 1, 1, 1), 1.0),
        ((2, 1, 10, 1), 10.0),
        ((-1, 1, 10, 1), 0.0),
        ((True, 1, 1, 1), 0.0),
        (("0.5", 1, 1, 1), 0.0),
        ((0.5, None, 1, 1), 0.0),
        ((1, float("nan"), 1, 1), 0.0),
        ((1, 1e300, 1e300, 2**62), 1e27),
    ],
)
def test_scores(given: tuple[Any, ...], expected: float) -> None:
    """The product of four factors, each within its bounds; what is no number counts as 0."""
    assert score(given).total == pytest.approx(expected)


def test_ranking_is_by_score_then_priority_then_name() -> None:
    """Whatever the order in which they are defined; a propensity may come from a model's trait."""
    offers = [
        offer("modelled", propensity="traits.likes_cards", value=100),
        offer("later-name", value=20),
        offer("a-name", value=20),
        offer("first", value=20, priority=1),
        offer("unknown", propensity="traits.nothing", value=1000),
        offer("no-number", value="has(traits.age) ? traits.word : 1"),
    ]
    expected = ["modelled", "first", "a-name", "later-name", "no-number", "unknown"]
    for order in (offers, offers[::-1]):
        assert ranking(*order, likes_cards=0.3, age=3, word="x") == (expected, {})
    assert ranking(*offers, only=["first", "a-name", "nobody"]) == (["first", "a-name"], {})


def test_a_score_in_words() -> None:
    """All four parts, in six digits."""
    assert str(Score(0.4, 1.0, 120.0, 1.5)) == "72 = propensity 0.4 x context 1 x value 120 x lever 1.5"
    assert str(Score(1 / 3)) == "0.333333 = propensity 0.333333 x context 1 x value 1 x lever 1"


@pytest.mark.parametrize("count", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("whole", [1, 5, 12, 10_000])
def test_shares_of_a_capacity(count: int, whole: int) -> None:
    """All partitions together have exactly the whole; none has two more than another."""
    shares = [Capacity(index, count).share(whole) for index in range(count)]
    assert sum(shares) == whole
    assert max(shares) - min(shares) <= 1
    assert shares == sorted(shares, reverse=True)


# ---- actions that ask for an offer ----------------------------------------------------------------------------------

ASKS = journey(
    "asks", {"here": [{"when": "look", "do": [{"banner": {"place": "web", "size": "big", "banner": "own"}}]}]}
)
GOLD = offer(
    "gold",
    title="Gold card",
    topic="cards",
    value=120,
    propensity="traits.income > 3000 ? 0.5 : 0.1",
    eligible="traits.age >= 18",
    places={"web": [{"if": 'traits.segment == "young"', "banner": "gold-young"}, {"banner": "gold", "link": "/gold"}]},
)
SILVER = offer("silver", value=20, places={"web": {"banner": "silver", "age": "traits.age"}})


def shop(*definitions: Any, **traits: Any) -> Shop:
    """Ann consents to all, says who she is, and enters."""
    made = Shop(*definitions, partitions=1)
    made.allow("marketing", "personalisation")
    made.see("profile_updated", 0, email="ann@example.com", **traits)
    made.see("hello", MINUTE)
    return made


def test_an_action_takes_the_best_offer() -> None:
    """Its creative's parameters over the action's own, and the decision says the score and what it went before."""
    made = shop(ASKS, GOLD, SILVER, age=30, income=5000)
    made.see("look", HOUR)
    (action,) = made.actions
    assert (action.offer, action.params, action.link and action.link.path) == (
        "gold",
        {"banner": "gold", "size": "big", "topic": "cards"},
        "/gold",
    )
    assert action.reason == "Gold card: 60 = propensity 0.5 x context 1 x value 120 x lever 1"
    (decision,) = made.decisions("sent")
    assert (decision.offer, decision.value, decision.bound) == (
        "gold",
        "60 = propensity 0.5 x context 1 x value 120 x lever 1",
        "before silver 20",
    )
    assert made.profile().contacts[action.action_id].offer == "gold"


def test_another_customer_gets_another_offer() -> None:
    """By propensity, by eligibility, and by the variant that fits."""
    poor = shop(ASKS, GOLD, SILVER, age=30, income=10)
    young = shop(ASKS, GOLD, SILVER, age=20, income=5000, segment="young")
    child = shop(ASKS, GOLD, SILVER, age=10)
    for made in (poor, young, child):
        made.see("look", HOUR)
    assert [made.actions[0].params["banner"] for made in (poor, young, child)] == ["silver", "gold-young", "silver"]
    assert child.actions[0].params["age"] == 10
    assert child.decisions("sent")[0].bound == "not gold: not-eligible"


def test_nothing_eligible_sends_nothing() -> None:
    """One decision, which names each offer's reason."""
    over = offer("over", valid={"until": "2020-01-01"})
    made = shop(ASKS, GOLD, over, age=10)
    made.see("look", HOUR)
    assert made.actions == []
    (decision,) = made.decisions("refused")
    assert (decision.gate, decision.reason, decision.value, decision.bound, decision.offer) == (
        *("eligibility", "nothing-eligible", "gold: not-eligible; over: no-longer-valid", "web", None),
    )


def test_what_a_decision_says_is_bounded() -> None:
    """Of many offers, ten are named."""
    made = shop(ASKS, *(offer(f"offer-{number:03}", eligible="traits.age > 99") for number in range(200)), age=1)
    made.see("look", HOUR)
    (decision,) = made.decisions("refused")
    assert decision.value is not None
    assert decision.value.endswith("offer-009: not-eligible and 190 more")
    assert len(decision.value) < MAX_TOLD


def test_the_best_offer_that_may_go_out() -> None:
    """One whose purpose lacks consent makes way for the next, and the decision says by which gate."""
    letters = offer("letters", value=1000, purpose="letters")
    policy = Policy.model_validate(
        POLICY.model_dump() | {"purposes": POLICY.model_dump()["purposes"] | {"letters": {"basis": "consent"}}}
    )
    made = shop(policy, ASKS, letters, SILVER, age=5)
    made.see("look", HOUR)
    assert [action.offer for action in made.actions] == ["silver"]
    assert made.decisions("sent")[0].bound == "not letters: consent"
    alone = shop(policy, ASKS, letters)
    alone.see("look", HOUR)
    assert alone.verdicts("refused") == [("refused", "consent", "never-given")]
    assert alone.decisions("refused")[0].offer == "letters"


def test_what_was_held_asks_for_an_offer_again() -> None:
    """It waits under the purpose it would have had, and takes what is best when the hold ends."""
    mail = journey(
        "mail", {"here": [{"when": "look", "do": [{"mail": {"place": "web", "purpose": "personalisation"}}]}]}
    )
    first = offer("first", value=10, purpose="marketing", eligible="!has(traits.bought)", topic="shoes")
    second = offer("second", value=5, purpose="marketing")
    made = shop(mail, first, second)
    made.see("complaint_opened", HOUR, case_id="1")
    made.see("look", 2 * HOUR)
    made.see("anything", 3 * HOUR)
    assert made.verdicts("held") == [("held", "hold", "complaint")]
    made.see("profile_updated", 4 * HOUR, bought=True)
    made.see("complaint_closed", 5 * HOUR, case_id="1")
    (action,) = made.actions
    assert (action.offer, action.purpose, set(action.params)) == ("second", "marketing", {"banner"})


# ---- capacity -------------------------------------------------------------------------------------------------------


def test_a_capacity_is_used_up() -> None:
    """Each customer's offer counts when it goes out; then others are made, and at last the decision says so."""
    made = Shop(ASKS, offer("rare", value=100, capacity=2), partitions=1)
    for number in range(4):
        who = f"customer:c{number}"
        made.allow("personalisation", at=number * HOUR, ids=who)
        made.see("hello", number * HOUR + 1, ids=who)
        made.see("look", number * HOUR + 2, ids=who)
    assert [action.customer for action in made.actions] == ["c0", "c1"]
    assert [(each.reason, each.value, each.bound) for each in made.decisions("refused")] == [
        ("capacity", "rare: capacity", "web")
    ] * 2


def test_a_withdrawn_offer_gives_nothing_back() -> None:
    """What was made once is made."""
    ends = journey(
        "ends", {"here": [{"when": "look", "do": [{"banner": {"place": "web"}}]}, {"when": "leave", "end": True}]}
    )
    made = shop(ends, ASKS, offer("rare", capacity=1))
    made.see("look", HOUR)
    made.see("leave", 2 * HOUR)
    made.see("look", 3 * HOUR)
    assert [action.offer for action in made.actions] == ["rare"]
    assert len(made.simulator.withdrawals) <= 1
    assert {each.reason for each in made.decisions("refused")} == {"capacity"}


def test_an_offer_refused_by_a_gate_takes_nothing() -> None:
    """Capacity counts what went out."""
    made = Shop(ASKS, offer("rare", capacity=1), partitions=1)
    for number, allowed in enumerate([False, True, True]):
        who = f"customer:c{number}"
        if allowed:
            made.allow("personalisation", at=number * HOUR, ids=who)
        made.see("hello", number * HOUR + 1, ids=who)
        made.see("look", number * HOUR + 2, ids=who)
    assert [action.customer for action in made.actions] == ["c1"]
    assert [each.reason for each in made.decisions("refused")] == ["never-given", "capacity"]


# ---- what competes --------------------------------------------------------------------------------------------------


def policy(winners: int = 1) -> Policy:
    """Messages and mails compete, banners do not."""
    return Policy.model_validate(
        POLICY.model_dump() | {"compete": {"one": {"actions": ["message", "mail"], "winners": winners}}}
    )


def says(name: str, value: Any, kind: str = "message", **more: Any) -> Any:
    """A journey that says its name at `look`."""
    return journey(name, {"here": [{"when": "look", "do": [{kind: {"say": name, "value": value} | more}]}]})


def test_the_best_of_a_moment_goes_out() -> None:
    """Over all journeys, whatever their names; the others say their score and who won."""
    made = shop(policy(), says("a", 5), says("b", "traits.age", lever=2), says("c", 7, kind="mail"), age=10)
    made.see("look", HOUR)
    assert made.sent == ["b"]
    (sent,) = made.decisions("sent")
    assert sent.value == "20 = propensity 1 x context 1 x value 10 x lever 2"
    assert sent.bound == "ahead of mail of c 7; message of a 5"
    assert [(each.journey, each.gate, each.reason, each.value, each.bound) for each in made.decisions("refused")] == [
        ("c", "arbitration", "outranked", "7 = propensity 1 x context 1 x value 7 x lever 1", "message of b 20"),
        ("a", "arbitration", "outranked", "5 = propensity 1 x context 1 x value 5 x lever 1", "message of b 20"),
    ]


def test_several_winners_and_ties() -> None:
    """Equal scores: the greater priority, then the first journey by name."""
    made = shop(policy(2), says("a", 5), says("b", 5, priority=1), says("c", 5), says("d", 1))
    made.see("look", HOUR)
    assert made.sent == ["b", "a"]
    assert [each.bound for each in made.decisions("refused")] == ["message of b 5; message of a 5"] * 2


def test_what_does_not_compete_goes_out_inline() -> None:
    """Another kind, and purposes that are not by consent."""
    receipt = says("receipt", 1, kind="mail", template="receipt", purpose="order")
    made = shop(policy(), says("a", 5), says("b", 3), says("c", 0, kind="banner"), receipt)
    made.see("look", HOUR)
    assert sorted(made.sent) == ["a", "c", "receipt"]


def test_alone_it_wins() -> None:
    """Nothing is outranked."""
    made = shop(policy(), says("a", 5))
    made.see("look", HOUR)
    assert made.sent == ["a"]
    assert made.decisions("sent")[0].bound is None


def test_timers_of_one_moment_compete() -> None:
    """And those of another do not."""
    after = {
        name: journey(name, {"here": [{"after": when, "do": [{"message": {"say": name, "value": value}}]}]})
        for name, when, value in [("a", "1h", 1), ("b", "1h", 2), ("c", "2h", 1)]
    }
    made = shop(policy(), *after.values())
    made.wait(5 * HOUR)
    assert made.sent == ["b", "c"]


def test_the_last_word_of_a_journey_competes() -> None:
    """What a handler says as it ends the journey stays; what was said before, at the same due time, ends with it."""
    ends = journey("ends", {"here": [{"when": "look", "do": [{"message": {"say": "bye", "value": 9}}], "end": True}]})
    made = shop(policy(), ends, says("a", 5))
    made.see("look", HOUR)
    assert made.sent == ["bye"]
    assert made.simulator.withdrawals == []
    twice = journey(
        "twice",
        {"here": [{"after": "1h", "do": [{"message": {"say": "first", "value": 9}}]}, {"after": "1h", "end": True}]},
    )
    other = shop(policy(), twice)
    other.wait(5 * HOUR)
    assert other.sent == []
    assert other.verdicts("refused") == [("refused", "journey", "instance-ended")]


def test_held_actions_compete_when_they_are_released() -> None:
    """With each other, and with what is proposed by the event that ended the hold."""
    closing = journey(
        "closing", {"here": [{"when": "complaint_closed", "do": [{"message": {"say": "sorry", "value": 6}}]}]}
    )
    made = shop(policy(), says("a", 5), says("b", 7), closing)
    made.see("complaint_opened", HOUR, case_id="1")
    made.see("look", 2 * HOUR)
    assert len(made.verdicts("held")) == 2
    made.see("complaint_closed", 3 * HOUR, case_id="1")
    assert made.sent == ["b"]
    assert [each.journey for each in made.decisions("refused")] == ["closing", "a"]


def test_winners_do_not_share_the_last_of_a_capacity() -> None:
    """The second is judged again after the first, and takes the next best offer, or loses to what scores more."""
    asks = [
        journey(name, {"here": [{"when": "look", "do": [{"message": {"place": "web", "lever": lever}}]}]})
        for name, lever in [("a", 1), ("b", 2)]
    ]
    rare, usual = offer("rare", value=100, capacity=1), offer("usual", value=1)
    made = shop(policy(2), *asks, rare, usual, says("c", 50))
    made.see("look", HOUR)
    assert [(action.journey, action.offer) for action in made.actions] == [("b", "rare"), ("c", None)]
    assert [each.bound for each in made.decisions("refused")] == ["message (rare) of b 200; message of c 50"]


# ---- best() ---------------------------------------------------------------------------------------------------------


def test_a_task_carries_the_proposal_and_its_reason() -> None:
    """`best` is a map; where there is no offer it is absent."""
    staff = journey(
        "staff",
        {"here": [{"when": "look", "do": [{"stop_ads": {"proposal": 'best("web")', "why": "best('web').why"}}]}]},
    )
    made = shop(staff, GOLD, SILVER, age=30, income=5000)
    made.see("look", HOUR)
    why = "60 = propensity 0.5 x context 1 x value 120 x lever 1; before silver 20"
    assert made.actions[0].params == {
        "why": why,
        "proposal": {
            "offer": "gold",
            "title": "Gold card",
            "score": 60.0,
            "value": 120.0,
            "why": why,
            "params": {"banner": "gold", "link": "/gold"},
        },
    }
    none = shop(staff, GOLD, age=3)
    none.see("look", HOUR)
    assert none.actions[0].params == {}

"""Holds and holdouts: what is kept back, dropped or left out, for how long, and what becomes of what waited."""

from __future__ import annotations

from typing import Any

import pytest

from streams.engine.ids import percent
from streams.engine.merge import _case
from streams.engine.profile import Case
from tests.engine.making import DAY, HOUR, MINUTE, START, Shop, journey
from tests.engine.pressing import OTHER, TALK, become_one, policy, say, shop, welcome

FRAUD = {"fraud": {"begins": ["fraud_suspected", "card_stolen"], "ends": ["fraud_cleared", "card_replaced"],
                   "holds": ["marketing"]}}  # fmt: skip
MOURNING = {"mourning": {"begins": "bereavement", "lasts": "30d", "holds": ["marketing"]}}
BOUGHT = {
    "bought": {
        "begins": "order_placed",
        "lasts": "30d",
        "case": "product",
        "matching": "topic",
        "holds": ["marketing"],
        "then": "drop",
    }
}


@pytest.mark.parametrize("begins", ["fraud_suspected", "card_stolen"])
@pytest.mark.parametrize("ends", ["fraud_cleared", "card_replaced"])
def test_a_hold_begins_and_ends_with_any_of_its_events(begins: str, ends: str) -> None:
    """Lists of types say one or the other."""
    made = shop(holds=FRAUD)
    made.see(begins, HOUR, case_id="1")
    say(made, "a", 2 * HOUR)
    assert made.sent == []
    made.see(ends, 3 * HOUR, case_id="1")
    assert made.sent == ["a"]


def test_a_hold_that_lasts_ends_by_itself_and_what_waits_goes_out_then() -> None:
    """At that very moment, without any event."""
    made = shop(holds=MOURNING)
    made.see("bereavement", HOUR)
    say(made, "a", 2 * HOUR)
    made.wait(30 * DAY + HOUR - 1)
    assert made.sent == []
    made.wait(30 * DAY + HOUR)
    assert made.sent == ["a"]
    assert made.decisions("sent")[0].at == START + 30 * DAY + HOUR


def test_a_hold_that_lasts_may_be_ended_before_and_begun_again() -> None:
    """The event that ends it does so at once; one that begins it again makes it last from then."""
    made = shop(holds={"mourning": MOURNING["mourning"] | {"ends": "spoke_again"}})
    made.see("bereavement", 0)
    say(made, "a", HOUR)
    made.see("spoke_again", 2 * HOUR)
    assert made.sent == ["a"]
    made.see("bereavement", DAY)
    made.see("bereavement", 2 * DAY)
    say(made, "b", 3 * DAY)
    made.wait(32 * DAY - 1)
    assert made.sent == ["a"]
    made.wait(32 * DAY)
    assert made.sent == ["a", "b"]


def test_what_one_hold_lets_go_another_keeps() -> None:
    """When the first is over by itself, a complaint is still open."""
    made = shop(holds=MOURNING | FRAUD)
    made.see("bereavement", 0)
    made.see("card_stolen", 0, case_id="1")
    say(made, "a", HOUR)
    made.wait(31 * DAY)
    assert made.sent == []
    made.see("card_replaced", 31 * DAY, case_id="1")
    assert made.sent == ["a"]


def test_the_own_purchase_kills_the_message_for_it() -> None:
    """What is on its way is withdrawn, what comes later refused, what is about something else goes on."""
    made = shop(holds=BOUGHT)
    say(made, "cards", 1, topic="cards")
    say(made, "loans", 2, topic="loans")
    made.see("order_placed", HOUR, product="cards")
    assert made.withdrawn() == ["cards"]
    say(made, "cards again", 2 * HOUR, topic="cards")
    say(made, "loans again", 3 * HOUR, topic="loans")
    say(made, "no topic", 4 * HOUR)
    assert made.sent == ["cards", "loans", "loans again", "no topic"]
    assert made.verdicts("refused") == [("refused", "hold", "bought")]
    made.wait(30 * DAY + HOUR)
    say(made, "cards at last", 30 * DAY + HOUR, topic="cards")
    assert made.sent[-1] == "cards at last"


def test_the_own_purchase_kills_what_waits_although_the_hold_is_over_first() -> None:
    """It is refused when the hold begins, not looked at again when it has ended."""
    made = shop(
        holds={"bought": BOUGHT["bought"] | {"lasts": "1h"}},
        quiet={"night": {"hours": "21:00-08:00"}},
    )
    say(made, "cards", 12 * HOUR, topic="cards")
    say(made, "loans", 12 * HOUR, topic="loans")
    made.see("order_placed", 13 * HOUR, product="cards")
    made.wait(DAY)
    assert made.sent == ["loans"]
    assert made.verdicts("refused") == [("refused", "hold", "bought")]


def test_the_topic_of_a_journey_is_that_of_its_actions() -> None:
    """Unless an action says its own."""
    talk = journey(
        "talk",
        {
            "listening": [
                {"when": "say", "do": [{"message": {"say": "a"}}, {"message": {"say": "b", "topic": "loans"}}]},
                {"after": "90d", "end": True},
            ]
        },
        topic="cards",
    )
    made = shop(talk, holds=BOUGHT)
    made.see("order_placed", 1, product="cards")
    made.see("say", 2)
    assert made.sent == ["b"]
    assert made.actions[0].params["topic"] == "loans"


def test_a_purchase_known_only_after_a_merge_kills_what_the_other_was_sent() -> None:
    """Who bought and who was told turn out to be one."""
    made = shop(holds=BOUGHT, partitions=3)
    made.see("order_placed", 1, ids="customer:bea", product="cards")
    say(made, "cards", 2, topic="cards")
    become_one(made, HOUR)
    assert made.withdrawn() == ["cards"]


def test_cases_that_are_over_make_room() -> None:
    """One for each thing bought, for a month."""
    made = shop(holds=BOUGHT)
    for number in range(5):
        made.see("order_placed", number * 10 * DAY, product=f"{number}")
    assert sorted(made.profile().cases) == ["bought/2", "bought/3", "bought/4"]


def test_merging_cases_is_associative_and_changes_nothing_twice() -> None:
    """The newest opening says until when; the newest closing closes."""
    found = [Case(3, 0, 9), Case(5, 4, 0), Case(5, 1, 8), Case(2, 6, 0)]
    for one in found:
        assert _case(one, one) == one
        for two in found:
            assert _case(one, two) == _case(two, one)
            for three in found:
                assert _case(_case(one, two), three) == _case(one, _case(two, three))


# ---- holdouts


def test_a_share_of_the_customers_gets_nothing_and_the_same_ones_each_time() -> None:
    """About so many of a thousand, by their id alone; the decision names the share."""
    assert 50 <= sum(percent("holdout/global", f"customer:{number}") < 10 for number in range(1000)) <= 150
    out = next(f"customer:{n}" for n in range(1000) if percent("holdout/global", f"customer:{n}") < 10)
    not_out = next(f"customer:{n}" for n in range(1000) if percent("holdout/global", f"customer:{n}") >= 10)
    made = shop(holdouts={"global": {"share": 10, "purposes": ["marketing"]}})
    for at, who in enumerate((out, not_out), 1):
        welcome(made, who, at=at * MINUTE)
        for number in range(3):
            say(made, who, at * MINUTE + number, ids=who)
        say(made, "banner", at * MINUTE + 5, "show", ids=who)
    assert [each.customer for each in made.actions if each.action == "message"] == [not_out[9:]] * 3
    assert len([each for each in made.actions if each.action == "banner"]) == 2
    refused = made.decisions("refused")
    assert [(each.gate, each.reason, each.bound) for each in refused] == [("holdout", "global", "10")] * 3


def test_a_journey_passes_those_it_holds_out_through_all_its_stages() -> None:
    """So that they can be compared; what a contract calls for they get."""
    stages: dict[str, Any] = {
        "one": [
            {
                "on arrival": None,
                "do": [{"message": {"say": "a"}}, {"mail": {"template": "receipt", "purpose": "order"}}],
            },
            {"when": "go", "to": "two"},
        ],
        "two": [{"on arrival": None, "end": True}],
    }
    made = Shop(journey("talk", stages, holdout=99, goal="two"), OTHER, policy(), partitions=1)
    who = next(f"customer:{n}" for n in range(99) if percent("holdout/journey/talk", f"customer:{n}") < 99)
    welcome(made, who)
    made.see("go", 1, ids=who)
    assert made.sent == ["receipt"]
    assert made.stage("talk", who) == "two."
    assert made.profile(who).instances["talk"].converted
    assert [(each.gate, each.reason) for each in made.decisions("refused")] == [("holdout", "journey:talk")]


def test_whom_a_journey_holds_out_stays_out_whoever_that_turns_out_to_be() -> None:
    """The share is by who entered; login and merges change nothing in this journey."""
    out = next(f"device:{n}" for n in range(99) if percent("holdout/journey/talk", f"device:{n}") < 10)
    known = next(f"customer:{n}" for n in range(99) if percent("holdout/journey/talk", f"customer:{n}") >= 10)
    made = Shop(TALK.model_copy(update={"holdout": 10}), OTHER, policy(), partitions=3)
    made.see("hello", 0, ids=out)
    made.see("login", HOUR, ids=f"{known},{out}")
    made.allow("marketing", at=HOUR + 1, ids=known)
    made.see("profile_updated", HOUR + 2, ids=known, email="a@example.com")
    say(made, "a", 2 * HOUR, ids=known)
    assert made.sent == []
    assert made.verdicts("refused") == [("refused", "holdout", "journey:talk")]

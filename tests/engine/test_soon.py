"""`as soon as`: whatever makes a condition true, it acts at once, once in a visit; it costs no other event anything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.journey import Journey
from streams.engine import journeys
from streams.engine.moment import Moment, holds
from tests.engine.effort import examples
from tests.engine.making import DAY, HOUR, MINUTE, POLICY, Shop, journey, rules

WAIT = {"after": "90d", "end": True}


def say(text: str) -> list[dict[str, Any]]:
    """An action that addresses nobody, so that no gate keeps it."""
    return [{"stop_ads": {"say": text}}]


def soon(condition: str, *handlers: dict[str, Any], **more: Any) -> Journey:
    """A journey whose first stage acts as soon as a condition is true, and has these handlers too."""
    first = [{"as soon as": condition, "do": say("now"), "to": "there"}, *handlers, WAIT]
    return journey("watch", {"here": first, "there": [WAIT]}, **more)


CASES = POLICY.model_copy(
    update={
        "cases": type(POLICY)
        .model_validate(
            {
                **POLICY.model_dump(exclude_defaults=True),
                "cases": {"care": {"opens": "care_asked", "closes": "care_done"}},
            }
        )
        .cases
    }
)
# (the condition, the event that makes it true, its properties)
CAUSES = [
    ("traits.segment == 'gold'", "profile_updated", {"segment": "gold"}),
    ("has(traits.segment)", "profile_updated", {"segment": None}),
    ("profile.count('paid', '7d') >= 1", "paid", {}),
    ("profile.sum('paid', 'amount', 'this month') > 100", "paid", {"amount": 101}),
    ("profile.last('seen', 'page', '1d') == '/x'", "seen", {"page": "/x"}),
    ("profile.count('paid') == 1", "paid", {}),
    ("journey.count('noted') >= 1", "noted", {"x": 1}),
    ("vars.x == 1", "noted", {"x": 1}),
    ("open('care')", "care_asked", {"case_id": "7"}),
    ("traits.a == 1 || profile.count('paid', '7d') > 0 && vars.x == null", "paid", {}),
]


@pytest.mark.parametrize(("condition", "kind", "properties"), CAUSES, ids=[row[0] for row in CAUSES])
def test_it_acts_by_the_event_that_makes_it_true(condition: str, kind: str, properties: dict[str, Any]) -> None:
    """Whether or not the journey reacts to that event otherwise; and by no other."""
    watch = soon(condition, {"when": "noted", "set": {"x": "event.x"}}, {"when": "begun", "set": {"x": "null"}})
    shop = Shop(watch, CASES)
    shop.see("hello", 0)
    shop.see("begun", 1)
    for number, other in enumerate(("page_viewed", "care_done", "profile_updated")):
        shop.see(other, MINUTE + number, other=True)
    assert shop.stage("watch") == "here"
    shop.see(kind, HOUR, **properties)
    assert (shop.stage("watch"), shop.sent) == ("there", ["now"])
    (moved,) = [each for each in shop.simulator.published.transitions if each.to_stage == "there"]
    assert moved.why == journeys.SOON


def test_it_is_asked_on_arrival_after_the_handlers_of_arrival() -> None:
    """What is true already acts without any event, and sees what arrival set."""
    stages = {
        "first": [{"when": "go", "to": "second"}, WAIT],
        "second": [
            {"as soon as": "vars.x == 1 && traits.segment == 'gold'", "to": "third"},
            {"on arrival": None, "set": {"x": "1"}},
            WAIT,
        ],
        "third": [WAIT],
    }
    shop = Shop(journey("watch", stages))
    shop.see("profile_updated", 0, segment="gold")
    shop.see("hello", 1)
    shop.see("go", 2)
    assert shop.stage("watch") == "third"


def test_handlers_of_the_event_come_first() -> None:
    """Then those of the stage that one is in by then: the one that is left does not act."""
    stages = {
        "first": [
            {"as soon as": "profile.count('paid', '1d') >= 1", "do": say("too late")},
            {"when": "paid", "do": say("handler"), "to": "second"},
            WAIT,
        ],
        "second": [{"as soon as": "profile.count('paid', '1d') >= 1", "do": say("here")}, WAIT],
    }
    shop = Shop(journey("watch", stages))
    shop.see("hello", 0)
    shop.see("paid", MINUTE)
    assert shop.sent == ["handler", "here"]


def test_all_that_are_true_act_until_one_goes_on_and_those_of_any_stage_last() -> None:
    """In the order written."""
    stages = {
        "first": [
            {"as soon as": "traits.a == 1", "do": say("one"), "set": {"x": "1"}},
            {"as soon as": "vars.x == 1", "do": say("two"), "to": "second"},
            {"as soon as": "traits.a == 1", "do": say("never")},
            WAIT,
        ],
        "second": [WAIT],
    }
    anywhere = [{"as soon as": "traits.a == 1", "do": say("anywhere")}]
    shop = Shop(journey("watch", stages, **{"any stage": anywhere}))
    shop.see("hello", 0)
    shop.see("profile_updated", 1, a=1)
    # What a variable makes true is asked again when it was set; and the second stage is another visit.
    assert shop.sent == ["one", "never", "anywhere", "two", "anywhere"]
    assert shop.stage("watch") == "second"


def test_once_in_each_visit() -> None:
    """However often it is true; a new visit begins anew."""
    handlers = [{"as soon as": "traits.a == 1", "do": say("hi")}, {"when": "again", "to": "away"}, WAIT]
    shop = Shop(journey("watch", {"here": handlers, "away": [{"when": "back", "to": "here"}, WAIT]}))
    shop.see("hello", 0)
    for at in range(1, 4):
        shop.see("profile_updated", at, a=1)
    assert shop.sent == ["hi"]
    shop.see("again", 5)
    shop.see("back", 6)
    assert shop.sent == ["hi", "hi"]


def test_of_any_stage_it_is_not_asked_where_it_leads() -> None:
    """Else nobody could stay there."""
    stages = {"first": [WAIT], "gold": [{"when": "lost", "to": "first"}, WAIT]}
    anywhere = [{"as soon as": "traits.a == 1", "to": "gold", "do": say("to gold")}]
    shop = Shop(journey("watch", stages, **{"any stage": anywhere}))
    shop.see("hello", 0)
    shop.see("profile_updated", 1, a=1)
    shop.see("profile_updated", 2, a=1)
    assert (shop.stage("watch"), shop.sent) == ("gold", ["to gold"])
    shop.see("lost", 3)
    assert (shop.stage("watch"), shop.sent) == ("gold", ["to gold", "to gold"])


def test_two_that_lead_to_each_other_end_by_the_step_budget() -> None:
    """Where both are true at once; where they exclude each other, one goes to and fro."""
    both = {
        "one": [{"as soon as": "traits.a >= 1", "to": "two"}, WAIT],
        "two": [{"as soon as": "traits.a != 2", "to": "one"}, WAIT],
    }
    shop = Shop(journey("watch", both))
    shop.see("hello", 0)
    shop.see("profile_updated", 1, a=2)
    assert shop.stage("watch") == "two"
    shop.see("profile_updated", 2, a=0)
    assert shop.stage("watch") == "one"
    shop.see("profile_updated", 3, a=1)
    assert shop.stage("watch").endswith(".")
    assert ("ended", "limits", "step-budget") in shop.verdicts()


def test_a_timer_that_sets_a_variable_may_make_it_true() -> None:
    """At the timer's own moment."""
    shop = Shop(soon("vars.x == 1", {"after": "1h", "set": {"x": "1"}}))
    shop.see("hello", 0)
    shop.wait(2 * HOUR)
    assert shop.stage("watch") == "there"
    assert shop.actions[0].proposed_at == shop.profile().instances["watch"].started + HOUR


def test_an_exit_ends_at_once_and_withdraws() -> None:
    """What is on its way goes; what was its own last word stays."""
    stages = {"open": [{"on arrival": None, "do": [{"message": {"say": "offer"}}]}, WAIT]}
    anywhere = [{"as soon as": "traits.left == true", "do": say("bye"), "end": True}]
    shop = Shop(journey("watch", stages, **{"any stage": anywhere}))
    shop.allow("marketing")
    shop.see("profile_updated", 1, email="a@example.com")
    shop.see("hello", 2)
    shop.see("profile_updated", 3, left=True)
    assert (shop.stage("watch"), shop.sent, shop.withdrawn()) == ("open.", ["offer", "bye"], ["offer"])


# ---- merges, edits, and events that come too late


def test_a_merge_makes_an_exit_at_once() -> None:
    """Who turns out to be a member leaves: nothing is sent by it."""
    stages = {"open": [{"as soon as": "traits.member == true", "end": True}, WAIT]}
    shop = Shop(journey("watch", stages))
    shop.see("profile_updated", 0, ids="customer:ann", member=True)
    shop.see("hello", 1, ids="customer:bea")
    names: dict[str, Any] = {"from": "bea", "into": "ann"}
    shop.see("customers_merged", HOUR, ids="customer:bea", **names)
    assert shop.stage("watch") == "open."


@pytest.mark.parametrize("arrival", [[], [{"on arrival": None, "do": say("welcome")}]], ids=["its own", "on arrival"])
def test_what_sends_waits_for_the_next_event_after_a_merge(arrival: list[dict[str, Any]]) -> None:
    """Whatever that is; nothing is lost, and nothing is sent because of the merge."""
    first = {"as soon as": "traits.member == true", "to": "member"} | ({} if arrival else {"do": say("welcome")})
    shop = Shop(journey("watch", {"open": [first, WAIT], "member": [*arrival, WAIT]}))
    shop.see("profile_updated", 0, ids="customer:ann", member=True)
    shop.see("hello", 1, ids="customer:bea")
    names: dict[str, Any] = {"from": "bea", "into": "ann"}
    shop.see("customers_merged", HOUR, ids="customer:bea", **names)
    assert (shop.stage("watch"), shop.sent) == ("open", [])
    assert shop.profile().unnoticed
    shop.see("anything", 2 * HOUR)
    assert (shop.stage("watch"), shop.sent) == ("member", ["welcome"])
    assert not shop.profile().unnoticed


def test_who_logs_in_is_noticed_with_the_login() -> None:
    """The event that made the claim follows the answer at once."""
    shop = Shop(soon("profile.count('page_viewed', '7d') >= 2"))
    shop.see("hello", 0)
    shop.see("page_viewed", 1, ids="device:d")
    shop.see("page_viewed", 2, ids="device:d")
    shop.see("login", 3, ids="customer:ann,device:d")
    assert (shop.stage("watch"), shop.sent) == ("there", ["now"])


def test_an_edit_notices_what_is_true_in_the_new_version() -> None:
    """At once when nothing is sent by it."""
    shop = Shop(journey("watch", {"open": [WAIT]}))
    shop.see("profile_updated", 0, member=True)
    shop.see("hello", 1)
    newer = journey(
        "watch", {"open": [{"as soon as": "traits.member == true", "end": True}, WAIT]}, version=2, edits="follow"
    )
    profile, made = shop.profile(), rules(newer)
    from streams.engine import edits  # noqa: PLC0415 - only here
    from streams.engine.step import Step  # noqa: PLC0415 - as above

    made = rules(journey("watch", {"open": [WAIT]}), newer)
    edits.follow(profile, made.journey("watch", 2), made, Step(HOUR))
    assert profile.instances["watch"].ended


def test_an_event_that_comes_too_late_sends_nothing() -> None:
    """What it made true acts with the next event; what sends nothing, at once."""
    stages = {"open": [{"as soon as": "traits.a == 1", "do": say("late"), "to": "next"}, WAIT], "next": [WAIT]}
    leaves = journey("leaves", {"open": [{"as soon as": "traits.a == 1", "end": True}, WAIT]})
    shop = Shop(journey("watch", stages), leaves)
    shop.see("hello", 0)
    shop.see("profile_updated", 5 * DAY, late=4 * DAY, a=1)
    assert (shop.stage("watch"), shop.stage("leaves"), shop.sent) == ("open", "open.", [])
    assert ("ignored", "stale", "older-on-arrival-than-stale-after") in shop.verdicts()
    shop.see("anything", 5 * DAY + 1, late=3 * DAY)
    assert shop.sent == []
    shop.see("anything", 5 * DAY + 2)
    assert shop.sent == ["late"]


def test_another_version_that_one_is_pinned_to_watches_too() -> None:
    """Its own condition, whatever the active version asks."""
    old = soon("profile.count('paid', '7d') >= 1")
    new = journey("watch", {"here": [WAIT], "there": [WAIT]}, version=2)
    both = rules(old, new)
    assert both.watched == {"paid": ("watch",)}
    assert "paid" in both.types


# ---- what it costs


def test_it_costs_nothing_to_events_that_cannot_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No condition is evaluated, for no journey, by an event of another type."""
    made = rules(soon("profile.count('paid', '7d') >= 1 && traits.a == 1 && vars.x == 1"))
    assert set(made.watched) == {"paid", "profile_updated"}
    assert "page_viewed" not in made.types
    asked: list[Any] = []

    def counted(condition: Any, moment: Moment) -> bool:
        asked.append(condition)
        return holds(condition, moment)

    monkeypatch.setattr(journeys, "holds", counted)
    shop = Shop(soon("profile.count('paid', '7d') >= 2", {"when": "page_viewed", "set": {"y": "1"}}))
    shop.see("hello", 0)
    asked.clear()
    for at in range(10):
        shop.see("page_viewed", at)
        shop.see("profile_updated", at, a=1)
    assert asked == []
    shop.see("paid", MINUTE)
    assert len(asked) == 1


# ---- against a plain reading of the rule

LOG = st.lists(
    st.tuples(st.sampled_from(["paid", "profile_updated", "noted", "page_viewed"]), st.integers(0, 3)), max_size=15
)


@examples(40)
@given(LOG)
def test_it_acts_by_the_first_event_after_which_it_is_true(log: list[tuple[str, int]]) -> None:
    """Read again after every event, by hand."""
    condition = "profile.sum('paid', 'n', '1h') + double(traits.n) > 4 && vars.n >= 1"
    shop = Shop(soon(condition, {"when": "noted", "set": {"n": "event.n"}}))
    shop.see("hello", 0)
    paid, trait, variable, acted = 0, None, None, None
    for number, (kind, n) in enumerate(log, 1):
        shop.see(kind, number * MINUTE, n=n)
        if acted is None:
            paid += n if kind == "paid" else 0
            trait = n if kind == "profile_updated" else trait
            variable = n if kind == "noted" else variable
            if trait is not None and variable is not None and paid + trait > 4 and variable >= 1:
                acted = number * MINUTE
    found = [action.proposed_at for action in shop.actions]
    started = shop.profile().instances["watch"].started
    assert found == ([] if acted is None else [started + acted])

"""The life of an instance: entry and re-entry, stages, goals, timers, stale events, pinned versions."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.journal import Activate
from schemas.journey import Journey
from streams.engine.ids import action_id, instance_id
from streams.engine.journeys import MAX_ARRIVALS, MAX_STEPS
from streams.simulator import Simulator
from tests.engine.making import DAY, HOUR, MINUTE, START, Shop, journey, library


def _say(text: str) -> dict[str, Any]:
    return {"stop_ads": {"say": text}}


def _says(*texts: str) -> list[dict[str, Any]]:
    return [_say(text) for text in texts]


def _moves(shop: Shop) -> list[tuple[str | None, str | None, str]]:
    return [(each.from_stage, each.to_stage, each.why) for each in shop.simulator.published.transitions]


# ---- entry


def test_an_event_enters_at_the_first_stage() -> None:
    """With the variables that the entry sets, and named by the profile, the journey and the event."""
    shop = Shop(
        journey("j", {"one": [{"when": "x", "end": True}]}, enter={"when": "hello", "set": {"page": "event.page"}})
    )
    event_id = shop.see("hello", 0, page="/a")
    instance = shop.profile().instances["j"]
    assert (instance.stage, instance.vars, instance.counts) == ("one", {"page": "/a"}, {})
    assert instance.id == instance_id("customer:ann", "j", event_id)
    assert _moves(shop) == [(None, "one", "entered")]


def test_the_first_way_in_that_fits_counts() -> None:
    """Conditions are asked in order; a way in may lead to any stage."""
    ways = [
        {"when": "hello", "if": "event.level > 5", "to": "two"},
        {"when": "hello", "if": "event.level > 2"},
        {"when": "greeted", "to": "two"},
    ]
    made = journey("j", {"one": [{"when": "x", "end": True}], "two": [{"when": "x", "end": True}]}, enter=ways)
    entered = {}
    events: list[tuple[str, dict[str, Any]]] = [("hello", {"level": level}) for level in (9, 3, 1)]
    for number, (kind, more) in enumerate([*events, ("hello", {}), ("greeted", {})]):
        shop = Shop(made)
        shop.see(kind, 0, **more)
        entered[number] = shop.stage("j") if "j" in shop.profile().instances else None
    assert entered == {0: "two", 1: "one", 2: None, 3: None, 4: "two"}


def test_a_condition_that_touches_something_absent_is_false_and_counted() -> None:
    """Never a crash."""
    shop = Shop(
        journey("j", {"one": [{"when": "x", "end": True}]}, enter={"when": "hello", "if": "event.page == '/a'"})
    )
    shop.see("hello", 0)
    assert shop.profile().instances == {}


AGAIN = [
    ("never", 400 * DAY, False),
    ("always", 0, True),
    ("after 30d", 30 * DAY - 1, False),
    ("after 30d", 30 * DAY, True),
]


@pytest.mark.parametrize(("again", "wait", "enters"), AGAIN)
def test_re_entry(again: str, wait: int, enters: bool) -> None:  # noqa: FBT001
    """Never, always, or after a time since the last one ended."""
    shop = Shop(journey("j", {"one": [{"when": "bye", "end": True}]}, again=again))
    shop.see("hello", 0)
    shop.see("hello", HOUR)  # one is in it already
    shop.see("bye", 2 * HOUR)
    assert shop.stage("j") == "one."
    shop.see("hello", 2 * HOUR + wait)
    assert shop.stage("j") == ("one" if enters else "one.")


def test_journeys_do_not_disturb_each_other() -> None:
    """One event enters both; each goes its way."""
    stages = {"one": [{"when": "go", "if": "event.to == 'a'", "to": "two"}], "two": [{"when": "x", "end": True}]}
    other = {"one": [{"when": "go", "if": "event.to == 'b'", "to": "two"}], "two": [{"when": "x", "end": True}]}
    shop = Shop(journey("a", stages), journey("b", other))
    shop.see("hello", 0)
    shop.see("go", 1, to="b")
    assert (shop.stage("a"), shop.stage("b")) == ("one", "two")


# ---- reactions


def test_one_event_takes_one_branch() -> None:
    """Of the stage's handlers the first whose condition holds; what it moved to does not see the same event."""
    shop = Shop(
        journey(
            "j",
            {
                "one": [
                    {"when": "go", "if": "event.n > 5", "do": _says("never")},
                    {"when": "go", "do": _says("first"), "to": "two"},
                    {"when": "go", "do": _says("second"), "to": "three"},
                ],
                "two": [{"when": "go", "to": "three"}],
                "three": [{"when": "x", "end": True}],
            },
            **{"any stage": [{"when": "go", "to": "three"}]},
        )
    )
    shop.see("hello", 0)
    shop.see("go", 1, n=1)
    assert (shop.sent, shop.stage("j")) == (["first"], "two")


def test_any_stage_is_asked_after_the_stage_unless_that_moved() -> None:
    """A stage's handler that stays leaves the event to *any stage*."""
    shop = Shop(
        journey(
            "j",
            {"one": [{"when": "go", "do": _says("stage")}], "two": [{"when": "x", "end": True}]},
            **{"any stage": [{"when": "go", "do": _says("any"), "to": "two"}, {"when": "go", "do": _says("no")}]},
        )
    )
    shop.see("hello", 0)
    shop.see("go", 1)
    assert (shop.sent, shop.stage("j")) == (["stage", "any"], "two")


def test_the_entering_event_is_not_offered_again() -> None:
    """Entry is the branch it took."""
    shop = Shop(journey("j", {"one": [{"when": "hello", "to": "two"}], "two": [{"when": "x", "end": True}]}))
    shop.see("hello", 0)
    assert shop.stage("j") == "one"
    shop.see("hello", 1)
    assert shop.stage("j") == "two"


def test_set_comes_before_do_and_what_is_absent_is_left_as_it_was() -> None:
    """Variables are there for the actions of the same handler."""
    shop = Shop(
        journey(
            "j", {"one": [{"when": "go", "set": {"page": "event.page"}, "do": [{"stop_ads": {"say": "vars.page"}}]}]}
        )
    )
    shop.see("hello", 0)
    shop.see("go", 1, page="/a")
    shop.see("go", 2)
    assert shop.sent == ["/a", "/a"]


def test_counts_are_since_entry_and_of_what_the_journey_listens_to() -> None:
    """`journey.count` sees its own events, with the entering one."""
    shop = Shop(journey("j", {"one": [{"when": "view", "if": "journey.count('view') == 2", "do": _says("twice")}]}))
    shop.see("view", 0)
    shop.see("hello", 1)
    for at in (2, 3, 4):
        shop.see("view", at)
    assert len(shop.actions) == 1
    assert shop.profile().instances["j"].counts == {"hello": 1, "view": 3}


# ---- arrival, goals, ends


def test_arrival_runs_all_its_handlers_until_one_moves() -> None:
    """Branches by condition, then on to the next stage, in the same moment."""
    shop = Shop(
        journey(
            "j",
            {
                "one": [
                    {"on arrival": None, "do": _says("always")},
                    {"on arrival": None, "if": "vars.vip", "to": "vip"},
                    {"on arrival": None, "to": "others"},
                ],
                "vip": [{"on arrival": None, "do": _says("vip")}],
                "others": [{"on arrival": None, "do": _says("others"), "end": True}],
            },
            enter={"when": "hello", "set": {"vip": "event.vip"}},
        )
    )
    shop.see("hello", 0, vip=True)
    shop.see("hello", 1, vip=False, ids="customer:bea")
    assert shop.sent == ["always", "vip", "always", "others"]
    assert (shop.stage("j"), shop.stage("j", "customer:bea")) == ("vip", "others.")


def test_a_goal_is_a_conversion_the_moment_it_is_reached_and_once() -> None:
    """From any stage, and by any of several goals."""
    shop = Shop(
        journey(
            "j",
            {"one": [{"when": "x", "to": "won"}], "won": [{"when": "x", "to": "one"}]},
            goal=["won"],
            **{"any stage": [{"when": "buy", "to": "won"}]},
        )
    )
    shop.see("hello", 0)
    for at, kind in enumerate(("buy", "x", "buy"), 5):
        shop.see(kind, at)
    converted = [(each.to_stage, each.at) for each in shop.simulator.published.transitions if each.converted]
    assert converted == [("won", START + 5)]
    assert shop.profile().instances["j"].converted == START + 5


def test_an_ended_instance_hears_and_does_nothing_more() -> None:
    """Events and timers pass it by."""
    shop = Shop(
        journey(
            "j",
            {
                "one": [
                    {"when": "bye", "end": True},
                    {"after": "1h", "do": _says("late")},
                    {"when": "go", "do": _says("go")},
                ]
            },
        )
    )
    shop.see("hello", 0)
    shop.see("bye", 1)
    shop.see("go", 2)
    shop.wait(DAY)
    assert shop.sent == []
    assert _moves(shop)[-1] == ("one", None, "bye")


def test_a_loop_without_time_ends_with_the_step_budget() -> None:
    """There is no way from a definition to unbounded work."""
    shop = Shop(
        journey(
            "j",
            {"one": [{"on arrival": None, "to": "two"}], "two": [{"on arrival": None, "do": _says("x"), "to": "one"}]},
        )
    )
    shop.see("hello", 0)
    assert shop.profile().instances["j"].why == "step-budget"
    assert len(shop.actions) == MAX_ARRIVALS // 2
    shop.see("x", 1)
    shop.wait(DAY)


# ---- timers


def test_a_timer_counts_from_the_stages_entry_and_acts_at_its_due_time() -> None:
    """Not from the last event; `now` is when it was due, however late it is noticed."""
    shop = Shop(journey("j", {"one": [{"after": "24h", "do": _says("reminder")}]}))
    shop.see("hello", 0)
    shop.see("view", 23 * HOUR)
    shop.wait(24 * HOUR - 1)
    assert shop.sent == []
    shop.wait(3 * DAY)
    assert [(action.proposed_at, action.event_id) for action in shop.actions] == [(START + DAY, None)]


def test_silence_counts_from_the_last_touchpoint_of_any_kind() -> None:
    """Every event of the customer begins it anew, and each silence fires once."""
    shop = Shop(journey("j", {"one": [{"after": "30m of silence", "do": _says("silent")}]}))
    shop.see("hello", 0)
    shop.see("view", 20 * MINUTE)
    shop.see("something_else", 40 * MINUTE)
    shop.wait(70 * MINUTE - 1)
    assert shop.sent == []
    shop.wait(5 * HOUR)
    assert [action.proposed_at for action in shop.actions] == [START + 70 * MINUTE]
    shop.see("view", 6 * HOUR)
    shop.wait(8 * HOUR)
    assert [action.proposed_at for action in shop.actions][1:] == [START + 6 * HOUR + 30 * MINUTE]


def test_a_timer_due_at_the_moment_of_an_event_comes_first() -> None:
    """What is due at or before an entry's `now` fires before the entry is applied."""
    made = journey(
        "j",
        {
            "one": [{"after": "30m of silence", "to": "two"}, {"when": "view", "do": _says("still here")}],
            "two": [{"when": "view", "do": _says("back")}],
        },
    )
    for at, said in ((30 * MINUTE, "back"), (30 * MINUTE - 1, "still here")):
        shop = Shop(made)
        shop.see("hello", 0)
        shop.see("view", at)
        assert shop.sent == [said]


def test_timers_of_one_stage_fire_in_order_of_their_due_times() -> None:
    """However many are due at once, each at its own time, and one whose condition fails is over."""
    shop = Shop(
        journey(
            "j",
            {
                "one": [
                    {"after": "3h", "do": _says("third")},
                    {"after": "1h", "if": "vars.never", "do": _says("never")},
                    {"after": "2h", "do": _says("second")},
                    {"after": "4h", "to": "two"},
                    {"after": "5h", "do": _says("too late")},
                ],
                "two": [{"after": "1h", "do": _says("fifth")}],
            },
        )
    )
    shop.see("hello", 0)
    shop.wait(DAY)
    assert [(say, action.proposed_at - START) for say, action in zip(shop.sent, shop.actions, strict=True)] == [
        ("second", 2 * HOUR),
        ("third", 3 * HOUR),
        ("fifth", 5 * HOUR),
    ]


def test_a_stage_that_is_entered_again_starts_its_timers_again() -> None:
    """A visit is a visit: its actions have ids of their own."""
    shop = Shop(
        journey(
            "j",
            {
                "one": [{"after": "1h", "do": _says("hour")}, {"when": "go", "to": "two"}],
                "two": [{"when": "go", "to": "one"}],
            },
        )
    )
    shop.see("hello", 0)
    shop.wait(2 * HOUR)
    for at in (3, 4):
        shop.see("go", at * HOUR)
    shop.wait(6 * HOUR)
    instance = shop.profile().instances["j"]
    assert [action.proposed_at - START for action in shop.actions] == [HOUR, 5 * HOUR]
    assert [action.action_id for action in shop.actions] == [
        action_id(instance.id, "one", visit, "one/0/0/stop_ads", 1, 0) for visit in (1, 2)
    ]


def test_the_nth_time_of_an_action_in_one_visit_has_its_own_id() -> None:
    """So none is taken for a repeat of another."""
    shop = Shop(journey("j", {"one": [{"when": "go", "do": _says("go")}]}))
    shop.see("hello", 0)
    for at in (1, 2, 3):
        shop.see("go", at)
    instance = shop.profile().instances["j"]
    assert [action.action_id for action in shop.actions] == [
        action_id(instance.id, "one", 1, "one/0/0/stop_ads", nth, 0) for nth in (1, 2, 3)
    ]


# ---- stale and repeated events


def test_a_stale_event_updates_traits_and_counts_and_enters_and_sends_nothing() -> None:
    """And the decision says so, with the age found and the age allowed."""
    again = {"when": "go", "if": "journey.count() > 0", "do": _says("go"), "to": "one"}
    made = journey("j", {"one": [again]}, stale_after="1h")
    shop = Shop(made)
    stale = shop.see("hello", 0, late=HOUR + 1)
    assert shop.profile().instances == {}
    shop.see("hello", 1, late=HOUR)
    shop.see("go", 2, late=HOUR + 1)
    shop.see("profile_updated", 3, late=DAY, email="a@example.com")
    assert shop.sent == []
    assert shop.profile().traits["email"].value == "a@example.com"
    assert shop.profile().instances["j"].counts == {"hello": 1, "go": 1}
    said = [(each.gate, each.event_id, each.value, each.bound) for each in shop.decisions("ignored")]
    assert said[0] == ("stale", stale, f"{HOUR + 1} ms", f"{HOUR} ms")
    assert len(said) == 2


def test_an_event_from_the_future_is_of_now() -> None:
    """A producer's wrong clock neither wins against later words nor counts as stale."""
    shop = Shop(journey("j", {"one": [{"when": "x", "end": True}]}))
    shop.see("profile_updated", 0, late=-DAY, email="wrong@example.com")
    shop.see("profile_updated", HOUR, email="right@example.com")
    assert shop.profile().traits["email"].value == "right@example.com"


def test_a_repeated_event_id_changes_nothing() -> None:
    """Not even the silence that it would have broken."""
    made = journey("j", {"one": [{"when": "go", "do": _says("go")}, {"after": "1h of silence", "do": _says("silent")}]})
    shop = Shop(made)
    shop.see("hello", 0)
    shop.see("go", 1, event_id="once")
    before = shop.profile()
    shop.see("go", 30 * MINUTE, event_id="once")
    after = shop.profile()
    assert (after.counts, after.instances, after.activity) == (before.counts, before.instances, before.activity)
    shop.wait(DAY)
    assert shop.sent == ["go", "silent"]


# ---- versions


def _version(number: int, say: str) -> Journey:
    return journey(
        "j", {"one": [{"when": "go", "do": _says(say)}, {"when": "bye", "end": True}]}, version=number, again="always"
    )


def test_an_instance_is_pinned_to_the_version_it_entered_with() -> None:
    """A new version takes effect where its activation stands, for those who enter after it."""
    simulator = Simulator(library(_version(1, "old"), _version(2, "new")), 1, activate=False)
    shop = Shop()
    shop.simulator = simulator
    for kind, name, number in (("policy", "shop", 1), ("journey", "j", 1)):
        simulator.broadcast(Activate(kind, name, number, f"fingerprint-{number}"))
    shop.see("hello", 0)
    simulator.broadcast(Activate("journey", "j", 2, "fingerprint-2"))
    shop.see("go", 1)
    shop.see("hello", 2, ids="customer:bea")
    shop.see("go", 3, ids="customer:bea")
    shop.see("bye", 4)
    shop.see("hello", 5)
    shop.see("go", 6)
    assert shop.sent == ["old", "new", "new"]
    assert [action.journey_version for action in shop.actions] == [1, 2, 2]


def test_an_older_version_does_not_come_back() -> None:
    """An activation that stands later in one partition than in another is not undone by a repeat of an older one."""
    simulator = Simulator(library(_version(1, "old"), _version(2, "new")), 1)
    simulator.broadcast(Activate("journey", "j", 1, "fingerprint-1"))
    simulator.advance_to(START)
    assert simulator.partitions[0].active["journey/j"] == (2, "fingerprint-2")


def test_stages_that_lead_to_each_other_by_timers_end_after_a_long_silence() -> None:
    """A thousand timers at one moment are enough: the instance ends, and says why."""
    there_and_back = {"one": [{"after": "1s", "to": "two"}], "two": [{"after": "1s", "to": "one"}]}
    shop = Shop(journey("j", there_and_back))
    shop.see("hello", 0)
    shop.see("noise", DAY)
    instance = shop.profile().instances["j"]
    assert (bool(instance.ended), instance.why) == (True, "step-budget")
    assert len(_moves(shop)) == MAX_STEPS + 3

"""Promises: at risk and broken at their moments, once each, never early, never after they were kept."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.offer import Offer
from schemas.policy import Policy
from tests.engine.making import DAY, HOUR, MINUTE, POLICY, START, Shop, journey, rules

CARE: dict[str, Any] = {
    "open": [
        {
            "when": "asked",
            "set": {"agent": "event.agent"},
            "promise": {"answer": {"within": "8h", "at risk": "6h", "owner": "event.agent"}},
        },
        {"when": "answered", "keep": "answer"},
        {"when": "moved", "to": "elsewhere"},
        {"when": "given_up", "end": True},
        {"at risk": "answer", "do": [{"stop_ads": {"say": "remind", "whom": "vars.agent"}}]},
        {"broken": "answer", "do": [{"stop_ads": {"say": "escalate"}}]},
    ],
    "elsewhere": [{"when": "answered", "keep": "answer"}, {"when": "given_up", "end": True}],
}
ANYWHERE = {"any stage": [{"broken": "answer", "do": [{"stop_ads": {"say": "tell the manager"}}]}]}


def shop(stages: dict[str, Any] | None = None, **more: Any) -> Shop:
    """A shop with one journey, in which ann is."""
    made = Shop(journey("care", stages, **more) if stages is not None else journey("care", CARE, **ANYWHERE))
    made.see("hello", 0)
    return made


def became(made: Shop) -> list[tuple[str, int]]:
    """(verdict, hours after START) of every decision on a promise."""
    return [(each.verdict, (each.at - START) // HOUR) for each in made.simulator.decisions if each.gate == "promise"]


@pytest.mark.parametrize(
    ("told", "expected", "sent"),
    [
        ([], ["at-risk 7", "broken 9"], ["remind", "escalate", "tell the manager"]),
        ([("answered", 5)], ["kept 5"], []),
        ([("answered", 8)], ["at-risk 7", "kept 8"], ["remind"]),
        ([("answered", 10)], ["at-risk 7", "broken 9"], ["remind", "escalate", "tell the manager"]),
        ([("asked", 2)], ["at-risk 7", "broken 9"], ["remind", "escalate", "tell the manager"]),
        ([("answered", 2), ("answered", 3)], ["kept 2"], []),
        ([("answered", 2), ("asked", 4), ("answered", 5)], ["kept 2", "made 4", "kept 5"], []),
        (
            [("answered", 2), ("asked", 4)],
            ["kept 2", "made 4", "at-risk 10", "broken 12"],
            ["remind", "escalate", "tell the manager"],
        ),
        ([("moved", 2)], ["at-risk 7", "broken 9"], ["tell the manager"]),
        ([("moved", 2), ("answered", 4)], ["kept 4"], []),
        ([("given_up", 2)], ["ended 2"], []),
        ([("given_up", 8)], ["at-risk 7", "ended 8"], ["remind"]),
        ([("given_up", 10)], ["at-risk 7", "broken 9"], ["remind", "escalate", "tell the manager"]),
    ],
)
def test_what_becomes_of_a_promise(told: list[tuple[str, int]], expected: list[str], sent: list[str]) -> None:
    """Made an hour after START with eight hours to keep it; it outlives its stage, not its journey."""
    made = shop()
    made.see("asked", HOUR, agent="olli")
    for kind, hour in told:
        made.see(kind, hour * HOUR, agent="maija")
    made.wait(2 * DAY)
    assert [f"{verdict} {hour}" for verdict, hour in became(made)] == ["made 1", *expected]
    assert made.sent == sent


def test_the_moment_itself_is_too_late() -> None:
    """What is due happens before the event of the same moment."""
    made = shop()
    made.see("asked", HOUR, agent="olli")
    made.see("answered", 9 * HOUR)
    assert became(made)[-1] == ("broken", 9)
    early = shop()
    early.see("asked", HOUR, agent="olli")
    early.see("answered", 9 * HOUR - 1)
    assert became(early)[-1] == ("kept", 8)


def test_a_decision_tells_the_owner_and_when_it_is_due() -> None:
    """With the instance and the cause; no action is proposed by a promise."""
    made = shop()
    event_id = made.see("asked", HOUR, agent="olli")
    made.wait(DAY)
    first, risk, broken = (each for each in made.simulator.decisions if each.gate == "promise")
    assert (first.reason, first.value, first.bound) == ("answer", "olli", "2026-03-02T19:00:00Z")
    assert (first.event_id, first.action_id, first.stage, first.journey) == (event_id, None, "open", "care")
    assert (risk.verdict, risk.value, risk.at, risk.event_id) == ("at-risk", "olli", START + 7 * HOUR, None)
    assert (broken.verdict, broken.value, broken.at) == ("broken", "olli", START + 9 * HOUR)
    assert made.actions[0].params == {"say": "remind", "whom": "olli"}


@pytest.mark.parametrize(
    ("owner", "found"),
    [("desk", "desk"), ("event.agent", None), ("event.list", None), ("event.number", "7"), ("event.long", "x" * 200)],
)
def test_owners(owner: str, found: str | None) -> None:
    """A name as it is written, or what an expression gives; nobody where there is none."""
    made = shop({"open": [{"when": "asked", "promise": {"answer": {"within": "8h", "owner": owner}}}]})
    made.see("asked", HOUR, list=[1], number=7, long="x" * 999)
    (decision,) = made.simulator.decisions
    assert decision.value == found


def test_a_broken_promise_comes_before_the_stages_own_timer() -> None:
    """Both at one moment: it is told, and its handlers run, before the journey ends."""
    made = shop(
        {
            "open": [
                {"on arrival": None, "promise": {"answer": {"within": "8h"}}},
                {"when": "answered", "keep": "answer"},
                {"after": "8h", "end": True},
                {"broken": "answer", "do": [{"stop_ads": {"say": "escalate"}}]},
            ]
        }
    )
    made.wait(DAY)
    assert became(made) == [("made", 0), ("broken", 8)]
    assert made.sent == ["escalate"]
    assert made.stage("care") == "open."


def test_one_broken_promise_may_keep_or_make_another() -> None:
    """At the same moment: what was kept is not broken, what is made anew has its own time."""
    made = shop(
        {
            "open": [
                {
                    "when": "asked",
                    "promise": {"answer": {"within": "8h"}, "visit": {"within": "8h"}},
                },
                {
                    "broken": "answer",
                    "keep": "visit",
                    "promise": {"answer": {"within": "2h"}},
                },
            ]
        }
    )
    made.see("asked", 0)
    made.wait(11 * HOUR)
    told = [(e.verdict, e.reason, (e.at - START) // HOUR) for e in made.simulator.decisions]
    assert told == [
        ("made", "answer", 0),
        ("made", "visit", 0),
        ("broken", "answer", 8),
        ("made", "answer", 8),
        ("kept", "visit", 8),
        ("broken", "answer", 10),
        ("made", "answer", 10),
    ]
    assert len({each.decision_id for each in made.simulator.decisions}) == len(told)


def test_a_handler_leads_on() -> None:
    """To a stage, or to the end, with the promise as the reason; conditions are asked in order."""
    made = shop(
        {
            "open": [
                {"when": "asked", "promise": {"answer": {"within": "8h", "at risk": "6h"}}},
                {"at risk": "answer", "if": "vars.never", "end": True},
                {"at risk": "answer", "to": "late"},
            ],
            "late": [{"when": "answered", "keep": "answer"}, {"broken": "answer", "end": True}],
        }
    )
    made.see("asked", 0)
    made.wait(DAY)
    assert [(each.why, each.to_stage) for each in made.simulator.published.transitions][1:] == [
        ("promise answer at-risk", "late"),
        ("promise answer broken", None),
    ]


def test_a_promise_whose_risk_comes_too_late_is_only_broken() -> None:
    """Working and plain times cannot be compared before they are counted."""
    made = shop({"open": [{"when": "asked", "promise": {"answer": {"within": "8h", "at risk": "3 working days"}}}]})
    made.see("asked", 0)
    made.wait(10 * DAY)
    assert became(made) == [("made", 0), ("broken", 8)]


WORKING = Policy.model_validate(
    POLICY.model_dump(by_alias=True)
    | {
        "time_zone": "Europe/Helsinki",
        "calendar": {
            "working": dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday"), "09:00-17:00"),
            "holidays": ["2026-03-03"],
        },
    }
)


@pytest.mark.parametrize(
    ("within", "due"),
    [
        ("3 working hours", "2026-03-02T13:00:00Z"),  # asked on a Monday at 12:00 in Helsinki
        ("8 working hours", "2026-03-04T10:00:00Z"),  # Tuesday is a holiday
        ("1 working day", "2026-03-04T10:00:00Z"),
        ("4 working days", "2026-03-09T10:00:00Z"),
        ("24h", "2026-03-03T10:00:00Z"),
    ],
)
def test_working_time(within: str, due: str) -> None:
    """By the policy's calendar, in its zone."""
    made = Shop(
        WORKING,
        journey("care", {"open": [{"when": "asked", "promise": {"answer": {"within": within}}}]}),
    )
    made.see("hello", 0)
    made.see("asked", 0)
    (decision,) = made.simulator.decisions
    assert decision.bound == due
    made.wait(10 * DAY)
    assert [each.verdict for each in made.simulator.decisions] == ["made", "broken"]


def test_a_promise_that_is_never_due_is_never_broken() -> None:
    """A calendar without working days leaves no end; the decision says nothing of when."""
    idle = Policy.model_validate(WORKING.model_dump(by_alias=True) | {"calendar": {"holidays": _every_day()}})
    made = Shop(
        idle,
        journey("care", {"open": [{"when": "asked", "promise": {"answer": {"within": "3 working hours"}}}]}),
    )
    made.see("hello", 0)
    made.see("asked", 0)
    made.wait(400 * DAY)
    assert [(each.verdict, each.bound) for each in made.simulator.decisions] == [("made", None)]


def _every_day() -> list[str]:
    long = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
    return [f"{month:02}-{day:02}" for month in range(1, 13) for day in range(1, long.get(month, 31) + 1)]


def test_an_instance_that_gives_way_says_what_becomes_of_its_promises() -> None:
    """Of two instances of a journey one stays, with its promises; those of the other end with it."""
    made = Shop(journey("care", CARE))
    made.see("hello", 0, ids="device:d")
    made.see("asked", HOUR, ids="device:d", agent="olli")
    made.see("hello", 2 * HOUR)
    made.see("asked", 3 * HOUR, agent="maija")
    made.see("login", 4 * HOUR, ids="customer:ann,device:d")
    made.wait(2 * DAY)
    told = [(e.verdict, e.value) for e in made.simulator.decisions if e.gate == "promise"]
    # The earlier entry stays.
    assert told == [
        ("made", "olli"),
        ("made", "maija"),
        ("ended", "maija"),
        ("at-risk", "olli"),
        ("broken", "olli"),
    ]
    assert {each.profile for each in made.actions} == {"customer:ann"}


def test_a_promise_moves_with_its_identifier() -> None:
    """Made to a device, it is broken to the customer whose the device turned out to be."""
    made = shop()
    made.see("hello", 0, ids="phone:+358")
    made.see("asked", HOUR, ids="phone:+358", agent="olli")
    made.see("login", 5 * HOUR, ids="customer:bea,phone:+358")
    made.wait(2 * DAY)
    told = [(e.verdict, e.profile) for e in made.simulator.decisions if e.gate == "promise"]
    assert told == [("made", "phone:+358"), ("at-risk", "customer:bea"), ("broken", "customer:bea")]


def test_journeys_without_promises_have_none_of_it() -> None:
    """Nothing is compiled for them, and no timer waits."""
    plain = rules(journey("plain", {"open": [{"when": "asked", "end": True}]}))
    stage = plain.journey("plain", 1).stages["open"]
    assert set(stage.reactions) == {"asked"}
    assert plain.types == {"hello", "asked"}
    promising = rules(journey("care", CARE, **ANYWHERE))
    assert promising.types == {"hello", "asked", "answered", "moved", "given_up"}


def test_a_loop_of_promises_ends() -> None:
    """Whoever makes a promise anew whenever it is broken keeps to the step budget when much time passes at once."""
    made = shop(
        {
            "open": [
                {"when": "asked", "promise": {"answer": {"within": "1s"}}},
                {"broken": "answer", "promise": {"answer": {"within": "1s"}}},
            ]
        }
    )
    made.see("asked", 0)
    made.wait(DAY)
    assert made.stage("care") == "open."
    assert made.verdicts("ended")[-2:] == [("ended", "promise", "answer"), ("ended", "limits", "step-budget")]
    assert made.profile().instances["care"].ended < START + 2 * HOUR + 20 * MINUTE


def test_a_task_carries_the_case_the_owner_and_the_proposal() -> None:
    """All that a colleague needs stands in it; an offer may depend on what is open."""
    care = journey(
        "care",
        {
            "open": [
                {
                    "when": "complaint_opened",
                    "promise": {"answer": {"within": "8h", "owner": 'case("complaint", "agent")'}},
                },
                {"when": "complaint_closed", "keep": "answer"},
                {
                    "broken": "answer",
                    "do": [
                        {
                            "stop_ads": {
                                "reason": "an answer is late",
                                "agent": 'case("complaint", "agent")',
                                "on": 'case("complaint", "channel")',
                                "since": 'case("complaint", "opened")',
                                "proposal": 'best("agent-desk").offer',
                                "why": 'best("agent-desk").why',
                            }
                        }
                    ],
                },
            ]
        },
    )
    made = Shop(
        care,
        Offer.model_validate(
            {
                "offer": "sorry",
                "version": 1,
                "title": "Sorry",
                "value": 10,
                "propensity": 0.5,
                "eligible": 'open("complaint")',
                "places": {"agent-desk": {"text": "x"}},
            }
        ),
        Offer.model_validate(
            {
                "offer": "upgrade",
                "version": 1,
                "title": "Upgrade",
                "value": 900,
                "propensity": 0.5,
                "eligible": '!open("complaint")',
                "places": {"agent-desk": {"text": "x"}},
            }
        ),
    )
    made.see("hello", 0)
    made.see("complaint_opened", HOUR, agent="olli")
    made.see("page_viewed", 2 * HOUR, agent="maija")
    made.wait(DAY)
    (task,) = made.actions
    assert task.reason == "an answer is late"
    assert task.params.pop("why")
    assert task.params == {"agent": "maija", "on": "web", "since": "2026-03-02T11:00:00Z", "proposal": "sorry"}
    assert [each.value for each in made.decisions("broken")] == ["olli"]

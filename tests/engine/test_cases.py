"""Cases: opened, moved, paused and closed on any channel and in any order, and one when profiles become one."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.journal import TOUCHPOINTS, Event, Origin
from schemas.policy import Policy
from streams.engine import cases
from streams.engine.bounds import MAX_CASE_CHANNELS, MAX_DOSSIERS, MAX_KEPT_BYTES
from streams.engine.cel_values import Absent, Timestamp
from streams.engine.merge import unite as unite_profiles
from streams.engine.profile import Dossier, Profile, decode, encode, new_profile
from tests.engine.effort import examples
from tests.engine.making import HOUR, MINUTE, POLICY, START, Shop, journey, rules

CARE = Policy.model_validate(
    POLICY.model_dump(by_alias=True)
    | {
        "cases": {
            "complaint": {
                "opens": "complaint_opened",
                "closes": "complaint_closed",
                "pauses": "complaint_paused",
                "resumes": "complaint_resumed",
                "moves": ["chat_message", "call_ended"],
                "keeps": ["subject", "agent"],
            },
            "talk": {
                "opens": ["call_started", "chat_started", "post_written"],
                "closes": "talk_ended",
                "moves": "chat_message",
                "keeps": ["topic", "agent"],
            },
        }
    }
)
RULES = rules(CARE)


class Desk:
    """A profile whose cases a test moves; times are minutes after START."""

    def __init__(self) -> None:
        self.profile = new_profile("customer:ann")
        self.event: Event | None = None
        self.events = 0

    def see(self, kind: str, at: int, channel: str = "phone", *, arrives: int | None = None, **more: Any) -> None:
        """An event that occurred `at` comes, then or when it `arrives`."""
        self.events += 1
        now = START + (at if arrives is None else arrives) * MINUTE
        self.event = Event(
            "customer:ann",
            Origin(TOUCHPOINTS, 0, 0, now),
            f"e{self.events}",
            kind,
            channel,
            START + at * MINUTE,
            {"customer": "ann"},
            more,
            [],
            None,
        )
        cases.on_event(self.profile, self.event, now, RULES)

    def part(self, kind: str, name: str, *, here: bool = False) -> Any:
        """What `case(kind, name)` gives; None when absent; `here`: to what reacts to the last event."""
        try:
            return cases.part(self.profile, kind, name, self.event if here else None)
        except Absent:
            return None

    def open(self, kind: str) -> bool:
        """What `open(kind)` gives."""
        return cases.newest_open(self.profile, kind) is not None


def test_a_conversation_goes_on_from_channel_to_channel() -> None:
    """Who waited on the phone, moved to the chat, then to social media has one conversation, and nobody starts over."""
    desk = Desk()
    desk.see("call_started", 0, "phone", topic="card")
    desk.see("chat_started", 12, "chat", agent="olli")
    desk.see("chat_message", 13, "chat")
    desk.see("post_written", 40, "social")
    assert list(desk.profile.dossiers) == ["talk/"]
    assert desk.open("talk")
    assert {name: desk.part("talk", name) for name in ("topic", "agent", "channel", "channels", "opened")} == {
        "topic": "card",
        "agent": "olli",
        "channel": "social",
        "channels": ["phone", "chat", "social"],
        "opened": Timestamp(START),
    }
    desk.see("talk_ended", 50, "social")
    assert not desk.open("talk")
    assert desk.part("talk", "topic") is None


def test_who_comes_again_has_a_new_conversation() -> None:
    """Without a number, what was closed does not speak in what opens next."""
    desk = Desk()
    desk.see("call_started", 0, topic="card", agent="olli")
    desk.see("talk_ended", 10)
    desk.see("chat_started", 600, "chat", topic="loan")
    assert desk.part("talk", "topic") == "loan"
    assert desk.part("talk", "agent") is None
    assert desk.part("talk", "channels") == ["chat"]
    assert desk.part("talk", "opened") == Timestamp(START + 600 * MINUTE)


def test_a_case_with_a_number_that_is_opened_again_is_the_same_case() -> None:
    """It still carries what it carried."""
    desk = Desk()
    desk.see("complaint_opened", 0, case_id=7, subject="late card")
    desk.see("complaint_closed", 10, case_id=7)
    desk.see("complaint_opened", 60, case_id=7)
    assert desk.part("complaint", "subject") == "late card"
    assert desk.part("complaint", "number") == "7"
    assert desk.part("complaint", "opened") == Timestamp(START + 60 * MINUTE)


def test_an_event_without_a_number_is_about_the_newest_open_case() -> None:
    """And one with a number about that case alone."""
    desk = Desk()
    desk.see("complaint_opened", 0, case_id="7", agent="olli")
    desk.see("complaint_opened", 5, case_id="8", agent="maija")
    desk.see("chat_message", 6, "chat", agent="aino")
    assert desk.part("complaint", "agent") == "aino"
    desk.see("chat_message", 7, "chat", case_id="7", agent="pekka")
    assert desk.part("complaint", "agent") == "aino"
    assert desk.part("complaint", "agent", here=True) == "pekka"  # to what reacts to an event of case 7
    desk.see("complaint_closed", 8, case_id="8")
    assert desk.part("complaint", "agent") == "pekka"


def test_what_closes_a_case_is_answered_with_what_the_case_carried() -> None:
    """To the handlers of the closing event it is closed, and still the case at hand."""
    desk = Desk()
    desk.see("complaint_opened", 0, agent="olli")
    desk.see("complaint_closed", 5)
    assert not desk.open("complaint")
    assert desk.part("complaint", "agent", here=True) == "olli"
    assert desk.part("complaint", "agent") is None


@pytest.mark.parametrize(
    ("told", "paused"),
    [
        ([("paused", 1)], True),
        ([("paused", 1), ("resumed", 2)], False),
        ([("resumed", 2), ("paused", 1)], False),
        ([("paused", 1), ("resumed", 2), ("paused", 3)], True),
        ([("paused", 1), ("closed", 2), ("opened", 3)], False),
        ([("paused", 1), ("resumed", 1)], False),
    ],
)
def test_a_case_rests_and_goes_on(told: list[tuple[str, int]], paused: bool) -> None:  # noqa: FBT001 - a column of the table
    """The newest word stands, in whatever order the words come."""
    desk = Desk()
    desk.see("complaint_opened", 0, case_id="7")
    for what, at in told:
        desk.see(f"complaint_{what}", at, "web", arrives=10, case_id="7")
    assert desk.open("complaint")
    assert desk.part("complaint", "paused") is paused


@pytest.mark.parametrize(
    ("told", "is_open"),
    [
        ([("opened", 0)], True),
        ([("opened", 0), ("closed", 5)], False),
        ([("closed", 5), ("opened", 0)], False),
        ([("closed", 5), ("opened", 6)], True),
        ([("opened", 5), ("closed", 5)], False),
        ([("opened", 6), ("closed", 5), ("opened", 0)], True),
        ([("paused", 0)], False),
        ([("resumed", 0)], False),
    ],
)
@pytest.mark.parametrize("more", [{}, {"case_id": 7}])
def test_channels_may_report_late_and_in_any_order(
    told: list[tuple[str, int]],
    is_open: bool,  # noqa: FBT001 - a column of the table
    more: dict[str, Any],
) -> None:
    """Of opened and closed the later by their own times; the same moment is closed."""
    desk = Desk()
    for what, at in told:
        desk.see(f"complaint_{what}", at, arrives=10, **more)
    assert desk.open("complaint") is is_open


def test_the_newest_event_says_what_is_carried() -> None:
    """Not the one that comes last; what an event lacks, leaves null, or makes too large changes nothing."""
    desk = Desk()
    desk.see("complaint_opened", 0, subject="late card", agent="olli")
    desk.see("call_ended", 5, "phone", agent="maija")
    desk.see("chat_message", 3, "chat", arrives=6, agent="aino")
    desk.see("chat_message", 7, "chat", agent=None, subject="x" * (MAX_KEPT_BYTES + 1))
    assert desk.part("complaint", "agent") == "maija"
    assert desk.part("complaint", "subject") == "late card"
    assert desk.part("complaint", "channel") == "chat"


def test_what_no_case_is_open_for_opens_none() -> None:
    """A message alone is no complaint, nor is one of an unknown number."""
    desk = Desk()
    desk.see("call_ended", 0)
    desk.see("call_ended", 0, case_id="7")
    desk.see("page_viewed", 0, case_id="7")
    assert desk.profile.dossiers == {}


def test_cases_are_bounded() -> None:
    """Open ones stay before closed ones, and the newest; so do channels."""
    desk = Desk()
    desk.see("complaint_opened", 0, case_id="open")
    for number in range(2 * MAX_DOSSIERS):
        desk.see("complaint_opened", number + 1, f"channel-{number}", case_id=number)
        desk.see("complaint_closed", number + 1, case_id=number)
    assert len(desk.profile.dossiers) == MAX_DOSSIERS
    assert desk.open("complaint")
    for number in range(2 * MAX_CASE_CHANNELS):
        desk.see("call_ended", 100 + number, f"channel-{number}")
    assert desk.part("complaint", "channels") == [
        f"channel-{n}" for n in range(MAX_CASE_CHANNELS, 2 * MAX_CASE_CHANNELS)
    ]


@pytest.mark.parametrize("number", [None, "", [], {"a": 1}, 7.5, True, "x" * 500, "å" * 500])
def test_numbers_may_be_anything(number: Any) -> None:
    """No property makes a case fail."""
    desk = Desk()
    desk.see("complaint_opened", 0, case_id=number)
    desk.see("complaint_closed", 5, case_id=number)
    assert not desk.open("complaint")
    assert len(desk.profile.dossiers) == 1


# ---- becoming one

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["complaint_opened", "complaint_closed", "complaint_paused", "complaint_resumed", "chat_message"]
        ),
        st.integers(0, 6),
        st.sampled_from(["web", "chat", "phone"]),
        st.sampled_from([{}, {"case_id": "1"}, {"case_id": "2"}]),
        st.sampled_from([{}, {"agent": "olli"}, {"agent": "maija", "subject": "x"}]),
    ),
    max_size=8,
)


def _played(steps: list[tuple[str, int, str, dict[str, str], dict[str, str]]], name: str) -> Profile:
    desk = Desk()
    for number, (kind, at, channel, numbered, more) in enumerate(steps):
        desk.events = ord(name) * 100 + number  # each event has an id of its own
        desk.see(kind, at, channel, arrives=10, **numbered, **more)
    return desk.profile


def _united(*profiles: Profile) -> dict[str, Dossier]:
    first, *others = (decode(encode(deepcopy(each))) for each in profiles)
    for other in others:
        unite_profiles(first, other, RULES, START)
    return first.dossiers


@examples(200)
@given(STEPS, STEPS, STEPS)
def test_profiles_become_one_in_any_order(one: Any, two: Any, three: Any) -> None:
    """Associative, commutative, and nothing changes when it is repeated."""
    a, b, c = (_played(steps, name) for steps, name in ((one, "a"), (two, "b"), (three, "c")))
    both = new_profile("customer:ann")
    both.dossiers = _united(b, c)
    assert _united(_with(_united(a, b)), c) == _united(a, both) == _united(c, b, a)
    assert _united(a, b, b, a) == _united(a, b)
    assert _united(a, a) == _united(a)


def _with(dossiers: dict[str, Dossier]) -> Profile:
    profile = new_profile("customer:ann")
    profile.dossiers = dossiers
    return profile


# ---- in journeys

HELP = journey(
    "help",
    {
        "here": [
            {
                "when": "chat_message",
                "if": "open('complaint')",
                "do": [{"stop_ads": {"say": 'case("complaint", "subject")', "agent": 'case("complaint", "agent")'}}],
            },
            {"when": "complaint_closed", "do": [{"stop_ads": {"say": 'case("complaint", "agent")'}}], "end": True},
        ]
    },
)


def test_a_journey_sees_the_cases_and_its_actions_carry_them() -> None:
    """A condition asks whether one is open; a parameter says what it carries, and what it does not is left out."""
    shop = Shop(CARE, HELP)
    shop.see("hello", 0)
    shop.see("chat_message", 1)
    shop.see("complaint_opened", MINUTE, subject="late card")
    shop.see("chat_message", 2 * MINUTE)
    shop.see("chat_message", 3 * MINUTE, agent="olli")
    shop.see("complaint_closed", 4 * MINUTE)
    assert [action.params for action in shop.actions] == [
        {"say": "late card"},
        {"say": "late card", "agent": "olli"},
        {"say": "olli"},
    ]


def test_an_identifier_hands_its_conversation_over() -> None:
    """Who began as a voice on the phone and is known later goes on with the same conversation."""
    shop = Shop(CARE)
    shop.see("call_started", 0, ids="phone:+358", topic="card")
    shop.see("chat_started", 5 * MINUTE, ids="customer:ann", agent="olli")
    shop.see("login", 6 * MINUTE, ids="customer:ann,phone:+358")
    shop.wait(HOUR)
    profile = shop.profile()
    assert cases.part(profile, "talk", "topic", None) == "card"
    assert cases.part(profile, "talk", "agent", None) == "olli"
    assert cases.part(profile, "talk", "opened", None) == Timestamp(START)
    assert shop.simulator.profile("phone:+358") == profile
    shop.see("post_written", 2 * HOUR, ids="customer:ann")
    assert list(shop.profile().dossiers) == ["talk/"]

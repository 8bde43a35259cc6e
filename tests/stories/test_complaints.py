"""What people publicly complained about in other engines, each with the address, does not happen here."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.journal import Activate
from schemas.policy import Policy
from streams.engine.partition import Partition
from streams.engine.store import MemoryStore
from streams.explain import explain
from streams.simulator import Simulator
from tests.engine.making import DAY, HOUR, MINUTE, POLICY, START, Shop, journey, library, touchpoint
from tests.stories.telling import at, play, read, seeds
from tests.stories.test_fifty_touchpoints import SIX_WEEKS, THE_END

YEAR_LATER = 90 * DAY
GREETED = {"greeted": [{"after": "1d", "do": [{"message": {"say": "hi"}}], "end": True}]}


def _known(*definitions: Any, say: str = "customer:ann") -> Shop:
    shop = Shop(*definitions)
    shop.see("profile_updated", 0, ids=say, email="a@example.com")
    shop.allow("marketing", ids=say)
    return shop


def test_no_message_again_after_a_restart() -> None:
    """Duplicates after a restart, or by a second process: github.com/mautic/mautic/issues/2215 and pull/10281.

    A task that was ended anywhere, and is given the whole journal again by a successor that has only what was stored,
    sends what was still to be sent: each action once, whatever is read twice.
    """
    simulator = play(read(SIX_WEEKS), THE_END, 4)
    for index, journal in enumerate(simulator.journal):
        everything = _actions(index, journal, restart=len(journal))
        for restart in range(0, len(journal), max(1, len(journal) // 7)):
            assert _actions(index, journal, restart) == everything
    assert any(_actions(index, journal, 0) for index, journal in enumerate(simulator.journal))


def _actions(index: int, journal: list[Any], restart: int) -> list[str]:
    """The ids of the actions of a partition whose task restarts there, and reads everything again from the start."""
    store, meta, sent = MemoryStore(), None, []
    for entries in (journal[:restart], journal):
        partition = Partition(index, 4, seeds(), store, meta)
        for offset, entry in enumerate(entries):
            partition.apply(offset, entry)
        output = partition.collect()
        store.write(output, len(entries))
        meta = output.meta or meta
        sent += [action.action_id for action in output.actions]
    assert len(sent) == len(set(sent))
    return sent


def test_a_dropped_repeat_is_counted_and_told() -> None:
    """Events that share an id are dropped, nobody says which: github.com/PostHog/posthog/issues/17211.

    The first counts, whatever the second holds; the repeat is counted, and stands in the customer's story.
    """
    known = library(journey("any", GREETED))
    simulator = Simulator(known, 1)
    for number, page in enumerate(("/first", "/second")):
        simulator.touchpoint(
            touchpoint("same", "profile_updated", occurred=START + number, identifiers={"customer": "ann"}, page=page),
            START + number * MINUTE,
        )
    partition = Partition(0, 1, known, MemoryStore())
    for offset, entry in enumerate(simulator.journal[0]):
        partition.apply(offset, entry)
    assert partition.collect().stats.duplicates == 1
    story = explain({0: list(enumerate(simulator.journal[0]))}, 1, known, "customer:ann")
    assert [line.text for line in story.lines] == [
        "profile_updated",
        "profile_updated (a repeat: changes nothing)",
    ]
    assert story.profile is not None
    assert story.profile.traits["page"].value == "/first"


def test_who_is_identified_while_waiting_still_waits() -> None:
    """An anonymous profile is orphaned when it is identified, and little of it is copied:
    braze.com/docs/user_guide/audience/manage_audience/merge_duplicate_users.

    The wait that began on the device ends for the customer, at its time, once.
    """  # noqa: D205 - the address needs a line
    shop = Shop(journey("welcome", GREETED))
    shop.see("hello", 0, ids="device:d")
    shop.see("profile_updated", HOUR, email="a@example.com")
    shop.allow("marketing", at=HOUR)
    shop.see("login", 2 * HOUR, ids="customer:ann,device:d")
    shop.wait(3 * DAY)
    (action,) = shop.actions
    assert (action.customer, action.proposed_at) == ("ann", START + DAY)


def test_the_known_customer_survives_a_merge() -> None:
    """The anonymous contact of a new browser wins over the known one, which is deleted:
    github.com/mautic/mautic/issues/16425.

    Whichever comes first, the customer's id, traits and place in a journey stay, whatever the device brings.
    """  # noqa: D205 - as above
    steps = {
        "new": [{"when": "go", "to": "old"}],
        "old": [{"when": "bought", "end": True}],
    }
    shop = _known(journey("loyal", steps))
    shop.see("hello", MINUTE)
    shop.see("go", HOUR)
    shop.see("profile_updated", DAY, ids="device:new", email="someone@example.com")
    shop.see("hello", DAY, ids="device:new")
    shop.see("login", DAY + HOUR, ids="customer:ann,device:new")
    shop.wait(2 * DAY)
    profile = shop.profile()
    assert profile.id == "customer:ann"
    assert profile.traits["email"].value == "a@example.com"
    assert profile.instances["loyal"].stage == "old"


def test_an_edit_reaches_those_who_are_in_the_journey() -> None:
    """Who is in a campaign when a mail is added to it ends in a limbo: github.com/mautic/mautic/issues/6445.

    With `edits: follow` they go on by the new version at once; without it they end as their version says.
    """
    for follow in (True, False):
        added = {"when": "go", "do": [{"message": {"say": "added"}}], "end": True}
        first = journey("card", {"waiting": [{"after": "30d", "end": True}]})
        second = journey(
            "card",
            {"waiting": [added, {"after": "30d", "end": True}]},
            version=2,
            **({"edits": "follow"} if follow else {}),
        )
        shop = Shop(first, second)
        shop.simulator = Simulator(library(first, second), 1, activate=False)
        for entry in (
            Activate("policy", "shop", 1, "fingerprint-1"),
            Activate("journey", "card", 1, "fingerprint-1"),
        ):
            shop.simulator.write(entry)
        shop.see("profile_updated", 0, email="a@example.com")
        shop.allow("marketing")
        shop.see("hello", MINUTE)
        shop.simulator.write(Activate("journey", "card", 2, "fingerprint-2"))
        shop.see("go", DAY)
        shop.wait(YEAR_LATER)
        assert shop.sent == (["added"] if follow else [])
        assert shop.profile().instances["card"].ended == START + (DAY if follow else 30 * DAY + MINUTE)


def test_of_two_branches_one_is_taken() -> None:
    """A decision ran down both paths: github.com/mautic/mautic/issues/2210.

    Also where two conditions hold, and where the event comes at the very moment at which the wait for it is over.
    """
    branches = {
        "asked": [{"when": "answered", "to": "thanked"}, {"after": "1h", "to": "reminded"}],
        "thanked": [
            {"on arrival": None, "if": "traits.gold == true", "to": "gold"},
            {"on arrival": None, "to": "plain"},
        ],
        "gold": [{"on arrival": None, "do": [{"message": {"say": "gold"}}], "end": True}],
        "plain": [{"on arrival": None, "do": [{"message": {"say": "plain"}}], "end": True}],
        "reminded": [{"on arrival": None, "do": [{"message": {"say": "reminder"}}], "end": True}],
    }
    for answered in (HOUR - 1, HOUR, HOUR + 1):
        shop = _known(journey("survey", branches))
        shop.see("profile_updated", 0, gold=True)
        shop.see("hello", 0)
        shop.see("answered", answered)
        shop.wait(DAY)
        assert len(shop.sent) == 1
        assert shop.sent == (["gold"] if answered < HOUR else ["reminder"])


def test_a_cap_does_not_lag() -> None:
    """Mails beyond the cap went out from campaigns: github.com/mautic/mautic/issues/6729.

    Five journeys propose at one event: as many go out as the cap says, and the others say what stood in their way.
    """
    capped = Policy.model_validate(
        POLICY.model_dump(by_alias=True, exclude_unset=True)
        | {"caps": {"weekly": {"at_most": 2, "within": "7d", "purpose": "marketing"}}}
    )
    stages = {"first": [{"on arrival": None, "do": [{"message": {"say": "hi"}}]}, {"after": "9d", "end": True}]}
    shop = _known(capped, *(journey(f"journey-{number}", stages) for number in range(5)))
    shop.see("hello", MINUTE)
    assert len(shop.actions) == 2
    assert shop.verdicts("refused") == [("refused", "caps", "weekly")] * 3


NIGHT = Policy.model_validate(
    POLICY.model_dump(by_alias=True, exclude_unset=True)
    | {
        "time_zone": "Europe/Helsinki",
        "quiet": {"night": {"hours": "21:00-08:00", "purposes": ["marketing"]}},
    }
)


@pytest.mark.parametrize(
    ("evening", "morning"),
    [
        ("03-28 20:30:00", "03-29 05:00:00"),  # the clocks go forward at night: 08:00 is 05:00 UTC from then on
        ("03-27 20:30:00", "03-28 06:00:00"),
        ("10-24 20:30:00", "10-25 06:00:00"),  # and back
        ("10-23 20:30:00", "10-24 05:00:00"),
    ],
)
def test_a_morning_is_a_morning_when_the_clocks_change(evening: str, morning: str) -> None:
    """Scheduled over the change of clocks, leads went round in a loop: github.com/mautic/mautic/issues/9592.

    What waits for eight in the morning goes out at eight by the customer's clock, on every day of the year.
    """
    stages = {"first": [{"on arrival": None, "do": [{"message": {"say": "hi"}}]}, {"after": "9d", "end": True}]}
    shop = Shop(NIGHT, journey("letter", stages))
    begin = at(evening) - START
    shop.see("profile_updated", begin, email="a@example.com")
    shop.allow("marketing", at=begin)
    shop.see("hello", begin)
    assert shop.actions == []
    shop.wait(begin + 2 * DAY)
    (decision,) = shop.decisions("sent")
    assert decision.at == at(morning)


def test_who_leaves_leaves_at_once() -> None:
    """People are only looked at when a delay is over: community.customer.io/topic/show?fid=6&tid=77
    ("Delay and exit behaviors"), and customer.io/docs/wait-until.

    The goal is seen when it happens, in the middle of any wait.
    """  # noqa: D205 - as above
    stages = {
        "waiting": [{"after": "7d", "do": [{"message": {"say": "still there?"}}], "end": True}],
        "bought": [{"on arrival": None, "end": True}],
    }
    shop = _known(journey("trial", stages, goal="bought", **{"any stage": [{"when": "order_placed", "to": "bought"}]}))
    shop.see("hello", 0)
    shop.see("order_placed", DAY)
    shop.wait(YEAR_LATER)
    assert shop.sent == []
    instance = shop.profile().instances["trial"]
    assert (instance.converted, instance.ended) == (START + DAY, START + DAY)


BASKET = """
    03-02 09:00:00 c-1 crm profile_updated email=one@example.com
    03-02 09:01:00 c-1 web consent_given purpose=marketing
    03-02 10:00:00 c-1 web basket_updated basket_id=b-1 value=35
"""


@pytest.mark.parametrize(
    ("order", "decided"),
    [
        ("    03-02 11:59:59 c-1 store order_placed basket_id=b-1", []),
        ("    03-02 12:00:01 c-1 store order_placed basket_id=b-1", ["sent", "withdrawn"]),
        # It happened before the coupon was due and came after: what is not delivered yet is taken back.
        ("    03-02 12:30:00 c-1 store order_placed basket_id=b-1 late=1h", ["sent", "withdrawn"]),
    ],
)
def test_no_message_after_the_purchase_it_was_for(order: str, decided: list[str]) -> None:
    """Abandoned-cart mails to those who have bought: community.klaviyo.com/campaigns-flows-and-sms-30, thread 393.

    In time it is not sent; and what is sent and not yet delivered is withdrawn, which sinks ask last.
    """
    simulator = play(read(BASKET + order), "03-05 00:00:00")
    assert [decision.verdict for decision in simulator.decisions if decision.action == "send_coupon"] == decided
    assert len(simulator.withdrawals) == decided.count("withdrawn")

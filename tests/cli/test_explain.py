"""explain: a customer's story computed again from the journal, read as staff read it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from streams.cut import up_to
from streams.explain import Story, explain
from streams.journaldump import Journal
from streams.simulator import Simulator, replay
from streams.tell import tell
from tests.cli.running import SEEDS, polku
from tests.stories.telling import at, play, read, seeds
from tests.stories.test_fifty_touchpoints import CHANGES_HANDS, SIX_WEEKS, THE_END

PARTITIONS = 4


def story_of(name: str, text: str = SIX_WEEKS, until: str = THE_END) -> Story:
    """The story of a profile in a log."""
    return explain(journal_of(play(read(text), until, PARTITIONS)), PARTITIONS, seeds(), name)


def journal_of(simulator: Simulator) -> Journal:
    """The journal that a simulation wrote."""
    return {index: list(enumerate(entries)) for index, entries in enumerate(simulator.journal)}


def told(name: str, text: str = SIX_WEEKS, until: str = THE_END) -> str:
    """How it is told on a terminal without colours."""
    page = io.StringIO()
    tell(story_of(name, text, until), name, Console(file=page, soft_wrap=True, highlight=False))
    return page.getvalue()


def test_held_and_let_go() -> None:
    """What a complaint held back, and what let it go, stand where they happened."""
    assert """
Mon 9 March 2026, the customer's clock (Europe/Helsinki)
12:00:00  complaint_opened (phone)  case_id=k-1
14:00:00  card_activated (app)
            · onboarding v1 goes from invited to active (card_activated)
            … send_message (card-benefits) held back: hold says open-complaint (case k-1 is open, and holds marketing)

Thu 12 March 2026, the customer's clock (Europe/Helsinki)
17:00:00  complaint_closed (phone)  case_id=k-1
            ✓ send_message sent by push to token-7 (card-benefits): all gates passed (purpose marketing, \
score 1 = propensity 1 x context 1 x value 1 x lever 1)
""" in told("customer:c-7")


def test_what_time_brought() -> None:
    """What no event caused stands at its own time; what came too late says how late."""
    assert """
14:00:00  basket_updated (web)  basket_id=b-9 value=80
            · journey free-delivery-coupon ignored: stale says older-on-arrival-than-stale-after \
(it came 2 d late, and the journey bears 1 d)
14:30:00  basket_updated (web)  basket_id=b-10 value=50
            · free-delivery-coupon v1 begins in stage shopping
15:00:00  complaint_opened (phone)  case_id=k-2
17:00:00    · free-delivery-coupon v1 goes from shopping to offered (after 2 h)
            … send_coupon (free-delivery-coupon) held back: \
hold says open-complaint (case k-2 is open, and holds marketing)
18:00:00  order_placed (store)  basket_id=b-10
            · free-delivery-coupon v1 goes from offered to ordered (order_placed); its goal is reached
            · free-delivery-coupon v1 ends in stage ordered (completed)
            ✗ send_coupon not sent: journey says instance-ended (the journey that wanted it is over)
""" in told("customer:c-9")


def test_what_the_device_gathered_before_the_customer_was_known() -> None:
    """Is the customer's; the event that said who it is comes with all that came of it; a repeat says so."""
    page = told("customer:c-7")
    assert (
        """
09:21:00  device:d-41 belongs to this customer from now on
09:21:00  form_submitted (web)  form=credit-card
            · credit-card-application v1 goes from applying to submitted (form_submitted); its goal is reached
            ✓ suppress_ads sent by ads (topic=credit-card): all gates passed (purpose ads-suppression)
            · credit-card-application v1 ends in stage submitted (completed)
            ↩ show_banner by web withdrawn: journey credit-card-application ended: completed
09:21:30  form_submitted (a repeat: changes nothing) (web)  form=credit-card
"""
        in page
    )
    assert "20:30:02  page_viewed (a repeat: changes nothing)" in page
    assert "20:44:20  email says: send_reminder delivered" in page


def test_a_device_that_changed_hands() -> None:
    """The former customer's story ends there; the new one's has what the device did, and nothing of before."""
    former, later = (told(f"customer:c-{n}", CHANGES_HANDS, "03-20 00:00:00") for n in (60, 61))
    assert "device:d-60 belongs to somebody else from now on" in former
    assert "↩ show_banner by web withdrawn: device changed hands" in former
    assert "basket_updated" not in former
    assert "12:00:00  basket_updated (via device:d-60) (web)  basket_id=b-60 value=90" in later
    assert "show_banner" not in later
    assert told("device:d-60", CHANGES_HANDS, "03-20 00:00:00").splitlines()[1:] == later.splitlines()[1:]


def test_two_customers_that_are_one() -> None:
    """By either name the story is the same, each touchpoint stands once, and actions carry the wanted name."""
    for name in ("customer:c-20", "customer:c-21"):
        story = story_of(name)
        assert [line.event for line in story.lines if line.kind == "touchpoint"] == [
            "profile_updated",
            "consent_given",
            "application_approved",
        ]
        assert [line.action.customer for line in story.lines if line.action is not None] == ["c-21"]
    assert "13:00:00  customer:c-20 and customer:c-21 are one, to be called c-21" in told("customer:c-21")


def test_how_things_stand() -> None:
    """At the end: journeys, consents, devices, and what is open."""
    assert (
        told("customer:c-30").split("\nNow, ")[1].partition("\n")[2]
        == """\
credit-card-application v1           ended in stage abandoned 2026-04-05 12:30:00 EEST (after 14 d)
consent to personalisation (cookie)  given 2026-03-20 16:00:00 EET
known by                             device:d-77
"""
    )
    until_complaint = told("customer:c-7", until="03-09 13:00:00", text=SIX_WEEKS.split("Thursday. c-7's complaint")[0])
    assert "open-complaint/k-1                   open since 2026-03-09 12:00:00 EET" in until_complaint
    assert "in stage active since 2026-03-09 14:00:00 EET, 1 action held back" in until_complaint


def test_every_decision_is_told_once() -> None:
    """The stories of all profiles together hold each decision of the log exactly once."""
    simulator = play(read(SIX_WEEKS), THE_END, PARTITIONS)
    final = [name for name in simulator.states() if (found := simulator.profile(name)) and found.id == name]
    shown = [line.decision.decision_id for name in final for line in story_of(name).lines if line.decision is not None]
    assert sorted(shown) == sorted(decision.decision_id for decision in simulator.decisions)


def test_a_journal_up_to_a_moment() -> None:
    """Gives the decisions made by then, and no other: just after each of them, and just before.

    (What an answer brings is decided at the time its profile has reached, a millisecond before the event it came of.)
    """
    simulator = play(read(SIX_WEEKS), THE_END, PARTITIONS)
    journal = journal_of(simulator)
    for then in sorted({decision.at + shift for decision in simulator.decisions for shift in (1, -2)}):
        published, _ = replay(up_to(journal, PARTITIONS, then), PARTITIONS, seeds())
        expected = [decision.decision_id for decision in simulator.decisions if decision.at <= then]
        assert sorted(each.decision_id for each in published.decisions) == sorted(expected)


def test_how_things_stood() -> None:
    """The story ends there, and what is held, consented and open is as it was."""
    simulator = play(read(SIX_WEEKS), THE_END, PARTITIONS)
    story = explain(journal_of(simulator), PARTITIONS, seeds(), "customer:c-7", at=at("03-09 13:00:00"))
    page = io.StringIO()
    tell(story, story.name, Console(file=page, soft_wrap=True, highlight=False))
    assert "14:00:00  card_activated (app)" in page.getvalue()
    assert "complaint_closed" not in page.getvalue()
    assert "Then, 2026-03-09 15:00:00 EET" in page.getvalue()
    assert "in stage active since 2026-03-09 14:00:00 EET, 1 action held back" in page.getvalue()


CARD = ("c-7", "--events", SEEDS / "touchpoints" / "credit-card.jsonl", "-d", SEEDS)


def test_touchpoints_in_a_file() -> None:
    """No Kafka is needed: the file is played, up to the moment asked for."""
    told = polku("explain", "device:d-41", *CARD[1:], "--at", "2026-03-04T18:32:00Z")
    assert told.code == 0
    assert (
        "in stage applying since 2026-03-04 20:31:00 EET, next: after 30 min of silence, Wednesday 4 March 2026 21:01"
        in told.out
    )
    assert "time ends here" not in told.out
    ended = polku("explain", *CARD)
    assert " (time ends here, at the last touchpoint; --until lets it pass)" in ended.out
    assert "no such" not in polku("explain", *CARD, "--until", "2026-03-10T00:00:00Z").out


def test_one_journey_as_json() -> None:
    """A line each, of what concerns it; what was passed over with the part, the value and what would change it."""
    rows = polku("explain", *CARD, "--journey", "credit-card-application", "--json").rows
    assert {row["kind"] for row in rows} >= {"touchpoint", "transition", "passed", "decision"}
    inside = next(row for row in rows if row["kind"] == "passed")
    assert inside["meaning"] == "they were in it already, in stage interested"
    withdrawn = next(row for row in rows if row.get("decision", {}).get("verdict") == "withdrawn")
    assert withdrawn["meaning"] == "journey credit-card-application ended: completed"
    assert withdrawn["would_change"] == "it would have stayed had it been delivered before"


def test_what_was_missing_of_a_condition() -> None:
    """The part, the value that was found, and what would have let them in."""
    read_elsewhere = (
        b'{"event_id": "e-1", "type": "page_viewed", "channel": "web", "occurred_at": "2026-03-02T10:00:00Z",'
        b' "identifiers": {"device": "d-1"}, "properties": {"page": "/loans"}}\n'
    )
    asked = ("device:d-1", "--events", "-", "-d", SEEDS, "--journey", "credit-card-application", "--json")
    _, passed = polku("explain", *asked, stdin=read_elsewhere).rows
    (part,) = passed["passed"]["parts"]
    assert part["outcome"] == "false"
    assert part["values"] == {"event.page": '"/loans"'}
    assert passed["would_change"] == f"it would have let them in with {part['text']}"


def test_a_journey_that_came_into_force_later() -> None:
    """What came before it is said to have come too early."""
    simulator = Simulator(seeds(), PARTITIONS, activate=False)
    given = read("    03-02 10:00:00 c-1 web basket_updated basket_id=b-1 value=35")
    simulator.touchpoint(given.touchpoints[0], given.given[0][0])
    story = explain(journal_of(simulator), PARTITIONS, seeds(), "customer:c-1", journey="free-delivery-coupon")
    assert [line.meaning for line in story.lines] == ["", "the journey was not in force yet"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--journey", "onbording"), "did you mean 'onboarding'?"),
        (("--at", "soon"), "--at soon: not an ISO 8601 moment"),
        (("--at", "2026-03-04T18:32:00"), "say in which zone"),
        (("--at", "2020-01-01T00:00:00Z"), "nothing is known of customer:c-7 at 2020-01-01T00:00:00Z"),
    ],
    ids=lambda each: each if isinstance(each, str) else each[0],
)
def test_what_cannot_be_explained(arguments: tuple[str, ...], said: str) -> None:
    """One line on stderr with the way out."""
    ran = polku("explain", *CARD, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err

"""Caps, distances and quiet hours: what they count, whom they are for, what is refused, what waits and until when."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from schemas.journal import Activate
from streams.engine.partition import Slice
from streams.engine.profile import LATE
from tests.engine.making import DAY, HOUR, MINUTE, START, Shop, library
from tests.engine.pressing import OTHER, TALK, become_one, policy, say, shop, welcome
from tests.properties.logs import run

WEEK = 7 * DAY


def _said(made: Shop, gate: str) -> list[tuple[str, str, str | None, str | None]]:
    return [
        (each.verdict, each.reason, each.value, each.bound) for each in made.simulator.decisions if each.gate == gate
    ]


# ---- caps


def test_a_rolling_cap_refuses_what_would_be_more_and_says_when_the_next_slot_is_free() -> None:
    """Two a week: the third is refused, until the first is a week ago to the millisecond."""
    made = shop(caps={"weekly": {"at_most": 2, "within": "7d", "purpose": "marketing"}})
    for number, at in enumerate((0, DAY, 2 * DAY, WEEK - 1, WEEK)):
        say(made, f"{number}", at)
    assert made.sent == ["0", "1", "4"]
    free = "2 (next slot 2026-03-09T10:00:00+00:00)"
    assert _said(made, "caps") == [("refused", "weekly", free, "2 within 7d")] * 2


CALENDAR = [
    # START is Monday 2026-03-02 12:00 in Helsinki.
    ("day", 12 * HOUR, "2026-03-03T00:00:00+02:00"),
    ("week", 6 * DAY + 12 * HOUR, "2026-03-09T00:00:00+02:00"),
    ("month", 29 * DAY + 11 * HOUR, "2026-04-01T00:00:00+03:00"),  # the clock is put forward on the 29th
]


@pytest.mark.parametrize(("unit", "ends", "free"), CALENDAR)
def test_a_calendar_cap_ends_with_the_customers_own_day_week_or_month(unit: str, ends: int, free: str) -> None:
    """In the customer's zone, which is the policy's unless the trait says another."""
    made = shop(time_zone="Europe/Helsinki", caps={"one": {"at_most": 1, "within": unit}})
    for text, at in (("first", 0), ("too early", ends - 1), ("next", ends)):
        say(made, text, at)
    assert made.sent == ["first", "next"]
    assert _said(made, "caps") == [("refused", "one", f"1 (next slot {free})", f"1 within a {unit}")]


def test_the_customers_zone_is_the_trait_where_it_says_one() -> None:
    """In New York the day ends seven hours later than in Helsinki."""
    made = shop(time_zone="Europe/Helsinki", caps={"daily": {"at_most": 1, "within": "day"}})
    made.see("profile_updated", 1, time_zone="America/New_York")
    for text, at in (("first", 2), ("midnight in Helsinki", 12 * HOUR), ("midnight in New York", 19 * HOUR)):
        say(made, text, at)
    assert made.sent == ["first", "midnight in New York"]


FILTERS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("overall", {}, ["a", "bill", "bill"]),
    ("a purpose", {"purpose": "marketing"}, ["a", "banner", "bill", "bill"]),
    ("purposes", {"purpose": ["marketing", "personalisation"]}, ["a", "bill", "bill"]),
    ("another purpose", {"purpose": "personalisation"}, ["a", "b", "c", "sms", "banner", "other", "bill", "bill"]),
    ("a channel", {"channel": "web"}, ["a", "b", "c", "sms", "banner", "other", "bill", "bill"]),
    ("a journey", {"journey": "talk"}, ["a", "other", "bill", "bill"]),
    ("another journey", {"journey": ["other"]}, ["a", "b", "c", "sms", "banner", "other", "bill", "bill"]),
    ("a topic", {"topic": "cards"}, ["a", "c", "sms", "banner", "other", "bill", "bill"]),
    ("per topic", {"per": "topic"}, ["a", "c", "sms", "banner", "other", "bill", "bill"]),
    ("per journey", {"per": "journey"}, ["a", "other", "bill", "bill"]),
    ("per purpose", {"per": "purpose"}, ["a", "banner", "bill", "bill"]),
]


@pytest.mark.parametrize(("filters", "sent"), [pytest.param(*row[1:], id=row[0]) for row in FILTERS])
def test_what_a_cap_is_for_and_counts(filters: dict[str, Any], sent: list[str]) -> None:
    """One a day of what the filters let through; what a contract calls for is never refused."""
    made = shop(caps={"one": {"at_most": 1, "within": "24h", **filters}})
    made.see("profile_updated", 1, phone="+358")
    say(made, "a", 2, topic="cards")
    say(made, "b", 3, topic="cards")
    say(made, "c", 4, topic="loans")
    say(made, "sms", 5, "say_sms")
    say(made, "banner", 6, "show")
    say(made, "other", 7, "tell")
    say(made, "", 8, "bill")
    say(made, "", 9, "bill")
    assert [each.replace("receipt", "bill") for each in made.sent] == sent


def test_what_a_contract_calls_for_takes_a_slot_only_where_the_cap_names_it() -> None:
    """It is not refused either way."""
    for named, sent in (("marketing", 2), (["marketing", "order"], 1)):
        made = shop(caps={"one": {"at_most": 1, "within": "24h", "purpose": named}})
        made.see("bill", 1)
        say(made, "a", 2)
        assert len(made.sent) == sent


GIVEN_BACK = [("failed", True), ("bounced", True), ("expired", True), ("suppressed", True), ("missed", True),
              ("withdrawn", True), ("delivered", False), ("uncertain", False), ("opened", False)]  # fmt: skip


@pytest.mark.parametrize(("outcome", "back"), GIVEN_BACK)
def test_a_slot_is_given_back_by_what_did_not_arrive(outcome: str, back: bool) -> None:  # noqa: FBT001 - a row
    """And by nothing else; an outcome makes no decision."""
    made = shop(caps={"one": {"at_most": 1, "within": "24h"}})
    say(made, "a", 1)
    before = len(made.simulator.decisions)
    made.outcome(made.actions[0], outcome, HOUR)
    assert len(made.simulator.decisions) == before
    say(made, "b", 2 * HOUR)
    assert made.sent == (["a", "b"] if back else ["a"])


def test_what_arrived_although_it_was_withdrawn_takes_its_slot_again() -> None:
    """The sink had delivered it before it knew."""
    made = shop(caps={"one": {"at_most": 1, "within": "7d"}})
    say(made, "a", 1)
    made.see("complaint_opened", MINUTE)
    made.outcome(made.actions[0], "delivered", 2 * MINUTE)
    made.see("complaint_closed", 3 * MINUTE)
    say(made, "b", HOUR)
    assert made.sent == ["a"]
    assert [each.status for each in made.profile().contacts.values()] == [LATE]


def test_a_cap_counts_what_both_sent_who_turn_out_to_be_one() -> None:
    """What each got before counts for the one."""
    made = shop(caps={"two": {"at_most": 2, "within": "7d"}}, partitions=3)
    welcome(made, "customer:bea")
    say(made, "to ann", 2)
    say(made, "to bea", 3, ids="customer:bea")
    for action in list(made.actions):
        made.outcome(action, "delivered", MINUTE)
    become_one(made, HOUR)
    say(made, "too much", 2 * HOUR)
    say(made, "too much", 3 * HOUR, ids="customer:bea")
    assert made.sent == ["to ann", "to bea"]
    assert _said(made, "caps")[0][2] == "2 (next slot 2026-03-09T10:00:00+00:00)"


def test_a_cap_that_comes_into_force_counts_what_was_sent_before_it() -> None:
    """The history is kept for as long as the longest cap there may be, whatever the caps in force."""
    made = shop()
    for number in range(40):
        say(made, f"{number}", number * HOUR)
    made.wait(20 * DAY)
    made.simulator.partitions[0]._library.add(policy(3, caps={"monthly": {"at_most": 41, "within": "31d"}}), "late")
    made.simulator.broadcast(Activate("policy", "shop", 3, "late"))
    say(made, "the 41st", 20 * DAY + 1)
    say(made, "the 42nd", 20 * DAY + 2)
    assert made.sent[-1] == "the 41st"


CHANNELS: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("one", {"mail": {"at_most": 1, "within": "day", "channel": "email"}}, ["email", "sms", "sms"], []),
    ("each", {"each": {"at_most": 1, "within": "day", "per": "channel"}}, ["email", "sms"], ["each"]),
    ("both", {"both": {"at_most": 2, "within": "day", "channel": ["email", "sms"]}}, ["email", "email"], ["both"]),
]


@pytest.mark.parametrize(("caps", "channels", "refused"), [pytest.param(*row[1:], id=row[0]) for row in CHANNELS])
def test_a_cap_on_a_channel_leaves_the_others(caps: dict[str, Any], channels: list[str], refused: list[str]) -> None:
    """The preferred one among those that are allowed and reachable; refused when none is left."""
    made = shop(caps=caps)
    made.see("profile_updated", 1, phone="+358")
    for number in range(3):
        say(made, f"{number}", 2 + number)
    assert [each.channel for each in made.actions] == channels
    assert [each.reason for each in made.decisions("refused")] == refused


def test_a_cap_on_the_only_channel_that_reaches_refuses() -> None:
    """A channel without an address is no way out."""
    made = shop(caps={"mail": {"at_most": 1, "within": "day", "channel": "email"}})
    say(made, "a", 1)
    say(made, "b", 2)
    (refused,) = made.decisions("refused")
    assert (refused.gate, refused.reason, refused.channel) == ("caps", "mail", "email")


# ---- distances


def test_what_comes_too_early_waits_until_the_distance_is_kept() -> None:
    """Four hours between two: the second goes out four hours after the first, to the millisecond."""
    made = shop(distances={"breath": {"least": "4h", "purpose": "marketing"}})
    say(made, "a", HOUR)
    say(made, "b", 2 * HOUR)
    made.wait(5 * HOUR - 1)
    assert made.sent == ["a"]
    made.wait(5 * HOUR)
    assert made.sent == ["a", "b"]
    assert _said(made, "distance") == [("held", "breath", f"{HOUR} ms", f"{4 * HOUR} ms")]
    assert made.decisions("sent")[1].at == START + 5 * HOUR


def test_what_waits_goes_out_by_priority_then_first_proposed_each_at_its_distance() -> None:
    """All pass all gates again at that moment; what is still too early waits on."""
    made = shop(distances={"breath": {"least": "4h"}})
    say(made, "first", 0)
    for number, (text, kind) in enumerate([("late", "say"), ("later", "say"), ("urgent", "say_urgent")]):
        say(made, text, HOUR + number, kind)
    made.wait(DAY)
    assert made.sent == ["first", "urgent", "late", "later"]
    assert [each.at - START for each in made.decisions("sent")] == [0, 4 * HOUR, 8 * HOUR, 12 * HOUR]


def test_an_event_after_the_moment_finds_it_sent_at_that_moment() -> None:
    """Not at the event's."""
    made = shop(distances={"breath": {"least": "4h"}})
    say(made, "a", 0)
    say(made, "b", HOUR)
    made.see("anything", 6 * HOUR)
    assert made.decisions("sent")[1].at == START + 4 * HOUR


def test_what_fails_keeps_no_distance() -> None:
    """But what waits for it waits on until its moment."""
    made = shop(distances={"breath": {"least": "4h"}})
    say(made, "a", 0)
    made.outcome(made.actions[0], "failed", MINUTE)
    say(made, "b", 2 * MINUTE)
    assert made.sent == ["a", "b"]


def test_what_waits_ends_with_its_journey() -> None:
    """And is not sent when its moment comes."""
    made = shop(distances={"breath": {"least": "4h"}})
    say(made, "a", 0)
    say(made, "b", HOUR)
    made.see("done", 2 * HOUR)
    made.wait(DAY)
    assert made.sent == ["a"]
    assert made.verdicts("refused") == [("refused", "journey", "instance-ended")]


def test_what_would_expire_while_it_waits_is_refused_at_once() -> None:
    """Its own expiry counts from when it was proposed."""
    made = shop(distances={"breath": {"least": "8h"}})
    say(made, "a", 0)
    say(made, "b", HOUR, "say_soon")  # expires after 6 hours, could go after 7
    say(made, "c", 2 * HOUR + 1, "say_soon")
    assert _said(made, "expiry")[0] == ("refused", "would-expire-waiting", f"{7 * HOUR} ms", f"{6 * HOUR} ms")
    made.wait(DAY)
    assert made.sent == ["a", "c"]
    assert made.actions[1].expires_at == START + 8 * HOUR + 1


def test_what_a_hold_kept_too_long_has_expired() -> None:
    """It is dropped when it could go out."""
    made = shop()
    made.see("complaint_opened", 0)
    say(made, "a", HOUR, "say_soon")
    made.see("complaint_closed", 8 * HOUR)
    assert made.sent == []
    assert _said(made, "expiry") == [("refused", "expired-while-waiting", f"{7 * HOUR} ms", f"{6 * HOUR} ms")]


def test_what_waits_of_both_who_become_one_keeps_its_distance_from_all() -> None:
    """Neither is lost or sent twice, and the merge itself sends nothing."""
    made = shop(TALK, OTHER, distances={"breath": {"least": "4h"}}, partitions=3)
    welcome(made, "device:d")
    say(made, "ann's", 0)
    say(made, "ann's second", HOUR, "tell")
    made.see("show", 1, ids="device:d", text="device's")
    made.see("show", 2, ids="device:d", text="device's second")
    made.see("login", 2 * HOUR, ids="customer:ann,device:d")
    assert sorted(made.sent) == ["ann's", "device's"]
    made.wait(DAY)
    assert len(made.sent) == len(set(made.sent)) >= 3
    times = [each.at for each in made.decisions("sent") if each.at > START + 2 * HOUR]
    assert all(after - before >= 4 * HOUR for before, after in pairwise(times))


# ---- quiet hours

NIGHT = {"night": {"hours": "21:00-08:00", "channels": ["email", "sms"]}}


def test_at_night_it_waits_for_the_morning_of_the_customers_own_clock() -> None:
    """Proposed at 22:00 in Helsinki, sent at 08:00 there."""
    made = shop(time_zone="Europe/Helsinki", quiet=NIGHT)
    say(made, "a", 10 * HOUR)
    made.wait(20 * HOUR - 1)
    assert made.sent == []
    made.wait(20 * HOUR)
    assert made.sent == ["a"]
    assert _said(made, "quiet") == [("held", "night", "2026-03-02T22:00:00+02:00", "2026-03-03T08:00:00+02:00")]


def test_an_action_carries_the_customers_next_quiet_time() -> None:
    """For the sink, which may come to it late; nothing when it expires before."""
    made = shop(time_zone="Europe/Helsinki", quiet=NIGHT)
    say(made, "a", HOUR)
    say(made, "b", 2 * HOUR, "say_soon")
    say(made, "c", 3 * HOUR, "show")
    made.see("bill", 4 * HOUR)
    evening = START + 9 * HOUR
    assert [each.quiet_from for each in made.actions] == [evening, None, None, None]


QUIET: list[tuple[str, dict[str, Any], int, int | None]] = [
    # rule, proposed at (from Monday 10:00 UTC), goes out at (None: refused)
    ("before the night", {"hours": "21:00-08:00"}, 11 * HOUR - 1, 11 * HOUR - 1),
    ("as it begins", {"hours": "21:00-08:00"}, 11 * HOUR, 22 * HOUR),
    ("before it ends", {"hours": "21:00-08:00"}, 22 * HOUR - 1, 22 * HOUR),
    ("within a day", {"hours": "12:00-13:00"}, 2 * HOUR, 3 * HOUR),
    ("until midnight", {"hours": "20:00-24:00"}, 10 * HOUR, 14 * HOUR),
    ("until midnight, said so", {"hours": "20:00-00:00"}, 10 * HOUR, 14 * HOUR),
    ("a day", {"days": ["tuesday"]}, DAY, DAY + 14 * HOUR),
    ("the day before", {"days": ["tuesday"]}, 14 * HOUR - 1, 14 * HOUR - 1),
    ("the hours of a day", {"days": ["monday"], "hours": "22:00-06:00"}, 15 * HOUR, 20 * HOUR),
    ("not of the next", {"days": ["monday"], "hours": "22:00-06:00"}, DAY + 15 * HOUR, DAY + 15 * HOUR),
    ("a holiday", {"holidays": True}, DAY, DAY + 14 * HOUR),
    ("a holiday of every year", {"holidays": True}, 3 * DAY, 3 * DAY + 14 * HOUR),
    ("no holiday", {"holidays": True}, 2 * DAY, 2 * DAY),
    ("dropped", {"hours": "21:00-08:00", "then": "drop"}, 12 * HOUR, None),
    ("another channel", {"hours": "21:00-08:00", "channels": "sms"}, 12 * HOUR, 12 * HOUR),
    ("another purpose", {"hours": "21:00-08:00", "purposes": "personalisation"}, 12 * HOUR, 12 * HOUR),
]


@pytest.mark.parametrize(("rule", "at", "goes"), [pytest.param(*row[1:], id=row[0]) for row in QUIET])
def test_when_it_is_quiet(rule: dict[str, Any], at: int, goes: int | None) -> None:
    """By the hours, the days and the holidays of a rule, and its channels and purposes."""
    made = shop(quiet={"rule": rule}, calendar={"holidays": ["2026-03-03", "03-05", "2027-03-04"]})
    say(made, "a", at)
    made.wait(2 * WEEK)
    assert [each.at - START for each in made.decisions("sent")] == ([] if goes is None else [goes])


def test_quiet_times_that_follow_one_another_are_waited_for_together() -> None:
    """Friday evening, the weekend, Monday as a holiday, and the night before Tuesday."""
    made = shop(
        quiet={
            "night": {"hours": "21:00-08:00"},
            "weekend": {"days": ["saturday", "sunday"]},
            "holiday": {"holidays": True},
        },
        calendar={"holidays": ["2026-03-09"]},
    )
    say(made, "a", 4 * DAY + 12 * HOUR)  # Friday 22:00
    made.wait(10 * DAY)
    assert [each.at - START for each in made.decisions("sent")] == [7 * DAY + 22 * HOUR]
    assert [each.bound for each in made.decisions("held")] == ["2026-03-10T08:00:00+00:00"]


def test_what_may_go_another_way_does_not_wait() -> None:
    """A channel that is not quiet now is allowed; the preferred one among those."""
    made = shop(quiet={"night": {"hours": "21:00-08:00", "channels": "email"}})
    made.see("profile_updated", 1, phone="+358")
    say(made, "a", 12 * HOUR)
    assert [each.channel for each in made.actions] == ["sms"]


def test_what_stands_until_the_customer_comes_is_quiet_only_where_its_channel_is_named() -> None:
    """A banner wakes nobody."""
    for rule, sent in (({}, 1), ({"channels": "web"}, 0)):
        made = shop(quiet={"night": {"hours": "21:00-08:00", **rule}})
        say(made, "a", 12 * HOUR, "show")
        assert len(made.actions) == sent


def test_a_rule_that_never_ends_refuses() -> None:
    """Two rules may be quiet in turn for ever: that is no waiting."""
    made = shop(quiet={"night": {"hours": "20:00-08:00"}, "day": {"hours": "08:00-20:00"}})
    say(made, "a", HOUR)
    assert _said(made, "quiet") == [("refused", "day", "2026-03-02T11:00:00+00:00", "never")]


def test_a_customer_who_moves_waits_by_the_new_clock() -> None:
    """What waits is reckoned anew when the time zone changes."""
    made = shop(time_zone="Europe/Helsinki", quiet=NIGHT)
    say(made, "a", 10 * HOUR)  # 22:00
    made.see("profile_updated", 11 * HOUR, time_zone="Asia/Tokyo")  # 06:00 there: wait for 08:00
    made.wait(13 * HOUR - 1)
    assert made.sent == []
    made.wait(13 * HOUR)
    assert made.sent == ["a"]
    made.see("profile_updated", 14 * HOUR, time_zone="Europe/Helsinki")
    say(made, "b", 15 * HOUR)
    made.see("profile_updated", 16 * HOUR, time_zone="America/New_York")  # 21:00 there
    made.wait(2 * DAY)
    assert [each.at - START for each in made.decisions("sent")][1] == DAY + 3 * HOUR


def test_what_a_contract_calls_for_knows_no_quiet() -> None:
    """A receipt at night goes out, and says no quiet time."""
    made = shop(quiet={"night": {"hours": "21:00-08:00"}})
    made.see("bill", 12 * HOUR)
    assert [each.quiet_from for each in made.actions] == [None]


def test_the_policy_says_it_all_at_once() -> None:
    """The order of the gates: cap, distance, quiet, channel."""
    made = shop(
        caps={"one": {"at_most": 2, "within": "24h"}},
        distances={"breath": {"least": "4h"}},
        quiet=NIGHT,
    )
    say(made, "a", 0)
    say(made, "distance", HOUR)
    made.wait(5 * HOUR)
    say(made, "cap", 6 * HOUR)
    assert made.sent == ["a", "distance"]
    say(made, "later", DAY + 4 * HOUR)
    say(made, "b", DAY + 11 * HOUR)  # 21:00
    made.wait(2 * DAY)
    assert made.sent == ["a", "distance", "later", "b"]
    assert [each.gate for each in made.simulator.decisions if each.verdict != "sent"] == ["distance", "caps", "quiet"]


def _busy() -> Shop:
    """A fortnight in which things wait for everything they can wait for, of two who become one."""
    made = shop(
        caps={"weekly": {"at_most": 4, "within": "7d"}},
        distances={"breath": {"least": "4h"}},
        quiet={"night": {"hours": "21:00-08:00"}, "sunday": {"days": ["sunday"]}},
        holds={"mourning": {"begins": "bereavement", "lasts": "30h", "holds": ["marketing"]}},
    )
    welcome(made, "customer:bea", at=1)
    for day in range(0, 12, 2):
        for number, hour in enumerate((1, 2, 11, 13)):
            say(made, f"{day}-{number}", day * DAY + hour * HOUR, "say_urgent" if number == 2 else "say")
            say(made, f"bea {day}-{number}", day * DAY + hour * HOUR + 1, ids="customer:bea")
        made.see("bereavement", day * DAY + 14 * HOUR)
        if day == 6:
            become_one(made, day * DAY + 15 * HOUR)
        if day == 8:
            made.see("profile_updated", day * DAY + 16 * HOUR, time_zone="Australia/Lord_Howe")
    made.wait(20 * DAY)
    return made


def test_what_waits_survives_its_codec_and_every_cut() -> None:
    """The same journal gives the same bytes, decoded anew after every entry, and after every timer."""
    made = _busy()
    held, sent = made.decisions("held"), made.decisions("sent")
    assert {"distance", "quiet", "hold"} <= {each.gate for each in held}
    assert len({each.action_id for each in sent}) == len(sent) > 5
    (journal,) = made.simulator.journal
    known = library(TALK, OTHER, made.simulator.partitions[0].rules.policy)
    whole = run(journal, 0, 1, known, collect=lambda _: False)
    for cuts in (
        run(journal, 0, 1, known, collect=lambda _: True),
        run(journal, 0, 1, known, collect=lambda _: True, trim=True),
        run(journal, 0, 1, known, collect=lambda _: False, restart=lambda _: True),
        run(journal, 0, 1, known, collect=lambda _: False, slices=Slice(timers=1, bytes=1_000_000)),
    ):
        assert cuts == whole

"""What one profile may hold: a producer gone wrong fills no state, and what a person can notice is said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from streams import stagegraph
from streams.engine import bounds, identity, journeys
from streams.engine.merge import unite
from streams.engine.profile import Case, Profile, decode, new_profile
from tests.engine.making import DAY, HOUR, MINUTE, SECOND, START, Shop, journey, rules

# A message holds 1 MB; what the parts may take together at their worst stays well below.
ROOM = 700_000

NOISY = journey(
    "noisy",
    {
        "open": [
            {"when": "said", "do": [{"message": {"say": "event.text"}}]},
            {"when": "noted", "set": {"one": "event.text", "two": "event.text"}, "do": [{"stop_ads": {"say": "x"}}]},
            {"when": "mailed", "do": [{"mail": {"template": "resume", "purpose": "resume", "to": "event.to"}}]},
            {"when": "linked", "do": [{"banner": {"link": "event.to"}}]},
        ]
    },
)


def test_the_limits_that_people_read_are_those_in_force() -> None:
    """docs/limits.md names each."""
    text = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
    told = {int(number) for number in re.findall(r"\d+", text)}
    limits = {value for name, value in vars(bounds).items() if name.startswith("MAX_")}
    limits |= {identity.MAX_HELD, identity.MAX_PARKED, identity.MAX_PARKED_BYTES}
    assert limits | {journeys.MAX_ARRIVALS, journeys.MAX_STEPS, stagegraph.MAX_TIMERS} <= told


def _state(shop: Shop, name: str = "customer:ann") -> Profile:
    profile = shop.simulator.profile(name)
    assert profile is not None
    assert len(shop.simulator.states()[name]) < ROOM
    return profile


def _reasons(shop: Shop) -> list[tuple[str, str, str]]:
    return [(each.verdict, each.gate, each.reason) for each in shop.simulator.decisions]


def test_the_newest_traits_are_kept() -> None:
    """Ever-new names push out the oldest."""
    shop = Shop(partitions=1)
    for number in range(20):
        traits: dict[str, Any] = {f"{number}-{each:03}": "x" * 900 for each in range(50)}
        shop.see("profile_updated", number * SECOND, **traits)
    kept = _state(shop).traits
    assert len(kept) == bounds.MAX_TRAITS
    assert {name.partition("-")[0] for name in kept} == {"16", "17", "18", "19"}


def test_a_trait_too_large_is_left_out_and_said() -> None:
    """The others of the same event stand; what was known stands as well."""
    shop = Shop(partitions=1)
    shop.see("profile_updated", 0, about="short")
    shop.see("profile_updated", 1, about=["x" * 2000], email="a@example.com")
    traits = {name: trait.value for name, trait in _state(shop).traits.items()}
    assert traits == {"about": "short", "email": "a@example.com"}
    (said,) = shop.simulator.decisions
    assert (said.verdict, said.gate, said.reason, said.value) == ("ignored", "limits", "trait-too-large", "about")


def test_consents_to_ever_new_purposes() -> None:
    """The newest words are kept; what is forgotten denies."""
    shop = Shop(partitions=1)
    for number in range(150):
        shop.see("consent_given", number, purpose=f"p{number:03}" + "x" * 60)
    consents = _state(shop).consents
    assert len(consents) == bounds.MAX_CONSENTS
    assert min(consents).startswith("p050")


def test_an_open_case_outlives_any_number_of_closed_ones() -> None:
    """A hold does not end because a producer numbers cases wildly."""
    shop = Shop(NOISY, partitions=1)
    shop.see("complaint_opened", 0, case_id="the one")
    for number in range(250):
        shop.see("complaint_opened", 1 + 2 * number, case_id=f"{number}")
        shop.see("complaint_closed", 2 + 2 * number, case_id=f"{number}")
    cases = _state(shop).cases
    assert len(cases) == bounds.MAX_CASES
    assert cases["complaint/the one"] == Case(opened=START)


def test_event_types_without_end_count_among_the_others() -> None:
    """The total stays right."""
    shop = Shop(partitions=1)
    for number in range(bounds.MAX_COUNTS + 100):
        shop.see(f"seen.{number}", number)
    shop.see("seen.0", 1000)
    profile = _state(shop)
    assert (profile.total(None), profile.total("seen.0"), profile.total("seen.550")) == (601, 2, 0)
    assert profile.counts["customer:ann"][bounds.OTHERS] == 100


def test_a_device_that_comes_back_every_day_for_years() -> None:
    """Each time it hands over what it gathered; the sources become one number, and no touchpoint is lost."""
    shop = Shop(partitions=1)
    for day in range(600):
        shop.see("page_viewed", day * DAY, ids="device:d")
        shop.see("login", day * DAY + HOUR, ids="customer:ann,device:d")
        shop.see("logged_out", day * DAY + 2 * HOUR, ids="customer:ann,device:d")
    profile = _state(shop)
    assert sum(map(len, profile.counts.values())) <= bounds.MAX_COUNTS
    assert profile.total(None) == 1800
    assert profile.counts["customer:ann"] == {"login": 600, "logged_out": 600}


def test_actions_within_a_month_end_at_a_limit() -> None:
    """However often a journey wants something; a month later there is room again."""
    shop = Shop(NOISY, partitions=1)
    shop.see("hello", 0)
    for number in range(bounds.MAX_CONTACTS + 50):
        shop.see("noted", 1 + number, text="x")
    assert len(shop.actions) == bounds.MAX_CONTACTS
    assert _reasons(shop)[-1] == ("refused", "limits", "too-many-actions")
    assert len(_state(shop).contacts) == bounds.MAX_CONTACTS
    shop.see("noted", 200 * DAY, text="x")
    shop.see("noted", 200 * DAY + 1, text="x")
    assert len(shop.actions) == bounds.MAX_CONTACTS + 2


@pytest.mark.parametrize("text", ["x", "x" * 8000])
def test_held_actions_end_at_a_limit(text: str) -> None:
    """By number and by size; those that wait go out when the case is closed."""
    shop = Shop(NOISY, partitions=1)
    shop.allow("marketing")
    shop.see("profile_updated", 0, email="a@example.com")
    shop.see("hello", 0)
    shop.see("complaint_opened", 1)
    for number in range(60):
        shop.see("said", 2 + number, text=text)
    held = _state(shop).instances["noisy"].held
    assert len(held) == (bounds.MAX_HELD if len(text) == 1 else 8)
    assert _reasons(shop).count(("refused", "limits", "too-many-held")) == 60 - len(held)
    shop.see("complaint_closed", MINUTE)
    assert len(shop.actions) == len(held)


def test_variables_have_a_size() -> None:
    """A value for which there is no room is absent: what was known stands."""
    shop = Shop(NOISY, partitions=1)
    shop.see("hello", 0)
    shop.see("noted", 1, text="small")
    shop.see("noted", 2, text="ä" * 8000)
    assert _state(shop).instances["noisy"].vars == {"one": "ä" * 8000, "two": "small"}


def test_an_action_has_a_size() -> None:
    """Four bytes a character, and five such texts."""
    wide = journey(
        "wide",
        {"open": [{"when": "said", "do": [{"stop_ads": {f"part_{number}": "event.text" for number in range(5)}}]}]},
    )
    shop = Shop(wide, partitions=1)
    shop.see("hello", 0)
    shop.see("said", 1, text="\U0001f600" * 8000)
    assert (_reasons(shop), shop.actions) == ([("refused", "limits", "parameters-too-large")], [])


@pytest.mark.parametrize("to", [0, 5, True, None, ["a@example.com"], {"a": 1}])
def test_an_address_that_is_no_text_is_not_replaced(to: Any) -> None:
    """Not by the address known from elsewhere either."""
    shop = Shop(NOISY, partitions=1)
    shop.see("profile_updated", 0, email="other@example.com")
    shop.see("hello", 0)
    shop.see("mailed", 1, to=to)
    assert _reasons(shop) == [("refused", "consent", "no-address-in-request")]


@pytest.mark.parametrize(
    "to", ["https://elsewhere.example", "//elsewhere.example", "/a\nb", "", 5, ["/a"], ["/a", "/b", "/c"]]
)
def test_a_link_that_leads_away_from_the_site_is_refused(to: Any) -> None:
    """No event decides where a customer is sent."""
    shop = Shop(NOISY, partitions=1)
    shop.allow("personalisation")
    shop.see("hello", 0)
    shop.see("linked", 1, to=to)
    assert _reasons(shop) == [("refused", "channel", "link-absent")]


def test_what_a_merge_makes_too_much_is_bounded() -> None:
    """In every part, and in whatever order."""

    def one(name: str, first: int) -> Profile:
        shop = Shop(partitions=1)
        for number in range(first, first + 150):
            trait: dict[str, Any] = {f"t{number}": number}
            shop.see("profile_updated", number, ids=f"customer:{name}", **trait)
            shop.see("consent_given", number, ids=f"customer:{name}", purpose=f"p{number}")
            shop.see("complaint_opened", number, ids=f"customer:{name}", case_id=str(number))
        return _state(shop, f"customer:{name}")

    def united(order: list[str]) -> Profile:
        parts = {"ann": one("ann", 0), "bea": one("bea", 150), "cat": one("cat", 300)}
        whole = new_profile("customer:ann")
        for name in order:
            unite(whole, parts[name], rules(), START)
        return whole

    found, other = united(["ann", "bea", "cat"]), united(["cat", "ann", "bea"])
    assert (len(found.traits), len(found.consents), len(found.cases)) == (200, 100, 200)
    assert (found.traits, found.consents, found.cases) == (other.traits, other.consents, other.cases)


def test_timers_that_every_event_moves_take_no_memory() -> None:
    """A timer of silence is moved by each event; one entry of a profile waits, not one for each event."""
    silent = journey("silent", {"open": [{"after": "90d of silence", "do": [{"stop_ads": {"say": "x"}}], "end": True}]})
    shop = Shop(silent, partitions=1)
    for number in range(3000):
        shop.see("hello", number * SECOND)
    (store,) = shop.simulator.stores
    assert len(store._heap) == 1
    assert store.due(None, START + 365 * DAY, 10) == [(START + 90 * DAY, "customer:ann")]
    shop.wait(2999 * SECOND + 90 * DAY - 1)
    assert shop.actions == []
    shop.wait(2999 * SECOND + 90 * DAY)
    assert [each.proposed_at for each in shop.actions] == [START + 2999 * SECOND + 90 * DAY]
    assert decode(shop.simulator.states()["customer:ann"]).wake == 0

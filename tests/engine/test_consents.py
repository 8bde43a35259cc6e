"""Words on purposes and on contact: the newest counts, what came before is history with its source, bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.bounds import MAX_HISTORY, MAX_HISTORY_EACH
from streams.engine.consents import CONTACT, consent_rank, say, say_of_contact, unite
from streams.engine.profile import Consent, Profile, decode, encode, new_profile
from tests.engine.effort import examples
from tests.engine.making import HOUR, MINUTE, START, Shop, journey, rules

RULES = rules()
LETTER = journey(
    "letter", {"first": [{"on arrival": None, "do": [{"message": {"say": "hi"}}]}, {"after": "9d", "end": True}]}
)


def _words(profile: Profile | None, key: str = "marketing") -> list[tuple[bool, int, str]]:
    assert profile is not None
    current = profile.contact if key == CONTACT else profile.consents.get(key)
    words = ([current] if current is not None else []) + profile.words.get(key, [])
    return [(word.granted, word.at - START, word.source) for word in words]


def test_each_word_with_its_time_and_source() -> None:
    """The property `source`, else the channel; an unsubscription by its outcome. The newest first."""
    shop = Shop(LETTER)
    shop.see("profile_updated", 0, email="a@example.com")
    shop.see("consent_given", MINUTE, purpose="marketing", source="newsletter form")
    shop.see("hello", 2 * MINUTE)
    shop.outcome(shop.actions[-1], "unsubscribed", HOUR)
    shop.see("consent_given", 2 * HOUR, purpose="marketing")
    shop.see("contact_forbidden", 3 * HOUR)
    shop.see("contact_allowed", 4 * HOUR, source="branch")
    assert _words(shop.simulator.profile("customer:ann")) == [
        (True, 2 * HOUR, "web"),
        (False, HOUR, "unsubscribed by email"),
        (True, MINUTE, "newsletter form"),
    ]
    assert _words(shop.simulator.profile("customer:ann"), CONTACT) == [
        (True, 4 * HOUR, "branch"),
        (False, 3 * HOUR, "web"),
    ]


def test_an_older_word_that_comes_late_is_history() -> None:
    """It does not count, and stands where it was said."""
    shop = Shop()
    shop.see("consent_withdrawn", HOUR, purpose="marketing")
    shop.see("consent_given", 2 * HOUR, late=2 * HOUR, purpose="marketing", source="paper")
    assert _words(shop.simulator.profile("customer:ann")) == [(False, HOUR, "web"), (True, 0, "paper")]


@pytest.mark.parametrize("purpose", [None, "", "*", "cookie/personalisation", "Marketing", "x" * 65, 5, ["a"]])
def test_what_no_policy_can_ask_for_is_no_word(purpose: Any) -> None:
    """A purpose is named as a policy names it, or the event says nothing of consent."""
    shop = Shop()
    shop.see("consent_given", 0, purpose=purpose)
    state = shop.simulator.profile("customer:ann")
    assert state is not None
    assert (state.consents, state.words) == ({}, {})


def test_history_is_bounded() -> None:
    """So many of each purpose, so many in all: the newest."""
    profile = new_profile("customer:ann")
    for number in range(30):
        say(profile, "marketing", Consent(number % 2 == 0, START + number, f"e-{number}"), RULES)
    assert [word.at - START for word in profile.words["marketing"]] == list(range(28, 28 - MAX_HISTORY_EACH, -1))
    for number in range(300):
        say(profile, f"purpose-{number % 60}", Consent(True, START + 100 + number, f"f-{number}"), RULES)
    assert sum(map(len, profile.words.values())) == MAX_HISTORY
    assert "marketing" not in profile.words


WORDS = st.lists(
    st.tuples(
        st.sampled_from(["marketing", "service", CONTACT]), st.booleans(), st.integers(0, 20), st.sampled_from("abcdef")
    ),
    max_size=30,
)


def _said(words: list[tuple[str, bool, int, str]]) -> Profile:
    profile = new_profile("customer:ann")
    for key, granted, at, event_id in words:
        # One event says one thing.
        word = Consent(granted, START + at, f"{event_id}-{at}-{granted}", f"source-{event_id}")
        if key == CONTACT:
            say_of_contact(profile, word)
        else:
            say(profile, key, word, RULES)
    return profile


def _united(*profiles: Profile) -> Profile:
    first, *others = (decode(encode(profile)) for profile in profiles)
    for other in others:
        unite(first, other)
    return decode(encode(first))


@examples(100)
@given(WORDS, WORDS, WORDS)
def test_merging_words_is_a_union(one: Any, two: Any, three: Any) -> None:
    """Associative, commutative, idempotent, and the same as having heard all of it oneself, in any order."""
    a, b, c = _said(one), _said(two), _said(three)
    united = _united(a, b, c)
    assert united == _united(a, _united(b, c)) == _united(c, b, a) == _united(united, b, united)
    heard = _united(_said([*three, *one, *two]))
    assert (united.consents, united.contact) == (heard.consents, heard.contact)
    assert {key: set(map(consent_rank, words)) for key, words in united.words.items()} == {
        key: set(map(consent_rank, words)) for key, words in heard.words.items()
    }

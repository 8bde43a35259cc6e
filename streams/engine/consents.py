"""What a customer said of purposes and of contact: the newest word on each counts, and some that came before are kept.

So it can be shown who said what, when and where. Of two words the newer wins, of two at one moment the denial; the
others are history, the newest of them kept. A profile knows a set of words, so merging is a union, and in which order
words come changes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from streams.engine.bounds import MAX_HISTORY, MAX_HISTORY_EACH, bound_consents
from streams.engine.gates import consent_key
from streams.engine.profile import Consent, Profile

if TYPE_CHECKING:
    from schemas.journal import Event, Outcome
    from streams.engine.rules import Rules

CONTACT = "*"  # the key of words on contact as a whole, in the history
MAX_SOURCE = 100  # characters
_PURPOSE = re.compile(r"[a-z][a-z0-9-]{0,63}")  # as a policy names them; nothing asks for any other


def consent_rank(consent: Consent) -> tuple[int, bool, str]:
    """The newer word wins; at the same moment a denial does."""
    return consent.at, not consent.granted, consent.event_id


def source_of(event: Event) -> str:
    """Where a word was said: the event's property `source`, else its channel."""
    named = event.properties.get("source")
    return (named if isinstance(named, str) and named else event.channel)[:MAX_SOURCE]


def source_of_outcome(outcome: Outcome) -> str:
    """The same of what a channel reports: `unsubscribed by email`."""
    return f"{outcome.kind} by {outcome.channel}"[:MAX_SOURCE]


def say(profile: Profile, purpose: str, word: Consent, rules: Rules, *, person: bool = True) -> None:
    """A word on a purpose, of a known person or of a mere identifier."""
    if _PURPOSE.fullmatch(purpose) is None:
        return
    key = consent_key(purpose, rules, person=person)
    known = profile.consents.get(key)
    if known is None:
        profile.consents[key] = word
        bound_consents(profile)
    else:
        profile.consents[key] = _keep(profile, key, known, word)


def say_of_contact(profile: Profile, word: Consent) -> bool:
    """A word on contact as a whole; whether it is the newest."""
    known = profile.contact
    profile.contact = word if known is None else _keep(profile, CONTACT, known, word)
    return profile.contact is word


def _keep(profile: Profile, key: str, known: Consent, word: Consent) -> Consent:
    """The newer of two words; the older is history."""
    newest, *rest = _ranked([known, word, *profile.words.get(key, ())])
    if rest:
        profile.words[key] = rest[:MAX_HISTORY_EACH]
        _bound(profile)
    return newest


def unite(profile: Profile, other: Profile) -> None:
    """Unite the words of two profiles."""
    keys = {CONTACT, *profile.consents, *other.consents, *profile.words, *other.words}
    consents: dict[str, Consent] = {}
    history: dict[str, list[Consent]] = {}
    for key in sorted(keys):
        pair = (profile.consents.get(key), other.consents.get(key))
        current = [each for each in (pair if key != CONTACT else (profile.contact, other.contact)) if each is not None]
        ranked = _ranked([*current, *profile.words.get(key, ()), *other.words.get(key, ())])
        newest = max(current, key=consent_rank, default=None)  # what was forgotten stays so
        history[key] = [word for word in ranked if newest is None or consent_rank(word) != consent_rank(newest)]
        if key == CONTACT:
            profile.contact = newest
        elif newest is not None:
            consents[key] = newest
    profile.consents = consents
    profile.words = {key: words[:MAX_HISTORY_EACH] for key, words in history.items() if words}
    _bound(profile)


def _ranked(words: list[Consent]) -> list[Consent]:
    """Each word once, the newest first."""
    by_rank = {consent_rank(word): word for word in sorted(words, key=lambda word: word.source)}
    return [by_rank[rank] for rank in sorted(by_rank, reverse=True)]


def _bound(profile: Profile) -> None:
    """Keep the newest of all that is history."""
    if sum(map(len, profile.words.values())) <= MAX_HISTORY:
        return
    ranked = sorted(((consent_rank(word), key) for key, words in profile.words.items() for word in words), reverse=True)
    kept = set(ranked[:MAX_HISTORY])
    left = {key: [word for word in words if (consent_rank(word), key) in kept] for key, words in profile.words.items()}
    profile.words = {key: words for key, words in left.items() if words}

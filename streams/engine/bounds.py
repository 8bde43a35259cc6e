"""What one profile may hold at most. A state, and all that a step writes, must fit a message of the broker (1 MB).

Where there is more, what is kept is the greatest by a total order, so that it does not matter in which order profiles
merge. The numbers are far above what a person causes and below what a faulty producer can: ids in event types, traits
named after moments, the same case opened under ever-new numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from streams.engine.profile import Case, Contact, Dossier, Kept, Profile, Trait

MAX_TRAITS = 200  # as many as a touchpoint may have properties
MAX_TRAIT_BYTES = 1024
MAX_CONSENTS = 100
MAX_HISTORY_EACH = 10  # words on one purpose that are no longer the newest
MAX_HISTORY = 100  # and on all purposes together
MAX_CASES = 200
MAX_DOSSIERS = 20  # of all kinds, open and closed
MAX_KEPT = 11  # of one: as many names as a kind may keep, and the channel
MAX_KEPT_BYTES = 512
MAX_CASE_CHANNELS = 10
MAX_DEAD = 200
MAX_CONTACTS = 300  # within the contact window, CONTACT_WINDOW; nine a day
MAX_COUNTS = 500  # event types, over all sources
MAX_VARS_BYTES = 16 * 1024  # of one instance
MAX_PARAMS_BYTES = 32 * 1024  # of one action
MAX_HELD = 50
MAX_HELD_BYTES = 64 * 1024
OTHERS = ""  # counted under this: event types beyond the limit; no event has it for its type

_encode = msgspec.msgpack.Encoder().encode

V = TypeVar("V")


def size(value: Any) -> int:
    """Bytes of a value as a state holds it."""
    return len(_encode(value))


def greatest(found: dict[str, V], most: int, rank: Callable[[V], Any]) -> dict[str, V]:
    """The `most` items that rank highest, in the order they stand."""
    if len(found) <= most:
        return found
    kept = frozenset(sorted(found, key=lambda key: (rank(found[key]), key))[-most:])
    return {key: value for key, value in found.items() if key in kept}


def trait_rank(trait: Trait) -> tuple[int, int, str]:
    """What is said of a known customer first, then the newer."""
    return trait.rank, trait.at, trait.event_id


def _case_rank(case: Case) -> tuple[bool, bool, int]:
    # First those open until they are closed: they must not end by themselves.
    is_open = case.opened > case.closed
    return is_open and not case.until, is_open, max(case.opened, case.closed)


def _dossier_rank(dossier: Dossier) -> tuple[bool, int]:
    return dossier.opened > dossier.closed, max(dossier.opened, dossier.closed)


def kept_rank(kept: Kept) -> tuple[int, str]:
    """The newer event."""
    return kept.at, kept.event_id


def _contact_rank(contact: Contact) -> int:
    return contact.at


def bound_traits(profile: Profile) -> None:
    """Keep the newest traits."""
    profile.traits = greatest(profile.traits, MAX_TRAITS, trait_rank)


def bound_consents(profile: Profile) -> None:
    """Keep the newest words on purposes; what is forgotten denies."""
    profile.consents = greatest(profile.consents, MAX_CONSENTS, lambda word: (word.at, not word.granted, word.event_id))


def bound_cases(profile: Profile) -> None:
    """Keep the open cases, and the newest."""
    profile.cases = greatest(profile.cases, MAX_CASES, _case_rank)


def bound_dossiers(profile: Profile) -> None:
    """Keep the open ones, and the newest."""
    profile.dossiers = greatest(profile.dossiers, MAX_DOSSIERS, _dossier_rank)


def bound_dead(profile: Profile) -> None:
    """Keep the addresses found dead last; the suppressions that sinks ask keep all."""
    profile.dead = greatest(profile.dead, MAX_DEAD, int)


def count(profile: Profile, source: str, kind: str) -> None:
    """Count an event of `source`; a type beyond the limit counts among the others."""
    counts = profile.counts.get(source)
    if counts is None:
        counts = profile.counts[source] = {}
    known = counts.get(kind)
    if known is None and kind != OTHERS and sum(map(len, profile.counts.values())) >= MAX_COUNTS:
        kind, known = OTHERS, counts.get(OTHERS)
    counts[kind] = (known or 0) + 1


def bound_counts(profile: Profile) -> None:
    """Over the limit, the counts of sources that joined become one number, the first by name first."""
    excess = sum(map(len, profile.counts.values())) - MAX_COUNTS
    if excess <= 0:
        return
    joined = f"{profile.id}~"
    total = sum(profile.counts.pop(joined, {}).values())
    for source in sorted(profile.counts):
        if excess < 0:
            break
        if source.partition("#")[0] == profile.id:
            continue
        counts = profile.counts.pop(source)
        excess -= len(counts)
        total += sum(counts.values())
    profile.counts[joined] = {OTHERS: total}


def bound_merged(profile: Profile) -> None:
    """Bound what a merge may have made too much."""
    bound_traits(profile)
    bound_consents(profile)
    bound_cases(profile)
    bound_dossiers(profile)
    bound_dead(profile)
    bound_counts(profile)
    profile.contacts = greatest(profile.contacts, MAX_CONTACTS, _contact_rank)


def may_hold(profile: Profile, held: Any) -> bool:
    """Whether one more proposed action may wait in this profile."""
    waiting = [each for instance in profile.instances.values() for each in instance.held]
    return len(waiting) < MAX_HELD and size(waiting) + size(held) <= MAX_HELD_BYTES

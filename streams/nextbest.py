"""The next best action for a customer in a place, computed from the journal, with the runners-up and why they lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.journal import partition_of
from streams.cut import up_to
from streams.engine.arbitration import Ranking, rank
from streams.engine.moment import Moment
from streams.engine.offers import CAPACITY, CONDITION, EARLY, NO_CREATIVE, OVER, STOPPED
from streams.engine.partition import Partition
from streams.engine.profile import Profile, decode
from streams.engine.step import Step
from streams.engine.store import MemoryStore
from streams.explain import follow

if TYPE_CHECKING:
    from streams.engine.rules import Library, Rules
    from streams.journaldump import Journal

# Why an offer is not made, as people say it.
WORDS = {
    STOPPED: "it is stopped",
    EARLY: "it is not valid yet",
    OVER: "it is not valid any more",
    CONDITION: "the customer may not get it",
    NO_CREATIVE: "none of its variants is for this customer",
    CAPACITY: "as many as there are have been made",
}


@dataclass(frozen=True, slots=True)
class Next:
    """What is best for a profile at a moment (ms); `profile` is None where nothing is known of it."""

    name: str
    at: int
    rules: Rules
    ranking: Ranking
    profile: Profile | None


def next_best(journal: Journal, count: int, library: Library, name: str, place: str, at: int | None = None) -> Next:
    """Rank the offers for a place for profile kind:id, or for the customer it has become part of.

    Nothing is looked up that the engine would not use: the journal is replayed, up to `at` (ms) if that is given.
    """
    states, partitions = dict[str, bytes](), dict[int, Partition]()
    for index, entries in sorted((journal if at is None else up_to(journal, count, at)).items()):
        store = MemoryStore()
        partition = partitions[index] = Partition(index, count, library, store)
        for offset, entry in entries:
            partition.apply(offset, entry)
        store.write(partition.collect(), 0)
        states |= store.states
    found = follow(states, name)
    state = states.get(found)
    profile = decode(state) if state is not None else Profile(0, found)
    # The partition counts what is left of a capacity, each its own share.
    partition = partitions[partition_of(found, count)]
    now = max(at or 0, partition.watermark, profile.now)
    ranking = rank(Moment(profile, None, now, partition.rules, Step()), place)
    return Next(found, now, partition.rules, ranking, profile if state is not None else None)

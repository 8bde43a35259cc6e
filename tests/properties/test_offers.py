"""Laws of offers: capacity is never exceeded, arbitration is total, the winner the greatest by another computation."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from schemas import journal as entries
from schemas.journal import Entry, ProfileEntry, partition_of
from streams.engine.arbitration import rank
from streams.engine.moment import Moment
from streams.engine.offers import Capacity
from streams.engine.partition import Partition
from streams.engine.rules import Rules
from streams.engine.step import Step
from streams.engine.store import MemoryStore
from streams.journeys import JourneysTask
from streams.metrics import Metrics
from streams.settings import Settings
from streams.topics import Topics
from tests.engine.effort import examples
from tests.engine.making import HOUR, MINUTE, START, Shop, journey, library, rules
from tests.engine.test_offers import customer, offer, policy, says

if TYPE_CHECKING:
    from schemas.definition import Definition
    from schemas.offer import Offer

PEOPLE = [f"customer:c{number}" for number in range(6)]
# At `look` at once, and an hour after it by a timer: so capacity is taken by events and by the passing of time.
ASKS = journey(
    "asks",
    {
        "idle": [{"when": "look", "do": [{"banner": {"place": "web"}}], "to": "looked"}],
        "looked": [{"after": "1h", "do": [{"banner": {"place": "web"}}], "to": "idle"}],
    },
)


def definitions(capacity: int, other: int | None) -> list[Definition]:
    """An offer of which there are so many, and one that is worth less."""
    return [ASKS, offer("rare", value=2, capacity=capacity), offer("usual", value=1, capacity=other)]


LOG = st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from([0, 1, 1, 70])), max_size=30)
CAPACITIES = st.tuples(st.integers(1, 12), st.none() | st.integers(1, 12))


def played(log: list[tuple[str, int]], known: list[Definition], partitions: int) -> Shop:
    """People look, so many minutes after each other, and an hour passes."""
    shop = Shop(*known, partitions=partitions)
    for who in PEOPLE:
        shop.allow("personalisation", ids=who)
        shop.see("hello", 1, ids=who)
    now = MINUTE
    for who, gap in log:
        now += gap * MINUTE  # what comes at one moment stands in the journal without a mark in between
        shop.see("look", now, ids=who)
    shop.wait(now + 3 * HOUR)
    return shop


@examples(60)
@given(LOG, CAPACITIES, st.integers(1, 4))
def test_capacity_is_never_exceeded(
    log: list[tuple[str, int]], capacities: tuple[int, int | None], partitions: int
) -> None:
    """In any interleaving: no partition makes more than its share, and none refuses before its share is made."""
    shop = played(log, definitions(*capacities), partitions)
    for name, whole in zip(("rare", "usual"), capacities, strict=True):
        if whole is None:
            continue
        made = [0] * partitions
        for action in shop.actions:
            made[partition_of(action.profile, partitions)] += action.offer == name
        shares = [Capacity(index, partitions).share(whole) for index in range(partitions)]
        assert all(each <= share for each, share in zip(made, shares, strict=True))
        assert sum(made) <= whole
        for decision in shop.simulator.decisions:
            if f"{name}: capacity" in (decision.value or "") + (decision.bound or ""):
                index = partition_of(decision.profile, partitions)
                assert made[index] == shares[index]


def absorbed(journal: list[Entry], index: int, count: int, known: list[Definition], size: int) -> tuple[Any, ...]:
    """What a journeys task publishes and leaves when it reads its journal in batches of `size`."""
    settings = Settings()
    topics = Topics.of(settings)
    shell: Any = SimpleNamespace(settings=settings, topics=topics, metrics=Metrics(), counts={topics.journal: count})
    task, store = JourneysTask(shell, TopicPartition(topics.journal, index)), MemoryStore()
    task._partition = Partition(index, count, library(*known), store)
    records = [
        SimpleNamespace(
            offset=offset,
            key=entry.profile.encode() if isinstance(entry, ProfileEntry) else None,
            value=entries.encode(entry),
        )
        for offset, entry in enumerate(journal)
    ]
    published: list[bytes] = []
    for first in range(0, len(records), size):
        assert asyncio.run(task.absorb(records[first : first + size])) == len(records[first : first + size])
        output = task._partition.collect()
        store.write(output, 0)
        for effects in (output.actions, output.decisions, output.withdrawals, output.transitions):
            published += [msgspec.json.encode(each) for each in effects]
    return sorted(published), store.states, store.meta


@examples(25)
@given(LOG, CAPACITIES)
def test_the_size_of_batches_changes_nothing(log: list[tuple[str, int]], capacities: tuple[int, int | None]) -> None:
    """A task reads one entry at a time, seven, or all: the same bytes published and left, capacity taken included."""
    known = definitions(*capacities)
    shop = played(log, known, 2)
    for index, journal in enumerate(shop.simulator.journal):
        one = absorbed(journal, index, 2, known, 1)
        assert one[1] == shop.simulator.stores[index].states
        assert one[2] == shop.simulator.stores[index].meta
        for size in (7, 5000):
            assert absorbed(journal, index, 2, known, size) == one


def test_only_capacity_asks_for_the_order_of_the_journal() -> None:
    """Whoever has no such offer applies each profile's entries together, as ever."""
    assert not rules(ASKS, offer("usual")).ordered
    assert rules(ASKS, offer("usual"), offer("rare", capacity=1)).ordered


class Unordered(Rules):
    """Rules that never ask for the order of the journal."""

    ordered = property(lambda _: False, lambda _, __: None)


def test_without_that_order_another_customer_would_get_the_last_one() -> None:
    """The law above bites: the last of an offer goes to whose entry stands first, though others are met before."""
    known: list[Definition] = [ASKS, offer("rare", capacity=1)]
    shop = Shop(*known, partitions=1)
    for who in PEOPLE[:2]:
        shop.allow("personalisation", ids=who)
        shop.see("hello", 1, ids=who)
    for kind, who in [("seen", PEOPLE[0]), ("look", PEOPLE[1]), ("look", PEOPLE[0])]:
        shop.see(kind, 2, ids=who)
    (journal,) = shop.simulator.journal
    assert [action.customer for action in shop.actions] == ["c1"]
    assert absorbed(journal, 0, 1, known, 5000) == absorbed(journal, 0, 1, known, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streams.engine.partition.Rules", Unordered)
        assert absorbed(journal, 0, 1, known, 5000) != absorbed(journal, 0, 1, known, 1)


# ---- arbitration ----------------------------------------------------------------------------------------------------

FACTOR = st.integers(0, 5)
OFFERS = st.lists(
    st.tuples(st.sampled_from([0, 0.25, 0.5, 1]), FACTOR, FACTOR, FACTOR, st.integers(-1, 1), st.booleans()),
    min_size=1,
    max_size=8,
)


@examples(150)
@given(OFFERS, st.randoms(use_true_random=False))
def test_the_best_offer_is_the_greatest(drawn: list[tuple[Any, ...]], chance: Any) -> None:
    """Whatever the order of definitions, each offer stands in the ranking or says why not, and the order is total."""
    offers: list[Offer] = [
        offer(
            f"offer-{number}",
            propensity=p,
            context=c,
            value=v,
            lever=lever,
            priority=priority,
            eligible=None if may else "false",
        )
        for number, (p, c, v, lever, priority, may) in enumerate(drawn)
    ]
    shuffled = list(offers)
    chance.shuffle(shuffled)
    found, again = (rank(Moment(customer(), None, START, rules(*each), Step()), "web") for each in (offers, shuffled))
    names = [each.offer.name for each in found.ranked]
    assert names == [each.offer.name for each in again.ranked]
    assert found.lost == again.lost == {each.offer: "not-eligible" for each in offers if each.eligible}
    assert sorted([*names, *found.lost]) == sorted(each.offer for each in offers)

    def beats(one: Offer, other: Offer) -> bool:
        mine, theirs = (each.propensity * each.context * each.value * each.lever for each in (one, other))
        if mine != theirs:
            return bool(mine > theirs)
        return one.priority > other.priority if one.priority != other.priority else one.offer < other.offer

    by_name = {each.offer: each for each in offers}
    for place, name in enumerate(names):
        assert all(beats(by_name[name], by_name[after]) for after in names[place + 1 :])


@examples(60)
@given(st.lists(st.tuples(FACTOR, st.integers(0, 2)), min_size=1, max_size=5), st.integers(1, 3))
def test_the_winners_are_the_greatest(drawn: list[tuple[int, int]], winners: int) -> None:
    """Of what competes at a moment as many go out as may, the best; every other one says who won."""
    journeys = [says(f"j{number}", value, priority=priority) for number, (value, priority) in enumerate(drawn)]
    shop = Shop(policy(winners), *journeys, partitions=1)
    shop.allow("marketing")
    shop.see("profile_updated", 0, email="ann@example.com")
    shop.see("hello", 1)
    shop.see("look", 2)
    left = {f"j{number}": each for number, each in enumerate(drawn)}
    expected: list[str] = []
    while left and len(expected) < winners:
        best = max(sorted(left), key=lambda name: left[name])
        expected.append(best)
        del left[best]
    assert shop.sent == expected
    lost = shop.decisions("refused")
    assert {each.journey for each in lost} == left.keys()
    for each in lost:
        assert (each.gate, each.reason) == ("arbitration", "outranked")
        assert all(f"of {name} " in (each.bound or "") for name in expected)

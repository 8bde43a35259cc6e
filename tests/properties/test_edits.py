"""A published edit strands nobody, and a journal with edits in it gives the same bytes however it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.journal import Activate, Entry, Stop
from schemas.journey import Journey
from streams.engine.partition import Slice
from streams.engine.profile import decode
from streams.engine.rules import Library
from tests.engine.effort import examples
from tests.engine.making import DAY, HOUR, MINUTE, Shop, journey
from tests.properties.logs import run

STAGES = ("a", "b", "c", "d")
# Stages of the first version, and of later ones: what most people are in is often gone.
FIRST = [["a", "b"], ["a", "b", "c"], ["b", "a"], ["d", "a"]]
LATER = [["b"], ["c", "d"], ["a", "b"], ["b", "c", "d"], ["a", "d"], ["d"], ["b", "a"]]
EVENTS = ("hello", "go", "back", "talk")
TIMES = ("5h", "1d", "3d", "7h of silence")
LAST = 40 * DAY


def handlers(stages: list[str]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """What a stage may say; whoever does nothing leaves it after a week."""
    to, times = st.sampled_from(stages), st.sampled_from(TIMES)
    say = st.sampled_from([{"message": {"say": "x"}}, {"message": {"say": "y"}}]).map(lambda action: [action])
    each = st.one_of(
        st.builds(lambda kind, where: {"when": kind, "to": where}, st.sampled_from(EVENTS), to),
        st.builds(lambda kind, what: {"when": kind, "do": what}, st.sampled_from(EVENTS), say),
        st.builds(lambda time, what: {"after": time, "do": what}, times, say),
        st.builds(lambda time: {"after": time, "end": True}, times),
        st.builds(lambda what: {"on arrival": None, "do": what}, say),
    )
    return st.lists(each, max_size=3).map(lambda found: [*found, {"after": "7d", "end": True}])


@st.composite
def versions(draw: st.DrawFn) -> list[Journey]:
    """Three versions of one journey, of random stages, pinned or followed, with and without a mapping."""
    found = []
    for version in (1, 2, 3):
        names = draw(st.sampled_from(FIRST if version == 1 else LATER))
        stages = {name: draw(handlers(names)) for name in names}
        moved = {gone: draw(st.sampled_from(names)) for gone in STAGES if gone not in names and draw(st.booleans())}
        follow = {"edits": "follow", "moved": moved} if draw(st.integers(0, 3)) else {}
        found.append(
            journey("card", stages, version=version, again=draw(st.sampled_from(["always", "never"])), **follow)
        )
    return found


@dataclass(frozen=True, slots=True)
class Done:
    """One thing that happens after `gap` ms: somebody does `kind`, or a version takes effect for a share, or a stop."""

    gap: int
    kind: str
    who: str = "customer:0"
    version: int = 0
    share: int = 100


GAPS = st.sampled_from([0, 0, MINUTE, MINUTE, HOUR, HOUR, 6 * HOUR, DAY])
PEOPLE = [f"customer:{number}" for number in range(6)] + ["device:d", "customer:1,device:d"]
SHARES = st.sampled_from([100, 100, 100, 30, 60])
STEP = st.one_of(
    st.builds(Done, GAPS, st.sampled_from(EVENTS), st.sampled_from(PEOPLE)),
    st.builds(Done, GAPS, st.sampled_from(EVENTS), st.sampled_from(PEOPLE)),
    st.builds(Done, GAPS, st.just("activate"), version=st.sampled_from([2, 3, 2, 3, 1]), share=SHARES),
    st.builds(Done, GAPS, st.sampled_from(["stop", "resume"])),
)
ALL_ENTER = [Done(MINUTE, "hello", who) for who in PEOPLE[:7]]
STEPS = st.lists(STEP, min_size=4, max_size=16).map(lambda steps: ALL_ENTER + steps)


def play(known: list[Journey], steps: list[Done], partitions: int = 2) -> Shop:
    """Play the steps, and forty days after them."""
    shop = Shop(known[0], partitions=partitions)
    for each in known[1:]:
        shop.simulator.library.add(each, f"fingerprint-{each.version}")
    for who in PEOPLE[:6]:
        shop.allow("marketing", ids=who)
        shop.see("profile_updated", 0, ids=who, email="a@example.com")
    at = 0
    for number, step in enumerate(steps, 1):
        at += step.gap + 1
        shop.wait(at)
        if step.kind == "activate":
            fingerprint = f"fingerprint-{step.version}"
            shop.simulator.write(Activate("journey", "card", step.version, fingerprint, step.share, at=at))
        elif step.kind in {"stop", "resume"}:
            shop.simulator.write(Stop("marketing", step.kind == "stop", at=at))
        else:
            shop.see(step.kind, at, ids=step.who, event_id=f"event-{number}")
        stranded(shop, known)
    shop.wait(at + LAST)
    return shop


def stranded(shop: Shop, known: list[Journey]) -> None:
    """Nobody is: each is in a stage that their version has, and wakes no later than its first timer."""
    partition = shop.simulator.partitions[0]
    newest = partition.rules.follows.get("card")
    for state in shop.simulator.states().values():
        profile = decode(state)
        for instance in profile.instances.values():
            if instance.ended:
                continue
            model = known[instance.version - 1]
            assert instance.stage in model.stages
            stage = partition.rules.journey("card", instance.version).stages[instance.stage]
            due = [when for timer in stage.timers if (when := timer.due(profile, instance))]
            assert due, "the last handler of every stage is a timer"
            assert 0 < profile.wake <= max(min(due), shop.simulator.now)
            if newest is not None and instance.version < newest.version:
                assert instance.stage not in newest.stages
                assert instance.stage not in newest.moved


@examples(100)
@given(versions(), STEPS)
def test_a_published_edit_strands_nobody(known: list[Journey], steps: list[Done]) -> None:
    """Whatever stages come and go, mapped or not: all are in a stage that is, its timers alive, and find their end."""
    shop = play(known, steps)
    running = [
        instance
        for state in shop.simulator.states().values()
        for instance in decode(state).instances.values()
        if not instance.ended
    ]
    assert running == []


@examples(40)
@given(versions(), STEPS, st.integers(1, 3), st.data())
def test_a_journal_with_edits_gives_the_same_bytes(
    known: list[Journey], steps: list[Done], size: int, data: st.DataObject
) -> None:
    """Whatever the batches, slices and crashes."""
    shop = play(known, steps)
    definitions: Library = shop.simulator.library
    for index, each in enumerate(shop.simulator.journal):
        journal: list[Entry] = each
        whole = run(journal, index, 2, definitions, collect=lambda _: False)
        assert run(journal, index, 2, definitions, collect=lambda _: True, trim=True) == whole
        few = data.draw(st.integers(2, 7), label="batch")
        assert run(journal, index, 2, definitions, collect=lambda at, n=few: at % n == 0) == whole  # type: ignore[misc]
        for slices in (Slice(size, 1_000_000), Slice(1000, 1)):
            assert run(journal, index, 2, definitions, collect=lambda _: False, slices=slices) == whole
        cuts = data.draw(st.sets(st.integers(0, len(journal) - 1), max_size=3), label="crashes after")
        assert run(journal, index, 2, definitions, collect=lambda _: False, restart=cuts.__contains__) == whole

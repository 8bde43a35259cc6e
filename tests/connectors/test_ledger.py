"""The ledger: whatever dies where, nothing is lost, and doubt is resolved by the action's rule."""

from __future__ import annotations

import asyncio

import pytest

from connectors.ledger import CLAIM, KEEP_MS, Fenced, Ledger, Settled, Started
from connectors.sink import Retry
from schemas.action import Action
from tests.connectors.memory import MemoryBroker, MemoryLog
from tests.connectors.support import NAMES, RecordingSink, action, kinds, outcomes, publish, running, until
from tests.connectors.test_delivery import committed, deliver

LEDGER = NAMES.deliveries("email")


def run_until_death(log: MemoryLog, sink: RecordingSink, nth: int, when: str) -> bool:
    """Run a process that dies at its nth append; returns whether it came to that."""
    broker = MemoryBroker(log, lambda _, count: when if count == nth else "")

    async def main() -> None:
        async with running(sink, broker):
            await until(lambda: broker.dead or committed(log))

    asyncio.run(main())
    log.members.clear()
    return broker.dead


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("honours", "rule", "least", "most"), [(False, "drop", 0, 1), (False, "repeat", 1, 2), (True, "drop", 1, 2)]
)
def test_a_death_at_any_write_keeps_the_promise(when: str, honours: bool, rule: str, least: int, most: int) -> None:
    """Cut at every append, before and after it lands: drop sends at most once, repeat at least once."""
    nth, died = 0, True
    while died:
        nth += 1
        log = MemoryLog()
        one, two = action(if_uncertain=rule), action(if_uncertain=rule)
        publish(log, one, two)
        sink = RecordingSink(honours_keys=honours)
        died = run_until_death(log, sink, nth, when)
        deliver(log, sink)
        for each in (one, two):
            count = sink.delivered.count(each.action_id)
            assert least <= count <= most, f"{count} calls after a death at write {nth}"
            found = [outcome for outcome in outcomes(log) if outcome.action_id == each.action_id]
            assert len({outcome.kind for outcome in found if outcome.kind != "uncertain"}) <= 1
            assert found, "no outcome"
            if honours:
                assert {outcome.kind for outcome in found} == {"delivered"}
        assert all(action_id == key for action_id, key in sink.calls)
    assert nth > 6


@pytest.mark.parametrize(
    ("honours", "rule", "calls", "expected"),
    [
        (False, "drop", 1, ["uncertain"]),
        (False, "repeat", 2, ["delivered", "uncertain"]),
        (True, "drop", 2, ["delivered"]),
    ],
)
def test_a_kill_during_the_call_is_uncertain(honours: bool, rule: str, calls: int, expected: list[str]) -> None:
    """Started and not settled: the next process judges by the rule."""
    log, one = MemoryLog(), action(if_uncertain=rule)
    publish(log, one)
    sink = RecordingSink(honours_keys=honours)
    broker = MemoryBroker(log)

    async def killed(_: Action) -> None:
        broker.dead = True

    sink.during = killed

    async def main() -> None:
        async with running(sink, broker):
            await until(lambda: bool(sink.calls))

    asyncio.run(main())
    log.members.clear()
    sink.during = None
    deliver(log, sink)
    assert sink.calls == [(one.action_id, one.action_id)] * calls
    assert kinds(log) == expected


def test_a_wait_between_tries_is_no_doubt() -> None:
    """What was certainly not done is tried again after a crash, its attempts remembered, whatever the rule."""
    log = MemoryLog()
    publish(log, action(if_uncertain="drop"))
    sink = RecordingSink(Retry("busy", 30.0))
    broker = MemoryBroker(log)

    async def main() -> None:
        async with running(sink, broker):
            await until(
                lambda: any(record.key != CLAIM for record in log.records(LEDGER)[-1:]) and len(sink.calls) == 1
            )
            await asyncio.sleep(0.02)
            broker.dead = True

    asyncio.run(main())
    log.members.clear()
    deliver(log, sink)
    assert len(sink.calls) == 2
    assert kinds(log) == ["delivered"]


def test_of_two_owners_the_log_decides() -> None:
    """A process that lost its partition without learning of it is refused by the ledger before its call."""

    async def main() -> None:
        log = MemoryLog(count=1)
        old, new = (Ledger(MemoryBroker(log), LEDGER, name, "email") for name in ("old", "new"))
        tasks = [asyncio.create_task(ledger.follower.run()) for ledger in (old, new)]
        epoch = await old.claim(0)
        await new.claim(0)
        with pytest.raises(Fenced):
            await old.started(0, "a", Started(epoch, 0, 1, 2**52))
        assert await_entry(new) is None, "a void start says nothing"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def await_entry(ledger: Ledger) -> object:
        return ledger.get(0, "a")

    asyncio.run(main())


def test_a_zombie_sends_nothing_after_its_partition_moved() -> None:
    """A second process takes over while the first sits between reading and calling: one call in all."""
    log = MemoryLog(count=1)
    one = action()
    first, second = RecordingSink(), RecordingSink()

    async def main() -> None:
        slow = MemoryBroker(log)
        async with running(first, slow):
            await until(lambda: NAMES.group("email") in log.members)
            former = log.members[NAMES.group("email")]
            await until(lambda: any(record.key == CLAIM for record in log.records(LEDGER)))
            # The group moves on without telling: as after a pause longer than the session timeout.
            former.revoked = _nothing
            async with running(second, MemoryBroker(log)):
                await until(lambda: len([r for r in log.records(LEDGER) if r.key == CLAIM]) == 2)
                former.broker.log.members[NAMES.group("email")] = former  # the zombie reads on
                publish(log, one)
                await asyncio.sleep(0.1)

    async def _nothing(_: list[int]) -> None:
        return

    asyncio.run(main())
    deliver(log, second)
    assert first.delivered + second.delivered == [one.action_id]


def test_entries_go_when_their_actions_have_expired() -> None:
    """The ledger forgets settled actions an hour after their expiry, and nothing else."""

    async def main() -> None:
        log = MemoryLog(count=1)
        ledger = Ledger(MemoryBroker(log), LEDGER, "me", "email")
        task = asyncio.create_task(ledger.follower.run())
        await ledger.settled(0, "old", Settled(0, 1000, "delivered", 500))
        await ledger.settled(0, "new", Settled(1, 1000 + KEEP_MS, "delivered", 500))
        await ledger.started(0, "open", Started(await ledger.claim(0), 2, 1, 1000))
        assert await ledger.forget(0, 2000 + KEEP_MS) == 1
        await ledger.follower.reach_end()
        assert sorted(name for name, _ in ledger.entries(0)) == ["new", "open"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())

"""Delivery: what is asked before a call, what is tried again, what becomes of what cannot be delivered."""

from __future__ import annotations

import asyncio
import dataclasses

import msgspec
import pytest

from connectors.backoff import Backoff
from connectors.broker import Record
from connectors.compacted import Suppressions
from connectors.results import outcome_id
from connectors.sink import DeliveryError, Refusal, Refused, Retry, Unavailable, Uncertain
from schemas.action import Action
from schemas.codec import encode_action
from schemas.identifiers import address_hash, contact_key
from tests.connectors.memory import MemoryBroker, MemoryLog
from tests.connectors.support import (
    NAMES,
    QUICK,
    RecordingSink,
    action,
    dead,
    headers,
    kinds,
    outcomes,
    publish,
    running,
    suppress,
    until,
    withdraw,
)


def committed(log: MemoryLog) -> bool:
    """Tell whether all actions are behind the group's offsets."""
    ends = [len(part) for part in log.topic(NAMES.actions)]
    return all(log.offsets.get((NAMES.group("email"), p), 0) == end for p, end in enumerate(ends))


def deliver(log: MemoryLog, sink: RecordingSink, *, terms: object = QUICK) -> None:
    """Run a sink until everything in the log is settled and committed."""

    async def main() -> None:
        async with running(sink, MemoryBroker(log), terms):  # type: ignore[arg-type]
            await until(lambda: committed(log))

    asyncio.run(main())


def test_a_delivered_action_is_called_once_and_told() -> None:
    """One call with the action's id as key, one outcome keyed by profile, and a second run does nothing more."""
    log, one = MemoryLog(), action()
    publish(log, one)
    sink = RecordingSink()
    deliver(log, sink)
    assert sink.calls == [(one.action_id, one.action_id)]
    (outcome,) = outcomes(log)
    assert (outcome.kind, outcome.action_id, outcome.profile) == ("delivered", one.action_id, one.profile)
    assert outcome.outcome_id == outcome_id(one.action_id, "delivered")
    assert log.records(NAMES.outcomes)[0].key == b"customer:c1"
    again = RecordingSink()
    deliver(log, again)
    assert again.calls == []


def test_what_was_done_is_never_done_again_even_if_offsets_are_lost() -> None:
    """The ledger, not the offset, keeps a mail from being sent twice; the outcome is told again, the same."""
    log = MemoryLog()
    publish(log, action(), action(customer="c2", profile="customer:c2"))
    deliver(log, RecordingSink())
    before = outcomes(log)
    log.offsets.clear()
    sink = RecordingSink()
    deliver(log, sink)
    assert sink.calls == []
    assert {o.outcome_id for o in outcomes(log)} == {o.outcome_id for o in before}
    assert {o.at for o in outcomes(log)} == {o.at for o in before}


@pytest.mark.parametrize("kind", ["expired", "withdrawn", "suppressed", "missed"])
def test_what_must_not_be_delivered_is_not_called(kind: str) -> None:
    """Expiry, the customer's quiet time, and withdrawals and suppressions from before the start, are known before."""
    log = MemoryLog()
    one = action(**{"expired": {"expires_at": 1}, "missed": {"quiet_from": 1}}.get(kind, {}))
    publish(log, one)
    if kind == "withdrawn":
        withdraw(log, one)
    if kind == "suppressed":
        suppress(log, "email", " Ann@Example.org ")
    sink = RecordingSink()
    deliver(log, sink)
    assert sink.calls == []
    assert kinds(log) == [kind]


@pytest.mark.parametrize("kind", ["withdrawn", "suppressed"])
def test_what_comes_just_before_the_call_still_counts(kind: str) -> None:
    """While one action of a customer is on its way, the engine forbids the next: it is not called."""
    log, first, second = MemoryLog(), action(), action()
    publish(log, first, second)
    sink = RecordingSink()

    async def during(_: Action) -> None:
        if kind == "withdrawn":
            withdraw(log, second)
        else:
            suppress(log, "email", "ann@example.org")

    sink.during = during
    deliver(log, sink)
    assert sink.delivered == [first.action_id]
    assert kinds(log) == ["delivered", kind]


def test_an_address_that_is_dead_for_one_is_refused_for_all() -> None:
    """Allowing contact lifts what was forbidden there, by whomever, and not the bounce."""
    table = Suppressions(MemoryBroker(MemoryLog()), NAMES.suppressions)
    dead = address_hash("email", "ann@example.org")
    for key, value in ((dead, b"bounced"), (contact_key(dead), b"forbidden"), (contact_key(dead), None)):
        table.apply(Record(NAMES.suppressions, 0, 0, 0, key.encode(), value))
        assert table.holds("email", " Ann@Example.org")
    assert not table.holds("sms", "ann@example.org")


def test_a_suppression_lifted_counts_no_more() -> None:
    """A tombstone lifts a suppression."""
    log = MemoryLog()
    suppress(log, "email", "ann@example.org")
    record = log.records(NAMES.suppressions)[0]
    log.put(NAMES.suppressions, record.key, None)
    publish(log, action())
    sink = RecordingSink()
    deliver(log, sink)
    assert len(sink.calls) == 1


def test_a_quiet_time_that_begins_while_it_waits_is_missed() -> None:
    """What is tried again is asked about again; what comes before the quiet time is delivered."""
    log = MemoryLog()
    one, two = action(), action()
    publish(log, *(msgspec.structs.replace(each, quiet_from=each.proposed_at + 200) for each in (one, two)))
    sink = RecordingSink(Retry("busy", 0.3))
    deliver(log, sink)
    assert kinds(log) == ["missed", "missed"]
    assert len(sink.calls) == 1


def test_an_action_that_expires_while_it_waits_is_not_tried_again() -> None:
    """A Retry-After beyond the expiry ends in `expired`, when it expires."""
    log = MemoryLog()
    one = action()
    publish(log, Action(**{f: getattr(one, f) for f in one.__struct_fields__} | {"expires_at": one.proposed_at + 200}))
    sink = RecordingSink(Retry("busy", 3600.0))
    deliver(log, sink)
    assert len(sink.calls) == 1
    assert kinds(log) == ["expired"]


def test_retry_after_is_honoured() -> None:
    """The second call comes no sooner than the channel asked for."""
    log = MemoryLog()
    publish(log, action())
    sink = RecordingSink(Retry("busy", 0.3))
    deliver(log, sink)
    assert len(sink.times) == 2
    assert sink.times[1] - sink.times[0] >= 0.3
    assert kinds(log) == ["delivered"]


def test_after_the_last_attempt_it_is_a_dead_letter() -> None:
    """The dead letter has the original bytes, key and headers, and says what happened as Kafka Connect does."""
    log, one = MemoryLog(), action()
    value = encode_action(one)
    log.put(NAMES.actions, b"c1", value, headers=[("traceparent", b"00-1-2-03")])
    sink = RecordingSink(*[Retry("http 500")] * 3)
    deliver(log, sink, terms=dataclasses.replace(QUICK, attempts=3))
    assert len(sink.calls) == 3
    assert kinds(log) == ["failed"]
    (letter,) = dead(log)
    assert (letter.key, letter.value) == (b"c1", value)
    told = headers(letter)
    assert told["traceparent"] == "00-1-2-03"
    assert told["__connect.errors.topic"] == NAMES.actions
    assert told["__connect.errors.connector.name"] == "email"
    assert told["__connect.errors.stage"] == "TASK_PUT"
    assert told["__connect.errors.exception.message"] == "http 500"
    assert int(told["__connect.errors.offset"]) == 0


def test_a_dead_letter_put_back_is_tried_again() -> None:
    """What failed has a second chance when it comes again; what was delivered has not."""
    log, failed, good = MemoryLog(), action(), action(customer="c2", profile="customer:c2")
    publish(log, failed)
    deliver(log, RecordingSink(Refused("http 400")))
    publish(log, good)
    deliver(log, RecordingSink())
    publish(log, failed, good)
    sink = RecordingSink()
    deliver(log, sink)
    assert sink.delivered == [failed.action_id]
    assert kinds(log).count("failed") == 1
    assert {o.kind for o in outcomes(log) if o.action_id == failed.action_id} == {"failed", "delivered"}


def test_what_cannot_be_read_is_a_dead_letter_and_stops_nothing() -> None:
    """Undecodable bytes go to the dead letters as they came; the next action is delivered."""
    log = MemoryLog()
    log.put(NAMES.actions, b"c1", b"\xc3\x01 broken")
    publish(log, action())
    sink = RecordingSink()
    deliver(log, sink)
    assert len(sink.calls) == 1
    (letter,) = dead(log)
    assert letter.value == b"\xc3\x01 broken"
    assert headers(letter)["__connect.errors.stage"] == "VALUE_CONVERTER"


@pytest.mark.parametrize(
    ("refusal", "kind", "permanent", "letters"),
    [(Refusal.BOUNCED, "bounced", True, 0), (Refusal.INVALID, "failed", False, 1)],
)
def test_a_refusal_is_final(refusal: Refusal, kind: str, permanent: bool, letters: int) -> None:
    """A dead address is a permanent bounce, an action at fault a dead letter; neither is tried again."""
    log = MemoryLog()
    publish(log, action())
    sink = RecordingSink(Refused("rcpt 550", refusal))
    deliver(log, sink)
    (outcome,) = outcomes(log)
    assert (outcome.kind, outcome.permanent, outcome.detail) == (kind, permanent, "rcpt 550")
    assert len(dead(log)) == letters
    assert len(sink.calls) == 1


def test_a_dead_channel_pauses_and_loses_nothing() -> None:
    """However long a channel is down, no action runs out of attempts, and calls become single probes."""
    log = MemoryLog()
    many = [action(customer=f"c{n}", profile=f"customer:c{n}") for n in range(20)]
    publish(log, *many)
    sink = RecordingSink(*[Unavailable("connect") for _ in range(60)])

    async def main() -> None:
        async with running(sink, MemoryBroker(log), dataclasses.replace(QUICK, attempts=2)) as runtime:
            await until(lambda: runtime.state == "paused")
            await until(lambda: committed(log))
            assert runtime.state == "serving"

    asyncio.run(main())
    assert kinds(log) == ["delivered"] * 20
    assert dead(log) == []


def test_an_action_that_the_channel_dies_of_is_given_up() -> None:
    """When others get through between its tries, the action is at fault, not the channel."""
    log = MemoryLog()
    poison = action(customer="poison", profile="customer:poison")
    publish(log, poison)

    class Sink(RecordingSink):
        async def deliver(self, action: Action, key: str) -> object:  # type: ignore[override]
            if action.action_id == poison.action_id:
                self.calls.append((action.action_id, key))
                raise Unavailable("reset")
            return await super().deliver(action, key)

    sink = Sink()

    async def main() -> None:
        async with running(sink, MemoryBroker(log), dataclasses.replace(QUICK, attempts=3)):
            number = 0
            while not committed(log) or number < 3:
                number += 1
                publish(log, action(customer=f"c{number}", profile=f"customer:c{number}"))
                await asyncio.sleep(0.02)

    asyncio.run(main())
    assert len(dead(log)) == 1
    assert kinds(log).count("failed") == 1


@pytest.mark.parametrize(
    ("honours", "rule", "answers", "calls", "expected"),
    [
        (False, "drop", [Uncertain("lost")], 1, ["uncertain"]),
        (False, "repeat", [Uncertain("lost")], 2, ["delivered", "uncertain"]),
        (True, "drop", [Uncertain("lost")], 2, ["delivered"]),
        (False, "drop", [ValueError("a fault of the sink")], 1, ["uncertain"]),
    ],
)
def test_a_call_that_perhaps_succeeded_follows_the_rule(
    honours: bool,
    rule: str,
    answers: list[DeliveryError],
    calls: int,
    expected: list[str],
) -> None:
    """A lost answer is uncertain: the same key again where it is honoured, else drop or repeat as the action says."""
    log = MemoryLog()
    one = action(if_uncertain=rule)
    publish(log, one)
    sink = RecordingSink(*answers, honours_keys=honours)
    deliver(log, sink)
    assert sink.calls == [(one.action_id, one.action_id)] * calls
    assert kinds(log) == expected


def test_customers_keep_their_order_and_do_not_wait_for_each_other() -> None:
    """A customer whose mail must wait holds up nobody else, and their own next mail waits behind it."""
    log = MemoryLog(count=1)
    slow = [action(customer="slow", profile="customer:slow") for _ in range(2)]
    quick = [action(customer="quick", profile="customer:quick") for _ in range(2)]
    publish(log, slow[0], quick[0], slow[1], quick[1])
    sink = RecordingSink(Retry("busy", 0.2))
    deliver(log, sink)
    assert sink.delivered == [
        slow[0].action_id,
        quick[0].action_id,
        quick[1].action_id,
        slow[0].action_id,
        slow[1].action_id,
    ]


def test_the_concurrency_is_bounded() -> None:
    """With 3 calls allowed at once there are 3, and never more."""
    log = MemoryLog()
    publish(log, *(action(customer=f"c{n}", profile=f"customer:c{n}") for n in range(30)))
    sink = RecordingSink()

    async def during(_: Action) -> None:
        await asyncio.sleep(0.005)

    sink.during = during
    deliver(log, sink, terms=dataclasses.replace(QUICK, concurrency=3))
    assert sink.most == 3
    assert len(sink.calls) == 30


def test_no_more_is_read_than_the_window() -> None:
    """While a channel is down the rest stays in the log: at most a window's worth is under way per partition."""
    log = MemoryLog(count=1)
    publish(log, *(action(customer=f"c{n}", profile=f"customer:c{n}") for n in range(200)))
    sink = RecordingSink(*[Unavailable("connect") for _ in range(10_000)])

    async def main() -> None:
        async with running(sink, MemoryBroker(log), dataclasses.replace(QUICK, window=50)) as runtime:
            await until(lambda: runtime.state == "paused")
            await asyncio.sleep(0.1)
            (group,) = log.members.values()
            assert group.paused == {0}
            sink.answers.clear()
            await until(lambda: committed(log))
            assert group.paused == set()

    asyncio.run(main())
    assert len(set(sink.delivered)) == 200


def test_a_stop_waits_for_the_call_under_way() -> None:
    """What is being sent when the process is told to stop is settled, not left in doubt."""
    log = MemoryLog()
    publish(log, action())
    sink = RecordingSink()
    begun = asyncio.Event()

    async def during(_: Action) -> None:
        begun.set()
        await asyncio.sleep(0.2)

    sink.during = during

    async def main() -> None:
        async with running(sink, MemoryBroker(log)):
            await begun.wait()

    asyncio.run(main())
    assert kinds(log) == ["delivered"]
    assert committed(log)


def test_a_delivered_action_that_is_withdrawn_is_taken_back_where_the_channel_can() -> None:
    """A withdrawal after the delivery reaches a sink that retracts, also when it came while nobody was running."""
    log, live, later = MemoryLog(), action(), action(customer="c2", profile="customer:c2")
    publish(log, live, later)
    sink = RecordingSink(retracts=True)

    async def main() -> None:
        async with running(sink, MemoryBroker(log)):
            await until(lambda: committed(log))
            withdraw(log, live)
            await until(lambda: sink.withdrawn == [live.action_id])

    asyncio.run(main())
    withdraw(log, later)

    async def restarted() -> None:
        async with running(sink, MemoryBroker(log)):
            await until(lambda: sink.withdrawn == [live.action_id, later.action_id])

    asyncio.run(restarted())
    deliver(log, sink)
    assert sink.withdrawn == [live.action_id, later.action_id]


def test_full_jitter_stays_within_its_bounds() -> None:
    """The wait is uniform up to the doubling bound, capped, and never below a Retry-After."""
    most = Backoff(1.0, 60.0, lambda _, high: high)
    assert [most.seconds(n) for n in (1, 2, 3, 7, 100)] == [1.0, 2.0, 4.0, 60.0, 60.0]
    least = Backoff(1.0, 60.0, lambda low, _: low)
    assert least.seconds(5) == 0.0
    assert least.seconds(1, 30.0) == 30.0

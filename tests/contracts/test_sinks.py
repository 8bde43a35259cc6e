"""The contract of all sinks, each against the real server that it talks to."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from connectors.registry import SINKS
from connectors.sink import Context, DeliveryError, Refusal, Refused, Retry, Sink, Unavailable, Uncertain
from schemas.action import Action, Link, Withdrawal
from tests.connectors.memory import MemoryBroker, MemoryLog
from tests.connectors.support import NAMES, action, kinds, publish, running, until
from tests.connectors.test_delivery import committed
from tests.contracts.channels import CHANNELS, Channel, Mood, that_can_be

ALL = list(CHANNELS)
PERSONAL = ("ann@example.org", "Ann-Catrin", "c1")


@pytest.fixture
def channel(request: pytest.FixtureRequest, tmp_path: Path) -> Channel:
    """The channel system of the parametrised name."""
    return CHANNELS[request.param](tmp_path)


def sample(**fields: object) -> Action:
    """Return an action that every sink can deliver."""
    found = {"params": {"page": 2}, "traits": {"first_name": "Ann-Catrin"}, "link": Link("/apply", "2")}
    return action(**(found | fields))


async def call(sink: Sink, one: Action) -> DeliveryError | None:
    """Deliver, and return what was raised."""
    try:
        await sink.deliver(one, one.action_id)
    except DeliveryError as found:
        error = found
    else:
        return None
    for word in PERSONAL:
        assert word not in error.reason, "customer data in a reason"
    return error


def test_every_registered_sink_is_under_this_contract() -> None:
    """A sink without a channel here has no tests."""
    assert {name.partition(" ")[0] for name in ALL} == set(SINKS)


@pytest.mark.parametrize("channel", ALL, indirect=True)
def test_a_delivered_action_is_received_once_under_its_id(channel: Channel) -> None:
    """The channel can tell which action it was; the same action again carries the same id."""

    async def main() -> None:
        async with channel.up():
            sink, one, two = channel.sink(), sample(), sample(profile="customer:c2", customer="c2")
            await sink.start(Context())
            for each in (one, two):
                assert await call(sink, each) is None
                await channel.seen(sink, each)
            assert channel.received == [one.action_id, two.action_id]
            assert await call(sink, one) is None
            assert set(channel.received) == {one.action_id, two.action_id}
            assert len(channel.received) == (2 if sink.honours_keys else 3)
            await sink.close()

    asyncio.run(main())


@pytest.mark.parametrize("channel", that_can_be(Mood.BUSY), indirect=True)
def test_busy_means_again(channel: Channel) -> None:
    """What the channel turned away for now was not done, and is done at the next call."""

    async def main() -> None:
        async with channel.up():
            sink, one = channel.sink(), sample()
            await sink.start(Context())
            channel.moods = [Mood.BUSY]
            assert isinstance(await call(sink, one), Retry)
            assert channel.received == []
            assert await call(sink, one) is None
            assert channel.received == [one.action_id]
            await sink.close()

    asyncio.run(main())


@pytest.mark.parametrize("channel", that_can_be(Mood.DOWN), indirect=True)
def test_a_channel_that_is_down_is_not_the_actions_fault(channel: Channel) -> None:
    """Nothing listening, and a server that turns everybody away, are `Unavailable`; when it is back, it works."""

    async def main() -> None:
        one = sample()
        async with channel.up():
            sink = channel.sink()
            await sink.start(Context())
            channel.moods = [Mood.DOWN]
            assert isinstance(await call(sink, one), Unavailable)
            assert await call(sink, sample()) is None
        # Where keys are honoured connections are kept, and one that breaks leaves a doubt that costs nothing.
        assert isinstance(await call(sink, one), (Unavailable, Uncertain) if sink.honours_keys else Unavailable)
        async with channel.up():
            assert await call(sink, one) is None
            assert channel.received.count(one.action_id) == 1
            await sink.close()

    asyncio.run(main())


@pytest.mark.parametrize("channel", that_can_be(Mood.REFUSES), indirect=True)
def test_a_refusal_is_for_good_and_for_this_action_only(channel: Channel) -> None:
    """A refused action was not done; the next one is."""

    async def main() -> None:
        async with channel.up():
            sink = channel.sink()
            await sink.start(Context())
            channel.moods = [Mood.REFUSES]
            error = await call(sink, sample())
            assert isinstance(error, Refused)
            assert (error.refusal is Refusal.BOUNCED) == (channel.name == "email")
            assert channel.received == []
            assert await call(sink, sample()) is None
            await sink.close()

    asyncio.run(main())


@pytest.mark.parametrize("channel", that_can_be(Mood.SILENT), indirect=True)
def test_no_answer_is_uncertain(channel: Channel) -> None:
    """The call arrived and its answer did not: the sink must not say that it was not done."""

    async def main() -> None:
        async with channel.up():
            sink, one = channel.sink(), sample()
            await sink.start(Context())
            channel.moods = [Mood.SILENT]
            assert isinstance(await call(sink, one), Uncertain)
            assert channel.received == [one.action_id]
            assert await call(sink, sample()) is None
            await sink.close()

    asyncio.run(main())


@pytest.mark.parametrize("channel", ALL, indirect=True)
def test_several_customers_at_once(channel: Channel) -> None:
    """Calls for several customers run beside each other, and each arrives."""

    async def main() -> None:
        async with channel.up():
            sink = channel.sink()
            await sink.start(Context())
            many = [sample(profile=f"customer:k{n}", customer=f"k{n}") for n in range(20)]
            assert await asyncio.gather(*(call(sink, one) for one in many)) == [None] * 20
            for one in many:
                await channel.seen(sink, one)
            assert sorted(channel.received) == sorted(one.action_id for one in many)
            await sink.close()

    asyncio.run(main())


@pytest.mark.parametrize("channel", [name for name in ALL if name in ("email", "webhook")], indirect=True)
def test_an_addressing_sink_refuses_what_has_no_address(channel: Channel) -> None:
    """Without an address there is no call."""

    async def main() -> None:
        async with channel.up():
            sink = channel.sink()
            await sink.start(Context())
            assert sink.addressing
            assert isinstance(await call(sink, sample(to=None)), Refused)
            assert channel.received == []
            await sink.close()

    asyncio.run(main())


@pytest.mark.parametrize("channel", ALL, indirect=True)
def test_closing_is_always_allowed(channel: Channel) -> None:
    """A sink can be closed before it was started, while the channel is down, and twice."""

    async def main() -> None:
        sink = channel.sink()
        await sink.close()
        await sink.start(Context())
        await sink.close()
        await sink.close()

    asyncio.run(main())


@pytest.mark.parametrize("channel", ["webhook with keys", "web"], indirect=True)
def test_withdrawing_is_idempotent(channel: Channel) -> None:
    """What can be taken back can be taken back twice, and before it is known."""

    async def main() -> None:
        async with channel.up():
            sink, one = channel.sink(), sample()
            await sink.start(Context())
            assert sink.standing or sink.retracts
            gone = Withdrawal(
                action_id=one.action_id,
                channel="x",
                profile=one.profile,
                customer="c1",
                reason="goal",
                at=one.proposed_at,
            )
            await sink.withdraw(gone)
            assert await call(sink, one) is None
            await sink.withdraw(gone)
            await sink.withdraw(gone)
            received = len(channel.received)
            await channel.seen(sink, one)
            assert len(channel.received) == received
            await sink.close()

    asyncio.run(main())


@pytest.mark.parametrize("channel", ["email", "webhook", "webhook with keys"], indirect=True)
@pytest.mark.parametrize("mood", [Mood.BUSY, Mood.DOWN, Mood.SILENT])
@pytest.mark.parametrize("rule", ["drop", "repeat"])
def test_through_the_runtime_the_promise_holds(channel: Channel, mood: Mood, rule: str) -> None:
    """Every second call goes wrong, then the offsets are lost and all is read again: who gets what, how often."""
    log = MemoryLog()
    many = [sample(profile=f"customer:k{n}", customer=f"k{n}", if_uncertain=rule) for n in range(6)]
    publish(log, *many)
    channel.moods = [mood if n % 2 else Mood.FINE for n in range(6)]

    async def main() -> None:
        async with channel.up():
            for _ in range(2):
                sink = channel.sink()
                async with running(sink, MemoryBroker(log)):
                    await until(lambda: committed(log))
                log.offsets.clear()
            for one in many:
                count = channel.received.count(one.action_id)
                doubt = mood is Mood.SILENT and rule == "repeat" and not sink.honours_keys
                assert 1 <= count <= (2 if doubt else 1)
            uncertain = kinds(log, NAMES).count("uncertain")
            assert (uncertain > 0) == (mood is Mood.SILENT and not sink.honours_keys)

    asyncio.run(main())

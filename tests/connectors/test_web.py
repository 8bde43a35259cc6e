"""The web channel: what a visitor sees, when it goes away, and where links resume."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec

from connectors.board import Board
from connectors.names import Names
from connectors.sinks.web import WebSettings, WebSink
from connectors.standing import Standing
from schemas.action import Action, Identity, Link
from schemas.codec import encode_json
from tests.connectors.memory import MemoryBroker, MemoryLog
from tests.connectors.support import QUICK, action, dead, kinds, outcomes, publish, until, withdraw
from tests.contracts.channels import links

WEB = Names("t.", "web")
TERMS = dataclasses.replace(QUICK, name="web")


def banner(**fields: Any) -> Action:
    """Return a standing action for device d1."""
    base = {
        "action": "show_banner",
        "channel": "web",
        "profile": "device:d1",
        "customer": None,
        "to": None,
        "template": None,
        "standing": True,
        "params": {"banner": "card"},
    }
    return action(**(base | fields))


def hold(log: MemoryLog, identifier: str, customer: str | None) -> None:
    """Say who holds an identifier."""
    found = None if customer is None else encode_json(Identity(identifier=identifier, customer=customer, since=1))
    log.put(WEB.identities, identifier.encode(), found)


class Site:
    """A site that asks the web sink."""

    def __init__(self, sink: WebSink, session: aiohttp.ClientSession) -> None:
        self.sink = sink
        self.session = session

    async def ask(self, path: str, method: str = "GET", **options: Any) -> tuple[int, Any]:
        """Return status and body."""
        async with self.session.request(method, f"http://127.0.0.1:{self.sink.port}{path}", **options) as response:
            return response.status, (await response.json() if response.content_type == "application/json" else None)

    async def shown(self, identifier: str) -> list[str]:
        """Return the ids of what a visitor sees."""
        status, body = await self.ask(f"/v1/web/{identifier}")
        assert status == 200, body
        return [found["action_id"] for found in body["actions"]]

    async def shows(self, identifier: str, *expected: Action) -> None:
        """Wait until a visitor sees exactly these."""
        async with asyncio.timeout(5):
            while await self.shown(identifier) != [one.action_id for one in expected]:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def site(log: MemoryLog, broker: MemoryBroker | None = None, **settings: Any) -> AsyncIterator[Site]:
    """Run a web sink on a log."""
    sink = WebSink(WebSettings(type="web", port=0, **settings), links())
    stop = asyncio.Event()
    runtime = Standing(sink, TERMS, WEB, broker or MemoryBroker(log))
    task = asyncio.create_task(runtime.run(stop))
    async with aiohttp.ClientSession() as session:
        try:
            await until(lambda: runtime.state == "serving" or task.done())
            yield Site(sink, session)
        finally:
            stop.set()
            await asyncio.wait_for(task, 10)


def test_what_stands_is_shown_until_it_is_withdrawn() -> None:
    """A banner from before the start and one from after are shown, and a withdrawal removes at once."""

    async def main() -> None:
        log = MemoryLog()
        early, late = banner(), banner(params={"banner": "loan", "slot": "side"}, priority=5)
        publish(log, early, names=WEB)
        async with site(log) as page:
            assert await page.shown("device:d1") == [early.action_id]
            publish(log, late, names=WEB)
            await page.shows("device:d1", late, early)
            withdraw(log, early, names=WEB)
            await page.shows("device:d1", late)
            assert await page.shown("device:other") == []

    asyncio.run(main())


def test_the_page_learns_what_to_show_and_nothing_about_the_visitor() -> None:
    """The answer has parameters, link and slot; no traits, no customer, no address, no reason."""

    async def main() -> None:
        log = MemoryLog()
        one = banner(link=Link("/apply?x=1", "2"), traits={"income": 90_000}, reason="visits", to="ann@example.org")
        publish(log, one, names=WEB)
        async with site(log) as page:
            _, body = await page.ask("/v1/web/device:d1")
            (found,) = body["actions"]
            assert found["params"] == {"banner": "card"}
            assert found["link"]["url"].startswith("https://bank.example/apply?x=1&resume=")
            assert set(found) == {
                "action_id", "action", "slot", "template", "params", "link", "priority", "expires_at",
            }  # fmt: skip
            status, resumed = await page.ask(f"/v1/resume/{found['link']['resume']}")
            assert (status, resumed["path"], resumed["position"]) == (200, "/apply?x=1", "2")

    asyncio.run(main())


def test_the_first_showing_is_the_delivery() -> None:
    """However often it is shown, by however many instances, there is one outcome; a click is another."""

    async def main() -> None:
        log = MemoryLog()
        one = banner()
        publish(log, one, names=WEB)
        async with site(log) as page, site(log) as other:
            assert outcomes(log) == []
            for _ in range(3):
                assert await page.shown("device:d1") == [one.action_id]
            await until(lambda: kinds(log) == ["delivered"] and log.records(WEB.deliveries("web")))
            await asyncio.sleep(0.05)
            assert await other.shown("device:d1") == [one.action_id]
            assert (await page.ask(f"/v1/web/device:d1/{one.action_id}/clicked", "POST"))[0] == 204
            assert (await page.ask(f"/v1/web/device:d2/{one.action_id}/clicked", "POST"))[0] == 404
            await until(lambda: kinds(log) == ["clicked", "delivered"])
        async with site(log) as again:
            assert await again.shown("device:d1") == [one.action_id]
        assert kinds(log) == ["clicked", "delivered"]

    asyncio.run(main())


def test_what_was_never_shown_says_so_when_it_ends() -> None:
    """Expired or withdrawn unseen is an outcome, once; what was seen ends in silence."""

    async def main() -> None:
        log = MemoryLog()
        seen, unseen = banner(), banner(profile="device:d2")
        short = banner(profile="device:d3", expires_at=banner().proposed_at + 1200)
        publish(log, seen, unseen, short, names=WEB)
        async with site(log) as page:
            assert await page.shown("device:d1") == [seen.action_id]
            await until(lambda: kinds(log) == ["delivered"])
            for one in (seen, unseen):
                withdraw(log, one, names=WEB)
            await until(lambda: kinds(log) == ["delivered", "expired", "withdrawn"])
            assert await page.shown("device:d3") == []
        async with site(log):
            await asyncio.sleep(0.05)
        assert kinds(log) == ["delivered", "expired", "withdrawn"]

    asyncio.run(main())


def test_an_identifier_shows_what_its_holder_is_to_see() -> None:
    """A device sees its holder's banners, through merged customers, and no more those of its former holder."""

    async def main() -> None:
        log = MemoryLog()
        own = banner()
        anns = banner(profile="customer:ann", customer="ann", priority=3, params={"slot": "a"})
        bobs = banner(profile="customer:bob", customer="bob", priority=2, params={"slot": "b"})
        publish(log, own, anns, bobs, names=WEB)
        async with site(log) as page:
            await page.shows("device:d1", own)
            hold(log, "device:d1", "ann")
            await page.shows("device:d1", anns, own)
            hold(log, "device:d1", "bob")
            await page.shows("device:d1", bobs, own)
            assert await page.shown("customer:ann") == [anns.action_id]
            hold(log, "customer:ann", "bob")
            await page.shows("device:d1", anns, bobs, own)
            await page.shows("customer:ann", anns, bobs)
            hold(log, "device:d1", None)
            await page.shows("device:d1", own)

    asyncio.run(main())


def test_an_action_for_a_named_customer_is_never_shown_to_another() -> None:
    """A device that changed hands does not show what was decided on it for the former customer."""
    board = Board()
    board.put(banner(customer="ann"))
    holders = {"device:d1": "customer:bob"}
    assert board.seen("device:d1", 0, lambda one: holders.get(one, one), lambda _: []) == []
    holders = {"device:d1": "customer:ann"}
    assert len(board.seen("device:d1", 0, lambda one: holders.get(one, one), lambda _: [])) == 1


def test_one_slot_shows_the_most_important_then_the_newest() -> None:
    """Of three for one place the one of highest priority is shown; when it goes, the newer of the others."""
    board = Board()
    old, new, top = banner(proposed_at=1), banner(proposed_at=2), banner(proposed_at=0, priority=9)
    for one in (new, top, old):
        board.put(one)

    def seen(now: int = 0) -> list[str]:
        return [one.action_id for one in board.seen("device:d1", now, str, lambda _: [])]

    assert seen() == [top.action_id]
    board.remove(top.action_id)
    assert seen() == [new.action_id]
    board.remove(new.action_id)
    assert seen() == [old.action_id]
    assert seen(old.expires_at) == []
    board.expire(old.expires_at)
    assert len(board) == 0


def test_links_that_cannot_be_followed() -> None:
    """Expired is 410; changed, or another customer's, is 403; a device nobody holds may follow."""

    async def main() -> None:
        log = MemoryLog()
        made = links()
        good = made.token(banner(profile="customer:ann", customer="ann", link=Link("/apply", "2")))
        old = made.token(banner(proposed_at=1, link=Link("/apply", "2")))
        assert good is not None
        assert old is not None
        hold(log, "device:bobs", "bob")
        hold(log, "device:anns", "ann")
        async with site(log) as page:
            assert (await page.ask(f"/v1/resume/{good}"))[0] == 200
            assert (await page.ask(f"/v1/resume/{good}?visitor=device:anns"))[0] == 200
            assert (await page.ask(f"/v1/resume/{good}?visitor=device:new"))[0] == 200
            assert (await page.ask(f"/v1/resume/{good}?visitor=device:bobs"))[0] == 403
            assert (await page.ask(f"/v1/resume/{good[:-2]}xx"))[0] == 403
            assert (await page.ask("/v1/resume/nonsense"))[0] == 403
            assert (await page.ask(f"/v1/resume/{old}"))[0] == 410

    asyncio.run(main())


def test_who_may_ask() -> None:
    """Kinds can be limited, a token demanded, origins allowed; placeholders and nonsense are refused."""

    async def main() -> None:
        log = MemoryLog()
        async with site(log, kinds=["device"], token="t0ken", origins=["https://bank.example"]) as page:
            auth = {"Authorization": "Bearer t0ken"}
            assert (await page.ask("/v1/web/device:d1"))[0] == 401
            assert (await page.ask("/v1/web/device:d1", headers={"Authorization": "Bearer \u00e9"}))[0] == 401
            assert (await page.ask("/v1/web/device:d1", headers=auth))[0] == 200
            assert (await page.ask("/v1/web/customer:c1", headers=auth))[0] == 403
            assert (await page.ask("/v1/web/device:null", headers=auth))[0] == 400
            assert (await page.ask("/v1/web/nonsense", headers=auth))[0] == 400
            assert (await page.ask("/v1/web/device:" + "x" * 300, headers=auth))[0] == 400
            assert (await page.ask("/elsewhere", headers=auth))[0] == 404
            for origin, allowed in (("https://bank.example", True), ("https://evil.example", False)):
                url = f"http://127.0.0.1:{page.sink.port}/v1/web/device:d1"
                async with page.session.options(url, headers={"Origin": origin}) as response:
                    assert response.status == 204
                    assert ("Access-Control-Allow-Origin" in response.headers) == allowed

    asyncio.run(main())


def test_what_cannot_be_read_is_one_dead_letter_for_all() -> None:
    """However many instances start however often, the record is condemned once."""

    async def main() -> None:
        log = MemoryLog()
        log.put(WEB.actions, b"c1", b"broken")
        for _ in range(2):
            async with site(log) as page:
                assert await page.shown("device:d1") == []
        assert [record.value for record in dead(log, WEB)] == [b"broken"]

    asyncio.run(main())


def test_a_cut_off_sink_shows_nothing_and_recovers() -> None:
    """Without its topics it cannot know what was withdrawn: 503, until it knows again."""

    async def main() -> None:
        log = MemoryLog()
        one, two = banner(), banner(params={"slot": "b"})
        publish(log, one, two, names=WEB)
        broker = MemoryBroker(log)
        async with site(log, broker) as page:
            assert len(await page.shown("device:d1")) == 2
            broker.dead = True
            async with asyncio.timeout(5):
                while (await page.ask("/v1/web/device:d1"))[0] != 503:
                    await asyncio.sleep(0.01)
            withdraw(log, one, names=WEB)
            broker.dead = False
            async with asyncio.timeout(5):
                while (await page.ask("/v1/web/device:d1"))[0] != 200:
                    await asyncio.sleep(0.01)
            assert await page.shown("device:d1") == [two.action_id]

    asyncio.run(main())


def test_the_answer_is_not_the_action() -> None:
    """The fields of an action that a page gets are listed by hand, so that a new field stays private."""
    assert {"traits", "to", "reason", "customer", "profile"} <= {field.name for field in msgspec.structs.fields(Action)}

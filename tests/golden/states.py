"""Writes the golden states anew: `python -m tests.golden.states`. Files of released versions are never rewritten."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec

from schemas.journal import TOUCHPOINTS, Forward, Mark, Origin, Origins, Stop, TaskMark, Unite
from schemas.journal import Outcome as OutcomeEntry
from schemas.offer import Offer
from streams.engine.partition import Meta, Partition, Slice, WorkRemains
from streams.engine.profile import decode
from streams.engine.store import MemoryStore
from streams.simulator import activations
from tests.engine.making import DAY, HOUR, MINUTE, START, Shop, event, journey
from tests.properties.logs import CARD, COUPON, DEFINITIONS, RECEIPTS

FOLDER = Path(__file__).parent


def rich_states() -> dict[str, bytes]:
    """States that between them have a value in every field, as the engine writes them."""
    shop = Shop(CARD, COUPON, RECEIPTS, partitions=1)
    both = "customer:ann,device:d"
    shop.see("consent_given", 0, ids="device:d", purpose="personalisation")
    shop.see("page_viewed", 1, ids="device:d", page="/cards")
    shop.see("page_viewed", 2, ids="device:d", page="/cards/gold")
    shop.see("login", MINUTE, ids=both)
    for purpose in ("marketing", "personalisation"):
        shop.see("consent_given", 2 * MINUTE, purpose=purpose)
    shop.see(
        "profile_updated", 2 * MINUTE, email="a@example.com", age=41, tags=["x", None], score=0.5, more={"a": True}
    )
    shop.see("form_started", 3 * MINUTE)
    shop.see("page_submitted", 4 * MINUTE, page=2, email="b@example.com")
    shop.see("basket_updated", 5 * MINUTE)
    shop.see("complaint_opened", 6 * MINUTE, case_id="7")
    shop.see("contact_forbidden", 7 * MINUTE)
    shop.see("contact_allowed", 8 * MINUTE)
    shop.wait(2 * HOUR)  # the coupon is held, the form is left
    shop.outcome(shop.actions[-1], "bounced", 2 * HOUR, permanent=True)
    shop.see("order_placed", 2 * HOUR, ids="customer:cat")
    shop.see("login", 3 * HOUR, ids="customer:bea,device:e,email:bea@example.com")
    shop.see("customers_merged", 4 * HOUR, ids="customer:bea", **_names("bea", "ann"))
    shop.see("customers_merged", 5 * HOUR, ids="customer:bea", **_names("ann", "bea"))
    shop.see("logged_out", DAY, ids="customer:ann,device:e")
    shop.see("page_viewed", DAY, ids="device:e", page="/")
    shop.see("profile_updated", DAY, ids="customer:eda", preferred_channel="sms")
    shop.see("order_placed", DAY, ids="customer:fay")
    shop.see("customers_merged", DAY, ids="customer:fay", **_names("fay", "eda"))  # what is true by it waits
    return shop.simulator.states() | _waiting() | _firing() | _offered().simulator.states()


def _names(source: str, into: str) -> dict[str, Any]:
    return {"from": source, "into": into}


def _waiting() -> dict[str, bytes]:
    """A customer who waits for an answer, with an event, a forward, an outcome and a unite behind it."""
    partition = Partition(0, 1, DEFINITIONS, MemoryStore())
    outcome = OutcomeEntry("customer:dan", Origin(1, 0, 3, START + 3), "o", "a", "delivered", "email", START + 3)
    entries = [
        event("customer:dan", "first", at=START, claims=("device:f",), page="/"),
        Forward("customer:dan", "device:g", event("device:g", "second", at=START + 2)),
        outcome,
        Unite("customer:dan", Origin(TOUCHPOINTS, 0, 4, START + 4), "u", "customer:dan", "customer:ann", "ann"),
    ]
    for offset, entry in enumerate(entries):
        partition.apply(offset, entry)
    return partition.collect().states


def _offered() -> Shop:
    """A customer who got an offer of which there are few."""
    rare = Offer.model_validate({"offer": "rare", "version": 1, "capacity": 5, "places": {"web": {"say": "rare"}}})
    asks = journey("asks", {"here": [{"on arrival": None, "do": [{"banner": {"place": "web"}}], "end": True}]})
    shop = Shop(asks, rare, partitions=1)
    shop.allow("personalisation", ids="customer:flo")
    shop.see("hello", 1, ids="customer:flo")
    return shop


def _firing() -> dict[str, bytes]:
    """A customer some of whose timers have fired in a passing of time that was cut there."""
    partition = Partition(0, 1, DEFINITIONS, MemoryStore(), slices=Slice(timers=1, bytes=1_000_000))
    entries = [*activations(DEFINITIONS), event("customer:eve", "basket", "basket_updated", START)]
    for offset, entry in enumerate(entries):
        partition.apply(offset, entry)
    with contextlib.suppress(WorkRemains):
        partition.apply(len(entries), TaskMark(0, START + 2 * DAY))
    return partition.collect().states


def rich_meta() -> bytes:
    """A partition's own record with a value in every field."""
    shop = Shop(CARD, COUPON, RECEIPTS, partitions=1)
    partition = shop.simulator.partitions[0]
    for offset, entry in enumerate(
        [Origins([2, 1]), Mark(0, 1, START), TaskMark(0, START), Stop("marketing", at=START), Stop("journey:card")],
        1_000,
    ):
        partition.apply(offset, entry)
    meta = partition.collect().meta
    offered = _offered().simulator.stores[0].meta
    assert meta is not None
    assert offered is not None
    whole = msgspec.msgpack.decode(meta, type=Meta)
    whole.taken = msgspec.msgpack.decode(offered, type=Meta).taken
    assert whole.taken == {"rare": 1}
    return msgspec.msgpack.encode(whole)


if __name__ == "__main__":
    written = {name: state.hex() for name, state in sorted(rich_states().items())}
    (FOLDER / "state-v3.json").write_bytes(
        msgspec.json.format(
            msgspec.json.encode(
                {
                    "states": written,
                    "meta": rich_meta().hex(),
                    "read": {name: decode(bytes.fromhex(state)) for name, state in written.items()},
                }
            )
        )
        + b"\n"
    )

"""Random logs of touchpoints and outcomes, the definitions they are played against, and the ways to play a journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from hypothesis import strategies as st

from schemas.journal import Entry
from streams.engine.partition import Output, Partition, Slice, WorkRemains
from streams.engine.rules import Library
from streams.engine.store import MemoryStore
from tests.engine.making import DAY, HOUR, MINUTE, Shop, journey, library

CARD = journey(
    "card",
    {
        "looking": [
            {
                "when": "page_viewed",
                "if": "journey.count('page_viewed') >= 2",
                "do": [{"banner": {"say": "card", "link": "/cards"}}],
            },
            {"when": "form_started", "to": "applying"},
            {"after": "3d of silence", "end": True},
        ],
        "applying": [
            {
                "when": "page_submitted",
                "set": {
                    "page": "event.page",
                    "email": "event.email",
                    "pages": 'profile.sum("page_submitted", "page", "this week")',
                    "newest": 'profile.last("page_submitted", "page", "3d")',
                    "views": 'profile.count("page_viewed", "2d")',
                },
            },
            {"when": "form_left", "to": "left"},
            {"after": "30m of silence", "to": "left"},
        ],
        "left": [
            {
                "on arrival": None,
                "do": [
                    {
                        "mail": {
                            "template": "resume",
                            "purpose": "resume",
                            "to": "vars.email",
                            "link": 'resume("/apply", vars.page)',
                        }
                    }
                ],
            },
            {"when": "page_submitted", "set": {"page": "event.page"}, "to": "applying"},
            {"after": "5d", "end": True},
        ],
        "finished": [{"on arrival": None, "do": [{"stop_ads": {"say": "cards"}}], "end": True}],
    },
    enter=[{"when": "page_viewed"}, {"when": "form_started", "to": "applying"}],
    again="after 2d",
    goal="finished",
    stale_after="6h",
    **{"any stage": [{"when": "order_placed", "to": "finished"}]},
)
COUPON = journey(
    "coupon",
    {
        "waiting": [{"after": "1h", "to": "offered"}],
        "offered": [
            {
                "on arrival": None,
                "do": [{"message": {"say": "coupon", "priority": 2}}, {"message": {"say": "reason"}}],
            },
            {"after": "2h", "do": [{"message": {"say": "reminder", "expires": "6h"}}]},
            {"when": "order_placed", "end": True},
            {"as soon as": "profile.count('order_placed', '2d') >= 3", "end": True},
            {"after": "1d", "end": True},
        ],
    },
    enter={"when": "basket_updated"},
    again="always",
)
RECEIPTS = journey(
    "receipts",
    {
        "open": [
            {
                "when": ["order_placed", "page_submitted"],
                "promise": {"parcel": {"within": "25h", "at risk": "5h", "owner": "event.page"}},
                "do": [{"mail": {"template": "receipt", "purpose": "order"}}],
            },
            {"when": "something_else", "keep": "parcel"},
            {"at risk": "parcel", "do": [{"stop_ads": {"say": "hurry"}}]},
            {"broken": "parcel", "do": [{"stop_ads": {"say": "sorry"}}]},
            {"as soon as": "traits.preferred_channel == 'sms'", "do": [{"stop_ads": {"say": "sms"}}]},
        ]
    },
    enter={"when": "order_placed"},
)
DEFINITIONS: Library = library(CARD, COUPON, RECEIPTS)

KINDS = [
    *("page_viewed", "page_viewed", "form_started", "form_started", "page_submitted", "page_submitted", "form_left"),
    *("basket_updated", "order_placed", "complaint_opened", "complaint_closed"),
    *("consent_given", "consent_given", "consent_withdrawn", "contact_forbidden", "contact_allowed"),
    *("profile_updated", "profile_updated", "something_else"),
]
SWITCHES = ["logged_out", "customers_merged"]
WHO = ["customer:ann", "customer:bea", "customer:cat"]
ANYONE = [*WHO, "device:d", "device:e", "customer:ann,device:d", "customer:bea,device:d", "customer:cat,device:e"]
PROPERTIES: dict[str, list[dict[str, Any]]] = {
    "page_submitted": [{"page": 1, "email": "new@example.com"}, {"page": 1, "email": "new@example.com"}, {"page": 2}],
    "consent_given": [{"purpose": "marketing"}, {"purpose": "personalisation"}],
    "consent_withdrawn": [{"purpose": "marketing"}],
    "complaint_opened": [{"case_id": "1"}, {"case_id": "2"}],
    "complaint_closed": [{"case_id": "1"}, {"case_id": "2"}],
    "profile_updated": [{"email": "a@example.com"}, {"phone": "+358"}, {"preferred_channel": "sms"}],
    "customers_merged": [{"from": "bea", "into": "ann"}, {"from": "cat", "into": "bea"}],
}
OUTCOMES = ["delivered", "failed", "bounced", "unsubscribed"]
# Minutes: within and past every duration of the definitions.
GAPS = [0, 0, 1, 1, 5, 5, 31, 61, 5 * 60, 26 * 60, 4 * 24 * 60]


@dataclass(frozen=True, slots=True)
class Seen:
    """One step of a log: a touchpoint, or an outcome of the action numbered so (modulo their number), or a pause."""

    kind: str
    at: int
    ids: str = "customer:ann"
    properties: tuple[tuple[str, Any], ...] = ()
    late: int = 0
    event_id: str = ""
    number: int = 0


# Two whom much can reach, and who may have asked for it; the third never said a word.
KNOWN = [
    Seen("consent_given", 0, "customer:ann", (("purpose", "marketing"),)),
    Seen("consent_given", 0, "customer:ann", (("purpose", "personalisation"),)),
    Seen("profile_updated", 0, "customer:ann", (("email", "a@example.com"),)),
    Seen("consent_given", 0, "customer:bea", (("purpose", "marketing"),)),
    Seen("profile_updated", 0, "customer:bea", (("email", "b@example.com"), ("phone", "+358"))),
]


# What one person does in a row, often enough to be met: left forms, held coupons, more receipts than the ceiling.
SPREES = [
    ("form_started", "page_submitted", "form_left", "page_submitted"),
    ("basket_updated", "complaint_opened", "something_else", "complaint_closed"),
    ("order_placed", "order_placed", "order_placed", "order_placed"),
    ("order_placed", "order_placed", "something_else", "page_submitted"),
]


def _steps(people: list[str], kinds: list[str]) -> st.SearchStrategy[list[Seen]]:
    gaps, everyone = st.sampled_from(GAPS), st.sampled_from(people)

    def touchpoint(kind: str, who: st.SearchStrategy[str]) -> st.SearchStrategy[Seen]:
        properties = st.sampled_from([tuple(each.items()) for each in PROPERTIES.get(kind, [{}])])
        return st.builds(Seen, st.just(kind), gaps, who, properties, st.sampled_from([0, 0, 0, 0, MINUTE, 7 * HOUR]))

    def spree(who: str) -> st.SearchStrategy[list[Seen]]:
        return st.sampled_from(SPREES).flatmap(
            lambda kinds: st.tuples(*(touchpoint(kind, st.just(who)) for kind in kinds)).map(list)
        )

    single = st.one_of(
        st.sampled_from(kinds).flatmap(lambda kind: touchpoint(kind, everyone)),
        st.sampled_from(kinds).flatmap(lambda kind: touchpoint(kind, everyone)),
        st.builds(Seen, st.sampled_from(OUTCOMES), gaps, number=st.integers(0, 5)),
        st.builds(Seen, st.just("wait"), gaps),
    )
    return st.one_of(single.map(lambda step: [step]), everyone.flatmap(spree))


def _placed(steps: list[Seen]) -> list[Seen]:
    """Each step at its time. No two are at the same millisecond of a minute, so no timer meets another's event."""
    now, placed = 0, []
    for number, step in enumerate(steps):
        now += step.at * MINUTE
        placed.append(replace(step, at=now + number, event_id=f"event-{number}"))
    return placed


def logs(people: list[str] | None = None, *, switches: bool = False, size: int = 16) -> st.SearchStrategy[list[Seen]]:
    """Logs of some people; with `switches`, they log out and merge as well."""
    kinds = KINDS + SWITCHES if switches else KINDS
    return st.lists(_steps(people or WHO, kinds), min_size=8, max_size=size).map(
        lambda log: _placed(KNOWN + [step for steps in log for step in steps])
    )


def play(log: Iterable[Seen], partitions: int = 3) -> Shop:
    """Play a log, and a week after it."""
    shop = Shop(CARD, COUPON, RECEIPTS, partitions=partitions)
    last = 0
    for step in log:
        last = step.at
        if step.kind == "wait":
            shop.wait(step.at)
        elif step.kind in OUTCOMES:
            if shop.actions:
                number = step.number % len(shop.actions)
                shop.outcome(shop.actions[number], step.kind, step.at, permanent=True)
                if step.kind in {"failed", "bounced"}:
                    shop.failed.add(number)
        else:
            shop.see(step.kind, step.at, event_id=step.event_id, late=step.late, ids=step.ids, **dict(step.properties))
    shop.wait(last + 7 * DAY)
    return shop


_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Result:
    """What a partition published, as bytes in order, and what it left."""

    published: list[bytes]
    states: dict[str, bytes]
    meta: bytes | None


def run(  # noqa: PLR0913 - each is one way in which a worker may read it
    journal: list[Entry],
    index: int,
    count: int,
    known: Library,
    *,
    collect: Callable[[int], bool],
    restart: Callable[[int], bool] = lambda _: False,
    trim: bool = False,
    slices: Slice | None = None,
) -> Result:
    """Read a partition's journal; commit after entries that `collect` names, begin anew after those of `restart`.

    With `slices`, begin anew after each slice of timers.
    """
    store = MemoryStore()
    result = Result([], store.states, None)
    partition = Partition(index, count, known, store, slices=slices)

    def commit() -> None:
        output: Output = partition.collect()
        store.write(output, 0)
        result.meta = store.meta
        for effects in (output.actions, output.decisions, output.withdrawals, output.entries, output.transitions):
            result.published += [_encode(each) for each in effects]
        result.published += [_encode(each) for each in [*output.suppressions, *output.identities]]

    for offset, entry in enumerate(journal):
        while True:
            try:
                partition.apply(offset, entry)
                break
            except WorkRemains:
                commit()
                partition = Partition(index, count, known, store, result.meta, slices=slices)
        if restart(offset):
            commit()
            partition = Partition(index, count, known, store, result.meta, slices=slices)
        elif collect(offset):
            commit()
            if trim:
                partition.trim(0)
    commit()
    result.published.sort()  # which kind of effect was collected first is the batch's doing
    return result

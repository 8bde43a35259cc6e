"""What an event costs with the journeys of a bank: twenty of them, five at work for each customer.

The definitions stand in seeds_bank and use only what the language had before caps, windows and offers, so that the same
section measures commits from then on: in a work tree of such a commit, `git checkout main -- tests/benchmarks`, then
`make bench ARGS="--only seeds"`.
"""

from __future__ import annotations

import random
import re
import shutil
from typing import TYPE_CHECKING, Any

from schemas.codec import encode_touchpoint_avro
from schemas.touchpoint import Touchpoint
from tests.benchmarks.bench import FOLDER, Bench
from tests.benchmarks.costs import EVENTS, EVENTS_PER_CUSTOMER, ROUNDS, each
from tests.benchmarks.events import Sample
from tests.support.kafka import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BANK = ROOT / "tests" / "benchmarks" / "seeds_bank"
SETS = 4  # of the five journeys, each on event types of its own
# How often each type comes: mostly pages, as in a bank's logs.
KINDS = {
    "page_viewed": 40,
    "form_started": 6,
    "form_page_submitted": 8,
    "form_left": 5,
    "form_submitted": 3,
    "application_approved": 3,
    "card_activated": 3,
    "app_installed": 2,
    "basket_updated": 6,
    "order_placed": 3,
    "calculator_used": 3,
    "meeting_booked": 1,
    "score_given": 4,
    "call_ended": 3,
}
# These mean something to the engine itself, and are the same for all.
COMMON = {"consent_given": 4, "profile_updated": 4, "complaint_opened": 1, "complaint_closed": 1}
PAGES = ("/credit-cards", "/credit-cards/gold", "/mortgages", "/mortgages/rates", "/", "/accounts")


def section(bench: Bench) -> dict[str, Any]:
    """Measure the journeys agent on what twenty journeys must react to."""
    return {"seeds": each(bench, "seeds", ["20 journeys"], once, ROUNDS)["20 journeys"]}


def once(bench: Bench, _: str) -> dict[str, Any]:
    """Run it once."""
    events = bench.sized(EVENTS)
    made = bench.installation("seeds", definitions=definitions(FOLDER / "definitions-seeds"))
    given = {
        each.number: (each, properties) for each, properties in samples(events, max(1, events // EVENTS_PER_CUSTOMER))
    }
    made.begin()
    made.fill((each for each, _ in given.values()), lambda each: value(each, given[each.number][1], bench.began))
    made.run("router", events)
    result = made.run("journeys", events)
    made.remove()
    return result


def definitions(folder: Path) -> Path:
    """Return a folder with the five journeys of the bank, so many times."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(BANK, folder)
    for path in sorted((folder / "journeys").iterdir()):
        text = path.read_text()
        path.unlink()
        for number in range(SETS):
            own = re.sub(r"journey: ([a-z-]+)", rf"journey: \1-{number}", text, count=1)
            for kind in KINDS:
                own = re.sub(rf'\b{kind}\b(?!")', f"{kind}_{number}", own)
                own = own.replace(f'count("{kind}")', f'count("{kind}_{number}")')
            (folder / "journeys" / f"{path.stem}-{number}.yaml").write_text(own)
    return folder


def samples(events: int, customers: int) -> Iterator[tuple[Sample, dict[str, Any]]]:
    """Give the same events every time: customers who each belong to one set of journeys."""
    chance = random.Random(5)
    kinds = KINDS | COMMON
    drawn = chance.choices(list(kinds), list(kinds.values()), k=events)
    for number, kind in enumerate(drawn):
        customer = chance.randrange(customers)
        name = kind if kind in COMMON else f"{kind}_{customer % SETS}"
        yield Sample(number, f"c{customer}", name), properties(kind, customer, chance)


def properties(kind: str, customer: int, chance: random.Random) -> dict[str, Any]:
    """What an event of a type says."""
    match kind:
        case "page_viewed":
            return {"page": chance.choice(PAGES), "seconds": chance.randrange(200)}
        case "form_started" | "form_left" | "form_submitted" | "form_page_submitted":
            return {"form": "credit-card", "page_number": chance.randrange(1, 6), "email": f"{customer}@example.com"}
        case "basket_updated" | "order_placed":
            return {"basket_id": f"b{customer}", "value": chance.randrange(100)}
        case "calculator_used":
            return {"amount": chance.randrange(50_000, 400_000)}
        case "meeting_booked":
            return {"subject": chance.choice(("mortgage", "savings"))}
        case "score_given":
            return {"score": chance.randrange(11)}
        case "call_ended":
            return {"solved": chance.random() < 0.7}
        case "consent_given":
            return {"purpose": chance.choice(("marketing", "personalisation"))}
        case "profile_updated":
            return {"email": f"{customer}@example.com", "preferred_channel": "email"}
        case "complaint_opened" | "complaint_closed":
            return {"case_id": "k1"}
        case _:
            return {"product": "credit-card"}


def value(each: Sample, said: dict[str, Any], at: int) -> bytes:
    """Return the event in Avro's single-object encoding."""
    return encode_touchpoint_avro(
        Touchpoint(
            event_id=f"{each.number:032x}",
            type=each.kind,
            channel="web",
            occurred_at=at + each.number,
            identifiers={"customer": each.customer},
            properties=said,
        )
    )

"""The command that names the next best action for one customer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.journey import SCORE
from streams.commands_definitions import Json
from streams.commands_explain import At, Customer, Source, asked, unknown
from streams.engine.arbitration import number
from streams.engine.moment import Moment
from streams.engine.parameters import filled
from streams.engine.step import Step
from streams.problems import choose
from streams.terminal import UsageError, command, emit, err, moment, out, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.nextbest import Next


def register(app: typer.Typer) -> None:
    """Add this command."""
    command(app, "next")(next_action)


def next_action(
    customer: Customer,
    place: Annotated[str, typer.Option("--place", help="where it would be made, as offers name it")],
    at: At = None,
    *,
    source: Source,
    json: Json = False,
) -> None:
    """Name the next best action for a customer in a place.

    Every offer for the place: those the customer may get, best first with the parts of their scores, then the others
    and why not. Whether the customer may be contacted is asked when an action goes out.

    Example: polku next c-7 --place agent-desk
    Example: polku next c-7 --place web-slot --json
    Example: polku next c-7 --place web-slot -d DIR --events touchpoints.jsonl
    """
    from streams.nextbest import next_best  # noqa: PLC0415 - only this command needs it

    journal, count, library, name, then = asked(customer, at, source)
    found = next_best(journal, count, library, name, place, then)
    if place not in found.rules.places:
        raise UsageError(f"no offer in force has the place '{place}'; {choose(place, found.rules.places)}")
    if found.profile is None:
        raise unknown(name)
    if json:
        for row in _rows(found):
            emit(row)
    else:
        _tell(found)
    ranking = found.ranking
    err.print(f"{plural(len(ranking.ranked), 'offer')} of {len(ranking.ranked) + len(ranking.lost)} may be made")


def _rows(found: Next) -> Iterator[dict[str, Any]]:
    assert found.profile is not None
    see = Moment(found.profile, None, found.at, found.rules, Step())
    for place, each in enumerate(found.ranking.ranked, 1):
        offer = {"rank": place, "offer": each.offer.name, "title": each.offer.title, "score": each.score.total}
        yield offer | dict(zip(SCORE, each.score, strict=True)) | {"params": filled(each.creative.params, see)}
    for name, reason in found.ranking.lost.items():
        yield {"rank": None, "offer": name, "reason": reason}


def _tell(found: Next) -> None:
    from streams.nextbest import WORDS  # noqa: PLC0415 - as above

    out.print(f"{found.name} at {found.ranking.place}, {moment(found.at)}", markup=False)
    first = found.ranking.ranked[0].score.total if found.ranking.ranked else 0.0
    for place, each in enumerate(found.ranking.ranked, 1):
        title = f"  {each.offer.title}" if each.offer.title else ""
        behind = f"  ({number(first - each.score.total)} behind)" if place > 1 else ""
        out.print(f"{place:>3}  {each.offer.name}{title}  {each.score}{behind}", markup=False)
    for name, reason in found.ranking.lost.items():
        out.print(f"  -  {name}  {reason}: {WORDS[reason]}", markup=False)
    if not found.ranking.ranked:
        out.print("     nothing: no offer may be made", markup=False)

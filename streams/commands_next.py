"""The command that names the next best action for one customer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.journey import SCORE
from streams.commands_definitions import Bootstrap, DefinitionsOption, Json, Prefix, moment_of
from streams.commands_explain import At, Customer, Events, Until, journal_of, profile_name
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


def next_action(  # noqa: PLR0913, PLR0917 - a parameter for each flag
    customer: Customer,
    place: Annotated[str, typer.Option("--place", help="where it would be made, as offers name it")],
    at: At = None,
    events: Events = None,
    definitions: DefinitionsOption = Path("seeds"),
    until: Until = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    json: Json = False,  # noqa: FBT002 - an option, named where it is used
) -> None:
    """Name the next best action for a customer in a place.

    Every offer for the place: those the customer may get, best first with the parts of their scores, then the others
    and why not. Whether the customer may be contacted is asked when an action goes out.

    Example: polku next c-7 --place agent-desk
    Example: polku next c-7 --place web-slot --json
    Example: polku next c-7 --place web-slot -d DIR --events touchpoints.jsonl
    """
    from streams.nextbest import next_best  # noqa: PLC0415 - only this command needs it

    then = moment_of("--at", at)
    journal, count, library, kinds = journal_of(events, definitions, until or at, bootstrap, prefix)
    name = profile_name(customer, kinds)
    found = next_best(journal, count, library, name, place, then)
    if place not in found.rules.places:
        raise UsageError(f"no offer in force has the place '{place}'; {choose(place, found.rules.places)}")
    if found.profile is None:
        raise UsageError(f"nothing is known of {name}; is that the id its touchpoints carry?")
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

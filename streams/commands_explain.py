"""Commands that answer for one customer, from the journal of an installation or from touchpoints in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.identifiers import DEFAULT_KINDS
from streams.commands_definitions import Bootstrap, DefinitionsOption, Json, Prefix, library_of, moment_of, play
from streams.problems import choose
from streams.terminal import UsageError, command, emit, out

if TYPE_CHECKING:
    from collections.abc import Collection

    from streams.engine.rules import Library
    from streams.journaldump import Journal

Customer = Annotated[str, typer.Argument(help="a customer id, or kind:id such as device:d1")]
At = Annotated[str | None, typer.Option("--at", help="as it was at this ISO 8601 moment")]
Events = Annotated[
    str | None, typer.Option("--events", help="no Kafka: play these touchpoints (JSON Lines; - for stdin)")
]
Until = Annotated[
    str | None, typer.Option("--until", help="with --events: let time pass to this moment", show_default="--at")
]


ENDS = "time ends here, at the last touchpoint; --until lets it pass"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    command(app)(explain)
    command(app)(consent)


def explain(  # noqa: PLR0913, PLR0917 - a parameter for each flag
    customer: Customer,
    at: At = None,
    journey: Annotated[
        str | None, typer.Option("--journey", help="only this one, and why it was not entered or did not go on")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="say what would have changed each verdict")] = False,  # noqa: FBT002 - an option, named where it is used
    events: Events = None,
    definitions: DefinitionsOption = Path("seeds"),
    until: Until = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    json: Json = False,  # noqa: FBT002 - an option, named where it is used
) -> None:
    """Tell a customer's story: what was decided, by which rule.

    Each touchpoint, what came of it, what was not sent and why; computed again from the journal. With --json a line
    each, with the action in full where one was sent, and what would have changed each verdict.

    Example: polku explain c-7
    Example: polku explain c-7 --at 2026-03-09T12:00:00Z --verbose
    Example: polku explain c-7 --journey onboarding
    Example: polku explain device:d-41 --json
    Example: polku explain c-7 --events seeds/touchpoints/credit-card.jsonl
    """
    from streams.explain import explain as explain_story  # noqa: PLC0415 - only this command needs it
    from streams.tell import tell  # noqa: PLC0415 - as above

    then = moment_of("--at", at)
    journal, count, library, kinds = journal_of(events, definitions, until or at, bootstrap, prefix)
    known = sorted({name for name, _ in library.journeys})
    if journey is not None and journey not in known:
        raise UsageError(f"there is no journey '{journey}'; {choose(journey, known)}")
    name = profile_name(customer, kinds)
    story = explain_story(journal, count, library, name, at=then, journey=journey)
    if not story.lines and story.profile is None:
        raise UsageError(
            f"nothing is known of {name}{f' at {at}' if at else ''}; is that the id its touchpoints carry?"
        )
    if json:
        for line in story.lines:
            emit(line)
    else:
        tell(story, name, out, verbose=verbose, ends=ENDS if events is not None and not (until or at) else "")


def consent(  # noqa: PLR0913, PLR0917 - a parameter for each flag
    customer: Customer,
    at: At = None,
    events: Events = None,
    definitions: DefinitionsOption = Path("seeds"),
    until: Until = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    json: Json = False,  # noqa: FBT002 - an option, named where it is used
) -> None:
    """What a customer agreed to: who said what, when and where.

    Each purpose with its basis, whether it is allowed, and the words on it; whether contact is forbidden; each address
    and whether it can be used. Computed again from the journal.

    Example: polku consent c-7
    Example: polku consent c-7 --at 2026-03-09T12:00:00Z --json
    Example: polku consent c-7 --events seeds/touchpoints/credit-card.jsonl
    """
    from streams import consentview  # noqa: PLC0415 - only this command needs it
    from streams.explain import explain as explain_story  # noqa: PLC0415 - as above

    then = moment_of("--at", at)
    journal, count, library, kinds = journal_of(events, definitions, until or at, bootstrap, prefix)
    name = profile_name(customer, kinds)
    story = explain_story(journal, count, library, name, at=then)
    if story.profile is None:
        raise UsageError(
            f"nothing is known of {name}{f' at {at}' if at else ''}; is that the id its touchpoints carry?"
        )
    found = consentview.agreed(story, story.profile)
    if json:
        emit(found)
    else:
        consentview.tell(story, found, out)


def profile_name(customer: str, kinds: Collection[str]) -> str:
    """The profile kind:id of what a person wrote: a customer's id, or kind:id."""
    return customer if ":" in customer and customer.partition(":")[0] in kinds else f"customer:{customer}"


def journal_of(
    events: str | None, definitions: Path, until: str | None, bootstrap: str | None, prefix: str | None
) -> tuple[Journal, int, Library, Collection[str]]:
    """A journal with its count of partitions, the definitions and the kinds of identifiers.

    Of touchpoints in a file when `events` names one, else of a running installation.
    """
    if events is not None:
        library = library_of(definitions)
        simulator = play(events, library, moment_of("--until", until))
        journal: Journal = {index: list(enumerate(entries)) for index, entries in enumerate(simulator.journal)}
        return journal, simulator.count, library, DEFAULT_KINDS
    from streams.commands_kafka import read_journal, read_library, settings_of  # noqa: PLC0415 - needs Kafka's client

    settings = settings_of(bootstrap=bootstrap, prefix=prefix)
    journal, count = read_journal(settings)
    return journal, count, read_library(settings), settings.identifier_kinds

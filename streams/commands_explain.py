"""Commands that answer for one customer, from the journal of an installation or from touchpoints in a file."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Source:
    """Whence a command has the journal: touchpoints in a file when `events` names one, else a running installation."""

    events: Events = None
    definitions: DefinitionsOption = Path("seeds")
    until: Until = None
    bootstrap: Bootstrap = None
    prefix: Prefix = None


ENDS = "time ends here, at the last touchpoint; --until lets it pass"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    command(app)(explain)
    command(app)(consent)


def explain(
    customer: Customer,
    at: At = None,
    journey: Annotated[
        str | None, typer.Option("--journey", help="only this one, and why it was not entered or did not go on")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="say what would have changed each verdict")] = False,  # noqa: FBT002 - an option, named where it is used
    *,
    source: Source,
    json: Json = False,
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

    journal, count, library, name, then = asked(customer, at, source)
    known = sorted({name for name, _ in library.journeys})
    if journey is not None and journey not in known:
        raise UsageError(f"there is no journey '{journey}'; {choose(journey, known)}")
    story = explain_story(journal, count, library, name, at=then, journey=journey)
    if not story.lines and story.profile is None:
        raise unknown(name, at)
    if json:
        for line in story.lines:
            emit(line)
    else:
        tell(story, name, out, verbose=verbose, ends="" if source.events is None or source.until or at else ENDS)


def consent(customer: Customer, at: At = None, *, source: Source, json: Json = False) -> None:
    """What a customer agreed to: who said what, when and where.

    Each purpose with its basis, whether it is allowed, and the words on it; whether contact is forbidden; each address
    and whether it can be used. Computed again from the journal.

    Example: polku consent c-7
    Example: polku consent c-7 --at 2026-03-09T12:00:00Z --json
    Example: polku consent c-7 --events seeds/touchpoints/credit-card.jsonl
    """
    from streams import consentview  # noqa: PLC0415 - only this command needs it
    from streams.explain import explain as explain_story  # noqa: PLC0415 - as above

    journal, count, library, name, then = asked(customer, at, source)
    story = explain_story(journal, count, library, name, at=then)
    if story.profile is None:
        raise unknown(name, at)
    found = consentview.agreed(story, story.profile)
    if json:
        emit(found)
    else:
        consentview.tell(story, found, out)


def asked(customer: str, at: str | None, source: Source) -> tuple[Journal, int, Library, str, int | None]:
    """A journal with its count of partitions, the definitions, the profile kind:id and the moment (ms) asked for."""
    then = moment_of("--at", at)
    journal, count, library, kinds = _read(source, at)
    named = ":" in customer and customer.partition(":")[0] in kinds
    return journal, count, library, customer if named else f"customer:{customer}", then


def unknown(name: str, at: str | None = None) -> UsageError:
    """Says that there is no such profile, or was none at a moment."""
    return UsageError(f"nothing is known of {name}{f' at {at}' if at else ''}; is that the id its touchpoints carry?")


def _read(source: Source, at: str | None) -> tuple[Journal, int, Library, Collection[str]]:
    """A journal with its count of partitions, the definitions and the kinds of identifiers."""
    if source.events is not None:
        library = library_of(source.definitions)
        simulator = play(source.events, library, moment_of("--until", source.until or at))
        journal: Journal = {index: list(enumerate(entries)) for index, entries in enumerate(simulator.journal)}
        return journal, simulator.count, library, DEFAULT_KINDS
    from streams.commands_kafka import read_journal, read_library, settings_of  # noqa: PLC0415 - needs Kafka's client

    settings = settings_of(bootstrap=source.bootstrap, prefix=source.prefix)
    journal, count = read_journal(settings)
    return journal, count, read_library(settings), settings.identifier_kinds

"""Commands that read or write a running installation's topics: publish, topics, dlq."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from streams import dlq as dead_letters
from streams import journaldump
from streams.commands_definitions import Bootstrap, Json, Prefix
from streams.engine.rules import Library
from streams.records import connect, partitions_of, read
from streams.settings import Settings
from streams.terminal import UsageError, command, emit, err, moment, out, plural, progress
from streams.topics import CHANNELS, Topics

if TYPE_CHECKING:
    from schemas.journal import Entry

topics_app = typer.Typer(no_args_is_help=True, help="The topics of an installation.", rich_markup_mode=None)
dlq_app = typer.Typer(no_args_is_help=True, help="Dead letters: list them, publish them again.", rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(topics_app, name="topics")
    app.add_typer(dlq_app, name="dlq")


def settings_of(**given: Any) -> Settings:
    """The settings of the environment, and over them what was given as flags. Raises UsageError."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        wrong = "; ".join(
            f"POLKU_{'_'.join(map(str, each['loc'])).upper()} (or its flag): {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        )
        raise UsageError(wrong) from None


def read_library(settings: Settings) -> Library:
    """Every published definition."""
    from streams.definitionlog import read_published  # noqa: PLC0415 - which needs a client that few commands need

    published = read_published(settings)
    for each in published.passed_over:
        err.print(each, markup=False)
    return published.library


def read_journal(settings: Settings) -> tuple[dict[int, list[tuple[int, Entry]]], int]:
    """The journal of a running installation, and its count of partitions."""
    topic, consumer = Topics.of(settings).journal, connect(settings)
    try:
        count = len(partitions_of(consumer, settings, topic))
    finally:
        consumer.close()
    with progress("reading the journal") as advance:
        return journaldump.entries(read(settings, topic, advance)), count


@command(topics_app, "list")
def list_topics(prefix: Prefix = None, json: Json = False) -> None:  # noqa: FBT002 - an option, named where it is used
    """Every topic with its partitions, cleanup and value.

    Example: polku topics list
    """
    for spec in Topics.of(settings_of(prefix=prefix)).specs():
        if json:
            emit(
                {"name": spec.name, "key": spec.key, "value": spec.value, "partitions": spec.partitions} | spec.config()
            )
        else:
            out.print(f"{spec.name:22} {spec.partitions:>3}  {spec.cleanup.value:8} {spec.value}", markup=False)


@command(topics_app)
def check(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    json: Json = False,  # noqa: FBT002 - an option, named where it is used
) -> None:
    """Make the topics that are missing, and check all that a worker checks at its start; each finding with the way out.

    Example: polku topics check --bootstrap kafka:9092
    """
    from streams.preflight import Preflight, PreflightError  # noqa: PLC0415 - only this command needs it

    settings = settings_of(bootstrap=bootstrap, prefix=prefix)
    try:
        counts = asyncio.run(Preflight(settings).run(CHANNELS))
    except PreflightError as error:
        for finding in error.findings:
            if json:
                emit({"problem": finding.problem, "way_out": finding.way_out})
            else:
                out.print(f"{finding.problem}\n  {finding.way_out}", markup=False)
        raise typer.Exit(1) from None
    err.print(f"{plural(len(counts), 'topic')}, nothing wrong")


@command(topics_app)
def dump(
    topic: Annotated[str, typer.Argument(help="the topic's name without the prefix; `polku topics list` shows all")],
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    _json: Annotated[bool, typer.Option("--json", help="JSON Lines, as always")] = True,  # noqa: FBT002 - an option
) -> None:
    """Write a topic's committed records to stdout as JSON Lines.

    Values in base64, byte for byte, and decoded where they are actions, decisions or other records of Polku's. Of the
    journal, `polku simulate --journal` computes again what was published.

    Example: polku topics dump journal > journal.jsonl
    Example: polku topics dump decisions
    """
    settings = settings_of(bootstrap=bootstrap, prefix=prefix)
    count = 0
    with progress(f"reading {topic}") as advance:
        decode = journaldump.decoder(topic)
        for record in read(settings, Topics.of(settings).name(topic), advance):
            sys.stdout.buffer.write(journaldump.line(record, decode))
            count += 1
    sys.stdout.buffer.flush()
    err.print(f"{plural(count, 'record')} of {topic}")


Topic = Annotated[str, typer.Option("--topic", help="touchpoints.dlq or actions.dlq")]
Reason = Annotated[str | None, typer.Option("--reason", help="of this reason only, or with these words in the error")]


@command(dlq_app, "list")
def list_letters(
    topic: Topic = "touchpoints.dlq",
    reason: Reason = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    json: Json = False,  # noqa: FBT002 - an option, named where it is used
) -> None:
    """List dead letters: their origins and the rules they broke.

    Example: polku dlq list
    Example: polku dlq list --reason truncated --json
    """
    settings = settings_of(bootstrap=bootstrap, prefix=prefix)
    count = 0
    for record in dead_letters.letters(settings, Topics.of(settings).name(topic), reason):
        letter = dead_letters.describe(record)
        count += 1
        if json:
            emit(letter)
        else:
            place = f"{letter.origin_topic}/{letter.origin_partition}/{letter.origin_offset}"
            out.print(f"{letter.partition}/{letter.offset}  {moment(letter.timestamp)}  from {place}", markup=False)
            out.print(f"    {letter.error}  ({letter.size} bytes: {letter.excerpt})", markup=False)
    err.print(plural(count, "dead letter"))


@command(dlq_app, "replay")
def replay_letters(
    topic: Topic = "touchpoints.dlq",
    reason: Reason = None,
    at: Annotated[
        str | None, typer.Option("--at", help="only this one, as `partition/offset` of `polku dlq list`")
    ] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    json: Json = False,  # noqa: FBT002 - an option, named where it is used
) -> None:
    """Publish dead letters again, to where they came from.

    With their own key, bytes and headers. An event that was handled a little before changes nothing.

    Example: polku dlq replay --at 0/17
    Example: polku dlq replay --reason schema
    """
    settings = settings_of(bootstrap=bootstrap, prefix=prefix)
    found = dead_letters.letters(settings, Topics.of(settings).name(topic), reason)
    chosen = [record for record in found if at is None or f"{record.partition}/{record.offset}" == at]
    if at is not None and not chosen:
        raise UsageError(f"there is no dead letter at {at} in {topic}; see `polku dlq list`")
    whole = [record for record in chosen if dead_letters.whole(record)]
    with progress("publishing", len(whole)) as advance:
        count = dead_letters.replay(settings, whole, advance)
    left = len(chosen) - len(whole)
    if json:
        emit({"replayed": count, "left": left})
    err.print(f"{plural(count, 'dead letter')} published again")
    if left:
        err.print(f"{plural(left, 'dead letter')} left: larger than a message, they stand at their origins only")

"""Commands that need no Kafka: check, test, simulate."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from schemas.identifiers import DEFAULT_KINDS
from streams import definitions as folders
from streams import journaldump, problems, story
from streams.checks import check as check_definitions
from streams.checks import check_directory
from streams.engine.profile import StateError
from streams.engine.rules import Library, UnknownDefinition
from streams.publish import parse
from streams.reasons import sentence
from streams.simulator import Published, Simulator, replay
from streams.storychecks import unknown_names
from streams.storyfile import load_stories
from streams.terminal import UsageError, command, emit, err, moment, out, plural, progress

PARTITIONS = 4  # journal partitions that an installation has unless its settings say otherwise

Folder = Annotated[
    Path, typer.Argument(help="folder of definitions: journeys/, policy.yaml, templates/", show_default=False)
]
Bootstrap = Annotated[
    str | None,
    typer.Option("--bootstrap", "-b", envvar="POLKU_BOOTSTRAP", help="Kafka brokers", show_default="127.0.0.1:9092"),
]
Prefix = Annotated[
    str | None, typer.Option("--prefix", envvar="POLKU_PREFIX", help="what every topic's name begins with")
]
Json = Annotated[bool, typer.Option("--json", help="JSON Lines on stdout")]
DefinitionsOption = Annotated[
    Path, typer.Option("--definitions", "-d", help="folder of definitions", show_default=True)
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    command(app)(check)
    command(app, "test")(run_tests)
    command(app)(simulate)


def check(folder: Folder, json: Json = False) -> None:  # noqa: FBT002 - an option, named where it is used
    """Check a folder of definitions.

    Journeys, offers, the policy, templates, and the stories beside journeys. Every error at once, with its place
    (file:line:column) and the way out. Exit code 2 when there are errors.

    Example: polku check seeds
    """
    found = check_directory(folder)
    if json:
        for problem in found:
            emit(problem)
    else:
        problems.render(found, out)
    err.print(f"{problems.summary(found)} in {folder}")
    if problems.errors(found):
        raise typer.Exit(2)


def load_checked(folder: Path) -> folders.Definitions:
    """The definitions of a folder. Raises UsageError when there are errors."""
    loaded = folders.load(folder)
    found = problems.errors(check_definitions(loaded))
    if found:
        problems.render(found, err)
        raise UsageError(f"{problems.summary(found)} in {folder}; mend them first (polku check {folder})")
    return loaded


def run_tests(
    folder: Folder,
    json: Json = False,  # noqa: FBT002 - an option, named where it is used
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="show what was as expected, too")] = False,  # noqa: FBT002 - as above
    only: Annotated[str, typer.Option("--only", help="tests with this in their name or file's name")] = "",
) -> None:
    """Run the tests that stand beside journeys.

    In `journeys/*_test.yaml`: given these touchpoints at these times, these actions, decisions and stages. Exit code 1
    when one fails.

    Example: polku test seeds
    Example: polku test seeds --only complaint -v
    """
    loaded = folders.load(folder)
    stories, wrong = load_stories(folder)
    found = problems.errors([*check_definitions(loaded), *wrong])
    if not found:
        doubts = unknown_names(loaded, stories)
        found = problems.errors(doubts)
        problems.render([each for each in doubts if each not in found], err)
    if found:
        problems.render(found, err)
        raise UsageError(f"{problems.summary(found)} in {folder}; mend them first (polku check {folder})")
    if not stories:
        raise UsageError(f"{folder} has no tests; write journeys/<name>_test.yaml beside a journey")
    stories = [each for each in stories if only.lower() in f"{each.test} {Path(each.file).name}".lower()]
    if not stories:
        raise UsageError(f"no test has '{only}' in its name or its file's name; leave out --only to see all")
    failed = 0
    for result in story.run_all(loaded, stories):
        failed += not result.passed
        if json:
            emit(
                {
                    "test": result.story.test,
                    "passed": result.passed,
                    "lines": [{"mark": line.mark, "text": line.text, "where": line.where} for line in result.lines],
                }
            )
        else:
            story.render(result, out, verbose=verbose)
    err.print(f"{len(stories) - failed} passed, {failed} failed")
    if failed:
        raise typer.Exit(1)


def simulate(
    events: Annotated[str | None, typer.Option("--events", help="touchpoints as JSON Lines; - for stdin")] = None,
    journal: Annotated[
        Path | None, typer.Option("--journal", help="a dump made by `polku topics dump journal`")
    ] = None,
    definitions: DefinitionsOption = Path("seeds"),
    until: Annotated[
        str | None, typer.Option("--until", help="with --events: let time pass to this ISO 8601 moment")
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option("--partitions", min=1, max=1000, help="journal partitions", show_default="4, or the dump's"),
    ] = None,
    json: Json = False,  # noqa: FBT002 - an option, named where it is used
) -> None:
    """Compute what would be, or was, published; no Kafka.

    Router and engine on a journal in memory. Each touchpoint of --events is recorded at its occurred_at; --journal
    gives what was published, byte for byte.

    Example: polku simulate --events seeds/touchpoints/credit-card.jsonl
    Example: polku topics dump journal > journal.jsonl
             polku simulate --journal journal.jsonl -d seeds
    """
    if (events is None) == (journal is None):
        raise UsageError("say what to play: either --events FILE or --journal FILE")
    if journal is not None and until is not None:
        raise UsageError("--until goes with --events: a journal has its own time")
    end = moment_of("--until", until)
    read = journaldump.load(_file(journal)) if journal is not None else {}
    if events not in {None, "-"}:
        _file(Path(str(events)))
    library = library_of(definitions)
    if journal is not None:
        published, states = _replay(journal, read, library, partitions)
    else:
        played = play(str(events), library, end, partitions or PARTITIONS)
        published, states = played.published, played.states()
    if json:
        _rows(published, states)
    else:
        _narrate(published)
    err.print(
        f"{plural(len(published.actions), 'action')}, {plural(len(published.decisions), 'decision')}, "
        f"{plural(len(published.withdrawals), 'withdrawal')}, {plural(len(states), 'profile')}"
    )


@contextmanager
def lines_of(name: str) -> Iterator[BinaryIO]:
    """A file, or stdin for `-`, to read lines of."""
    if name == "-":
        yield sys.stdin.buffer
        return
    with _file(Path(name)).open("rb") as file:
        yield file


def _file(path: Path) -> Path:
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    return path


def _replay(
    path: Path, journal: journaldump.Journal, library: Library, partitions: int | None
) -> tuple[Published, dict[str, bytes]]:
    # Every partition has marks, so a whole dump has them all.
    needed = max(journal, default=PARTITIONS - 1) + 1
    if (partitions or needed) < needed:
        raise UsageError(f"{path} has {needed} partitions, not {partitions}; leave out --partitions")
    try:
        return replay(journal, partitions or needed, library)
    except UnknownDefinition as error:
        raise UsageError(f"{path}: {error} (--definitions: the folder that was in force)") from None
    except StateError as error:
        raise UsageError(f"{path}: not a journal of this version: {error}") from None


def library_of(folder: Path) -> Library:
    """The definitions of a folder, as the engine takes them. Raises UsageError when there are errors."""
    return folders.library(load_checked(folder).loaded())


def play(events: str, library: Library, end: int | None, partitions: int = PARTITIONS) -> Simulator:
    """Play the touchpoints of a file (`-`: stdin), each at its occurred_at; then let time pass to `end` (ms)."""
    simulator = Simulator(library, partitions)
    with lines_of(events) as lines, progress("playing") as advance:
        for _line, touchpoint in parse(lines, events, DEFAULT_KINDS):
            simulator.touchpoint(touchpoint, touchpoint.occurred_at)
            advance(1)
    if end is not None:
        simulator.advance_to(end)
    return simulator


def moment_of(option: str, text: str | None) -> int | None:
    """Milliseconds of a moment given as an option; None when it is not. Raises UsageError."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{option} {text}: not an ISO 8601 moment, such as 2026-03-02T12:00:00Z") from None
    if parsed.tzinfo is None:
        raise UsageError(f"{option} {text}: say in which zone, such as {text}Z")
    return int(parsed.timestamp() * 1000)


def _rows(published: Published, states: dict[str, bytes]) -> None:
    kinds: list[tuple[str, list[Any]]] = [
        ("action", published.actions),
        ("decision", published.decisions),
        ("withdrawal", published.withdrawals),
    ]
    for kind, rows in kinds:
        for row in rows:
            emit({"kind": kind, kind: row})
    for (source, target), entries in sorted(published.entries.items()):
        for entry in entries:
            emit({"kind": "entry", "source": source, "target": target, "entry": entry})
    for name in sorted(states):
        emit({"kind": "state", "profile": name, "state": states[name].hex()})


def _narrate(published: Published) -> None:
    actions = {action.action_id: action for action in published.actions}
    for decision in sorted(published.decisions, key=lambda each: each.at):
        told = sentence(decision, actions.get(decision.action_id or ""))
        out.print(f"{moment(decision.at)}  {decision.profile}  {told}", markup=False)

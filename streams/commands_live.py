"""Commands that change what is live: publish, rollback, stop, resume; and audit, which lists what they did."""

from __future__ import annotations

import getpass
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.journal import EVERYBODY
from schemas.journey import Journey
from streams.commands_definitions import Bootstrap, Json, Prefix, lines_of, load_checked
from streams.publish import parse
from streams.publish import publish as publish_touchpoints
from streams.terminal import UsageError, command, emit, err, moment, out, plural, progress
from streams.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.definitionlog import Published
    from streams.definitions import AnyLoaded
    from streams.impact import Change, Group
    from streams.releases import Release
    from streams.settings import Settings

Yes = Annotated[bool, typer.Option("--yes", "-y", help="ask nothing")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only show what would change")]
By = Annotated[str | None, typer.Option("--by", help="who wants it", show_default="the user of this system")]
Why = Annotated[str, typer.Option("--why", help="why, for the audit")]
Scope = Annotated[str, typer.Argument(help="marketing, journey/<name> or offer/<name>")]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to stop or to go on, and who wants it."""

    scope: Scope
    why: Why = ""
    by: By = None
    bootstrap: Bootstrap = None
    prefix: Prefix = None


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for function in (publish, rollback, stop, resume, audit):
        command(app)(function)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return ""


def publish(  # noqa: PLR0913, PLR0917 - a parameter for each flag
    path: Annotated[str, typer.Argument(help="a folder of definitions, or touchpoints as JSON Lines (- for stdin)")],
    canary: Annotated[
        int | None,
        typer.Option("--canary", min=1, max=EVERYBODY, help="new journeys for so many percent of those who enter"),
    ] = None,
    yes: Yes = False,  # noqa: FBT002 - an option, named where it is used
    dry_run: DryRun = False,  # noqa: FBT002 - as above
    by: By = None,
    why: Why = "",
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    json: Json = False,  # noqa: FBT002 - as above
) -> None:
    """Publish the definitions of a folder, or touchpoints.

    Of definitions, those that the installation lacks are written, after a look at what changes for whom, and its
    workers put the newest version of each in force. A published version never changes. --canary 100 completes a
    canary. Every touchpoint is checked as the router would.

    Example: polku publish seeds --dry-run
    Example: polku publish seeds --yes --why "shorter waits"
    Example: polku publish seeds --canary 10
    Example: polku publish seeds/touchpoints/credit-card.jsonl
    Example: echo '{"event_id": "e-1", ...}' | polku publish -
    """
    from streams.commands_kafka import settings_of  # noqa: PLC0415 - which imports this module's neighbours
    from streams.releases import Release  # noqa: PLC0415 - imports that --help need not pay

    settings = settings_of(bootstrap=bootstrap, prefix=prefix)
    if path == "-" or not Path(path).is_dir():
        _touchpoints(settings, path, json=json)
        return
    definitions = load_checked(Path(path)).loaded()
    said = Release(EVERYBODY if canary is None else canary, _user() if by is None else by, why)
    _go_live(settings, definitions, said, canary, yes=yes, dry_run=dry_run, json=json)


def _touchpoints(settings: Settings, path: str, *, json: bool) -> None:
    if path != "-":  # all lines are good, or none is published
        with lines_of(path) as lines:
            for _ in parse(lines, path, settings.identifier_kinds):
                pass
    with lines_of(path) as lines, progress("publishing") as advance:
        touchpoints = parse(lines, path, settings.identifier_kinds)
        count = publish_touchpoints(settings, Topics.of(settings).touchpoints, touchpoints, advance)
    if json:
        emit({"published": count, "what": "touchpoint"})
    err.print(f"{plural(count, 'touchpoint')} published")


def _go_live(
    settings: Settings,
    definitions: Sequence[AnyLoaded],
    said: Release,
    canary: int | None,
    *,
    yes: bool,
    dry_run: bool,
    json: bool,
) -> None:
    """Show what publishing changes, ask, and publish."""
    from streams import definitionlog, impact  # noqa: PLC0415 - imports that --help need not pay

    published = definitionlog.read_published(settings)
    for each in published.passed_over:
        err.print(each, markup=False)
    lacking = definitionlog.missing(definitions, published)
    found = impact.changes(definitions, published, canary)
    _count(settings, found, definitions, published)
    for change in found:
        if json:
            emit(change.row())
        elif change.what != "unchanged":
            for line in _told(change):
                out.print(line, markup=False)
    same = [f"{each.kind} {each.name} {each.version}" for each in found if each.what == "unchanged"]
    if same and not json:
        out.print(f"unchanged: {', '.join(same)}", markup=False)
    _refuse(found, canary)
    shares = {(each.kind, each.name, each.version) for each in found if each.what == "share"}
    writing = [each for each in definitions if each in lacking or (each.kind, each.name, each.version) in shares]
    if dry_run:
        err.print(f"{plural(len(writing), 'definition')} would be published")
        return
    if writing and not yes:
        if not sys.stdin.isatty():
            raise UsageError("there is nobody to ask: --yes publishes, --dry-run only shows")
        if not typer.confirm(f"Publish {plural(len(writing), 'definition')}?", err=True):
            raise typer.Exit(1)
    definitionlog.release(settings, writing, published, said)
    if json:
        emit({"published": len(writing), "what": "definition"})
    err.print(f"{plural(len(writing), 'definition')} published")


def _count(settings: Settings, found: list[Change], definitions: Sequence[AnyLoaded], published: Published) -> None:
    from streams.impact import Census  # noqa: PLC0415 - as above
    from streams.records import extent, read  # noqa: PLC0415 - as above

    census = Census(found, definitions, published, int(time.time() * 1000))
    if not census.needed:
        return
    topic = Topics.of(settings).changelog
    with progress("counting who is where", extent(settings, topic)) as advance:
        for record in read(settings, topic, advance):
            if record.key is not None:
                census.look(record.key, record.value)
    census.finish()


def _refuse(found: list[Change], canary: int | None) -> None:
    """Raise UsageError for what must not be published."""
    if canary is not None and canary != EVERYBODY:
        for change in found:
            if change.kind != "journey" and change.what in {"new", "changed"}:
                raise UsageError(f"a {change.kind} is for everybody: publish {change.name} first, without --canary")
    lost = [(change, group) for change in found for group in change.lost]
    if lost:
        listed = "; ".join(
            f"{plural(group.count, 'customer')} in stage {group.stage} of {change.name} {group.version}"
            for change, group in lost
        )
        way_out = f"say where they go: 'moved: {{{lost[0][1].stage}: <stage>}}'"
        raise UsageError(f"nothing was published: it would strand {listed}; {way_out}")


_WHAT = {
    "new": "new",
    "changed": "changed, after version {former}",
    "share": "for {share} % of those who enter, before {before} %",
    "older": "older than what is in force: kept, and changes nothing",
}


def _told(change: Change) -> list[str]:
    """A change in words."""
    what = _WHAT[change.what].format(former=change.former, share=change.share, before=change.before)
    lines = [f"{change.kind} {change.name} {change.version}: {what}"]
    lines += [f"    {line}" for line in change.diff]
    if change.what in {"new", "changed"} and change.share != EVERYBODY:
        lines.append(f"  for {change.share} % of those who enter from now on; all others stay where they are")
    if change.moves:
        lines += [f"  {_group(group)}" for group in change.groups] or ["  nobody is in it"]
    return lines


def _group(group: Group) -> str:
    where = f"{plural(group.count, 'customer')} in stage {group.stage} of version {group.version}"
    if group.then == "stay":
        return f"{where}: stay there"
    if group.then != "move":
        return f"{where}: the stage is gone, and nothing says where they go"
    goes = "move, to the same stage" if group.to == group.stage else f"move to {group.to}"
    fires = f"; for {group.overdue:,} a timer is overdue and fires at once" if group.overdue else ""
    return f"{where}: {goes}{fires}"


def rollback(  # noqa: PLR0913, PLR0917 - a parameter for each flag
    subject: Annotated[str, typer.Argument(help="journey/<name>, offer/<name> or policy/<name>")],
    to: Annotated[
        int | None, typer.Option("--to", help="the version to go back to", show_default="the one before")
    ] = None,
    follow: Annotated[  # noqa: FBT002 - an option, named where it is used
        bool, typer.Option("--follow", help="those who are in later versions move back, too")
    ] = False,
    moved: Annotated[
        list[str] | None,
        typer.Option("--moved", metavar="STAGE=STAGE", help="with --follow: like a journey's `moved`"),
    ] = None,
    yes: Yes = False,  # noqa: FBT002 - as above
    dry_run: DryRun = False,  # noqa: FBT002 - as above
    by: By = None,
    why: Why = "",
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    json: Json = False,  # noqa: FBT002 - as above
) -> None:
    """Publish an earlier version's content again, as the next version.

    With the look at what changes for whom that publish gives. A canary that runs ends: the version that is for all is
    published again.

    Example: polku rollback journey/free-delivery-coupon --why "too many"
    Example: polku rollback journey/onboarding --follow --moved waiting=active
    """
    from streams import definitionlog  # noqa: PLC0415 - as above
    from streams.commands_kafka import settings_of  # noqa: PLC0415 - as above
    from streams.releases import Release  # noqa: PLC0415 - as above

    settings = settings_of(bootstrap=bootstrap, prefix=prefix)
    published = definitionlog.read_published(settings)
    again = _earlier(published, subject, to, _mapping(moved or []) if follow else None)
    said = Release(EVERYBODY, _user() if by is None else by, why or f"rollback to the content of version {again[1]}")
    _go_live(settings, [again[0]], said, None, yes=yes, dry_run=dry_run, json=json)


def _mapping(pairs: list[str]) -> dict[str, str]:
    wrong = [pair for pair in pairs if pair.count("=") != 1]
    if wrong:
        raise UsageError(f"--moved {wrong[0]}: write it as <stage>=<stage>")
    return {old: new for old, _, new in (pair.partition("=") for pair in pairs)}


def _earlier(published: Published, subject: str, to: int | None, moved: dict[str, str] | None) -> tuple[AnyLoaded, int]:
    """The next version of a definition with an earlier one's content, and which one that is. Raises UsageError."""
    from streams.definitions import loaded_of  # noqa: PLC0415 - as above

    kind, _, name = subject.partition("/")
    versions, active = published.of(kind, name), published.in_force(kind, name)
    if not versions:
        known = sorted("/".join(each) for each in published.versions)
        raise UsageError(f"there is no {subject}; known: {', '.join(known) or 'none'}")
    newest = max(versions)
    earlier = [version for version in versions if version < newest]
    if to is None and active is not None and published.canary(kind, name) is None:
        earlier = [version for version in earlier if version < active.loaded.version]
    wanted = max(earlier, default=0) if to is None else to
    if wanted not in versions or (to is not None and to == newest):
        listed = ", ".join(map(str, sorted(version for version in versions if version < newest))) or "none"
        what = "earlier version" if to is None else f"version {to} before the newest"
        raise UsageError(f"{subject} has no {what}; known: {listed}")
    more: dict[str, Any] = {"version": newest + 1}
    model = versions[wanted].loaded.model
    if moved is not None:
        if not isinstance(model, Journey):
            raise UsageError("--follow is for journeys: nobody is in anything else")
        more |= {"edits": "follow", "moved": moved}
        unknown = sorted(set(moved.values()) - model.stages.keys())
        if unknown:
            raise UsageError(f"--moved: version {wanted} has no stage '{unknown[0]}'; known: {', '.join(model.stages)}")
    return loaded_of(kind, model.model_copy(update=more)), wanted


def stop(*, order: Order, json: Json = False) -> None:
    """Stop all marketing, a journey or an offer, at once.

    Sinks deliver nothing of it any more, not what waits in their queues either, which is withdrawn; the engine refuses
    what is proposed, lets nobody into a stopped journey and chooses no stopped offer. Exit code 1 when not every
    journal partition has it in time.

    Example: polku stop marketing --why "wrong prices in the mails"
    Example: polku stop journey/onboarding --why "under review"
    """
    _say(order, stopped=True, json=json)


def resume(*, order: Order, json: Json = False) -> None:
    """End a stop.

    What was withdrawn or refused meanwhile is not made up for; banners are shown again.

    Example: polku resume marketing --why "prices are right again"
    """
    _say(order, stopped=False, json=json)


def _say(order: Order, *, stopped: bool, json: bool) -> None:
    from schemas.control import Control  # noqa: PLC0415 - as above
    from streams import definitionlog, stopping  # noqa: PLC0415 - as above
    from streams.commands_kafka import settings_of  # noqa: PLC0415 - as above

    settings, scope = settings_of(bootstrap=order.bootstrap, prefix=order.prefix), order.scope
    published = definitionlog.read_published(settings)
    named = stopping.scope_of(scope, published)
    before = published.stops.get(named)
    at = definitionlog.later(before.at if before is not None else 0)
    by = _user() if order.by is None else order.by
    word = Control(scope=named, stopped=stopped, at=at, by=by, why=order.why)
    said = stopping.say(settings, published, word)
    if json:
        emit(
            {"scope": scope, "stopped": stopped, "news": said.news, "at": said.word.at, "by": said.word.by}
            | {"why": said.word.why, "partitions": said.partitions, "lacking": said.lacking}
        )
    state = "stopped" if stopped else "not stopped"
    if not said.news:
        since = f" since {moment(said.word.at)} by {said.word.by or 'nobody named'}" if before is not None else ""
        err.print(f"{scope} is {state} already{since}", markup=False)
    elif said.lacking:
        err.print(
            f"{scope} is {state}: sinks know within 2 s, but {plural(len(said.lacking), 'journal partition')} of "
            f"{said.partitions} had not read it in time; is a worker running?",
            markup=False,
        )
        raise typer.Exit(1)
    else:
        err.print(f"{scope} is {state}: in force in {plural(said.partitions, 'journal partition')}", markup=False)


def audit(
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    json: Json = False,  # noqa: FBT002 - an option, named where it is used
) -> None:
    """List what was put in force and stopped, by whom and why.

    From the journal: activations, canaries, stops and their ends, with the time the first partition had each.

    Example: polku audit
    Example: polku audit --json
    """
    from streams.audit import acts  # noqa: PLC0415 - as above
    from streams.commands_kafka import settings_of  # noqa: PLC0415 - as above
    from streams.records import extent, read  # noqa: PLC0415 - as above

    settings = settings_of(bootstrap=bootstrap, prefix=prefix)
    topic = Topics.of(settings).journal
    with progress("reading the journal", extent(settings, topic)) as advance:
        found = acts(read(settings, topic, advance))
    for act in found:
        if json:
            emit(act)
            continue
        version = f" {act.version}" if act.version else ""
        share = f" for {act.share} %" if act.what == "canary" else ""
        by, why = f"  by {act.by}" if act.by else "", f"  {act.why}" if act.why else ""
        out.print(f"{moment(act.at)}  {act.what:8} {act.subject}{version}{share}{by}{why}", markup=False)
    err.print(plural(len(found), "act"))

"""A customer's story on a terminal: each touchpoint, what came of it, and how things stand at its end."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from streams.engine import cases
from streams.engine.gates import COOKIE
from streams.engine.holds import is_open
from streams.reasons import after, day_and_time, written
from streams.terminal import moment, plural

if TYPE_CHECKING:
    from datetime import tzinfo

    from rich.console import Console

    from streams.engine.profile import Dossier, Instance, Profile
    from streams.explain import Story
    from streams.storylines import Line

INDENT = 12
MOST = 100  # characters of an event's properties: enough for a page and a form, and a line stays a line
_COLOURS = {
    "touchpoint": "bold",
    "outcome": "magenta",
    "linked": "blue",
    "unlinked": "blue",
    "transition": "cyan",
    "passed": "yellow",
}
_MARKS = {"transition": "· ", "passed": "✗ "}
_VERDICTS = {
    "sent": ("✓", "green"),
    "held": ("…", "yellow"),
    "refused": ("✗", "red"),
    "withdrawn": ("↩", "yellow"),
    "at-risk": ("!", "yellow"),
    "broken": ("!", "red"),
    "kept": ("✓", "green"),
}


def tell(story: Story, asked: str, console: Console, *, verbose: bool = False, ends: str = "") -> None:
    """Print a story by the customer's clock; `asked` is the name it was asked for by.

    With `verbose`, say what would have changed verdicts. `ends` says why time goes no further.
    """
    head = Text(story.name, "bold")
    if asked != story.name:
        head.append(f"  ({asked} is this customer{'' if asked.startswith('customer:') else chr(39) + 's'})", "not bold")
    console.print(head)
    day, clock, whose = "", "", _whose(story)
    for line in story.lines:
        then = datetime.fromtimestamp(line.at / 1000, story.clock)
        if (today := f"{then:%a} {then.day} {then:%B %Y}, {whose}") != day:
            day, clock = today, ""
            console.print(Text(f"\n{day}", "underline"))
        begins = line.kind not in {"transition", "decision", "passed"}
        shown = "" if f"{then:%X}" == clock and not begins else f"{then:%X}"
        clock = f"{then:%X}"
        console.print(Text(f"{shown:{10 if begins else INDENT}}").append_text(_row(line)))
        if verbose and line.would_change:
            console.print(Text(f"{'':{INDENT}}  → {line.would_change}", "italic"))
    if story.journey is not None:
        _entering(story, console)
    if story.profile is not None:
        _standing(story, story.profile, console, ends)


def _row(line: Line) -> Text:
    if line.decision is not None:
        mark, colour = _VERDICTS.get(line.decision.verdict, ("·", "dim"))
        return Text(f"{mark} {line.text}", colour)
    if line.kind != "touchpoint":
        return Text(f"{_MARKS.get(line.kind, '')}{line.text}", _COLOURS[line.kind])
    words = " ".join(f"{name}={_plain(value)}" for name, value in line.properties.items())
    row = Text(line.text, _COLOURS["touchpoint"]).append(f" ({line.channel})", "not bold")
    return row.append(f"  {words if len(words) <= MOST else words[: MOST - 1] + '…'}" if words else "", "dim not bold")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _entering(story: Story, console: Console) -> None:
    """What lets one into the journey that was asked about, and whether it came."""
    for name, count in story.came.items():
        times = "never came" if not count else f"came {plural(count, 'time')}"
        console.print(Text(f"\n{story.journey} is entered by {name}, which {times}"))


def _whose(story: Story) -> str:
    """Whose clock it is told by."""
    return "UTC" if str(story.clock) == "UTC" else f"the customer's clock ({story.clock})"


def _standing(story: Story, profile: Profile, console: Console, ends: str) -> None:
    """How things stand at the end of the story: journeys, consents, what is open."""
    rows = [
        (f"{each.journey} v{each.version}", _stands(each, story))
        for each in profile.instances.values()
        if story.journey in {None, each.journey}
    ]
    if story.journey is None:
        rows += _known(profile, story.clock)
    if rows:
        head = Text(f"\n{'Now' if story.at is None else 'Then'}, {moment(story.now, story.clock)}", "underline")
        console.print(head.append(f" ({ends})" if ends else "", "not underline"))
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        console.print(Text(f"{name:{width}}  {value}"))


def _known(profile: Profile, clock: tzinfo) -> list[tuple[str, str]]:
    rows = [
        (f"consent to {name.removeprefix(COOKIE)}{' (cookie)' if name.startswith(COOKIE) else ''}",
         f"{'given' if word.granted else 'withdrawn'} {moment(word.at, clock)}")
        for name, word in profile.consents.items()
    ]  # fmt: skip
    if profile.contact is not None and not profile.contact.granted:
        rows.append(("do not contact", f"since {moment(profile.contact.at, clock)}"))
    rows += [
        (name, f"open since {moment(case.opened, clock)}")
        for name, case in profile.cases.items()
        if is_open(case, profile.now)
    ]
    rows += [(_case(key), _carries(key, case, clock)) for key, case in profile.dossiers.items() if cases.is_open(case)]
    if profile.held:
        rows.append(("known by", ", ".join(sorted(profile.held))))
    if profile.customer is not None and profile.id != f"customer:{profile.customer}":
        rows.append(("called", profile.customer))
    return rows


def _stands(instance: Instance, story: Story) -> str:
    clock = story.clock
    if instance.ended:
        return f"ended in stage {instance.stage} {moment(instance.ended, clock)} ({after(instance.why)})"
    waiting = f", {plural(len(instance.held), 'action')} held back" if instance.held else ""
    promised = "".join(
        f", promise {name} due {moment(promise.due, clock) if promise.due else 'never'}"
        for name, promise in instance.promises.items()
    )
    return (
        f"in stage {instance.stage} since {moment(instance.entered, clock)}{waiting}{promised}{_next(instance, story)}"
    )


def _next(instance: Instance, story: Story) -> str:
    """The next timer of a journey that runs."""
    if instance.journey not in story.timers:
        return ""
    due, text = story.timers[instance.journey]
    return f", next: {written(text)}, {day_and_time(datetime.fromtimestamp(due / 1000, story.clock))}"


def _case(key: str) -> str:
    kind, _, number = key.partition("/")
    return f"{kind} {number}".rstrip()


def _carries(key: str, case: Dossier, clock: tzinfo) -> str:
    """An open case: since when, where it is and was, what it carries."""
    *before, here = cases.channels(key, case) or [""]
    paused = f", paused {moment(case.paused, clock)}" if cases.is_paused(case) else ""
    where = f", on {here}" if here else ""
    was = f" (before: {', '.join(before)})" if before else ""
    carried = " ".join(f"{name}={_plain(value)}" for name, value in cases.carried(key, case).items())
    return f"open since {moment(cases.opened(case), clock)}{paused}{where}{was}{f', {carried}' if carried else ''}"

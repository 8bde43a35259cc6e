"""Runs stories (`polku test`): plays what is given, and compares all that came of it with what was expected.

Actions and withdrawals must be those expected, all of them and in order; of decisions, those expected must be there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from rich.text import Text

from streams.definitions import Definitions, library
from streams.engine.rules import Library
from streams.reasons import after
from streams.storyarms import drawn
from streams.storyfile import Expectation, Story
from streams.storyplay import Played, StoryError, play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console

    from schemas.action import Action, Withdrawal
    from schemas.decision import Decision
    from streams.engine.profile import Instance

_MS = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a comparison: `ok` as expected, `-` expected and missing, `+` got and not expected, `!` different."""

    mark: str
    text: str
    where: str = ""


@dataclass(slots=True)
class Result:
    """How a story went. `seconds` is the time it took to play."""

    story: Story
    lines: list[Line] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether everything was as expected."""
        return all(line.mark == "ok" for line in self.lines)


def run_all(definitions: Definitions, stories: Iterable[Story]) -> Iterator[Result]:
    """Play each story by itself; the definitions must be without errors."""
    known = library(definitions.loaded())
    for story in stories:
        started = time.perf_counter()
        result = run(known, story)
        result.seconds = time.perf_counter() - started
        yield result


def run(known: Library, story: Story) -> Result:
    """Play one story and compare."""
    result = Result(story)
    try:
        played = play(known, story)
    except StoryError as error:
        result.lines.append(Line("-", str(error), f"{story.file}:{error.line}"))
        return result
    expected = {kind: [item for item in story.expect if item.kind == kind] for kind in ("action", "withdrawn")}
    result.lines += _sequence(
        story,
        expected["action"],
        [(_seen_action(at, action), f"{_time(at)}  {_say(action)}") for at, action in played.actions],
    )
    result.lines += _sequence(
        story,
        expected["withdrawn"],
        [
            (
                _seen_withdrawal(taken, action),
                f"{_time(taken.at)}  withdrawn {action.action if action else '?'}: {taken.reason}",
            )
            for taken, action in played.withdrawals
        ],
    )
    others = {"decision": _decision, "stage": _stage}
    result.lines += [others[item.kind](story, item, played) for item in story.expect if item.kind in others]
    for each in drawn(story, played):
        where = f"{story.file}:{each.item.line}" if each.item is not None and not each.good else ""
        result.lines.append(Line("ok" if each.good else "-", each.text, where))
    return result


# ---- what was seen, in the words of expectations


def _seen_action(at: int, action: Action) -> dict[str, Any]:
    seen: dict[str, Any] = {
        name: getattr(action, name)
        for name in (
            *("action", "channel", "to", "template", "purpose", "basis", "journey", "stage", "customer", "profile"),
            *("priority", "reason", "standing", "offer"),
        )
    }
    link = msgspec.to_builtins(action.link) if action.link is not None else None
    return seen | {
        "at": at,
        "expires": action.expires_at,
        "with": action.params,
        "link": {"path": link[0], "position": link[1]} if link is not None else None,
    }


def _seen_withdrawal(taken: Withdrawal, action: Action | None) -> dict[str, Any]:
    kind = action.action if action is not None else None
    return {"withdrawn": kind, "at": taken.at, "channel": taken.channel, "reason": taken.reason}


def _differences(wanted: dict[str, Any], seen: dict[str, Any]) -> list[str]:
    found = []
    for key, value in wanted.items():
        got = seen.get(key)
        if key == "with" and isinstance(value, dict):
            parts = got if isinstance(got, dict) else {}
            found += [
                f"with.{name}: expected {_plain(each)}, got {_plain(parts.get(name))}"
                for name, each in value.items()
                if parts.get(name) != each
            ]
        elif key == "link":
            if not _same_link(value, got):
                found.append(f"link: expected {_link(value)}, got {_link(got)}")
        elif got != value:
            as_time = key in ("at", "expires")
            found.append(
                f"{key}: expected {_time(value) if as_time else _plain(value)}, "
                f"got {_time(got) if as_time and isinstance(got, int) else _plain(got)}"
            )
    return found


def _same_link(wanted: Any, got: Any) -> bool:
    if got is None or wanted is None:
        return got is wanted
    if isinstance(wanted, str):
        return bool(got["path"] == wanted)
    return all(str(got.get(key)) == str(value) for key, value in wanted.items())


def _sequence(story: Story, wanted: list[Expectation], seen: list[tuple[dict[str, Any], str]]) -> list[Line]:
    """Compare two sequences: as many equal pairs as possible, then of what is left pairs of one kind side by side."""
    pairs = _aligned(len(wanted), len(seen), lambda i, j: not _differences(wanted[i].values, seen[j][0]))
    lines: list[Line] = []
    for missing, surplus, pair in pairs:
        for i in missing:
            item = wanted[i]
            kind = item.kind
            like = next((j for j in surplus if seen[j][0][kind] == item.values[kind]), None)
            where = f"{story.file}:{item.line}"
            if like is None:
                lines.append(Line("-", f"expected {_wanted(item)}", where))
            else:
                surplus.remove(like)
                lines.append(Line("!", seen[like][1], where))
                lines += [Line("!", f"    {each}") for each in _differences(item.values, seen[like][0])]
        lines += [Line("+", f"{seen[j][1]}  (not expected)") for j in surplus]
        if pair is not None:
            lines.append(Line("ok", seen[pair[1]][1]))
    return lines


def _aligned(
    left: int, right: int, same: Callable[[int, int], bool]
) -> Iterator[tuple[list[int], list[int], tuple[int, int] | None]]:
    """The longest common subsequence: before each common pair, what only the left and only the right have."""
    equal = [[same(i, j) for j in range(right)] for i in range(left)]
    best = [[0] * (right + 1) for _ in range(left + 1)]
    for i in reversed(range(left)):
        for j in reversed(range(right)):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + 1 if equal[i][j] else 0)
    i = j = 0
    only_left: list[int] = []
    only_right: list[int] = []
    while i < left or j < right:
        if i < left and j < right and equal[i][j] and best[i][j] == best[i + 1][j + 1] + 1:
            yield only_left, only_right, (i, j)
            only_left, only_right, i, j = [], [], i + 1, j + 1
        elif j == right or (i < left and best[i + 1][j] >= best[i][j + 1]):
            only_left.append(i)
            i += 1
        else:
            only_right.append(j)
            j += 1
    yield only_left, only_right, None


def _decision(story: Story, item: Expectation, played: Played) -> Line:
    wanted = {("verdict" if key == "decision" else key): value for key, value in item.values.items()}
    closest: tuple[int, str] | None = None
    for decision in played.decisions:
        seen = msgspec.structs.asdict(decision)
        different = _differences(wanted, seen)
        if not different:
            return Line("ok", f"{_time(decision.at)}  {_say_decision(decision)}")
        if closest is None or len(different) < closest[0]:
            closest = len(different), f"{_say_decision(decision)}; {'; '.join(different)}"
    verdict, gate = item.values["decision"], item.values.get("gate")
    if not played.decisions:
        nearest = "there was none at all"
    elif not any(decision.verdict == verdict or decision.gate == gate for decision in played.decisions):
        nearest = f"there was no decision '{verdict}'" + (f", and none of gate {gate}" if gate is not None else "")
    else:
        nearest = f"the nearest is: {closest[1]}" if closest is not None else ""
    nearest = f"; {nearest}"
    return Line("-", f"expected {_wanted(item)}{nearest}", f"{story.file}:{item.line}")


def _stage(story: Story, item: Expectation, played: Played) -> Line:
    where = f"{story.file}:{item.line}"
    names = [item.values["profile"]] if "profile" in item.values else played.profiles
    found: dict[str, Instance] = {}
    for name in names:
        profile = played.simulator.profile(name)
        for journey, instance in (profile.instances if profile is not None else {}).items():
            found.setdefault(journey, instance)
    named = story.journey
    journey = item.values.get("journey") or (named if named in found else next(iter(found), named))
    if journey not in found:
        return Line("-", f"expected {_wanted(item)}; nobody is in journey '{journey}'", where)
    instance = found[journey]
    said = f"{journey}: stage {instance.stage}" + (f", ended ({after(instance.why)})" if instance.ended else "")
    if instance.stage != item.values["stage"] or item.values.get("ended", bool(instance.ended)) is not bool(
        instance.ended
    ):
        return Line("-", f"expected {_wanted(item)}; got {said}", where)
    return Line("ok", said)


# ---- words


def _time(at: int) -> str:
    time_of = datetime.fromtimestamp(at / _MS, UTC)
    return time_of.isoformat(sep=" ", timespec="milliseconds" if at % _MS else "seconds").replace("+00:00", "Z")


def _plain(value: Any) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _link(link: Any) -> str:
    if isinstance(link, dict):
        return str(link.get("path")) + (f" at {link['position']}" if link.get("position") is not None else "")
    return _plain(link)


def _say(action: Action) -> str:
    words = [f"{action.action} -> {action.channel}"]
    words += [action.to] if action.to else []
    words += [f"template={action.template}"] if action.template else []
    words += [f"{name}={_plain(value)}" for name, value in action.params.items()]
    words += (
        [f"link={action.link.path}" + (f" at {action.link.position}" if action.link.position else "")]
        if action.link
        else []
    )
    return " ".join(words)


def _say_decision(decision: Decision) -> str:
    what = f" {decision.action}" if decision.action else ""
    return f"{decision.verdict}{what} by {decision.gate}: {decision.reason}"


def _wanted(item: Expectation) -> str:
    words = []
    for key, value in item.values.items():
        if key in ("at", "expires"):
            words.append(f"{key}={_time(value)}")
        elif key == item.kind:
            words.insert(0, f"{key} {_plain(value)}")
        else:
            words.append(f"{key}={_link(value) if key == 'link' else _plain(value)}")
    return " ".join(words)


_COLOURS = {"ok": "green", "-": "red", "+": "yellow", "!": "red"}


def render(result: Result, console: Console, *, verbose: bool = False) -> None:
    """Print how a story went: one line when as expected, else the comparison."""
    good = result.passed
    head = Text.assemble(("pass" if good else "FAIL", "bold green" if good else "bold red"), "  ", result.story.test)
    head.append(f"  ({result.story.file}:{result.story.line})", "dim")
    console.print(head, soft_wrap=True)
    if good and not verbose:
        return
    for line in result.lines:
        mark = "  " if line.mark == "ok" else f"{line.mark} "
        text = Text.assemble("    ", (mark + line.text, _COLOURS[line.mark]))
        if line.where:
            text.append(f"  [{line.where}]", "dim")
        console.print(text, soft_wrap=True)

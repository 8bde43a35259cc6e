"""Stories: the tests that stand beside journeys, as people write them in `<journey>_test.yaml`.

A file holds one story or a list of them. `test` says in a sentence what is expected; `given` are touchpoints,
outcomes and time that passes; `expect` is what must come of it. The reference is docs/journey-language.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from schemas.decision import VERDICTS
from schemas.identifiers import DEFAULT_KINDS
from schemas.outcome import KINDS as OUTCOMES
from streams.definitions import TEST_SUFFIX, read_document
from streams.engine.durations import duration
from streams.problems import Problem, choose, did_you_mean
from streams.reasons import GATES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from streams.yamltext import Node

StepKind = Literal["when", "outcome", "wait", "until"]
ExpectKind = Literal["action", "decision", "withdrawn", "stage", "arm", "held_out"]

STORY = ("test", "delivers", "given", "expect")

STEPS: dict[StepKind, tuple[str, ...]] = {
    "when": ("at", "channel", "with", "id", "late", "identifiers", *DEFAULT_KINDS),
    "outcome": ("at", "of", "permanent", "detail"),
    "wait": (),
    "until": (),
}
# What each expectation may name; `with` is a part of the action's parameters.
EXPECTATIONS: dict[ExpectKind, tuple[str, ...]] = {
    "action": (
        *("at", "channel", "to", "template", "with", "link", "purpose", "basis", "journey", "stage", "customer"),
        *("profile", "priority", "reason", "expires", "standing", "offer"),
    ),
    "decision": ("at", "gate", "reason", "action", "channel", "purpose", "journey", "stage", "value", "bound", "offer"),
    "withdrawn": ("at", "channel", "reason"),
    "stage": ("journey", "profile", "ended"),
    "arm": ("split", "journey", "profile"),
    "held_out": ("holdout", "journey", "profile"),
}
_TIMES = ("at", "until", "expires")
_DURATION = re.compile(r"[1-9][0-9]{0,5}[smhdw]")
_SINCE = re.compile(r"\+[0-9]{1,6}[smhdw]")  # `+0m` is the very moment


@dataclass(frozen=True, slots=True)
class Step:
    """One line of `given`: its kind and its keys; `at` is in ms since 1970."""

    kind: StepKind
    line: int
    at: int
    values: dict[str, Any]
    column: int = 1  # where the value of its kind stands


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line of `expect`: what it is about, the keys that must be as written; times are in ms since 1970."""

    kind: ExpectKind
    line: int
    values: dict[str, Any]
    places: dict[str, tuple[int, int]] = field(default_factory=dict)  # line and column of each value


@dataclass(slots=True)
class Story:
    """One test. With `delivers`, the channels take each action in the moment in which it goes out."""

    file: str
    line: int
    test: str
    delivers: bool = False
    given: list[Step] = field(default_factory=list)
    expect: list[Expectation] = field(default_factory=list)

    @property
    def journey(self) -> str:
        """The journey that its file is named after."""
        return Path(self.file).name.removesuffix(TEST_SUFFIX)


def read(path: Path) -> tuple[list[Story], list[Problem]]:
    """The stories in a file that are well written, and what is wrong with the others."""
    document, problems = read_document("test", path)
    if document is None:
        return [], problems
    reader = _Reader(str(path), list(problems))
    nodes = document.root.items if document.root.kind == "list" else [document.root]
    stories = [reader.story(node) for node in nodes]
    problems = sorted(reader.problems)
    return ([story for story in stories if story is not None] if not problems else []), problems


def load_stories(folder: str | Path) -> tuple[list[Story], list[Problem]]:
    """Every story of a folder of definitions, and what is wrong with its test files."""
    stories: list[Story] = []
    problems: list[Problem] = []
    for path in sorted((Path(folder) / "journeys").glob(f"*{TEST_SUFFIX}")):
        found, wrong = read(path)
        stories += found
        problems += wrong
    return stories, problems


def moment(text: str) -> int | None:
    """Milliseconds since 1970 of an ISO 8601 time with its zone; None when it is none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if time.tzinfo is None:
        return None
    return round((time - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


class _Reader:
    """Reads nodes into stories, and gathers everything that is wrong."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file, self.problems = file, problems
        self.now: int | None = None
        self.start: int | None = None

    def wrong(self, node: Node, message: str, way_out: str, key: str | None = None) -> None:
        line, column = node.key_place(key) if key is not None else (node.line, node.column)
        self.problems.append(Problem(self.file, line, column, message, way_out))

    def story(self, node: Node) -> Story | None:
        if node.kind != "map":
            self.wrong(node, "a story is a map of keys", "begin with 'test: <a sentence>', then 'given:' and 'expect:'")
            return None
        self.now = self.start = None
        self.keys(node, STORY)
        for key in ("test", "given", "expect"):
            if key not in node.fields:
                self.wrong(node, f"this story has no '{key}'", f"add '{key}: ...'")
        test = node.text("test")
        if "test" in node.fields and not test:
            self.wrong(node.fields["test"], "'test' must be a sentence", "say what is expected, in quotes if need be")
        delivers = node.get("delivers")
        if delivers is not None and not isinstance(delivers.value, bool):
            self.wrong(delivers, "'delivers' must be true or false", "write 'delivers: true', or leave it out")
        story = Story(self.file, node.line, test or "", delivers is not None and delivers.value is True)
        story.given = list(self.steps(node.get("given")))
        story.expect = list(self.expectations(node.get("expect")))
        return story

    def keys(self, node: Node, known: Sequence[str]) -> None:
        for key in node.fields:
            if key not in known:
                way_out = choose(key, known)
                if known[0] == "action" and did_you_mean(key, known) is None:
                    way_out = f"if it is a parameter, write it in 'with': 'with: {{{key}: ...}}'; {way_out}"
                self.wrong(node, f"unknown key '{key}'", way_out, key)

    def listed(self, node: Node | None, name: str) -> Iterator[Node]:
        if node is None:
            return
        if node.kind != "list":
            self.wrong(node, f"'{name}' must be a list", "write each item in a line of its own, after '- '")
        for item in node.items:
            if item.kind == "map":
                yield item
            else:
                self.wrong(item, f"each item of '{name}' is a map of keys", "write '- key: value'")

    def kind(self, node: Node, kinds: Collection[str], name: str) -> str | None:
        found = next((key for key in node.fields if key in kinds), None)
        if found is None:
            key = next(iter(node.fields), "")
            listed = ", ".join(f"'{kind}'" for kind in kinds)
            self.wrong(
                node,
                f"this item of '{name}' is of no known kind",
                f"begin it with one of {listed}; {choose(key, kinds)}",
            )
        return found

    # ---- given

    def steps(self, given: Node | None) -> Iterator[Step]:
        for node in self.listed(given, "given"):
            kind = self.kind(node, STEPS, "given")
            if kind is None:
                continue
            self.keys(node, (kind, *STEPS[kind]))  # type: ignore[index]  # a kind of STEPS
            at = self.time(node, kind)
            values = {key: child.plain() for key, child in node.fields.items()}
            if kind == "when":
                self.touchpoint(node)
            if kind == "outcome" and values["outcome"] not in OUTCOMES:
                self.wrong(
                    node.fields["outcome"],
                    f"unknown outcome '{values['outcome']}'",
                    choose(str(values["outcome"]), OUTCOMES),
                )
            if at is not None:
                yield Step(kind, node.line, at, values, node.fields[kind].column)  # type: ignore[arg-type]  # as above

    def time(self, node: Node, kind: str) -> int | None:
        """When a step happens; the story's clock goes there."""
        key = "until" if kind == "until" else "wait" if kind == "wait" else "at"
        text = node.text(key)
        if kind == "wait":
            text = f"+{text}"
        elif key in node.fields and text is None:
            text = ""
        if text is None:
            if self.now is None:
                self.wrong(node, "the first step needs a time", "add 'at: 2026-03-02T10:00:00Z'")
            return self.now
        at = self.resolved(text, self.now)
        place = node.get(key) or node
        if at is None:
            if self.now is None and _SINCE.fullmatch(text):
                self.wrong(place, "the first step needs a time of its own", "add 'at: 2026-03-02T10:00:00Z'")
            else:
                way_out = (
                    "write '30m'"
                    if kind == "wait"
                    else "write it as 2026-03-02T10:00:00Z, or as '+30m' after the step before"
                )
                self.wrong(place, f"'{text.removeprefix('+') if kind == 'wait' else text}' is no time", way_out)
            return self.now
        if self.now is not None and at < self.now:
            self.wrong(place, "time never goes back, and this is before the step above", "put the steps into order")
            return self.now
        self.now = at
        self.start = at if self.start is None else self.start
        return at

    def resolved(self, text: str, base: int | None) -> int | None:
        if text.startswith("+"):
            return base + duration(text[1:]) if base is not None and _SINCE.fullmatch(text) else None
        return moment(text)

    def touchpoint(self, node: Node) -> None:
        given = node.get("identifiers")
        if not any(key in node.fields for key in DEFAULT_KINDS) and not (given is not None and given.fields):
            self.wrong(node, "nobody is named here", "say who it is: 'customer: c1' or 'device: d1'")
        for key, child in node.fields.items():
            if key in ("when", "channel", "id", *DEFAULT_KINDS) and not isinstance(child.value, str):
                self.wrong(child, f"'{key}' must be text", "put it into quotes")
            if key in ("with", "identifiers") and child.kind != "map":
                self.wrong(child, f"'{key}' must be a map of keys", f"write '{key}: {{name: value}}'")
            if key == "late" and not (isinstance(child.value, str) and _DURATION.fullmatch(child.value)):
                self.wrong(child, "'late' is how long before its arrival it happened", "write '2d'")
        for name, child in given.fields.items() if given is not None else ():
            if not isinstance(child.value, str):
                self.wrong(child, f"'{name}' must be text", "put it into quotes")

    # ---- expect

    def expectations(self, expect: Node | None) -> Iterator[Expectation]:
        for node in self.listed(expect, "expect"):
            # A decision names its action as well, so it is asked first.
            kind = self.kind(node, ("decision", "withdrawn", "action", "stage", "arm", "held_out"), "expect")
            if kind is None:
                continue
            self.keys(node, (kind, *EXPECTATIONS[kind]))  # type: ignore[index]  # a kind of EXPECTATIONS
            if kind == "held_out":
                self.holdout(node)
            elif not isinstance(node.fields[kind].value, str):
                self.wrong(node.fields[kind], f"'{kind}' must be text", "name it")
            for key in ("journey", "profile", "split", "holdout") if kind in ("stage", "arm", "held_out") else ():
                if key in node.fields and not isinstance(node.fields[key].value, str):
                    self.wrong(node.fields[key], f"'{key}' must be text", "name it, in quotes if need be")
            values = {key: child.plain() for key, child in node.fields.items()}
            for key, known in (("decision", VERDICTS), ("gate", GATES)) if kind == "decision" else ():
                if key in values and values[key] not in known:
                    word = "verdict" if key == "decision" else "gate"
                    self.wrong(node.fields[key], f"unknown {word} '{values[key]}'", choose(str(values[key]), known))
            places = {key: (child.line, child.column) for key, child in node.fields.items()}
            for key in _TIMES:
                if key in values:
                    at = self.resolved(str(values[key]), self.start)
                    if at is None:
                        way_out = "write it as 2026-03-02T10:00:00Z, or as '+30m' after the story's start"
                        self.wrong(node.fields[key], f"'{values[key]}' is no time", way_out)
                    values[key] = at
            yield Expectation(kind, node.line, values, places)  # type: ignore[arg-type]  # as above

    def holdout(self, node: Node) -> None:
        if not isinstance(node.fields["held_out"].value, bool):
            self.wrong(node.fields["held_out"], "'held_out' must be true or false", "write 'held_out: true'")
        if "holdout" in node.fields and "journey" in node.fields:
            message = "'holdout' asks for one of the policy, 'journey' for the journey's own"
            self.wrong(node, message, "leave one of them out", "journey")

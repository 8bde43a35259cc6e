"""The reference page: every example is sound, and does what `reference/<heading>.yaml` tells of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from schemas.outcome import KINDS as OUTCOMES
from streams.checks import check_directory
from streams.definitions import load
from streams.engine.conditions import Scope, compile_condition
from streams.problems import errors
from streams.story import run_all
from streams.storyfile import EXPECTATIONS, STEPS, STORY, read
from tests.language.test_broken import HERE
from tests.language.test_stories import printed

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (HERE.parent.parent / "docs" / "journey-language.md").read_text()
TEMPLATES = {"resume.email": "Subject: s\n\n{{ link }}", "thanks.email": "Subject: s\n\nx", "thanks.sms": "x"}
# What surrounds an example of handlers, or of some keys, to make a whole journey of it.
HEAD = "journey: example\nversion: 1\npurpose: marketing\n"
ENTER = "enter: {when: began}\n"
# What a journey sends, for examples of rules of the policy.
NEWS = (
    HEAD
    + ENTER
    + """topic: credit-card
stages:
  first:
    - when: news
      do:
        - send_message: {template: thanks}
    - when: news_of
      do:
        - send_message: {template: thanks, topic: event.topic}
    - after: 90d
      end: true
"""
)
LEADS_TO = "  {stage}:\n    - after: 1d\n      end: true\n"


class Example(NamedTuple):
    """A fenced example: its kind, the heading above it as a file name, its text."""

    kind: str
    heading: str
    text: str


def examples() -> list[Example]:
    """Every fenced example of the page that says what it is."""
    found, heading = [], ""
    for match in re.finditer(r"^#+ ([^\n]+)$|^```(?:yaml )?([\w-]+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        if match[1]:
            heading = re.sub(r"[^a-z]+", "-", match[1].lower()).strip("-")
        else:
            found.append(Example(match[2], heading, match[3]))
    return found


def journey(example: Example) -> str:
    """A whole journey that holds the example."""
    if example.kind == "journey":
        return example.text
    if example.kind == "rules":
        return NEWS
    if example.kind == "keys":
        return HEAD + ("" if "enter:" in example.text else ENTER) + example.text
    indented = "".join(f"    {line}\n" for line in example.text.splitlines())
    if not re.search(r"^ *(to|end):", example.text, re.MULTILINE):
        indented += "    - after: 90d\n      end: true\n"
    targets = dict.fromkeys(re.findall(r"^ *to: (next|gold)$", example.text, re.MULTILINE))
    ends = "  {stage}:\n    - on arrival:\n      end: true\n" if example.heading == "when" else LEADS_TO
    return HEAD + ENTER + "stages:\n  first:\n" + indented + "".join(ends.format(stage=each) for each in targets)


EXAMPLES = examples()
JOURNEYS = [example for example in EXAMPLES if example.kind in ("journey", "handlers", "keys", "rules")]
(POLICY,) = (example.text for example in EXAMPLES if example.kind == "policy")
STORIES = "".join(example.text for example in EXAMPLES if example.kind == "story")
CONDITIONS = [line for example in EXAMPLES if example.kind == "cel" for line in example.text.splitlines()]


def policy(example: Example) -> str:
    """The page's policy, with the rules of the example in place of its own."""
    if example.kind != "rules":
        return POLICY
    text = POLICY
    for key in re.findall(r"^(\w+):", example.text, re.MULTILINE):
        text = re.sub(rf"^{key}:.*\n(?:[ #].*\n)*", "", text, flags=re.MULTILINE)
    return text + example.text


def folder(tmp_path: Path, text: str, rules: str) -> Path:
    """A folder of definitions with one journey, and a policy."""
    (tmp_path / "journeys").mkdir()
    (tmp_path / "templates").mkdir()
    (tmp_path / "journeys" / "example.yaml").write_text(text)
    (tmp_path / "policy.yaml").write_text(rules)
    for name, content in TEMPLATES.items():
        (tmp_path / "templates" / f"{name}.liquid").write_text(content)
    return tmp_path


@pytest.mark.parametrize("example", JOURNEYS, ids=lambda example: example.heading)
def test_examples_are_sound_and_do_what_they_say(example: Example, tmp_path: Path) -> None:
    """Each example passes the checks, and its stories come true."""
    definitions = folder(tmp_path, journey(example), policy(example))
    assert errors(check_directory(definitions)) == []
    if example.kind == "journey":
        path = tmp_path / "journeys" / "card_test.yaml"
        path.write_text(STORIES)
    else:
        path = HERE / "reference" / f"{example.heading}.yaml"
    stories, problems = read(path)
    assert problems == []
    assert stories
    for result in run_all(load(definitions), stories):
        assert result.passed, printed(result)


def test_the_smallest_folder(tmp_path: Path) -> None:
    """What the page begins with passes as it stands, without a warning."""
    rules, text, story = (
        example.text
        for kind in ("policy", "journey", "story")
        for example in EXAMPLES
        if example.kind == f"smallest-{kind}"
    )
    (tmp_path / "journeys").mkdir()
    (tmp_path / "policy.yaml").write_text(rules)
    (tmp_path / "journeys" / "welcome.yaml").write_text(text)
    (tmp_path / "journeys" / "welcome_test.yaml").write_text(story)
    assert check_directory(tmp_path) == []
    stories, _ = read(tmp_path / "journeys" / "welcome_test.yaml")
    (result,) = run_all(load(tmp_path), stories)
    assert result.passed, printed(result)


def test_every_story_has_its_example() -> None:
    """No story is left over from an example that is gone."""
    headings = {example.heading for example in JOURNEYS}
    assert {path.stem for path in (HERE / "reference").iterdir()} <= headings


@pytest.mark.parametrize("text", CONDITIONS)
def test_conditions(text: str) -> None:
    """Each condition of the page compiles."""
    compile_condition(text, Scope(event=True, vars=frozenset({"limit"})))


@pytest.mark.parametrize(
    ("table", "known"),
    [
        ("key of a story", dict.fromkeys(STORY, ())),
        ("in `given`", STEPS),
        ("in `expect`", EXPECTATIONS),
    ],
)
def test_the_tables_of_stories_are_complete(table: str, known: dict[str, tuple[str, ...]]) -> None:
    """Each kind of line has a row, which names each of its keys, and nothing that is none."""
    rows = re.search(rf"^\| {table} \| \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert rows is not None
    found = {row[0]: row[1:] for row in (re.findall(r"`(\w+)[`:]", line) for line in rows[1].splitlines())}
    values = {"web", "true", "false"}  # that the rows name as well
    assert {kind: set(keys) - values for kind, keys in found.items()} == {kind: {*keys} for kind, keys in known.items()}


def test_the_outcomes_of_stories_are_listed() -> None:
    """All that a channel can say, and that alone."""
    listed = re.search(r"Outcomes are (.*?)\.", PAGE, re.DOTALL)
    assert listed is not None
    assert tuple(re.findall(r"`(\w+)`", listed[1])) == OUTCOMES

"""`arm` and `held_out` in stories: what the engine draws, and ids of whom it is so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from streams.checks import check_directory
from streams.definitions import load
from streams.engine.ids import percent
from streams.problems import errors
from streams.story import Result, run_all
from streams.storychecks import unknown_names
from streams.storyfile import read
from tests.language.test_stories import printed

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """\
policy: base
version: 1
purposes: {marketing: {basis: consent}, staff: {basis: internal}}
channels: {email: {address: email}, advisor: {}}
actions: {send_message: {channels: [email]}, notify_advisor: {channels: [advisor], purpose: staff}}
holdouts: {global: {share: 30}}
"""
JOURNEYS = {
    "hello": """\
journey: hello
version: 1
purpose: marketing
holdout: 40
enter: {when: began}
splits:
  greeting: {plain: 50, warm: 30, none: 20}
  colour: {red: 50, blue: 50, never: 0}
stages:
  first:
    - on arrival:
      do: [{notify_advisor: {task: t, greeting: 'split("greeting")', colour: 'split("colour")'}}]
    - when: write
      do: [{send_message: {template: thanks}}]
    - after: 90d
      end: true
""",
    "one": """\
journey: one
version: 1
purpose: staff
enter: {when: came, if: 'split("only") == "in"'}
splits: {only: {in: 50, out: 50}}
stages: {first: [{after: 1d, end: true}]}
""",
    "none": """\
journey: none
version: 1
purpose: staff
enter: {when: nothing}
stages: {first: [{after: 1d, end: true}]}
""",
}
BEGAN = """\
    - {at: 2026-03-02T10:00:00Z, when: profile_updated, customer: WHO, with: {email: a@example.com}}
    - {when: consent_given, customer: WHO, with: {purpose: marketing}}
    - {when: began, customer: WHO}
    - {when: write, customer: WHO}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Definitions with splits and holdouts."""
    (tmp_path / "journeys").mkdir()
    (tmp_path / "templates").mkdir()
    (tmp_path / "policy.yaml").write_text(POLICY)
    for name, text in JOURNEYS.items():
        (tmp_path / "journeys" / f"{name}.yaml").write_text(text)
    (tmp_path / "templates" / "thanks.email.liquid").write_text("Subject: s\n\nx")
    assert errors(check_directory(tmp_path)) == []
    return tmp_path


def told(folder: Path, given: str, *expect: str, file: str = "hello") -> Result:
    """How one story goes."""
    path = folder / "journeys" / f"{file}_test.yaml"
    lines = "".join(f"    - {line}\n" for line in expect)
    path.write_text(f"- test: t\n  given:\n{given}  expect:\n{lines or '    []'}")
    stories, problems = read(path)
    assert problems == []
    assert unknown_names(load(folder), stories) == []
    (result,) = run_all(load(folder), stories)
    return result


def said(result: Result) -> list[str]:
    """What is told of arms and holdouts, asked or not."""
    return [line.text for line in result.lines if re.match(r"(expected )?(split|holdout) ", line.text)]


def test_the_same_as_the_engine_draws(folder: Path) -> None:
    """Of many: the arms that an action was given, and whether a message goes out. Those at the edges are among them."""
    seen: set[tuple[str, ...]] = set()
    edges = [
        number
        for number in range(300)
        if percent("holdout/global", f"customer:c-{number}") in (29, 30)
        or percent("holdout/journey/hello", f"customer:c-{number}") in (39, 40)
    ]
    for number in {*range(40), *edges}:
        result = told(folder, BEGAN.replace("WHO", f"c-{number}"))
        arms = re.search(r"colour=(\w+) greeting=(\w+)", printed(result))
        assert arms is not None
        drawn = said(result)
        held = [each for each in drawn if each.startswith("holdout")]
        assert [each for each in drawn if each not in held] == [
            f"split greeting of hello: customer:c-{number} is in arm {arms[2]}",
            f"split colour of hello: customer:c-{number} is in arm {arms[1]}",
        ]
        assert ("send_message" in printed(result)) is (held == [])
        seen.add((*arms.groups(), *(each.partition(":")[0] for each in held)))
    assert {each[2:] for each in seen} == {
        (),
        ("holdout global",),
        ("holdout of hello",),
        ("holdout global", "holdout of hello"),
    }
    assert {each[:2] for each in seen} == {(a, b) for a in ("red", "blue") for b in ("plain", "warm", "none")}


@pytest.mark.parametrize(
    ("gate", "line"),
    [("global", "{held_out: true, holdout: global}"), ("journey:hello", "{held_out: true}")],
)
def test_each_holdout_is_the_one_that_refuses(gate: str, line: str, folder: Path) -> None:
    """Of the customers who are held out by one alone, the engine's decision names that one."""
    other = "{held_out: false}" if gate == "global" else "{held_out: false, holdout: global}"
    found = 0
    for number in range(40):
        given = BEGAN.replace("WHO", f"c-{number}")
        if told(folder, given, "{action: notify_advisor}", line, other).passed:
            assert told(folder, given, "{action: notify_advisor}", f"{{decision: refused, reason: '{gate}'}}").passed
            found += 1
    assert found > 0


@pytest.mark.parametrize(
    "lines",
    [
        ("{arm: warm, split: greeting}",),
        ("{arm: none, split: greeting, journey: hello, profile: 'customer:c-1'}",),
        ("{held_out: true}",),
        ("{held_out: false}",),
        ("{held_out: true, holdout: global}",),
        ("{arm: warm, split: greeting}", "{arm: red, split: colour}", "{held_out: true}"),
        (
            *("{arm: plain, split: greeting}", "{arm: blue, split: colour}"),
            *("{held_out: false}", "{held_out: true, holdout: global}"),
        ),
    ],
)
def test_who_is_not_is_told_who_would_be(lines: tuple[str, ...], folder: Path) -> None:
    """Written for any ids, lines that are not so name three ids, of whom each makes them all so."""
    tried = 0
    for number in range(1, 12):
        result = told(
            folder, BEGAN.replace("WHO", f"c-{number}"), *(each.replace("c-1", f"c-{number}") for each in lines)
        )
        wrong = [each for each in said(result) if each.startswith("expected")]
        assert len({each.removeprefix("expected ").partition(":")[0] for each in said(result)}) == len(said(result))
        ids = {found[1] for each in wrong if (found := re.search(r"; customer (.*) would be$", each)) is not None}
        if not wrong:
            continue
        assert len(ids) == 1  # the same for each line
        (named,) = ids
        for other in named.split(", "):
            better = told(folder, BEGAN.replace("WHO", other), *(each.replace("c-1", other) for each in lines))
            assert not [each for each in said(better) if each.startswith("expected")]
            tried += 1
    assert tried >= 3


def test_an_arm_of_nobody(folder: Path) -> None:
    """No id is in an arm of no percent."""
    result = told(folder, BEGAN.replace("WHO", "c-1"), "{action: notify_advisor}", "{arm: never, split: colour}")
    assert not result.passed
    assert "in arm never; customer:c-1 is in arm" in printed(result)
    assert "ids like it none would be  [" in printed(result)
    assert "hello_test.yaml:9]" in printed(result)


def test_ids_are_like_the_one_that_entered(folder: Path) -> None:
    """Who logs in stays in the arm that their device was in: so it is a device that is asked for."""
    given = (
        "    - {at: 2026-03-02T10:00:00Z, when: began, device: tab}\n"
        "    - {at: +1m, when: login, customer: c-1, device: tab}\n"
    )
    for arm in ("plain", "warm", "none"):
        for who in ("'device:tab'", "'customer:c-1'"):
            result = told(folder, given, "{action: notify_advisor}", f"{{arm: {arm}, split: greeting, profile: {who}}}")
            assert any("device:tab is in arm" in each for each in said(result))
            if not result.passed:
                assert re.search(r"; device tab-\d+, tab-\d+, tab-\d+ would be", printed(result)) is not None


def test_who_was_not_let_in_has_an_arm(folder: Path) -> None:
    """Of one who entered nothing it is the arm that an entrance asks for."""
    entered: dict[str, bool] = {}
    for number in range(1, 9):
        given = f"    - {{at: 2026-03-02T10:00:00Z, when: came, customer: c-{number}}}\n"
        inside = told(folder, given, "{stage: first}", file="one").passed
        assert told(folder, given, f"{{arm: {'in' if inside else 'out'}}}", file="one").passed
        entered[str(number)] = inside
    assert set(entered.values()) == {True, False}


def test_the_newest_version_is_asked(folder: Path) -> None:
    """Of two that stand in a folder, that is the one in force."""
    newer = JOURNEYS["hello"].replace("version: 1", "version: 10").replace("plain: 50, warm: 30, none: 20", "gold: 100")
    for version, text in ((10, newer), (9, JOURNEYS["hello"].replace("version: 1", "version: 9"))):
        (folder / "journeys" / f"hello-{version}.yaml").write_text(text)
    result = told(folder, BEGAN.replace("WHO", "c-1"), "{arm: gold, split: greeting}")
    assert "split greeting of hello: customer:c-1 is in arm gold" in said(result)
    assert "greeting=gold" in printed(result)


def test_somebody_else(folder: Path) -> None:
    """Nobody has a side whom the story does not know."""
    result = told(
        folder, BEGAN.replace("WHO", "c-1"), "{action: notify_advisor}", "{held_out: true, profile: 'device:x'}"
    )
    assert "nobody is device:x in this story; known: customer:c-1" in printed(result)


@pytest.mark.parametrize(
    ("line", "column", "message", "way_out"),
    [
        ("{arm: warm, split: greting, journey: hello}", 26, "unknown split 'greting'", "did you mean 'greeting'?"),
        (
            "{arm: wam, split: greeting, journey: hello}",
            13,
            "split 'greeting' has no arm 'wam'",
            "did you mean 'warm'?",
        ),
        ("{arm: warm, journey: hello}", 13, "journey 'hello' has 2 splits", "known: greeting, colour"),
        ("{arm: warm, journey: helo}", 28, "unknown journey 'helo'", "did you mean 'hello'?"),
        ("{arm: warm}", 13, "no journey has the name of this file, 'x'", "'journey: ...'; known: hello, none, one"),
        ("{arm: warm, journey: none}", 28, "journey 'none' has no splits", "under 'splits:'"),
        ("{held_out: true, journey: none}", 33, "journey 'none' holds nobody out", "name one of the policy"),
        ("{held_out: true, holdout: globe}", 33, "unknown holdout 'globe'", "did you mean 'global'?"),
    ],
)
def test_what_the_folder_does_not_have(line: str, column: int, message: str, way_out: str, folder: Path) -> None:
    """Is refused where it stands; and a story that is played all the same fails with these words."""
    path = folder / "journeys" / "x_test.yaml"
    path.write_text(f"- test: t\n  given: []\n  expect:\n    - {line}\n")
    stories, problems = read(path)
    assert problems == []
    (found,) = unknown_names(load(folder), stories)
    assert (found.line, found.column, found.message, found.severity) == (4, column, message, "error")
    assert way_out in found.way_out
    (result,) = run_all(load(folder), stories)
    assert f"- {message}; " in printed(result)

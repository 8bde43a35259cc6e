"""Stories: the seeds' own pass, and a story that is wrong says where and how."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from schemas.codec import decode_touchpoint
from streams.checks import check_directory
from streams.definitions import library, load
from streams.simulator import Simulator
from streams.story import Result, render, run_all
from streams.storychecks import unknown_names
from streams.storyfile import Story, load_stories, read
from tests.language.test_broken import HERE

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = HERE.parent.parent / "seeds"
STORIES, _ = load_stories(SEEDS)
START = "    - {at: 2026-03-02T10:00:00Z, when: page_viewed, device: d-1, with: {page: /cards}}\n"
LEFT = (
    START
    + """\
    - {at: +1m, when: form_started, device: d-1}
    - {at: +1m, when: form_page_submitted, device: d-1, with: {page_number: 2, email: a@example.com}}
    - wait: 1h
"""
)


def test_the_seeds_have_no_problems() -> None:
    """What a new installation starts from is sound, its tests included."""
    assert check_directory(SEEDS) == []
    assert load_stories(SEEDS)[1] == []
    assert unknown_names(load(SEEDS), STORIES) == []


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.test)
def test_seed_stories(story: Story) -> None:
    """Each story that the seeds tell comes true."""
    (result,) = run_all(load(SEEDS), [story])
    assert result.passed, printed(result)


def printed(result: Result) -> str:
    """What people see of a result."""
    out = io.StringIO()
    render(result, Console(file=out, width=200))
    return out.getvalue()


def played(text: str, tmp_path: Path) -> Result:
    """The result of one story with the sound definitions."""
    path = tmp_path / "card_test.yaml"
    path.write_text(text)
    stories, problems = read(path)
    assert problems == []
    (result,) = run_all(load(HERE / "base"), stories)
    return result


def test_a_missing_action_is_shown(tmp_path: Path) -> None:
    """Expected and not seen: a line with a minus and where it was expected."""
    result = played(f"test: t\ngiven:\n{START}expect:\n  - {{action: show_banner}}\n", tmp_path)
    assert not result.passed
    assert "- expected action show_banner" in printed(result)
    assert "card_test.yaml:5]" in printed(result)


def test_an_unexpected_action_is_shown(tmp_path: Path) -> None:
    """Seen and not expected: a line with a plus."""
    result = played(f"test: t\ngiven:\n{LEFT}expect: []\n", tmp_path)
    assert not result.passed
    assert "+ 2026-03-02 10:32:00Z  send_reminder -> email a@example.com template=resume" in printed(result)


def test_a_different_action_is_shown_beside_the_expected_one(tmp_path: Path) -> None:
    """Seen and expected otherwise: what differs, field by field."""
    expect = "  - {action: send_reminder, to: b@example.com, link: {path: /cards/apply, position: 3}, at: +40m}\n"
    said = printed(played(f"test: t\ngiven:\n{LEFT}expect:\n{expect}", tmp_path))
    assert "to: expected b@example.com, got a@example.com" in said
    assert "link: expected /cards/apply at 3, got /cards/apply at 2" in said
    assert "at: expected 2026-03-02 10:40:00Z, got 2026-03-02 10:32:00Z" in said


def test_decisions_and_stages(tmp_path: Path) -> None:
    """A decision that was not made shows the nearest one; a stage shows where the customer is."""
    expect = "  - {action: send_reminder, at: +32m}\n  - {decision: sent, gate: consent}\n  - {stage: applying}\n"
    expect += "  - {decision: held, gate: consent}\n"
    said = printed(played(f"test: t\ngiven:\n{LEFT}expect:\n{expect}", tmp_path))
    assert "- expected decision sent gate=consent; the nearest is: sent send_reminder by all" in said
    assert "- expected decision held gate=consent; there was no decision 'held', and none of gate consent" in said
    assert "- expected stage applying; got card: stage abandoned" in said


def test_the_very_start(tmp_path: Path) -> None:
    """`+0m` is the story's start, or the moment of the step before."""
    text = f"""\
test: t
given:
{START}\
    - {{at: +0m, when: consent_given, device: d-1, with: {{purpose: marketing}}}}
    - {{at: +0m, when: page_viewed, device: d-1, with: {{page: /cards}}}}
    - {{at: +0m, when: page_viewed, device: d-1, with: {{page: /cards}}}}
expect:
  - {{decision: refused, gate: consent, at: +0m}}
"""
    result = played(text, tmp_path)
    assert result.passed, printed(result)


def test_what_the_folder_does_not_have(tmp_path: Path) -> None:
    """An action of no kind is refused; a type like one that is listened to is pointed out; others may be on purpose."""
    path = tmp_path / "card_test.yaml"
    others = "    - {at: +1m, when: form_startd, device: d-1}\n    - {at: +1m, when: swum, device: d-1}\n"
    expect = "  - {action: show_baner}\n  - {withdrawn: mail}\n  - {decision: held, action: sendmessage}\n"
    path.write_text(f"test: t\ngiven:\n{START}{others}expect:\n{expect}")
    stories, problems = read(path)
    assert problems == []
    found = unknown_names(load(HERE / "base"), stories)
    assert [(each.line, each.column, each.severity, each.message) for each in found] == [
        (4, 23, "warning", "nothing listens to 'form_startd'"),
        (7, 14, "error", "unknown kind of action 'show_baner'"),
        (8, 17, "error", "unknown kind of action 'mail'"),
        (9, 30, "error", "unknown kind of action 'sendmessage'"),
    ]
    assert "did you mean 'form_started'?" in found[0].way_out
    assert "did you mean 'show_banner'?" in found[1].way_out


def test_late_events_repeats_and_outcomes(tmp_path: Path) -> None:
    """An event may arrive late or twice, and an action may bounce."""
    text = f"""\
test: t
given:
{LEFT}\
    - {{outcome: bounced, of: send_reminder, permanent: true}}
    - {{at: +1m, when: form_page_submitted, id: same, device: d-1, with: {{page_number: 3, email: a@example.com}}}}
    - {{at: +1s, when: form_page_submitted, id: same, device: d-1, with: {{page_number: 3, email: a@example.com}}}}
    - {{at: +1m, when: page_viewed, device: d-2, late: 3d, with: {{page: /cards}}}}
    - wait: 1h
expect:
  - {{action: send_reminder}}
  - {{decision: ignored, gate: stale}}
  - {{decision: refused, gate: channel, reason: address-suppressed}}
  - {{stage: abandoned}}
"""
    result = played(text, tmp_path)
    assert result.passed, printed(result)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("test: t\ngiven: []\n", "1:1", "this story has no 'expect'"),
        ("test: t\ngiven: []\nexpect: []\nexpct: []\n", "4:1", "unknown key 'expct'"),
        ("- x\n", "1:3", "a story is a map of keys"),
        ("test: t\nexpect: []\ngiven:\n  - {when: x, device: d}\n", "4:5", "the first step needs a time"),
        ("test: t\nexpect: []\ngiven:\n  - {at: 2026-03-02, when: x, device: d}\n", "4:10", "'2026-03-02' is no time"),
        ("test: t\nexpect: []\ngiven:\n  - {at: 2026-03-02T10:00:00Z, when: x}\n", "4:5", "nobody is named here"),
        ("test: t\nexpect: []\ngiven:\n  - {at: 2026-03-02T10:00:00Z, wen: x}\n", "4:5", "of no known kind"),
        ("test: t\nexpect: []\ngiven:\n  - {at: +5m, when: x, device: d}\n", "4:10", "needs a time of its own"),
        ("test: t\ngiven: []\nexpect:\n  - {action: a, chanel: web}\n", "4:17", "unknown key 'chanel'"),
        ("test: t\ngiven: []\nexpect:\n  - {action: a, at: soon}\n", "4:21", "'soon' is no time"),
        ("test: t\ngiven: []\nexpect:\n  - {decision: refuse}\n", "4:16", "unknown verdict 'refuse'"),
        ("test: t\ngiven: []\nexpect:\n  - {decision: held, gate: cap}\n", "4:28", "unknown gate 'cap'"),
        ("test: t\ngiven: []\nexpect:\n  - {action: 3}\n", "4:14", "'action' must be text"),
        ("test: t\ngiven: []\nexpect: []\ndelivers: yes please\n", "4:11", "'delivers' must be true or false"),
        ("test: t\ngiven: []\nexpect: []\ndeliver: true\n", "4:1", "unknown key 'deliver'"),
        ("test: t\ngiven: []\nexpect:\n  - {arm: 3}\n", "4:11", "'arm' must be text"),
        ("test: t\ngiven: []\nexpect:\n  - {arm: a, split: [b]}\n", "4:21", "'split' must be text"),
        ("test: t\ngiven: []\nexpect:\n  - {arm: a, splits: b}\n", "4:14", "unknown key 'splits'"),
        ("test: t\ngiven: []\nexpect:\n  - {held_out: global}\n", "4:16", "'held_out' must be true or false"),
        (
            "test: t\ngiven: []\nexpect:\n  - {held_out: true, holdout: a, journey: b}\n",
            "4:34",
            "'holdout' asks for one of the policy",
        ),
    ],
)
def test_badly_written_stories(text: str, place: str, message: str, tmp_path: Path) -> None:
    """A story that cannot be played is reported at its line and column, with a way out."""
    path = tmp_path / "x_test.yaml"
    path.write_text(text)
    stories, problems = read(path)
    assert stories == []
    assert [f"{problem.line}:{problem.column}" for problem in problems] == [place]
    assert message in problems[0].message
    assert problems[0].way_out


def test_time_does_not_go_back(tmp_path: Path) -> None:
    """Steps stand in the order in which they happen."""
    path = tmp_path / "x_test.yaml"
    path.write_text(f"test: t\nexpect: []\ngiven:\n{START}{START.replace('10:00', '09:00')}")
    assert "time never goes back" in read(path)[1][0].message


@pytest.mark.parametrize("step", ["{outcome: delivered, of: 3}", "{outcome: delivered, of: send_mail}"])
def test_an_outcome_of_nothing(step: str, tmp_path: Path) -> None:
    """An outcome needs its action; the story fails where it is written."""
    result = played(f"test: t\ngiven:\n{START}    - {step}\nexpect: []\n", tmp_path)
    assert not result.passed
    assert "card_test.yaml:4]" in printed(result)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("credit-card", ["show_banner", "send_reminder", "suppress_ads", "send_message"]),
        ("free-delivery-coupon", ["send_coupon"]),
    ],
)
def test_sample_touchpoints(name: str, expected: list[str]) -> None:
    """The sample touchpoints are accepted as producers would send them, and tell their story."""
    simulator = Simulator(library(load(SEEDS).loaded()))
    for line in (SEEDS / "touchpoints" / f"{name}.jsonl").read_bytes().splitlines():
        touchpoint = decode_touchpoint(line, [])
        simulator.touchpoint(touchpoint, touchpoint.occurred_at)
    simulator.advance_to(simulator.now + 7 * 86_400_000)
    assert [action.action for action in simulator.actions] == expected

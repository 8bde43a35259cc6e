"""`delivers: true`: channels take what goes out in the very moment, and what the engine then does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas.journal import Outcome
from streams.checks import check_directory
from streams.definitions import library, load
from streams.problems import errors
from streams.story import run_all
from streams.storyfile import Story, read
from streams.storyplay import play
from tests.language.test_stories import printed

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3_600_000
START = 1_772_445_600_000  # 2026-03-02T10:00:00Z
POLICY = """\
policy: base
version: 1
purposes: {marketing: {basis: consent}}
channels: {email: {address: email}, web: {standing: true}, ads: {}}
actions: {send_message: {channels: [email]}, show_banner: {channels: [web]}, suppress_ads: {channels: [ads]}}
holds: {complaint: {begins: complaint_opened, ends: complaint_closed, holds: [marketing], case: case_id}}
"""
# One action an hour after `began`; an hour later the journey ends, and takes back what is not delivered.
JOURNEY = """\
journey: card
version: 1
purpose: marketing
again: always
enter: {when: began}
stages:
  first: [{after: 1h, do: [ACTION], to: second}]
  second: [{after: 1h, end: true}, {when: stopped, end: true}]
"""
MESSAGE = "{send_message: {template: thanks}}"
KNOWN = """\
    - {at: 2026-03-02T10:00:00Z, when: profile_updated, customer: c-1, with: {email: a@example.com}}
    - {when: consent_given, customer: c-1, with: {purpose: marketing}}
    - {when: began, customer: c-1}
"""
OTHER = KNOWN.replace("c-1", "c-2").replace("at: 2026-03-02T10:00:00Z", "at: +0m")
SENT = "    - {action: send_message, at: +1h}\n"
TAKEN = "    - {withdrawn: send_message, at: +2h}\n"


def told(tmp_path: Path, action: str, given: str, expect: str, *, delivers: bool) -> list[tuple[str, int]]:
    """Plays a story, which must come true; its outcomes, each with the hours since the start."""
    (tmp_path / "journeys").mkdir()
    (tmp_path / "templates").mkdir()
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "journeys" / "card.yaml").write_text(JOURNEY.replace("ACTION", action))
    (tmp_path / "templates" / "thanks.email.liquid").write_text("Subject: s\n\nx")
    path = tmp_path / "journeys" / "card_test.yaml"
    path.write_text(
        f"- test: t\n  delivers: {str(delivers).lower()}\n  given:\n{given}  expect:\n{expect or '    []'}\n"
    )
    assert errors(check_directory(tmp_path)) == []
    (story,), problems = read(path)
    assert problems == []
    (result,) = run_all(load(tmp_path), [story])
    assert result.passed, printed(result)
    return outcomes(story, tmp_path)


def outcomes(story: Story, folder: Path) -> list[tuple[str, int]]:
    """What channels said in a story, each with the hours since the start."""
    journal = play(library(load(folder).loaded()), story).simulator.journal
    said = [each for entries in journal for each in entries if isinstance(each, Outcome)]
    return [(each.kind, (each.at - START) // HOUR) for each in sorted(said, key=lambda each: each.at)]


@pytest.mark.parametrize(
    ("action", "given", "expect", "said"),
    [
        pytest.param(
            MESSAGE,
            KNOWN + "    - wait: 1d\n",
            SENT,
            [("delivered", 1)],
            id="when its timer is due, not when time is up",
        ),
        pytest.param(
            MESSAGE,
            KNOWN + "    - {at: +90m, when: stopped, customer: c-1}\n",
            SENT,
            [("delivered", 1)],
            id="before the next touchpoint",
        ),
        pytest.param(
            MESSAGE,
            KNOWN
            + "    - {at: +1m, when: complaint_opened, customer: c-1, with: {case_id: k}}\n"
            + "    - {at: +89m, when: complaint_closed, customer: c-1, with: {case_id: k}}\n"
            + "    - wait: 1d\n",
            "    - {action: send_message, at: +90m}\n    - {decision: held, gate: hold}\n",
            [("delivered", 1)],
            id="what is held, when it goes out",
        ),
        pytest.param(
            MESSAGE,
            KNOWN + "    - {at: +1m, when: complaint_opened, customer: c-1, with: {case_id: k}}\n" + "    - wait: 1d\n",
            "    - {decision: refused, gate: journey, reason: instance-ended}\n",
            [],
            id="what never goes out, never",
        ),
        pytest.param(
            "{show_banner: {banner: b}}",
            KNOWN + "    - wait: 1d\n",
            "    - {action: show_banner, at: +1h}\n    - {withdrawn: show_banner, at: +2h}\n",
            [("delivered", 1)],
            id="what stands, and is withdrawn all the same",
        ),
        pytest.param(
            "{suppress_ads: {audience: x}}",
            KNOWN + "    - wait: 1d\n",
            "    - {action: suppress_ads, at: +1h}\n",
            [("delivered", 1)],
            id="on a channel without addresses",
        ),
        pytest.param(
            MESSAGE,
            KNOWN + "    - {at: +61m, outcome: delivered}\n    - wait: 1d\n",
            SENT,
            [("delivered", 1), ("delivered", 1)],
            id="and said again, changes nothing",
        ),
        pytest.param(
            MESSAGE,
            KNOWN
            + "    - {at: +61m, outcome: bounced, of: send_message, permanent: true}\n"
            + "    - {at: +5h, when: began, customer: c-1}\n"
            + "    - wait: 1d\n",
            SENT + "    - {decision: refused, gate: channel, reason: address-suppressed}\n",
            [("delivered", 1), ("bounced", 1)],
            id="and bounces for good: nothing goes there any more",
        ),
        pytest.param(
            MESSAGE,
            KNOWN
            + "    - {at: +61m, outcome: bounced, of: send_message, permanent: true}\n"
            + OTHER
            + "    - wait: 1d\n",
            SENT + "    - {action: send_message, at: +121m, customer: c-2}\n",
            [("delivered", 1), ("bounced", 1), ("suppressed", 2)],
            id="and bounces for good: another customer's is suppressed",
        ),
    ],
)
def test_delivered_at_once(action: str, given: str, expect: str, said: list[tuple[str, int]], tmp_path: Path) -> None:
    """Each action, in the moment in which it goes out."""
    assert told(tmp_path, action, given, expect, delivers=True) == said


def test_nothing_is_delivered_by_itself(tmp_path: Path) -> None:
    """Without the key, or with `false`, what went out is taken back."""
    assert told(tmp_path, MESSAGE, KNOWN + "    - wait: 1d\n", SENT + TAKEN, delivers=False) == []


def test_an_outcome_is_of_what_went_out_before_it(tmp_path: Path) -> None:
    """Also of what went out after the line above, which told no time to wait."""
    given = KNOWN + "    - {at: +90m, outcome: delivered, of: send_message}\n    - wait: 1d\n"
    assert told(tmp_path, MESSAGE, given, SENT, delivers=False) == [("delivered", 1)]


def test_what_is_withdrawn_in_the_same_moment_is_not_delivered(tmp_path: Path) -> None:
    """It goes out at +1h, and in that moment consent is withdrawn."""
    given = (
        KNOWN + "    - {at: +1h, when: consent_withdrawn, customer: c-1, with: {purpose: marketing}}\n    - wait: 1d\n"
    )
    expect = SENT + "    - {withdrawn: send_message, at: +1h}\n"
    assert told(tmp_path, MESSAGE, given, expect, delivers=True) == []

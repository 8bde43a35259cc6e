"""Stories as text: each indented line a touchpoint, an outcome, or (after `=>`) what must come of it, in order.

    03-04 18:30:00 c-7+d-41 web page_viewed page=/credit-cards     who, channel, type, properties
    03-04 18:44:20 email delivered send_reminder                   of the newest action of this kind
    => 03-04 18:30:00 device:d-41 sent show_banner by web: ...     one decision, as `told` words it

Among the properties `id=` names the event, and `late=` says how long before its arrival it occurred; `bounced!` is a
bounce for good. A line indented deeper goes on with the one before it. Lines that are not indented are the reasoning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from schemas.outcome import Outcome
from schemas.touchpoint import Touchpoint
from streams.definitions import library, load
from streams.simulator import Simulator
from tests.support.kafka import ROOT

if TYPE_CHECKING:
    from schemas.action import Action, Link
    from schemas.decision import Decision
    from streams.engine.rules import Library

YEAR = 2026
_GIVEN = re.compile(r"(\d\d-\d\d \d\d:\d\d:\d\d) ([cd]-[\w+-]+) (\w+) (\w+)((?: \S+=\S+)*)")
_OUTCOME = re.compile(r"(\d\d-\d\d \d\d:\d\d:\d\d) (\w+) (\w+)(!?) (\w+)")
_KINDS = {"c": "customer", "d": "device"}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@cache
def seeds() -> Library:
    """The definitions a new installation starts from."""
    return library(load(ROOT / "seeds").loaded())


def at(text: str) -> int:
    """Milliseconds of `03-04 18:30:00`, UTC."""
    return int(datetime.strptime(f"{YEAR}-{text} +0000", "%Y-%m-%d %H:%M:%S %z").timestamp()) * 1000


def clock(milliseconds: int) -> str:
    """`03-04 18:30:00`, with the milliseconds where there are any."""
    moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)
    return moment.strftime("%m-%d %H:%M:%S") + (f".{milliseconds % 1000:03}" if milliseconds % 1000 else "")


@dataclass(frozen=True, slots=True)
class Report:
    """A channel's word on the newest action of a kind."""

    kind: str
    channel: str
    action: str
    permanent: bool


@dataclass(slots=True)
class Story:
    """What is given, each with its time of arrival (ms), and the rows that must come of it."""

    given: list[tuple[int, Touchpoint | Report]] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    @property
    def touchpoints(self) -> list[Touchpoint]:
        """The touchpoints in order of arrival."""
        return [each for _, each in self.given if isinstance(each, Touchpoint)]


def read(text: str) -> Story:
    """A story from its text."""
    story = Story()
    for line in text.replace("\n       ", " ").splitlines():
        row = " ".join(line.split())
        if not line.startswith("    "):
            continue
        if row.startswith("=>"):
            story.expected.append(row.removeprefix("=> "))
        elif (given := _GIVEN.fullmatch(row)) is not None:
            story.given.append((at(given[1]), _touchpoint(given, len(story.given) + 1)))
        elif (outcome := _OUTCOME.fullmatch(row)) is not None:
            report = Report(kind=outcome[3], channel=outcome[2], action=outcome[5], permanent=bool(outcome[4]))
            story.given.append((at(outcome[1]), report))
        else:
            raise AssertionError(f"this line is neither a touchpoint nor an outcome: {row}")
    return story


def _touchpoint(given: re.Match[str], number: int) -> Touchpoint:
    properties: dict[str, Any] = dict(pair.split("=", 1) for pair in given[5].split())
    late = properties.pop("late", "0s")
    name = properties.pop("id", f"event-{number}")
    return Touchpoint(
        event_id=name,
        type=given[4],
        channel=given[3],
        occurred_at=at(given[1]) - int(late[:-1]) * _UNITS[late[-1]] * 1000,
        identifiers={_KINDS[each[0]]: each for each in given[2].split("+")},
        properties={key: int(value) if value.isdecimal() else value for key, value in properties.items()},
    )


def play(story: Story, until: str, partitions: int = 4) -> Simulator:
    """Play a story against the seeds, then let time pass."""
    simulator = Simulator(seeds(), partitions)
    for number, (arrives, given) in enumerate(story.given):
        if isinstance(given, Touchpoint):
            simulator.touchpoint(given, arrives)
            continue
        simulator.advance_to(arrives - 1)
        action = next(each for each in reversed(simulator.actions) if each.action == given.action)
        assert action.channel == given.channel
        simulator.outcome(
            Outcome(
                outcome_id=f"outcome-{number}",
                action_id=action.action_id,
                profile=action.profile,
                kind=given.kind,
                channel=given.channel,
                at=arrives,
                permanent=given.permanent,
            ),
            arrives,
        )
    simulator.advance_to(at(until))
    return simulator


def rows(simulator: Simulator) -> list[str]:
    """All that came of it, in order of time: a row a decision, which must agree with the actions and withdrawals."""
    actions = {action.action_id: action for action in simulator.actions}
    assert len(actions) == len(simulator.actions), "an action was published twice"
    decisions = sorted(simulator.decisions, key=lambda each: each.at)
    by_verdict = {
        verdict: sorted(str(each.action_id) for each in decisions if each.verdict == verdict)
        for verdict in ("sent", "withdrawn")
    }
    assert by_verdict["sent"] == sorted(actions)
    assert by_verdict["withdrawn"] == sorted(taken.action_id for taken in simulator.withdrawals)
    assert len({each.decision_id for each in decisions}) == len(decisions)
    return [told(each, actions.get(each.action_id or "")) for each in decisions]


def told(decision: Decision, action: Action | None) -> str:
    """A decision in a row: when, about whom, the verdict, and what was sent where or why not."""
    profile = decision.profile
    carried = f" as {decision.customer}" if decision.customer and profile != f"customer:{decision.customer}" else ""
    what = decision.action or (action.action if action is not None else f"journey {decision.journey}")
    head = f"{clock(decision.at)} {profile}{carried} {decision.verdict} {what}"
    if decision.verdict == "sent":
        assert action is not None
        return f"{head} by {_sending(action)} until {clock(action.expires_at)}"
    if decision.verdict == "withdrawn":
        return f"{head} from {decision.channel}: {decision.reason}"
    found = f" {decision.value}" if decision.gate in {"hold", "stale"} else ""
    return f"{head}: {decision.gate} says {decision.reason}{found}"


def _sending(action: Action) -> str:
    words = [f"{action.channel} to {action.to}:" if action.to else f"{action.channel}:"]
    words += [action.template] if action.template else []
    words += [f"{name}={value}" for name, value in sorted(action.params.items())]
    words += [f"link={_link(action.link)}"] if action.link else []
    return " ".join(words)


def _link(link: Link) -> str:
    return link.path + (f"@{link.position}" if link.position is not None else "")


def standing(simulator: Simulator) -> dict[str, dict[str, str]]:
    """Where everyone stands: each profile's journeys with their stages."""
    found: dict[str, dict[str, str]] = {}
    for name in sorted(simulator.states()):
        profile = simulator.profile(name)
        if profile is not None and profile.id == name and profile.instances:
            found[name] = {
                each.journey: each.stage + (", ended" if each.ended else "") for each in profile.instances.values()
            }
    return found

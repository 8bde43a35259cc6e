"""Decisions in words: the verdict, the gate that gave it with its machine-readable reason, and what that means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.action import Action
    from schemas.decision import Decision

VERDICTS = {"refused": "not sent", "held": "held back"}

# {found} and {asked} are the decision's value and bound.
MEANINGS = {
    ("duplicate", "already-emitted"): "this very action was sent before",
    ("consent", "never-given"): "there is no consent to {asked}",
    ("consent", "withdrawn"): "the consent to {asked} was withdrawn",
    ("consent", "unknown-purpose"): "the policy knows no purpose {found}",
    ("consent", "template-not-listed"): "the purpose allows {asked}, and this is {found}",
    ("consent", "no-address-in-request"): "nobody asked for it to an address of their own",
    ("ceiling", "reached"): "{found} within a day, and the purpose bears {asked}",
    ("do-not-contact", "forbidden"): "the customer asked not to be contacted",
    ("stop", "stopped"): "a stop of {found} is in force",
    ("channel", "no-address"): "no address is known for {asked}",
    ("channel", "address-suppressed"): "the address known for {asked} must not be used",
    ("channel", "unknown-action"): "the policy knows no action {found}",
    ("channel", "to-absent"): "it has nobody to go to",
    ("channel", "link-absent"): "its link leads nowhere",
    ("limits", "too-many-actions"): "{found} in a month, and a profile bears {asked}",
    ("limits", "too-many-held"): "case {found} is open, and as many as a profile may hold wait already",
    ("limits", "parameters-too-large"): "they have {found}, and an action bears {asked}",
    ("limits", "trait-too-large"): "{found} is larger than {asked}",
    ("limits", "step-budget"): "it went round in a loop, {found}",
    ("journey", "instance-ended"): "the journey that wanted it is over",
    ("merge", "another-instance-stays"): "another instance of this journey stays",
    ("merge", "too-large-to-hand-over"): "what was gathered has {found}, too much for a message",
    ("identity", "too-many-parked"): "{found} entries waited for an answer, so this one goes on",
    ("stale", "older-on-arrival-than-stale-after"): "it came {found} late, and the journey bears {asked}",
    # A hold's reason is its name in the policy.
    ("hold", None): "case {found} is open, and {asked} waits",
}
_AFTER = re.compile(r"\bafter (\d+) s\b")


def sentence(decision: Decision, action: Action | None = None) -> str:
    """A decision in words; with the action, where it goes."""
    what = decision.action or (action.action if action is not None else None)
    what = what or (f"journey {decision.journey}" if decision.journey else "event")
    by = f" by {decision.channel}" if decision.channel else ""
    if decision.verdict == "sent":
        return f"{what} sent{by}{_where(action)}: all gates passed (purpose {decision.purpose})"
    if decision.verdict == "withdrawn":
        return f"{what}{by} withdrawn: {after(decision.reason)}"
    verdict = VERDICTS.get(decision.verdict, decision.verdict)
    meaning = _meaning(decision)
    return f"{what} {verdict}: {decision.gate} says {decision.reason}{f' ({meaning})' if meaning else ''}"


def _where(action: Action | None) -> str:
    if action is None:
        return ""
    what = action.template or " ".join(str(value) for value in action.params.values() if isinstance(value, str))
    return (f" to {action.to}" if action.to else "") + (f" ({what})" if what else "")


def _meaning(decision: Decision) -> str:
    found, asked = _plain(decision.value), _plain(decision.bound)
    known = MEANINGS.get((decision.gate, decision.reason)) or MEANINGS.get((decision.gate, None))
    if known is not None:
        return known.format(found=found, asked=asked)
    words = [f"found {found}"] if decision.value else []
    return ", ".join(words + ([f"asked for {asked}"] if decision.bound else []))


def _plain(value: str | None) -> str:
    """A value as people read it: a duration in ms as days, hours, minutes and seconds."""
    number, _, unit = (value or "").partition(" ")
    return duration(int(number)) if unit == "ms" and number.isdecimal() else (value or "").replace(",", " or ")


def after(why: str) -> str:
    """A timer's `after 1800 s` as `after 30 min`."""
    return _AFTER.sub(lambda found: f"after {duration(int(found[1]) * 1000)}", why)


def duration(milliseconds: int) -> str:
    """`2 d 3 h`: the two largest units of a time."""
    seconds = milliseconds // 1000
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or f"{milliseconds} ms"

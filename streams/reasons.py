"""Decisions in words: the verdict, the gate and its machine-readable reason, what that means, what would change it.

Every (gate, reason) that the engine can give has a line in both tables (`tests/language/test_reasons.py` reads the
engine to see that). `None` in place of a reason stands for those that are names, such as a hold's.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

from schemas.journey import PARAMETERS
from streams.engine.durations import duration as lasts
from streams.terminal import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.action import Action
    from schemas.decision import Decision

VERDICTS = {"refused": "not sent", "held": "held back", "pinned": "goes on as it was"}

# {found} and {asked} are the decision's value and bound, {found_at} and {then} the moment that a number of ms found is,
# and that moment and the time asked for; {free} is when a cap's next slot is free; {purpose}, {action}, {channel},
# {journey}, {stage} are the decision's, {at} its moment, {waited} what it waited for (WAITED). Moments are told by the
# clock that is asked for.
MEANINGS: dict[tuple[str, str | None], str] = {
    ("duplicate", "already-emitted"): "this very action was sent before",
    ("consent", "never-given"): "there is no consent to {asked}",
    ("consent", "withdrawn"): "the consent to {asked} was withdrawn {found_at}",
    ("consent", "unknown-purpose"): "the policy knows no purpose {found}",
    ("consent", "template-not-listed"): "the purpose allows {asked}, and this is {found}",
    ("consent", "no-address-in-request"): "nobody asked for it to an address of their own",
    ("ceiling", "reached"): "{found} within a day, and the purpose bears {asked}",
    ("do-not-contact", "forbidden"): "the customer asked not to be contacted, {found_at}",
    ("stop", "stopped"): "a stop of {found} is in force",
    ("eligibility", "nothing-eligible"): "no offer for {asked} fits: {found}",
    ("eligibility", "capacity"): "the offers for {asked} are used up, or do not fit: {found}",
    ("arbitration", "outranked"): "it scores {found}, and {asked} went before it",
    ("channel", "no-address"): "no address is known for {asked}",
    ("channel", "address-suppressed"): "the address known for {asked} must not be used",
    ("channel", "unknown-action"): "the policy knows no action {found}",
    ("channel", "to-absent"): "it has nobody to go to",
    ("channel", "link-absent"): "its link leads nowhere",
    ("limits", "too-many-actions"): "{found} in a month, and a profile bears {asked}",
    ("limits", "too-many-held"): "it would have to wait, and as many as a profile bears, {asked}, wait already",
    ("limits", "parameters-too-large"): "they have {found}, and an action bears {asked}",
    ("limits", "trait-too-large"): "{found} is larger than {asked}",
    ("limits", "step-budget"): "it went round in a loop, {found}",
    ("journey", "instance-ended"): "the journey that wanted it is over",
    ("merge", "another-instance-stays"): "another instance of this journey stays",
    ("merge", "too-large-to-hand-over"): "what was gathered has {found}, too much for a message",
    ("identity", "too-many-parked"): "{found} entries waited for an answer, so this one goes on",
    ("stale", "older-on-arrival-than-stale-after"): "it came {found} late, and the journey bears {asked}",
    ("edit", "stage-not-mapped"): "stage {found} is gone in {asked}, and nothing says where to go",
    ("expiry", "would-expire-waiting"): "it would have to wait {found}, and expires after {asked}",
    ("expiry", "expired-while-waiting"): "it waited {found}, and expires after {asked}",
    # The reason of a hold, a holdout, a cap, a distance or a quiet time is its name in the policy.
    ("hold", None): "case {found} is open, and holds {asked}",
    ("holdout", None): "{asked} of 100 get nothing, to compare them with the others; this is number {found}, from 0",
    ("caps", None): "there were {found} already, and the cap is {asked}",
    ("distance", None): "the last one was {found} ago, and {asked} must lie between two",
    ("quiet", None): "by the customer's clock it was {found}, and it is quiet until {asked}",
    # A promise's reason is its name, what is found its owner.
    ("promise", None): "due {asked}",
    # Other withdrawals, at the end of a journey or of a link, have their reason in words.
    ("withdrawal", "consent-withdrawn"): "the consent to {asked} was withdrawn {found_at}",
    ("withdrawal", "no-consent"): "there is no consent to {asked} any more",
    ("withdrawal", "do-not-contact"): "do-not-contact: the customer asked for it {found_at}",
    ("withdrawal", "hold"): "case {found} of hold {asked} is open",
    # What nobody proposed: only for who asks why a journey was not entered, or why nothing happened in it.
    ("enter", "already-in"): "they were in it already, in stage {found}",
    ("enter", "again-never"): "they had been through it, until {found_at}, and nobody comes into it twice",
    ("enter", "again-later"): "the last time ended {found_at}, and one may come again {asked} after that",
    ("enter", "stopped"): "a stop of {found} was in force",
    ("enter", "canary"): "of 100 only {asked} come into it yet, and this is number {found}, from 0",
    ("enter", "not-in-force"): "the journey was not in force yet",
    ("enter", "condition"): "{parts}",
    ("handler", "condition"): "{parts}",
}
# The gates that decisions name: `all` of what was sent, and those of nothing but questions left out.
GATES = tuple(dict.fromkeys(["all", *(gate for gate, _ in MEANINGS if gate not in ("enter", "handler")), "withdrawal"]))
# What would have changed the verdict, in a sentence to be read out. What was found stands in the meaning beside it.
WAYS_OUT: dict[tuple[str, str | None], str] = {
    ("duplicate", "already-emitted"): "nothing: it went out once, and once is all",
    ("consent", "never-given"): "it would have gone out with the customer's consent to {asked}",
    ("consent", "withdrawn"): "it would have gone out with a consent to {asked} given after {found_at}",
    ("consent", "unknown-purpose"): "it would need a purpose {found} in the policy",
    ("consent", "template-not-listed"): "it would have gone out with a template that {purpose} lists: {asked}",
    ("consent", "no-address-in-request"): "it would have gone out with an address given in the request itself",
    ("ceiling", "reached"): "it would have gone out with fewer than {asked} for {purpose} in the 24 hours before",
    ("do-not-contact", "forbidden"): "it would have gone out had the customer allowed contact again after {found_at}",
    ("stop", "stopped"): "it would have gone out without the stop of {found}",
    ("edit", "stage-not-mapped"): "it would have moved with `moved: {{{found}: <stage>}}` in {asked}",
    ("eligibility", "nothing-eligible"): "it would have gone out with an offer for {asked} that the customer may get",
    ("eligibility", "capacity"): "it would have gone out with more capacity, or another offer for {asked}",
    ("arbitration", "outranked"): "it would have gone out with a score above that of {asked}",
    ("channel", "no-address"): "it would have gone out with an address for {asked}",
    ("channel", "address-suppressed"): "it would have gone out with another address for {asked}",
    ("channel", "unknown-action"): "it would need an action {found} in the policy",
    ("channel", "to-absent"): "it would have gone out with an address where its `to` looks for one",
    ("channel", "link-absent"): "it would have gone out with a path of the site where its `link` looks for one",
    ("limits", "too-many-actions"): "it would have gone out with fewer than {asked} actions in the month before",
    ("limits", "too-many-held"): "it would have waited with fewer, or smaller, actions waiting already",
    ("limits", "parameters-too-large"): "it would have gone out with parameters of at most {asked}",
    ("limits", "trait-too-large"): "it would have been kept with at most {asked}",
    ("limits", "step-budget"): "the journey must not lead back to itself without time or an event in between",
    ("journey", "instance-ended"): "it would have gone out had {waited}",
    ("merge", "another-instance-stays"): "nothing: a customer is in a journey once at a time",
    ("merge", "too-large-to-hand-over"): "it would have gone along with less gathered",
    ("identity", "too-many-parked"): "it would have waited with fewer entries waiting before it",
    ("stale", "older-on-arrival-than-stale-after"): "it would have counted had it come within {asked}",
    ("expiry", "would-expire-waiting"): "it would have waited with an `expires` of more than {found}",
    ("expiry", "expired-while-waiting"): "it would have gone out with an `expires` of more than {found}",
    ("holdout", None): "nothing: who is held out stays so for as long as the share is {asked} percent",
    ("caps", None): "it would have gone out from {free} on, or with fewer than {asked}",
    ("distance", None): "it goes out when {asked} have passed, if its journey still wants it then",
    ("quiet", None): "it goes out on {asked}, if its journey still wants it then",
    ("hold", None): "without case {found}; what waits goes out when that is over, if its journey still wants it then",
    ("promise", None): "what keeps it would have had to come before {asked}",
    ("withdrawal", None): "it would have stayed had it been delivered before",
    ("withdrawal", "consent-withdrawn"): "it would have stayed with the consent, or had it been delivered before",
    ("withdrawal", "no-consent"): "it would have stayed with a consent to {asked}, or had it been delivered before",
    ("withdrawal", "do-not-contact"): "it would have stayed without that word, or had it been delivered before",
    ("withdrawal", "hold"): "it would have stayed without case {found}, or had it been delivered before",
    ("enter", "already-in"): "they can enter once the journey has ended for them",
    ("enter", "again-never"): "with `again: always`, or after a time, in the journey",
    ("enter", "again-later"): "the same event would let them in from {then} on",
    ("enter", "stopped"): "it would have let them in without the stop of {found}",
    ("enter", "canary"): "it would have let them in with a larger share, or once it is in force for everybody",
    ("enter", "not-in-force"): "an event after the journey is put in force can let them in",
    ("enter", "condition"): "it would have let them in with {wanted}",
    ("handler", "condition"): "it would have reacted with {wanted}",
}
# Of what waited when its journey ended, by the gate that held it back (None: no gate is known): what should have been.
WAITED: dict[str | None, str] = {
    "hold": "case {found} been over by {at}, when the journey ended",
    "distance": "the journey lasted until {free}",
    "quiet": "the journey lasted until {asked}",
    None: "what it waited for ended before the journey did",
}
# What became of a promise, in words.
PROMISES = {
    "made": "made",
    "at-risk": "at risk",
    "broken": "broken",
    "kept": "kept",
    "ended": "neither kept nor broken, the journey is over",
}
# Of a promise, what would have changed what became of it; what is not here needs nothing.
KEEPING = {
    "at-risk": "what keeps it has to come before {asked}",
    "broken": WAYS_OUT["promise", None],
}
NEXT_SLOT = " (next slot "  # between what a cap has counted and when there is room again
# Of what waits, what is no parameter of its own; the engine's notes begin with a slash.
_UNSAID = (*PARAMETERS, "/own")
_LOCAL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_AFTER = re.compile(r"\bafter (\d+) s\b")
_TIME = re.compile(r"\b(\d+)([smhdw])\b", re.ASCII)


def sentence(decision: Decision, action: Action | None = None, clock: tzinfo = UTC, waits: str = "") -> str:
    """A decision in words; with the action, where it goes; of what is held back `waits` says what it is."""
    if decision.gate == "promise":
        return _promise(decision, clock)
    what = decision.action or (action.action if action is not None else None)
    what = what or (f"journey {decision.journey}" if decision.journey else "event")
    by = f" by {decision.channel}" if decision.channel else ""
    if decision.verdict == "sent":
        best = f", {decision.offer}" if decision.offer else ""
        best += f", score {decision.value}" if decision.value else ""
        best += f", {decision.bound}" if decision.bound else ""
        return f"{what} sent{by}{_where(action)}: all gates passed (purpose {decision.purpose}{best})"
    if decision.verdict == "withdrawn":
        return f"{what}{by} withdrawn: {meaning(decision, clock)}"
    verdict = VERDICTS.get(decision.verdict, decision.verdict)
    meant = meaning(decision, clock)
    what += f" ({waits})" if waits and decision.verdict == "held" else ""
    return f"{what} {verdict}: {decision.gate} says {decision.reason}{f' ({meant})' if meant else ''}"


def _promise(decision: Decision, clock: tzinfo) -> str:
    due = meaning(decision, clock) if decision.bound else "never due: there is no such working time in ten years"
    owner = f", {decision.value} owns it" if decision.value else ""
    return f"promise {decision.reason} {PROMISES.get(decision.verdict, decision.verdict)} ({due}{owner})"


def _where(action: Action | None) -> str:
    if action is None:
        return ""
    what = about(action.template, action.params)
    return (f" to {action.to}" if action.to else "") + (f" ({what})" if what else "")


def about(template: str | None, params: Mapping[str, Any]) -> str:
    """What an action is: its template, else what its channel gets to know, by name."""
    return template or " ".join(
        f"{name}={value}" for name, value in params.items() if isinstance(value, str) and name not in _UNSAID
    )


def meaning(decision: Decision, clock: tzinfo = UTC) -> str:
    """What a verdict means, with what was found and what was asked for."""
    known = _known(MEANINGS, decision.gate, decision.reason)
    if known is not None:
        return known.format_map(_facts(decision, clock))
    if decision.verdict == "withdrawn":
        return after(decision.reason)
    found, asked = _plain(decision.value, clock), _plain(decision.bound, clock)
    words = [f"found {found}"] if decision.value else []
    return ", ".join(words + ([f"asked for {asked}"] if decision.bound else []))


def would_change(decision: Decision, clock: tzinfo = UTC, waited: Decision | None = None) -> str:
    """What would have changed a verdict; nothing for what was sent. `waited`: the verdict that held it back before."""
    if decision.gate == "promise":
        known = KEEPING.get(decision.verdict)
    else:
        known = _known(WAYS_OUT, decision.gate, decision.reason)
    if known is None:
        return ""
    found = _facts(decision, clock)
    return known.format_map(found | {"waited": _waited(waited, found["at"], clock)})


def _waited(waited: Decision | None, ended: str, clock: tzinfo) -> str:
    gate = waited.gate if waited is not None else None
    found = _facts(waited, clock) | {"at": ended} if waited is not None else {}
    if gate == "distance" and waited is not None:
        passed, least = (int(str(each).removesuffix(" ms")) for each in (waited.value, waited.bound))
        found["free"] = moment(waited.at + least - passed, clock)
    return WAITED.get(gate, WAITED[None]).format_map(found)


def _known(table: dict[tuple[str, str | None], str], gate: str, reason: str) -> str | None:
    return table.get((gate, reason)) or table.get((gate, None))


def facts(value: str | None, bound: str | None, clock: tzinfo = UTC) -> dict[str, str]:
    """What the tables may name of a value found and a bound asked for."""
    counted, _, free = (value or "").removesuffix(")").partition(NEXT_SLOT)
    plain = _plain(counted if free else value, clock)
    asked = _plain(bound, clock)
    found = {"found": plain, "asked": asked, "found_at": plain, "then": "", "free": _plain(free, clock)}
    if value is not None and value.isdecimal():
        found["found_at"] = moment(int(value), clock)
        number, _, unit = (bound or "").partition(" ")
        if unit == "ms" and number.isdecimal():
            found["then"] = moment(int(value) + int(number), clock)
    return found


def _facts(decision: Decision, clock: tzinfo) -> dict[str, str]:
    names = ("purpose", "action", "channel", "journey", "stage")
    found = facts(decision.value, decision.bound, clock) | {"at": moment(decision.at, clock)}
    if decision.value == "" and decision.gate in {"hold", "withdrawal"}:
        found["found"] = "without a number"
    return found | {name: str(getattr(decision, name) or "") for name in names}


def _plain(value: str | None, clock: tzinfo) -> str:
    """A value as people read it: a duration in ms as days, hours, minutes and seconds; a moment as date and time."""
    if value is not None and _MOMENT.fullmatch(value):
        return moment(int(datetime.fromisoformat(value).timestamp()) * 1000, clock)
    if value is not None and _LOCAL.fullmatch(value):
        return day_and_time(datetime.fromisoformat(value))
    number, _, unit = (value or "").partition(" ")
    return duration(int(number)) if unit == "ms" and number.isdecimal() else (value or "").replace(",", " or ")


def day_and_time(then: datetime) -> str:
    """`Monday 9 March 2026 10:30`."""
    return f"{then:%A} {then.day} {then:%B %Y %H:%M}"


def after(why: str) -> str:
    """A timer's `after 1800 s` as `after 30 min`."""
    return _AFTER.sub(lambda found: f"after {duration(int(found[1]) * 1000)}", why)


def written(trigger: str) -> str:
    """A timer's `after 30m of silence` as `after 30 min of silence`."""
    return _TIME.sub(lambda found: duration(lasts(found[0])), trigger)


def duration(milliseconds: int) -> str:
    """`2 d 3 h`: the two largest units of a time."""
    seconds = milliseconds // 1000
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or f"{milliseconds} ms"

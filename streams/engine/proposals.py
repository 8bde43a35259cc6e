"""Proposed actions: the gates judge them, with the best offer where one is asked for; then they go out, wait or end.

What competes, by the policy's `compete`, does not go out at once: when all that is proposed at the same moment is
known, `settle` lets the best go out. All else goes out as it is proposed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from schemas.journey import SCORE
from streams.engine.arbitration import Ranking, number, rank, score, told
from streams.engine.bounds import MAX_HELD, may_hold
from streams.engine.contacts import CONTACT_WINDOW, PRUNE_AT, emit, prune
from streams.engine.durations import duration
from streams.engine.gates import objection
from streams.engine.moment import Moment
from streams.engine.parameters import filled
from streams.engine.step import Contender
from streams.engine.verdicts import Proposed, Verdict, decide

if TYPE_CHECKING:
    from collections.abc import Collection

    from streams.engine.profile import Held, Instance, Profile
    from streams.engine.rules import Rules
    from streams.engine.step import Step

# The gates whose objection to one offer another may not meet: it has another purpose, topic or text.
OF_THE_OFFER = frozenset({"consent", "ceiling", "holdout", "hold", "caps", "distance", "quiet", "channel"})
MAX_TRIED = 20  # offers, from the best, that the gates are asked about for one action
# Where an action that waits keeps what an offer replaced: no parameter is named so.
OWN = "/own"


def propose(profile: Profile, instance: Instance, held: Held, rules: Rules, now: int, step: Step) -> None:
    """Send the action, hold it or refuse it; one decision in each case, now or when the moment's contest is settled."""
    if len(profile.contacts) > PRUNE_AT:
        prune(profile, now, CONTACT_WINDOW)
    proposed, verdict = judge(profile, instance, held, rules, now, step)
    if verdict is not None:
        _object(profile, proposed, verdict, now, step)
    elif proposed.basis == "consent" and held.kind in rules.competes:
        step.contenders.append(Contender(instance, held))
    else:
        _send(profile, proposed, rules, now, step)


def judge(
    profile: Profile, instance: Instance, held: Held, rules: Rules, now: int, step: Step
) -> tuple[Proposed, Verdict | None]:
    """The proposed action, and the first gate's objection to it.

    With a `place`, it is the best offer that may go out, or where none may the best and why it may not.
    """
    params = held.params
    if "place" not in params:
        proposed = _proposed(held, instance, str(params["purpose"]), rules)
        return proposed, objection(profile, proposed, rules, now)
    if OWN in params:
        own = params[OWN]
        params = {name: value for name, value in {**params, **own}.items() if name != OWN and value is not None}
        held = msgspec.structs.replace(held, params=params)
    moment = Moment(profile, None, now, rules, step)
    ranking = rank(moment, str(params["place"]), params.get("offers"))
    if not ranking.ranked:
        proposed = _proposed(held, instance, str(params["purpose"]), rules)
        proposed.ranking = ranking
        return proposed, objection(profile, proposed, rules, now)
    return _best(profile, instance, held, ranking, moment)


def _best(
    profile: Profile, instance: Instance, held: Held, ranking: Ranking, moment: Moment
) -> tuple[Proposed, Verdict | None]:
    rules, now, params = moment.rules, moment.now, held.params
    passed: dict[str, str] = {}
    first: tuple[Proposed, Verdict] | None = None
    for candidate in ranking.ranked[:MAX_TRIED]:
        offer = candidate.offer
        chosen = params | filled(candidate.creative.params, moment) | ({"topic": offer.topic} if offer.topic else {})
        chosen["purpose"] = offer.purpose or params["purpose"]
        chosen["reason"] = chosen.get("reason") or f"{offer.title or offer.name}: {candidate.score}"
        proposed = _proposed(msgspec.structs.replace(held, params=chosen), instance, str(chosen["purpose"]), rules)
        proposed.ranking, proposed.candidate, proposed.passed, proposed.asked = ranking, candidate, passed, held
        verdict = objection(profile, proposed, rules, now)
        if verdict is None:
            return proposed, None
        first = first or (proposed, verdict)
        if verdict.gate not in OF_THE_OFFER:
            break
        passed[offer.name] = verdict.gate
    assert first is not None, "there is a candidate"
    return first


def _proposed(held: Held, instance: Instance, name: str, rules: Rules) -> Proposed:
    purpose = rules.policy.purposes.get(name)
    return Proposed(held, instance, purpose.basis if purpose is not None else "", name)


def _send(
    profile: Profile, proposed: Proposed, rules: Rules, now: int, step: Step, before: list[str] | None = None
) -> None:
    """Send what passed; `before` are those that it outranked."""
    value, bound = "", ""
    candidate, ranking = proposed.candidate, proposed.ranking
    if candidate is not None and ranking is not None:
        rules.capacity.take(candidate.offer.name, candidate.offer.capacity)
        value, bound = str(candidate.score), ranking.why(candidate, proposed.passed)
    if before is not None:
        value = str(scored(proposed))
        bound = "; ".join(filter(None, (told("ahead of", before), bound)))
    emit(profile, proposed, rules, now, step)
    decide(profile, proposed, Verdict("sent", "all", "passed", value, bound), now, step)


def _object(profile: Profile, proposed: Proposed, verdict: Verdict, now: int, step: Step) -> None:
    """Let what is held wait, or refuse it."""
    if verdict.verdict == "held" and proposed.instance.ended:
        verdict = Verdict("refused", "journey", "instance-ended", verdict.gate)
    if verdict.verdict == "held":
        verdict = _wait(profile, proposed, verdict)
    decide(profile, proposed, verdict, now, step)


def _wait(profile: Profile, proposed: Proposed, verdict: Verdict) -> Verdict:
    """Let what is held wait, unless it would expire meanwhile or too much waits already: then it is refused."""
    held, until = proposed.held, verdict.until
    expires = held.params.get("expires")
    if until and expires and held.at + duration(str(expires)) <= until:
        value, bound = f"{until - held.at} ms", f"{duration(str(expires))} ms"
        return Verdict("refused", "expiry", "would-expire-waiting", value, bound)
    if proposed.asked is not None:
        held = _without_offer(proposed.asked, held)
    held = msgspec.structs.replace(held, until=until)
    if not may_hold(profile, held):
        return Verdict("refused", "limits", "too-many-held", str(MAX_HELD), str(MAX_HELD))
    proposed.instance.held.append(held)
    return verdict


def _without_offer(asked: Held, held: Held) -> Held:
    """What waits: the action as it asked for an offer, which it does again; the purpose and topic it waits under."""
    names = ("purpose", "topic")
    own = {name: asked.params.get(name) for name in names}
    under = {name: held.params[name] for name in names if name in held.params}
    return msgspec.structs.replace(asked, params=asked.params | under | {OWN: own})


def scored(proposed: Proposed) -> Any:
    """What an action scores: its own parameters, with an offer's score its context and lever times the offer's."""
    own = score(proposed.held.params.get(name, 1.0) for name in SCORE)
    if proposed.candidate is None:
        return own
    offer = proposed.candidate.score
    return score((offer.propensity, offer.context * own.context, offer.value, offer.lever * own.lever))


def settle(profile: Profile, rules: Rules, now: int, step: Step) -> None:
    """Let the best of what competes go out, and refuse the others."""
    contenders, step.contenders = step.contenders, []
    contests: dict[str, list[Contender]] = {}
    for contender in contenders:
        contests.setdefault(rules.competes[contender.held.kind], []).append(contender)
    for name, mine in sorted(contests.items()):
        _settle(profile, mine, rules.policy.compete[name].winners, rules, now, step)


def _settle(profile: Profile, contenders: list[Contender], winners: int, rules: Rules, now: int, step: Step) -> None:
    won: list[str] = []
    ranked: list[Proposed] = []
    while contenders and len(won) < winners:
        # Judged anew after each winner: it may have taken a cap's last slot, or an offer's capacity.
        ranked = []
        for instance, held in contenders:
            proposed, verdict = judge(profile, instance, held, rules, now, step)
            if verdict is None:
                ranked.append(proposed)
            else:
                _object(profile, proposed, verdict, now, step)
        ranked.sort(key=_rank)
        if not ranked:
            return
        first = ranked.pop(0)
        _send(profile, first, rules, now, step, [_told(each) for each in ranked])
        won.append(_told(first))
        contenders = [Contender(each.instance, each.asked or each.held) for each in ranked]
    for each in ranked:
        verdict = Verdict("refused", "arbitration", "outranked", str(scored(each)), told("", won).strip())
        decide(profile, each, verdict, now, step)


def _rank(proposed: Proposed) -> tuple[Any, ...]:
    return -scored(proposed).total, -proposed.held.priority, proposed.instance.journey, proposed.held.action_id


def _told(proposed: Proposed) -> str:
    offer = f" ({proposed.candidate.offer.name})" if proposed.candidate is not None else ""
    return f"{proposed.held.kind}{offer} of {proposed.instance.journey} {number(scored(proposed).total)}"


def drop_contenders(
    profile: Profile, instance: Instance, why: str, now: int, step: Step, last: Collection[str]
) -> None:
    """What competes ends with its instance, unless it is among the `last` actions, by id."""
    kept = []
    for contender in step.contenders:
        if contender.instance is not instance or contender.held.action_id in last:
            kept.append(contender)
        else:
            proposed = Proposed(contender.held, instance, "", str(contender.held.params["purpose"]))
            decide(profile, proposed, Verdict("refused", "journey", why), now, step)
    step.contenders = kept

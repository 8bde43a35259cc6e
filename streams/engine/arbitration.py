"""Arbitration: which of several offers, and of several actions, is best for a customer at a moment.

A score is propensity x context x value x lever. The greatest wins; of equal ones the greater priority, then the first
name. Every loser says why it lost, and every winner what it went before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.journey import SCORE
from schemas.offer import MAX_FACTOR
from streams.engine.cel_values import Absent
from streams.engine.parameters import filled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from streams.engine.moment import Moment
    from streams.engine.offers import CompiledOffer, Creative

MOST = dict(zip(SCORE, (1.0, *[float(MAX_FACTOR)] * 3), strict=True))  # of each factor; the least is 0
TOLD = 10  # competitors that a decision names; of the others it says how many
MAX_TOLD = 2000  # characters of what a decision says


class Score(NamedTuple):
    """What is ranked, in its parts."""

    propensity: float = 1.0
    context: float = 1.0
    value: float = 1.0
    lever: float = 1.0

    @property
    def total(self) -> float:
        """The product."""
        return self.propensity * self.context * self.value * self.lever

    def __str__(self) -> str:
        """`72 = propensity 0.4 x context 1 x value 120 x lever 1.5`."""
        parts = " x ".join(f"{name} {number(part)}" for name, part in zip(SCORE, self, strict=True))
        return f"{number(self.total)} = {parts}"


def number(value: float) -> str:
    """A factor or a score as people read it; six digits."""
    return f"{value:.6g}"


def score(factors: Iterable[Any]) -> Score:
    """The score of four values as they were found: each from 0 to its most, and 0 when it is no number."""
    return Score(*(_factor(value, most) for value, most in zip(factors, MOST.values(), strict=True)))


def _factor(value: Any, most: float) -> float:
    # True is no number here, and neither is what is not a number.
    return min(max(float(value), 0.0), most) if type(value) in (int, float) and value == value else 0.0  # noqa: PLR0124


@dataclass(frozen=True, slots=True)
class Candidate:
    """An offer that may be made, as it looks in the place asked for, and what it scores."""

    offer: CompiledOffer
    creative: Creative
    score: Score

    def __str__(self) -> str:
        """Its name and what it scores."""
        return f"{self.offer.name} {number(self.score.total)}"


@dataclass(frozen=True, slots=True)
class Ranking:
    """The offers of a place for a customer at a moment: those that may be made, best first, and why each other may not.

    `lost` maps an offer's name to a reason of `engine.offers`, in the order of names.
    """

    place: str
    ranked: tuple[Candidate, ...]
    lost: dict[str, str]

    def why(self, candidate: Candidate, passed: dict[str, str] | None = None) -> str:
        """Why this one: what it goes before, and why others, those `passed` over by a gate included, were not taken."""
        after = [str(each) for each in self.ranked if each is not candidate and each.offer.name not in (passed or {})]
        lost = [f"{name}: {reason}" for name, reason in ((passed or {}) | self.lost).items()]
        return told("before", after, "not", lost)


def told(*parts: str | Sequence[str]) -> str:
    """Pairs of a word and a list as one text of bounded length: `before a 3, b 2; not c: capacity`."""
    said = []
    for word, items in zip(parts[::2], parts[1::2], strict=True):
        if items:
            more = f" and {len(items) - TOLD} more" if len(items) > TOLD else ""
            said.append(f"{word} {'; '.join(items[:TOLD])}{more}")
    return "; ".join(said)[:MAX_TOLD]


def rank(moment: Moment, place: str, only: Sequence[str] | None = None) -> Ranking:
    """Rank the offers in force for a place (of those named in `only`, if it is given) for the moment's profile.

    Only eligibility is asked: whether the customer may be contacted is the business of an action's gates.
    """
    ranked, lost = [], {}
    for offer in moment.rules.places.get(place, ()):
        if only is not None and offer.name not in only:
            continue
        found = offer.creative(place, moment)
        if isinstance(found, str):
            lost[offer.name] = found
        else:
            ranked.append(Candidate(offer, found, score(_evaluated(factor, moment) for factor in offer.factors)))
    ranked.sort(key=lambda each: (-each.score.total, -each.offer.priority, each.offer.name))
    return Ranking(place, tuple(ranked), lost)


def _evaluated(factor: Any, moment: Moment) -> Any:
    if not callable(factor):
        return factor
    try:
        return factor(moment)
    except Absent:
        moment.step.stats.absent += 1
        return 0.0


def best(moment: Moment, place: str) -> dict[str, Any] | None:
    """The best offer for a place as an expression sees it; None: there is none."""
    ranking = rank(moment, place)
    if not ranking.ranked:
        return None
    first = ranking.ranked[0]
    why = told("", [str(first.score)], "before", [str(each) for each in ranking.ranked[1:]])
    return {
        "offer": first.offer.name,
        "title": first.offer.title,
        "score": first.score.total,
        "value": first.score.value,
        "why": why.strip(),
        "params": filled(first.creative.params, moment),
    }

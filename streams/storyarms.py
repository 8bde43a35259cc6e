"""Who of a story is in which arm of a split, who is held out, and which other ids would be.

The engine draws by hashes of names (`streams.engine.splits`, the gate `holdout`); here the same are asked, of any name.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING

from streams.engine.ids import percent
from streams.engine.splits import arm
from streams.problems import choose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from schemas.journey import Journey
    from schemas.policy import Policy
    from streams.engine.rules import Library
    from streams.storyfile import Expectation, Story
    from streams.storyplay import Played

IN, OUT = "held out", "not held out"
IDS = 3  # that a message names
# Ids that are tried. One percent has 50 of them, and each of several draws at once leaves a part of those.
TRIED = 5000


@dataclass(frozen=True, slots=True)
class Draw:
    """A split of a journey, or a holdout: `side` says on which side of it a profile (kind:id) is.

    `journey`: who entered it is asked about; None: whoever the profile is now.
    """

    what: str
    journey: str | None
    side: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Drawn:
    """On which side somebody is, in words; `good`: as `item` expects it, or nothing does."""

    item: Expectation | None
    good: bool
    text: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """An expectation names what its folder does not have: under which key, and the way out."""

    key: str
    message: str
    way_out: str


def newest(known: Library) -> tuple[dict[str, Journey], Policy | None]:
    """The journeys by name, and the policy, that are in force in a story."""
    journeys = {name: journey for (name, _), (_, journey) in sorted(known.journeys.items(), key=lambda each: each[0])}
    policies = [policy for _, (_, policy) in sorted(known.policies.items(), key=lambda each: each[0])]
    return journeys, policies[-1] if policies else None


def draw(item: Expectation, story: Story, known: Library) -> Draw | Unknown:
    """What a line with `arm` or `held_out` asks about."""
    journeys, policy = newest(known)
    if "holdout" in item.values:
        holdouts = policy.holdouts if policy is not None else {}
        name = str(item.values["holdout"])
        if name not in holdouts:
            return Unknown("holdout", f"unknown holdout '{name}'", choose(name, holdouts, "the policy has no holdouts"))
        return _holdout(name, holdouts[name].share)
    name = str(item.values.get("journey", story.journey))
    if name not in journeys and "journey" in item.values:
        return Unknown("journey", f"unknown journey '{name}'", choose(name, journeys))
    if name not in journeys:
        message = f"no journey has the name of this file, '{name}'"
        return Unknown(item.kind, message, f"say which one: 'journey: ...'; {choose(name, journeys)}")
    journey = journeys[name]
    if item.kind == "arm":
        return _split(item, journey)
    if journey.holdout is None:
        way_out = "name one of the policy, 'holdout: ...', or a journey that has 'holdout:'"
        return Unknown("journey", f"journey '{name}' holds nobody out", way_out)
    return _own(name, journey.holdout)


def _split(item: Expectation, journey: Journey) -> Draw | Unknown:
    splits, wanted = journey.splits, str(item.values["arm"])
    if not splits:
        way_out = "name another journey: 'journey: ...', or declare the split there, under 'splits:'"
        return Unknown("journey", f"journey '{journey.journey}' has no splits", way_out)
    if "split" not in item.values and len(splits) > 1:
        message = f"journey '{journey.journey}' has {len(splits)} splits"
        return Unknown("arm", message, f"say which one: 'split: ...'; {choose('', splits)}")
    split = str(item.values.get("split", next(iter(splits))))
    if split not in splits:
        return Unknown("split", f"unknown split '{split}'", choose(split, splits))
    if wanted not in splits[split]:
        return Unknown("arm", f"split '{split}' has no arm '{wanted}'", choose(wanted, splits[split]))
    return _arms(journey.journey, split, splits[split])


def _arms(journey: str, split: str, arms: Mapping[str, int]) -> Draw:
    return Draw(f"split {split} of {journey}", journey, lambda who: f"in arm {arm(f'{journey}/{split}', who, arms)}")


def _holdout(name: str, share: int) -> Draw:
    return Draw(f"holdout {name}", None, lambda who: IN if percent(f"holdout/{name}", who) < share else OUT)


def _own(journey: str, share: int) -> Draw:
    drawn = f"holdout/journey/{journey}"
    return Draw(f"holdout of {journey}", journey, lambda who: IN if percent(drawn, who) < share else OUT)


def drawn(story: Story, played: Played) -> list[Drawn]:
    """Each line with `arm` or `held_out`, then what else was drawn: arms of who entered, and whoever is held out."""
    asked: list[tuple[Expectation, Draw, str]] = []
    found: list[Drawn] = []
    for item in story.expect:
        if item.kind not in ("arm", "held_out"):
            continue
        one, given = draw(item, story, played.simulator.library), item.values.get("profile")
        if isinstance(one, Unknown):
            found.append(Drawn(item, False, f"{one.message}; {one.way_out}"))
        elif (who := _who(given, one, played)) is None:
            way_out = choose(str(given), played.profiles, "it names nobody")
            found.append(Drawn(item, False, f"nobody is {given} in this story; {way_out}"))
        else:
            asked.append((item, one, who))
    for item, one, who in asked:
        side, wanted = one.side(who), _wanted(item)
        if side == wanted:
            found.append(Drawn(item, True, f"{one.what}: {who} is {side}"))
            continue
        # Of one and the same who, everything must be so at once.
        wishes = [(each.side, _wanted(line)) for line, each, whose in asked if whose == who]
        text = f"expected {one.what}: {wanted}; {who} is {side}; {_others(who, wishes, played)}"
        found.append(Drawn(item, False, text))
    named = {(one.what, who) for _, one, who in asked}
    for one, who in _all(played):
        if (one.what, who) not in named and (side := one.side(who)) != OUT:
            found.append(Drawn(None, True, f"{one.what}: {who} is {side}"))
    return found


def _wanted(item: Expectation) -> str:
    return f"in arm {item.values['arm']}" if item.kind == "arm" else IN if item.values["held_out"] else OUT


def _who(given: str | None, drawn: Draw, played: Played) -> str | None:
    """Whose name is drawn by: of those that the story names, the first who entered, else the first."""
    first = None
    for name in [given] if given is not None else played.profiles:
        profile = played.simulator.profile(name)
        if profile is None:
            continue
        instance = profile.instances.get(drawn.journey) if drawn.journey is not None else None
        if instance is not None:
            return instance.profile
        first = first or profile.id
    return first


def _others(who: str, wishes: list[tuple[Callable[[str], str], str]], played: Played) -> str:
    """Ids like `who`, and not in the story, of whom everything wished for is so."""
    kind, _, value = who.partition(":")
    stem = value.rstrip("0123456789")
    stem = stem if stem != value else f"{value}-"
    ids = (f"{stem}{number}" for number in islice(count(1), TRIED))
    free = (each for each in ids if f"{kind}:{each}" not in played.profiles)
    fit = list(islice((each for each in free if all(side(f"{kind}:{each}") == wish for side, wish in wishes)), IDS))
    return f"{kind} {', '.join(fit)} would be" if fit else f"of {TRIED} ids like it none would be"


def _all(played: Played) -> Iterator[tuple[Draw, str]]:
    """Whatever is drawn for those whom a story names, with the name that it is drawn by."""
    journeys, policy = newest(played.simulator.library)
    profiles = {each.id: each for name in played.profiles if (each := played.simulator.profile(name)) is not None}
    for profile in profiles.values():
        for name, holdout in (policy.holdouts if policy is not None else {}).items():
            yield _holdout(name, holdout.share), profile.id
        for name, instance in profile.instances.items():
            if journeys[name].holdout is not None:
                yield _own(name, journeys[name].holdout or 0), instance.profile
            for split, arms in journeys[name].splits.items():
                yield _arms(name, split, arms), instance.profile

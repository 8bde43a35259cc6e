"""What stories name and their folder does not have: kinds of action, arms, holdouts, event types nobody listens to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from schemas import touchpoint
from streams.definitions import library
from streams.engine.rules import Rules
from streams.problems import Problem, choose, did_you_mean
from streams.simulator import activations
from streams.storyarms import Unknown, draw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from streams.definitions import Definitions
    from streams.storyfile import Story

# Types that the router understands, beside those of the rules.
_ROUTED = (touchpoint.CUSTOMERS_MERGED, touchpoint.LOGGED_OUT)


def unknown_names(definitions: Definitions, stories: Iterable[Story]) -> list[Problem]:
    """Kinds of action that the policy lacks; splits, arms and holdouts; event types much like one that is named."""
    stories = list(stories)
    return sorted([*_kinds(definitions, stories), *_draws(definitions, stories), *_types(definitions, stories)])


def _kinds(definitions: Definitions, stories: Iterable[Story]) -> Iterator[Problem]:
    known = definitions.policy.model.actions if definitions.policy is not None else {}
    for story in stories:
        for item in story.expect:
            for key in ("action", "withdrawn"):
                kind = item.values.get(key)
                if kind is not None and kind not in known:
                    yield Problem(
                        story.file, *item.places[key], f"unknown kind of action '{kind}'", choose(str(kind), known)
                    )


def _draws(definitions: Definitions, stories: Iterable[Story]) -> Iterator[Problem]:
    known = library(definitions.loaded())
    for story in stories:
        for item in story.expect:
            found = draw(item, story, known) if item.kind in ("arm", "held_out") else None
            if isinstance(found, Unknown):
                place = item.places.get(found.key, item.places[item.kind])
                yield Problem(story.file, *place, found.message, found.way_out)


def _types(definitions: Definitions, stories: Iterable[Story]) -> Iterator[Problem]:
    known = library(definitions.loaded())
    rules = Rules(
        known, {f"{each.kind}/{each.name}": (each.version, each.fingerprint) for each in activations(known)}, []
    )
    heard = sorted({*rules.concerns, *_ROUTED})
    # Conditions may ask for a type that no handler listens to: what stands in any text is no slip of the pen.
    named = {word for each in definitions.loaded() for word in re.findall(r"\w+", each.model.model_dump_json())}
    for story in stories:
        for step in story.given:
            kind = step.values["when"] if step.kind == "when" else None
            # What is like nothing may be there on purpose: something else that the customer did.
            if kind is not None and kind not in heard and kind not in named and did_you_mean(kind, heard):
                message = f"nothing listens to '{kind}'"
                yield Problem(story.file, step.line, step.column, message, choose(kind, heard), "warning")

"""The impact of publishing: what is new or changed, who is where in what changes, and what that means for them."""

from __future__ import annotations

import difflib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from ruamel.yaml import YAML

from schemas.journal import EVERYBODY
from schemas.journey import Journey
from streams.engine import edits, journeys
from streams.engine.profile import decode
from streams.engine.rules import Library, Rules
from streams.engine.store import META_KEY
from streams.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.definitionlog import Published
    from streams.definitions import AnyLoaded

STAY, MOVE, LOST = "stay", "move", "not mapped"


class Place(NamedTuple):
    """Where running instances are, and what becomes of them: `then` is stay, move (to stage `to`) or not mapped.

    `overdue`: a timer of the new version is due already, and fires at once.
    """

    journey: str
    version: int
    stage: str
    then: str
    to: str
    overdue: bool


class Group(msgspec.Struct, frozen=True):
    """How many running instances are in one place; the fields of `Place`."""

    version: int
    stage: str
    count: int
    then: str
    to: str
    overdue: int


@dataclass(slots=True)
class Change:
    """One definition to publish: `what` is new, changed, unchanged, share or older (than what is in force).

    `former` is the version in force (0: none), `share` for how many of those who enter, `before` for how many it was.
    """

    kind: str
    name: str
    version: int
    what: str
    former: int = 0
    share: int = EVERYBODY
    before: int = 0
    edits: str = ""
    diff: list[str] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)

    @property
    def lost(self) -> list[Group]:
        """Those whose stage is gone and not mapped."""
        return [group for group in self.groups if group.then == LOST]

    @property
    def moves(self) -> bool:
        """Whether what it says of those in earlier versions matters: it is for all, and there is an earlier one."""
        return self.kind == "journey" and self.what in {"changed", "share"} and self.share == EVERYBODY

    def row(self) -> dict[str, Any]:
        """For machines."""
        names = ("kind", "name", "version", "what", "former", "share", "edits", "diff", "groups")
        return {name: getattr(self, name) for name in names}


def changes(definitions: Iterable[AnyLoaded], published: Published, share: int | None) -> list[Change]:
    """What publishing does; with `share`, new versions of journeys are for that many percent of those who enter."""
    newest: dict[tuple[str, str], AnyLoaded] = {}
    found = []
    for each in definitions:
        known = newest.get((each.kind, each.name))
        if known is None or each.version > known.version:
            newest[each.kind, each.name] = each
    for each in definitions:
        change = _change(each, published, share)
        if change.what == "new" and newest[each.kind, each.name] is not each:
            change.what = "older"
        found.append(change)
    return found


def _change(each: AnyLoaded, published: Published, share: int | None) -> Change:
    active, canary = published.in_force(each.kind, each.name), published.canary(each.kind, each.name)
    known = published.of(each.kind, each.name).get(each.version)
    former = active.loaded.version if active is not None else 0
    change = Change(each.kind, each.name, each.version, "unchanged", former)
    if isinstance(each.model, Journey):
        change.edits = each.model.edits
        change.share = EVERYBODY if share is None else share
    if known is not None:
        change.share = change.before = known.release.share
        if share is not None and known is canary and share != known.release.share:
            change.what, change.share = "share", share
        return change
    if each.version < former:
        change.what = "older"
    elif active is None:
        change.what = "new"
    else:
        change.what, change.diff = "changed", differences(active.loaded, each)
    return change


def differences(former: AnyLoaded, new: AnyLoaded) -> list[str]:
    """The lines that differ, as in YAML, each with `-` or `+`, and two lines around them."""
    lines = difflib.unified_diff(_written(former), _written(new), n=2, lineterm="")
    return [line for line in lines if not line.startswith(("---", "+++"))]


def _written(loaded: AnyLoaded) -> list[str]:
    out = io.StringIO()
    yaml = YAML()
    yaml.width = 110
    yaml.dump(loaded.model.model_dump(mode="json", by_alias=True, exclude_defaults=True), out)
    return out.getvalue().splitlines()


class Census:
    """Counts running instances of the journeys that changed, from the states in the changelog."""

    def __init__(self, found: list[Change], definitions: Iterable[AnyLoaded], published: Published, now: int) -> None:
        self._changed = {change.name: change for change in found if change.moves}
        self._now = now
        self._tally = Tally()
        self._needles = [name.encode() for name in self._changed]
        library: Library = published.library
        active = {
            f"{kind}/{name}": (each.loaded.version, each.loaded.fingerprint)
            for kind, name in published.versions
            if (each := published.in_force(kind, name)) is not None
        }
        for loaded in definitions:
            library.add(loaded.model, loaded.fingerprint)
            change = self._changed.get(loaded.name)
            if loaded.kind == "journey" and change is not None and change.version == loaded.version:
                active[f"journey/{loaded.name}"] = (loaded.version, loaded.fingerprint)
        self._rules = Rules(library, active, [])

    @property
    def needed(self) -> bool:
        """Whether anybody can be concerned."""
        return bool(self._changed)

    def look(self, key: bytes, state: bytes | None) -> None:
        """Take in one record of the changelog; a later one of the same key counts instead of it."""
        if key == META_KEY:
            return
        counted: list[Place] = []
        # Most profiles are in none of these, and the bytes of those who are have the journey's name.
        if state is not None and any(needle in state for needle in self._needles):
            profile = decode(state)
            instances = profile.instances
            for name in self._changed:
                instance = instances.get(name)
                if instance is None or instance.ended:
                    continue
                profile.instances = {name: instance}
                version, stage = instance.version, instance.stage
                journey = self._rules.follows.get(name)
                if journey is None or not edits.concerns(instance, journey):
                    counted.append(Place(name, version, stage, STAY, stage, overdue=False))
                    continue
                to = edits.destination(stage, journey)
                moved = edits.move(profile, instance, journey, self._rules, self._now).mapped
                overdue = moved and 0 < journeys.next_due(profile, self._rules) <= self._now
                counted.append(Place(name, version, stage, MOVE if moved else LOST, to or "", overdue=overdue))
        self._tally.put(key, counted)

    def finish(self) -> None:
        """Fill the changes' groups."""
        total = self._tally.total()
        self._tally.close()
        places: dict[tuple[str, int, str, str, str], list[int]] = {}
        for place, count in total.items():
            both = places.setdefault(place[:5], [0, 0])
            both[0] += count
            both[1] += count if place.overdue else 0
        for (name, version, stage, then, to), (count, overdue) in sorted(places.items()):
            self._changed[name].groups.append(Group(version, stage, count, then, to, overdue))

"""What is published in a running installation, definitions with their releases, and stops: to read, and to add to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from schemas.codec import decode_control, encode_json
from schemas.control import Control
from schemas.errors import InvalidRecord
from schemas.journal import EVERYBODY
from streams.catalogue import ORDER, Changed
from streams.definitions import DefinitionError, from_json, to_json
from streams.engine.rules import Library
from streams.publish import PublishError, append
from streams.records import read
from streams.releases import Release, release_of, with_release
from streams.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.definitions import AnyLoaded
    from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Version:
    """One published version, and for whom it is."""

    loaded: AnyLoaded
    release: Release


@dataclass(slots=True)
class Published:
    """All that stands in the topics: versions by kind and name, the newest word by scope, what could not be read."""

    versions: dict[tuple[str, str], dict[int, Version]] = field(default_factory=dict)
    stops: dict[str, Control] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)

    def of(self, kind: str, name: str) -> dict[int, Version]:
        """The versions of one definition."""
        return self.versions.get((kind, name), {})

    def in_force(self, kind: str, name: str) -> Version | None:
        """The version that is for all: the newest such."""
        return max(
            (each for each in self.of(kind, name).values() if each.release.share == EVERYBODY),
            key=lambda each: each.loaded.version,
            default=None,
        )

    def canary(self, kind: str, name: str) -> Version | None:
        """The version that is for a share of those who enter, if there is one newer than what is for all."""
        newest = max(self.of(kind, name).values(), key=lambda each: each.loaded.version, default=None)
        return None if newest is None or newest.release.share == EVERYBODY else newest

    @property
    def library(self) -> Library:
        """The definitions as the engine looks them up."""
        library = Library()
        for versions in self.versions.values():
            for each in versions.values():
                library.add(each.loaded.model, each.loaded.fingerprint)
        return library


def read_published(settings: Settings) -> Published:
    """Read both topics as workers do. Raises TopicUnreachable when there is no broker or no installation."""
    topics, found = Topics.of(settings), Published()
    for record in read(settings, topics.definitions):
        if record.value is None:
            continue
        try:
            loaded, release = from_json(record.value), release_of(record.value)
        except DefinitionError as error:
            found.passed_over.append(f"definition {record.offset} is passed over, as workers do: {error}")
            continue
        versions = found.versions.setdefault((loaded.kind, loaded.name), {})
        known = versions.get(loaded.version)
        # As workers do: what was first published under a name and version stays, and the newest word on for whom it is.
        if known is None or (known.loaded.fingerprint == loaded.fingerprint and release.at >= known.release.at):
            versions[loaded.version] = Version(loaded, release)
    for record in read(settings, topics.control):
        try:
            word = decode_control(record.value)
        except InvalidRecord:
            continue
        if word.scope not in found.stops or word.at >= found.stops[word.scope].at:
            found.stops[word.scope] = word
    return found


def release(settings: Settings, definitions: Iterable[AnyLoaded], published: Published, said: Release) -> None:
    """Write definitions, each for whom `said` says, policies first. Raises PublishError."""
    rows = []
    for each in sorted(definitions, key=lambda one: ORDER[one.kind]):
        known = published.of(each.kind, each.name).get(each.version)
        at = later(known.release.at if known is not None else 0)
        key = f"{each.kind}/{each.name}/{each.version}".encode()
        rows.append((key, with_release(to_json(each), msgspec.structs.replace(said, at=at))))
    append(settings, Topics.of(settings).definitions, rows)


def say(settings: Settings, word: Control) -> None:
    """Write a word on what is stopped. Raises PublishError."""
    append(settings, Topics.of(settings).control, [(word.scope.encode(), encode_json(word))])


def later(before: int) -> int:
    """Now (ms), and in any case later than `before`, so that a new word counts whatever this host's clock says."""
    return max(int(time.time() * 1000), before + 1)


def missing(definitions: Iterable[AnyLoaded], published: Published) -> list[AnyLoaded]:
    """Those that are not published. Raises PublishError when one was, with another content."""
    found = []
    for each in definitions:
        known = published.of(each.kind, each.name).get(each.version)
        if known is None:
            found.append(each)
        elif known.loaded.fingerprint != each.fingerprint:
            raise PublishError(str(Changed(each.kind, each.name, each.version)))
    return found


def publish_definitions(settings: Settings, definitions: Iterable[AnyLoaded]) -> int:
    """Write the definitions that the installation lacks, for all; returns how many. Raises as all of the above."""
    published = read_published(settings)
    lacking = missing(definitions, published)
    release(settings, lacking, published, Release())
    return len(lacking)

"""Definitions: journeys, offers, the policy and templates, read from a folder of YAML or from what was published.

A folder has `journeys/*.yaml` (their tests, `*_test.yaml`, aside), `offers/*.yaml`, `policy.yaml` and
`templates/<name>.<channel>.liquid`. Everything wrong with it is found at once and kept as problems; reading never
raises for what a file holds. The meaning beyond the shape is checked in `streams.checks`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import msgspec
from pydantic import ValidationError

from schemas.definition import KINDS, Definition, name_of
from schemas.journey import Journey
from schemas.offer import Offer
from schemas.policy import Policy
from streams import shapes, yamltext
from streams.engine.conditions import ExpressionError
from streams.engine.offers import compile_offer
from streams.engine.rules import NO_POLICY, Library, compile_journey
from streams.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.yamltext import Node

TEST_SUFFIX = "_test.yaml"
_TEMPLATE = re.compile(r"([a-z][a-z0-9-]{0,63})\.([a-z][a-z0-9_]{0,63})\.liquid")
_HEADER = re.compile(r"([A-Za-z][A-Za-z-]*):[ \t]*(.*)")

Model = TypeVar("Model", Journey, Policy, Offer)


class DefinitionError(ValueError):
    """A published definition cannot be read; says why."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file that could be read as YAML: its kind (journey, offer or policy), its path as shown to people, its tree."""

    kind: str
    file: str
    root: Node


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Model]):
    """A definition whose shape is right. `document` is where it was written; None for a published one."""

    kind: str
    name: str
    version: int
    fingerprint: str
    model: Model
    document: Document | None = None


LoadedJourney: TypeAlias = Loaded[Journey]
LoadedPolicy: TypeAlias = Loaded[Policy]
LoadedOffer: TypeAlias = Loaded[Offer]
AnyLoaded: TypeAlias = LoadedJourney | LoadedPolicy | LoadedOffer


@dataclass(frozen=True, slots=True)
class Template:
    """The text of a message on one channel. `body_line` is the line of the file in which the body begins."""

    name: str
    channel: str
    file: str
    subject: str | None
    body: str
    body_line: int = 1


@dataclass(slots=True)
class Definitions:
    """All that stands in a folder. Journeys, offers and policy are those whose shape is right; documents are all."""

    folder: Path
    journeys: list[LoadedJourney] = field(default_factory=list)
    offers: list[LoadedOffer] = field(default_factory=list)
    policy: LoadedPolicy | None = None
    templates: dict[tuple[str, str], Template] = field(default_factory=dict)
    documents: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def loaded(self) -> list[AnyLoaded]:
        """Every definition to publish, the policy first, the journeys last."""
        return [*([self.policy] if self.policy is not None else []), *self.offers, *self.journeys]


def load(folder: str | Path) -> Definitions:
    """Read a folder. What is wrong is in `problems`; `streams.checks.check` finds what the shape does not show."""
    definitions = Definitions(Path(folder))
    if not definitions.folder.is_dir():
        definitions.problems.append(
            Problem(str(folder), 1, 1, "there is no such folder", "name a folder of definitions")
        )
        return definitions
    policy = definitions.folder / "policy.yaml"
    if policy.is_file():
        _load_file(definitions, "policy", policy)
    else:
        message = "there is no policy: nothing says which purposes, channels and actions there are"
        definitions.problems.append(Problem(str(policy), 1, 1, message, "write one; seeds/policy.yaml is an example"))
    for kind in ("offer", "journey"):
        for path in sorted((definitions.folder / f"{kind}s").glob("*")):
            if path.suffix == ".yml":
                problem = Problem(str(path), 1, 1, "this file is not read", f"name it '{path.stem}.yaml'", "warning")
                definitions.problems.append(problem)
            elif path.suffix == ".yaml" and not path.name.endswith(TEST_SUFFIX):
                _load_file(definitions, kind, path)
    for path in sorted((definitions.folder / "templates").glob("*")):
        _load_template(definitions, path)
    _same_twice(definitions)
    return definitions


def library(definitions: Iterable[AnyLoaded]) -> Library:
    """The definitions as the engine looks them up."""
    known = Library()
    for loaded in definitions:
        known.add(loaded.model, loaded.fingerprint)
    return known


def fingerprint(model: Definition) -> str:
    """What tells one content from another: 16 hex digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(model)).hexdigest()[:16]


def canonical(model: Definition) -> bytes:
    """The one JSON form of a definition: keys as written in YAML, sorted, defaults left out.

    The order of stages means something (progress), so it stands beside the sorted keys as a list of its own.
    """
    body = model.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if isinstance(model, Journey):
        body = {"journey": body, "order": list(model.stages)}
    return msgspec.json.encode(body, order="sorted")


def to_json(loaded: AnyLoaded) -> bytes:
    """The published form of a definition: {kind, name, version, fingerprint, body}, stages in their order."""
    body = loaded.model.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    head = {"kind": loaded.kind, "name": loaded.name, "version": loaded.version, "fingerprint": loaded.fingerprint}
    return msgspec.json.encode({**head, "body": body})


def from_json(value: bytes) -> AnyLoaded:
    """A definition from its published form. Raises DefinitionError when it is none, or not what its head says."""
    try:
        published = msgspec.json.decode(value)
        kind = published["kind"]
        model = KINDS[kind].model_validate(published["body"], by_alias=True, by_name=False)
        head = (published["name"], published["version"], published["fingerprint"])
    except (msgspec.DecodeError, KeyError, TypeError, RecursionError) as error:
        raise DefinitionError(f"not a published definition: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DefinitionError(f"a published definition of an unknown shape: {place}: {first['msg']}") from None
    if wrong := _cannot_run(model):
        raise DefinitionError(f"{kind} {head[0]!r} version {head[1]} cannot run: {wrong}")
    loaded = loaded_of(kind, model)
    if head != (loaded.name, loaded.version, loaded.fingerprint):
        raise DefinitionError(f"{kind} {head[0]!r} version {head[1]}: its body is not the one that was published")
    return loaded


def _cannot_run(model: Definition) -> str:
    """What would stop a task that puts it in force; `polku publish` checks far more."""
    try:
        if isinstance(model, Offer):
            compile_offer(model, NO_POLICY.time_zone)
        elif isinstance(model, Journey):
            if wrong := _leads_nowhere(model):
                return wrong
            compile_journey(model, NO_POLICY)
    except ExpressionError as error:
        return error.message
    return ""


def _leads_nowhere(journey: Journey) -> str:
    """The stage that it goes to and does not have, said in words."""
    enter = journey.enter if isinstance(journey.enter, list) else [journey.enter]
    handlers = [*journey.any_stage, *(handler for stage in journey.stages.values() for handler in stage)]
    targets = {entry.to for entry in enter} | {handler.to for handler in handlers}
    unknown = sorted(target for target in targets if target is not None and target not in journey.stages)
    return f"there is no stage {unknown[0]!r}" if unknown else ""


def loaded_of(kind: str, model: Any, document: Document | None = None) -> AnyLoaded:
    """A definition with its name, version and fingerprint."""
    return Loaded(kind, name_of(model), model.version, fingerprint(model), model, document)


def read_document(kind: str, path: Path) -> tuple[Document | None, list[Problem]]:
    """A YAML file as a tree, and what hinders reading it."""
    try:
        with path.open("rb") as file:
            data = file.read(yamltext.MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return None, [Problem(str(path), 1, 1, f"the file cannot be read: {reason}", "make it a readable file")]
    root, problems = yamltext.parse(data, str(path))
    if root is None:
        if not problems:
            problems = [Problem(str(path), 1, 1, "the file is empty", f"begin with '{kind}: <name>'")]
        return None, problems
    return Document(kind, str(path), root), problems


def _load_file(definitions: Definitions, kind: str, path: Path) -> None:
    document, problems = read_document(kind, path)
    definitions.problems += problems
    if document is None:
        return
    definitions.documents.append(document)
    model, wrong = shapes.read(kind, document.root, document.file)
    definitions.problems += wrong
    if model is None or problems:
        return
    loaded: Any = loaded_of(kind, model, document)
    if kind == "policy":
        definitions.policy = loaded
    else:
        (definitions.offers if kind == "offer" else definitions.journeys).append(loaded)


def _load_template(definitions: Definitions, path: Path) -> None:
    named = _TEMPLATE.fullmatch(path.name)
    if named is None or not path.is_file():
        message = "the name of a template file is <name>.<channel>.liquid"
        way_out = "rename it, such as 'resume-application.email.liquid', or move it elsewhere"
        definitions.problems.append(Problem(str(path), 1, 1, message, way_out, "warning"))
        return
    try:
        data = path.read_bytes()
        if len(data) > yamltext.MAX_BYTES:
            message = f"the template has {len(data)} bytes, and may have {yamltext.MAX_BYTES}"
            definitions.problems.append(Problem(str(path), 1, 1, message, "shorten it"))
            return
        text = data.decode("utf-8").removeprefix("\ufeff")
    except (OSError, UnicodeDecodeError):
        definitions.problems.append(Problem(str(path), 1, 1, "the file is not readable as UTF-8", "save it as UTF-8"))
        return
    name, channel = named.groups()
    subject, body, line = split_template(text)
    definitions.templates[name, channel] = Template(name, channel, str(path), subject, body, line)


def split_template(text: str) -> tuple[str | None, str, int]:
    """Subject (None: there is none), body and the body's first line, of a template's text."""
    lines = text.splitlines(keepends=True)
    subject, at = None, 0
    while at < len(lines) and (header := _HEADER.fullmatch(lines[at].rstrip())) is not None:
        if header[1].lower() == "subject":
            subject = header[2]
        at += 1
    if subject is None or (at < len(lines) and lines[at].strip()):
        return None, text, 1
    return subject, "".join(lines[at + 1 :]), at + 2


def _same_twice(definitions: Definitions) -> None:
    first: dict[tuple[str, str, int], Document] = {}
    for document in definitions.documents:
        name, version = document.root.text(document.kind), document.root.get("version")
        number = version.value if version is not None else None
        if name is None or version is None or not isinstance(number, int) or isinstance(number, bool):
            continue
        other = first.setdefault((document.kind, name, number), document)
        if other is not document:
            message = f"version {number} of {document.kind} '{name}' stands in {other.file} as well"
            definitions.problems.append(
                Problem(document.file, version.line, version.column, message, "raise the version, or remove one file")
            )

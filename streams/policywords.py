"""The words a policy declares, read from the tree as written, and what is wrong with the policy beyond its shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.policy import CASE_PARTS
from streams.engine.cases import CHANNEL
from streams.problems import Problem, choose

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from streams.definitions import Document
    from streams.yamltext import Node

LISTED = ("contract", "request")  # bases that need no consent, and so only listed templates may use


@dataclass(slots=True)
class PolicyWords:
    """What a journey may name."""

    root: Node

    def part(self, name: str) -> dict[str, Node]:
        """The declared purposes, channels, actions, holds or cases, by name."""
        node = self.root.get(name)
        return node.fields if node is not None else {}

    def basis(self, purpose: str) -> str | None:
        """The legal basis of a purpose."""
        node = self.part("purposes").get(purpose)
        return node.text("basis") if node is not None else None

    def purpose_templates(self, purpose: str) -> list[Node]:
        """The templates a purpose lists."""
        node = self.part("purposes").get(purpose)
        listed = node.get("templates") if node is not None else None
        return listed.items if listed is not None else []

    def kind_channels(self, kind: str) -> list[Node]:
        """The channels a kind of action may take."""
        node = self.part("actions").get(kind)
        channels = node.get("channels") if node is not None else None
        return channels.items if channels is not None else []

    def kind_purpose(self, kind: str) -> str | None:
        """The purpose of a kind of action."""
        node = self.part("actions").get(kind)
        return node.text("purpose") if node is not None else None

    def cases(self) -> dict[str, tuple[str, ...]]:
        """By kind of case, what each carries."""
        found = {}
        for kind, node in self.part("cases").items():
            keeps = node.get("keeps")
            names = [str(each.value) for each in keeps.items] if keeps is not None else []
            found[kind] = (*names, CHANNEL, *CASE_PARTS)
        return found

    def address(self, channel: str) -> str | None:
        """The trait that holds a channel's address; None when it needs none."""
        node = self.part("channels").get(channel)
        return node.text("address") if node is not None else None


def policy_problems(document: Document, templates: Collection[tuple[str, str]]) -> Iterator[Problem]:
    """Names that a policy uses without declaring them, and rules that could never let anything pass."""
    if document.root.kind == "map":
        checks = _PolicyChecks(document, {name for name, _ in templates})
        yield from checks.purposes()
        yield from checks.actions()
        yield from checks.holds()
        yield from checks.competitions()
        yield from checks.cases()


class _PolicyChecks:
    """The checks of one policy."""

    def __init__(self, document: Document, templates: Collection[str]) -> None:
        self.file, self.words, self.templates = document.file, PolicyWords(document.root), templates
        self.known_purposes = self.words.part("purposes")

    def unknown(self, node: Node | None, what: str, known: Collection[str]) -> Iterator[Problem]:
        if (
            node is not None
            and isinstance(node.value, str)
            and node.value not in known
            and f"{what}s" in (*self.words.root.fields, "templates")
        ):
            declare = (
                "write templates/<name>.<channel>.liquid" if what == "template" else f"declare it under '{what}s:'"
            )
            way_out = choose(node.value, known, declare)
            yield Problem(self.file, node.line, node.column, f"unknown {what} '{node.value}'", way_out)

    def purposes(self) -> Iterator[Problem]:
        for name, purpose in self.known_purposes.items():
            basis, listed = self.words.basis(name), self.words.purpose_templates(name)
            for node in listed:
                yield from self.unknown(node, "template", self.templates)
            if basis in LISTED and not listed:
                message = f"purpose '{name}' can send nothing: its basis is '{basis}' and it lists no templates"
                way_out = "list the templates that may use it under 'templates:'"
                yield Problem(self.file, *purpose.key_place("basis"), message, way_out, "warning")
            for key in ("templates", "ceiling"):
                if key in purpose.fields and basis is not None and basis not in LISTED:
                    message = f"'{key}' has no meaning for the basis '{basis}'"
                    yield Problem(self.file, *purpose.key_place(key), message, "leave it out", "warning")

    def actions(self) -> Iterator[Problem]:
        for kind, node in self.words.part("actions").items():
            for channel in self.words.kind_channels(kind):
                yield from self.unknown(channel, "channel", self.words.part("channels"))
            yield from self.unknown(node.get("purpose"), "purpose", self.known_purposes)

    def holds(self) -> Iterator[Problem]:
        for name, hold in self.words.part("holds").items():
            held = hold.get("holds")
            for node in held.items if held is not None else ():
                yield from self.unknown(node, "purpose", self.known_purposes)
                if self.words.basis(str(node.value)) not in (None, "consent"):
                    message = f"hold '{name}' has no effect on '{node.value}': only purposes by consent are held"
                    yield Problem(self.file, node.line, node.column, message, "leave it out", "warning")
            begin = {node.value for node in _listed(hold.get("begins"))}
            for node in _listed(hold.get("ends")):
                if node.value is not None and node.value in begin:
                    message = f"hold '{name}' ends with the very event it begins with"
                    yield Problem(self.file, node.line, node.column, message, "name the event that closes the case")

    def cases(self) -> Iterator[Problem]:
        for name, case in self.words.part("cases").items():
            for one, other in (("opens", "closes"), ("pauses", "resumes")):
                known = {node.value for node in _listed(case.get(one))}
                for node in _listed(case.get(other)):
                    if node.value is not None and node.value in known:
                        message = f"'{node.value}' {one} a case of kind '{name}' and {other} it as well"
                        way_out = f"name the event that {other} it"
                        yield Problem(self.file, node.line, node.column, message, way_out)
            for key, needed in (("resumes", "pauses"), ("pauses", "resumes")):
                if key in case.fields and needed not in case.fields:
                    message = f"a case of kind '{name}' has '{key}' and no '{needed}'"
                    way_out = f"name the event that {needed} it, or leave '{key}' out"
                    yield Problem(self.file, *case.key_place(key), message, way_out)
            for node in _listed(case.get("keeps")):
                if node.value in CASE_PARTS:
                    message = f"every case has '{node.value}', so no property can be kept under this name"
                    yield Problem(self.file, node.line, node.column, message, "leave it out, or rename the property")

    def competitions(self) -> Iterator[Problem]:
        known, seen = self.words.part("actions"), dict[str, str]()
        for name, competition in self.words.part("compete").items():
            for node in _listed(competition.get("actions")):
                kind = str(node.value)
                if kind not in known:
                    way_out = choose(kind, known, "declare it under 'actions:'")
                    yield Problem(self.file, node.line, node.column, f"unknown action '{kind}'", way_out)
                elif seen.setdefault(kind, name) != name:
                    message = f"'{kind}' competes in '{seen[kind]}' already"
                    yield Problem(self.file, node.line, node.column, message, "name it in one of them")
                elif self.words.basis(self.words.kind_purpose(kind) or "") not in (None, "consent"):
                    message = f"'{kind}' never competes: only purposes by consent do"
                    yield Problem(self.file, node.line, node.column, message, "leave it out", "warning")


def _listed(node: Node | None) -> list[Node]:
    """The items of a list, or the one value that stands for a list of one."""
    return [] if node is None else node.items if node.kind == "list" else [node]

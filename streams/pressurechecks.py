"""What is wrong with a policy's caps, distances, quiet hours and holdouts: names nobody has, rules without effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.engine.conditions import is_expression
from streams.problems import Problem, Severity, choose
from streams.shapes import handlers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from streams.definitions import Document
    from streams.policywords import PolicyWords
    from streams.yamltext import Node


@dataclass(frozen=True, slots=True)
class Spoken:
    """What limits may name: journeys, and topics (None: some are known only when it runs)."""

    journeys: Collection[str]
    topics: Collection[str] | None


def spoken(documents: Iterable[Document]) -> Spoken:
    """The journeys of a folder, and the topics that its journeys, offers and actions have."""
    journeys, topics, computed = [], set(), False
    for document in documents:
        root = document.root
        if root.kind != "map" or document.kind not in ("journey", "offer"):
            continue
        journeys.append(root.text("journey") or "")
        written = [root.text("topic")]
        for _, _, handler in handlers(root):
            do = handler.get("do")
            for action in do.items if do is not None else ():
                written += [params.text("topic") for params in action.fields.values()]
        computed = computed or any(each is not None and is_expression(each) for each in written)
        topics |= {each for each in written if each is not None}
    return Spoken([name for name in journeys if name], None if computed else sorted(topics))


@dataclass(frozen=True, slots=True)
class PressureChecks:
    """The checks of one policy's pressure."""

    file: str
    words: PolicyWords
    spoken: Spoken

    def problems(self) -> Iterator[Problem]:
        """Everything wrong with it beyond its shape."""
        for part, what in (("caps", "cap"), ("distances", "distance")):
            for name, limit in self.words.part(part).items():
                yield from self._named(limit, "purpose", "purpose", self.words.part("purposes"))
                yield from self._named(limit, "channel", "channel", self.words.part("channels"))
                yield from self._named(limit, "journey", "journey", self.spoken.journeys)
                if self.spoken.topics is not None:
                    yield from self._named(limit, "topic", "topic", self.spoken.topics, "warning")
                yield from self._without_effect(f"{what} '{name}'", limit, "purpose")
        for name, rule in self.words.part("quiet").items():
            yield from self._named(rule, "channels", "channel", self.words.part("channels"))
            yield from self._named(rule, "purposes", "purpose", self.words.part("purposes"))
            yield from self._without_effect(f"the quiet time '{name}'", rule, "purposes")
            yield from self._no_holidays(rule)
        for name, holdout in self.words.part("holdouts").items():
            yield from self._named(holdout, "purposes", "purpose", self.words.part("purposes"))
            yield from self._without_effect(f"holdout '{name}'", holdout, "purposes")

    def _named(
        self, node: Node, key: str, what: str, known: Collection[str], severity: Severity = "error"
    ) -> Iterator[Problem]:
        for each in _listed(node, key):
            if isinstance(each.value, str) and not each.spoilt and each.value not in known:
                message = f"unknown {what} '{each.value}'"
                if what == "topic":
                    message = f"nothing has the topic '{each.value}'"
                way_out = choose(each.value, known, f"no {what} is declared")
                yield Problem(self.file, each.line, each.column, message, way_out, severity)

    def _without_effect(self, what: str, node: Node, key: str) -> Iterator[Problem]:
        listed = _listed(node, key)
        bases = {self.words.basis(str(each.value)) for each in listed}
        if listed and bases.isdisjoint({None, "consent"}):
            message = f"{what} has no effect: only purposes by consent are limited"
            yield Problem(self.file, *node.key_place(key), message, "name a purpose by consent", "warning")

    def _no_holidays(self, rule: Node) -> Iterator[Problem]:
        wanted, calendar = rule.get("holidays"), self.words.root.get("calendar")
        days = calendar.get("holidays") if calendar is not None else None
        if wanted is not None and wanted.value is True and (days is None or not days.items):
            way_out = "list them: 'calendar: {holidays: [12-25]}'"
            message = "the policy's calendar has no holidays"
            yield Problem(self.file, *rule.key_place("holidays"), message, way_out, "warning")


def _listed(node: Node, key: str) -> list[Node]:
    """What stands under a key that takes one or a list."""
    found = node.get(key)
    return [] if found is None else found.items if found.kind == "list" else [found]

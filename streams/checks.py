"""What is wrong with definitions beyond their shape: everything that would fail, or quietly do nothing, when they run.

`check` gathers what `streams.definitions` found, and what is found here and in `streams.stagegraph`,
`streams.actionchecks` and `streams.templates`, each at the line and column of the very value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from schemas.journey import SCORE
from streams.actionchecks import ActionChecks
from streams.definitions import Definitions, Document, load
from streams.engine.conditions import Scope, compile_condition, compile_expression, compile_number, compile_parameter
from streams.expressionchecks import compiled, spoilt
from streams.offerchecks import OfferChecks, OfferWords
from streams.policywords import PolicyWords, policy_problems
from streams.pressurechecks import PressureChecks, spoken
from streams.problems import Problem, choose, errors
from streams.promisechecks import owners, promise_problems
from streams.shapes import entries, handlers
from streams.stagegraph import StageGraph
from streams.storyfile import load_stories
from streams.templates import template_problems, unused_templates
from streams.templatewords import Use, missing_variables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from streams.yamltext import Node

_COUNTED = re.compile(r"""\bjourney\.count\((["'])([^"']*)\1\)""")
_VARIABLE = re.compile(r"(?:^| )vars\.([A-Za-z_][A-Za-z0-9_]*) ")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,63}")


def check_directory(folder: str | Path) -> list[Problem]:
    """Everything wrong with the definitions and stories in a folder, in order of file, line and column."""
    return sorted([*check(load(folder)), *load_stories(folder)[1]])


def check(definitions: Definitions) -> list[Problem]:
    """Everything wrong with loaded definitions, in order of file, line and column."""
    found = list(definitions.problems)
    offers = OfferWords([document for document in definitions.documents if document.kind == "offer"])
    policies = [document for document in definitions.documents if document.kind == "policy"]
    words = PolicyWords(policies[0].root) if policies else None
    said = spoken(definitions.documents)
    for document in policies:
        found += policy_problems(document, definitions.templates)
        if document.root.kind == "map":
            found += PressureChecks(document.file, PolicyWords(document.root), said).problems()
    used: set[str] = set()
    for document in offers.documents:
        offer = OfferChecks(document, words, definitions.templates)
        found += offer.problems()
        used |= offer.used
    for document in definitions.documents:
        if document.kind == "journey" and document.root.kind == "map":
            checks = JourneyChecks(document, words, definitions, offers)
            found += checks.problems()
            found += offers.asked(document.file, document.root)
            used |= checks.templates
            found += missing_variables(definitions.templates, checks.uses)
    found += template_problems(definitions.templates, words)
    if not errors(found):
        found += [*unused_templates(definitions.templates, used), *offers.unused()]
    return sorted(set(found))


@dataclass(slots=True)
class JourneyChecks:
    """The checks of one journey."""

    document: Document
    words: PolicyWords | None
    definitions: Definitions
    offers: OfferWords
    templates: set[str] = field(default_factory=set)
    uses: list[Use] = field(default_factory=list)

    def problems(self) -> Iterator[Problem]:
        """Everything wrong with it beyond its shape."""
        root, file = self.document.root, self.document.file
        yield from StageGraph(root, file).problems()
        yield from self._counted(root)
        yield from promise_problems(root, file)
        variables = self._variables(root)
        cases = self.words.cases() if self.words is not None else None
        journey = root.text("journey") or ""
        within = Scope(vars=variables, traits=None, journey=journey, splits=_splits(root), cases=cases)
        for entry in entries(root):
            yield from self._condition(entry, replace(within, vars=frozenset()))
            yield from self._sets(entry, within)
        actions = ActionChecks(self.document, self.words, self.definitions.templates, variables, self.offers)
        for stage, _, handler in handlers(root):
            scope = replace(within, event="when" in handler.fields)
            if stage is None:
                yield from self._not_anywhere(handler)
            yield from self._dated(handler, variables)
            yield from self._condition(handler, scope)
            yield from self._soon(stage, handler, replace(scope, now=False))
            yield from self._sets(handler, scope)
            for owner in owners(handler):
                yield from self._parameter("owner", owner, scope)
            for kind, params, place in _actions(handler):
                yield from actions.problems(kind, params, place)
                for name, node in params.fields.items():
                    yield from self._parameter(name, node, replace(scope, links=name == "link"))
        yield from actions.journey_problems()
        self.templates |= actions.used
        self.uses += actions.uses

    def _counted(self, root: Node) -> Iterator[Problem]:
        """Events that `journey.count` asks for and the journey does not listen to: it counts what it listens to."""
        written = [node for _, _, node in handlers(root)] + entries(root)
        whens = [node for each in written if (node := each.get("when")) is not None]
        types = {item.value for node in whens for item in (node.items or [node]) if isinstance(item.value, str)}
        for each in written:
            sets = each.get("set")
            for node in (each.get("if"), each.get("as soon as"), *(sets.fields.values() if sets is not None else ())):
                if node is None or not isinstance(node.value, str):
                    continue
                for found in _COUNTED.finditer(node.value):
                    if found[2] not in types:
                        message = f"this is always 0: the journey does not listen to '{found[2]}'"
                        way_out = choose(found[2], sorted(types)) + "; profile.count counts every event"
                        line, column = node.place(found.start(2))
                        yield Problem(self.document.file, line, column, message, way_out)

    def _variables(self, root: Node) -> frozenset[str]:
        written = [node for _, _, node in handlers(root)] + entries(root)
        return frozenset(name for node in written if (sets := node.get("set")) for name in sets.fields)

    def _not_anywhere(self, handler: Node) -> Iterator[Problem]:
        for trigger in ("after", "at", "on arrival"):
            if trigger in handler.fields:
                message = (
                    f"'{trigger}' has no meaning under 'any stage': only 'when', 'as soon as', 'at risk', 'broken' have"
                )
                way_out = "put the handler into the stages it is for"
                yield Problem(self.document.file, *handler.key_place(trigger), message, way_out)

    def _dated(self, handler: Node, variables: frozenset[str]) -> Iterator[Problem]:
        """A timer of a variable that nothing sets."""
        node = handler.get("at")
        named = _VARIABLE.search(str(node.value)) if node is not None and not node.spoilt else None
        if node is not None and named is not None and named[1] not in variables:
            place = node.place(named.start(1))
            way_out = choose(named[1], sorted(variables), "keep it with 'set:' in an earlier handler or on entry")
            yield Problem(self.document.file, *place, f"nothing sets the variable '{named[1]}'", way_out)

    def _soon(self, stage: str | None, handler: Node, scope: Scope) -> Iterator[Problem]:
        yield from self._condition(handler, scope, "as soon as")
        to = handler.get("to")
        if "as soon as" in handler.fields and to is not None and to.value == stage:
            message = f"'as soon as' leads to '{stage}', where it stands: it would act again at once"
            yield Problem(self.document.file, to.line, to.column, message, "lead to another stage, or leave 'to' out")

    def _condition(self, handler: Node, scope: Scope, key: str = "if") -> Iterator[Problem]:
        node = handler.get(key)
        if node is not None and not node.spoilt and isinstance(node.value, str):
            yield from compiled(self.document.file, node, compile_condition, scope)
        elif node is not None and isinstance(node.value, bool):
            message = f"this condition is always {str(node.value).lower()}"
            yield Problem(
                self.document.file, node.line, node.column, message, f"write a condition, or leave '{key}' out"
            )

    def _sets(self, handler: Node, scope: Scope) -> Iterator[Problem]:
        sets = handler.get("set")
        for node in sets.fields.values() if sets is not None else ():
            if isinstance(node.value, str) and not node.spoilt:
                yield from compiled(self.document.file, node, compile_expression, scope)

    def _parameter(self, name: str, node: Node, scope: Scope) -> Iterator[Problem]:
        number = name in SCORE and isinstance(node.value, str)
        if not spoilt(node):
            yield from compiled(self.document.file, node, compile_number if number else compile_parameter, scope)


def _splits(root: Node) -> dict[str, dict[str, int]]:
    """The splits as written, whatever is wrong with their percents."""
    splits = root.get("splits")
    return {name: dict.fromkeys(arms.fields, 0) for name, arms in (splits.fields if splits is not None else {}).items()}


def _actions(handler: Node) -> Iterator[tuple[str, Node, tuple[int, int]]]:
    """Kind, parameters and place of every action of a handler that has the shape of one."""
    do = handler.get("do")
    for action in do.items if do is not None else ():
        if action.kind == "map" and len(action.fields) == 1:
            ((kind, params),) = action.fields.items()
            if params.kind == "map" and _WORD.fullmatch(kind):
                yield kind, params, action.key_place(kind)

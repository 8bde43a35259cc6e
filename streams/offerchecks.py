"""What is wrong with offers, and with what journeys ask of them: places, expressions, purposes, templates."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from schemas.journey import SCORE
from schemas.offer import OF_THE_OFFER
from streams.engine.conditions import Scope, compile_condition, compile_number, compile_parameter
from streams.engine.offers import SCOPE
from streams.expressionchecks import compiled, spoilt
from streams.problems import Problem, Severity, choose

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from streams.definitions import Document
    from streams.policywords import PolicyWords
    from streams.yamltext import Node

_BEST = re.compile(r"""\bbest\((["'])([^"']*)\1\)""")


@dataclass(slots=True)
class OfferWords:
    """The offers of a folder as written, by name; `used` gathers the places that something asks for."""

    documents: list[Document]
    used: set[str] = field(default_factory=set)

    @property
    def names(self) -> dict[str, Node]:
        """The root of each offer that has a name."""
        roots = [document.root for document in self.documents if document.root.kind == "map"]
        return {name: root for root in roots if (name := root.text("offer")) is not None}

    def at(self, place: str) -> dict[str, list[Node]]:
        """The variants of every offer for a place, by the offer's name."""
        return {
            name: variants for name, root in self.names.items() if (variants := _variants(_places(root).get(place)))
        }

    @property
    def places(self) -> list[str]:
        """Every place that some offer has."""
        return sorted({place for root in self.names.values() for place in _places(root)})

    def unused(self) -> Iterator[Problem]:
        """Places that nothing asks for."""
        for document in self.documents:
            places = document.root.get("places")
            for place in _places(document.root):
                if place not in self.used and places is not None:
                    message = f"no action asks for the place '{place}'"
                    way_out = f"give an action 'place: {place}', or ask for best(\"{place}\"); only people see it else"
                    yield Problem(document.file, *places.key_place(place), message, way_out, "warning")

    def asked(self, file: str, node: Node) -> Iterator[Problem]:
        """Places of best("...") in any text below `node`: they are used, and must be some offer's."""
        for each in (*node.items, *node.fields.values()):
            yield from self.asked(file, each)
        if not isinstance(node.value, str):
            return
        for found in _BEST.finditer(node.value):
            self.used.add(found[2])
            if found[2] not in self.places:
                way_out = choose(found[2], self.places, "write an offer with it under 'places:'")
                yield Problem(file, *node.place(found.start(2)), f"no offer has the place '{found[2]}'", way_out)


def _places(root: Node) -> dict[str, Node]:
    places = root.get("places")
    return places.fields if places is not None else {}


def _variants(node: Node | None) -> list[Node]:
    listed = [] if node is None else node.items if node.kind == "list" else [node]
    return [each for each in listed if each.kind == "map"]


@dataclass(slots=True)
class OfferChecks:
    """The checks of one offer; `used` gathers the templates it names."""

    document: Document
    words: PolicyWords | None
    templates: Collection[tuple[str, str]]
    used: set[str] = field(default_factory=set)

    def problems(self) -> Iterator[Problem]:
        """Everything wrong with it beyond its shape."""
        root = self.document.root
        if root.kind != "map":
            return
        yield from self._compiled(root.get("eligible"), compile_condition)
        for name in SCORE:
            yield from self._compiled(root.get(name), compile_number)
        purpose = root.get("purpose")
        if self.words is not None and purpose is not None and isinstance(purpose.value, str) and not purpose.spoilt:
            known = self.words.part("purposes")
            if purpose.value not in known:
                way_out = choose(purpose.value, known, "declare it in policy.yaml")
                yield self._at(purpose, f"unknown purpose '{purpose.value}'", way_out)
        for node in _places(root).values():
            yield from self._place(_variants(node))

    def _place(self, variants: list[Node]) -> Iterator[Problem]:
        known = sorted({name for name, _ in self.templates})
        for number, variant in enumerate(variants):
            condition = variant.get("if")
            if condition is not None and not isinstance(condition.value, str) and not condition.spoilt:
                yield self._at(condition, "'if' is a condition, and this is none", "write one, or leave 'if' out")
            yield from self._compiled(condition, compile_condition)
            if number and variants[number - 1].get("if") is None:
                message = "this variant is never taken: the one before it has no 'if'"
                yield self._at(variant, message, "put the one without 'if' last")
            for name, node in variant.fields.items():
                if name in OF_THE_OFFER:
                    message = f"'{name}' is no parameter of a variant: all variants share it"
                    yield Problem(self.document.file, *variant.key_place(name), message, "write it at the offer itself")
                elif name != "if" and not spoilt(node):
                    scope = replace(self._scope, links=name == "link")
                    yield from compiled(self.document.file, node, compile_parameter, scope)
            template = variant.get("template")
            if template is not None and isinstance(template.value, str):
                self.used.add(template.value)
                if template.value not in known:
                    way_out = choose(template.value, known, f"write templates/{template.value}.<channel>.liquid")
                    yield self._at(template, f"unknown template '{template.value}'", way_out)

    def _compiled(self, node: Node | None, compiler: Any) -> Iterator[Problem]:
        if node is not None and isinstance(node.value, str) and not node.spoilt:
            yield from compiled(self.document.file, node, compiler, self._scope)

    @property
    def _scope(self) -> Scope:
        return replace(SCOPE, cases=self.words.cases() if self.words is not None else None)

    def _at(self, node: Node, message: str, way_out: str) -> Problem:
        return Problem(self.document.file, node.line, node.column, message, way_out)


@dataclass(frozen=True, slots=True)
class PlaceChecks:
    """The checks of how one action asks for an offer: `params` as written, `place` where the action stands."""

    file: str
    params: Node
    place: tuple[int, int]
    offers: OfferWords

    def problems(self) -> Iterator[Problem]:
        """Names that no offer has, and parameters that are the offer's."""
        params, offers, node = self.params, self.offers, self.params.get("place")
        if node is None:
            if "offers" in params.fields:
                message = "'offers' has no meaning without 'place'"
                yield Problem(self.file, *params.key_place("offers"), message, "add 'place: <place>', or leave it out")
            return
        if not isinstance(node.value, str):
            yield Problem(self.file, node.line, node.column, "'place' must be a name", "write it as an offer has it")
            return
        offers.used.add(node.value)
        for name in ("value", "propensity"):
            if name in params.fields:
                message = f"'{name}' is the offer's, and this action takes the best one"
                way_out = "leave it out; the action's 'context' and 'lever' multiply the offer's"
                yield Problem(self.file, *params.key_place(name), message, way_out)
        if not offers.at(node.value):
            way_out = choose(node.value, offers.places, "write an offer with it under 'places:'")
            yield Problem(self.file, node.line, node.column, f"no offer has the place '{node.value}'", way_out)
        else:
            yield from self._listed(params.get("offers"), node.value, offers.at(node.value))

    def _listed(self, listed: Node | None, place: str, there: Collection[str]) -> Iterator[Problem]:
        if listed is None:
            return
        if listed.kind != "list" or not listed.items:
            message = "'offers' must be a list of names"
            yield Problem(self.file, listed.line, listed.column, message, "write [one, two], or leave it out for all")
        for item in listed.items:
            if item.value not in there:
                known = str(item.value) in self.offers.names
                what = f"offer '{item.value}' has no place '{place}'" if known else f"unknown offer '{item.value}'"
                yield Problem(self.file, item.line, item.column, what, choose(str(item.value), there))

    def candidates(self) -> dict[str, list[Node]]:
        """The variants of each offer that the action may take, by the offer's name."""
        there, listed = self.offers.at(self.params.text("place") or ""), self.params.get("offers")
        names = there.keys() if listed is None else {item.value for item in listed.items}
        return {name: variants for name, variants in there.items() if name in names}

    def without_purpose(self) -> list[str]:
        """The offers that leave the purpose to the action."""
        return [name for name in self.candidates() if "purpose" not in self.offers.names[name].fields]

    def texts(
        self, channels: Collection[str], addressing: Collection[str], templates: Collection[tuple[str, str]]
    ) -> Iterator[Problem]:
        """Variants without a text for a channel that the action may take; `addressing` are those that need one."""
        for name, variants in self.candidates().items():
            for variant in variants:
                template = variant.text("template") or self.params.text("template")
                wanted = channels if template is not None else addressing
                missing = [channel for channel in wanted if (template, channel) not in templates]
                if not missing:
                    continue
                files = ", ".join(f"templates/{template or name}.{channel}.liquid" for channel in missing)
                what = f"template '{template}'" if template is not None else "no template"
                message = f"offer '{name}' has {what} for this action, without a text for {' and '.join(missing)}"
                way_out = f"write {files}" + ("" if template else f", and 'template: {name}' in the offer's variant")
                severity: Severity = "error" if template is not None else "warning"
                yield Problem(self.file, *self.place, message, way_out, severity)

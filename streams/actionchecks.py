"""What is wrong with the actions of a journey: kinds, purposes, channels, templates, addresses, parameters."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from schemas.journey import PARAMETERS, SCORE
from schemas.offer import MAX_FACTOR
from streams.engine.cel_functions import is_path
from streams.engine.conditions import is_expression
from streams.offerchecks import OfferWords, PlaceChecks
from streams.policywords import LISTED, PolicyWords
from streams.problems import Problem, choose
from streams.shapes import entries, handlers
from streams.templatewords import Use

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from streams.definitions import Document
    from streams.yamltext import Node

_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_DURATION = re.compile(r"[1-9][0-9]{0,5}[smhdw]")
_VARIABLE = re.compile(r"vars\.([a-z][a-z0-9_]*)")
# How alike a parameter must be to one of ours to be taken for its misspelling: 'purpos', 'tempalte', 'channels' are.
_LIKE = 0.8
# Parameters that the template does not see.
_KEPT = {*PARAMETERS} - {"link"}
# Parameters whose value often is a variable's: a text that is a variable's name is likely to mean it.
_OFTEN_VARIABLES = ("topic", "to", "reason")


class ActionChecks:
    """The checks of one journey's actions; `used` gathers the templates they name."""

    def __init__(
        self,
        document: Document,
        words: PolicyWords | None,
        templates: Collection[tuple[str, str]],
        variables: frozenset[str],
        offers: OfferWords,
    ) -> None:
        self.file, self.root, self.words, self.templates = document.file, document.root, words, templates
        self.used: set[str] = set()
        self.uses: list[Use] = []
        self.variables, self.offers = variables, offers
        self.from_events = self._from_events()

    def _from_events(self) -> set[str]:
        """The variables that an event of this journey sets."""
        written = [node for _, _, node in handlers(self.root) if "when" in node.fields] + entries(self.root)
        return {
            name
            for node in written
            if (sets := node.get("set")) is not None
            for name, value in sets.fields.items()
            if isinstance(value.value, str) and re.search(r"\bevent\.", value.value)
        }

    def _at(self, node: Node, message: str, way_out: str, severity: str = "error") -> Problem:
        return Problem(
            self.file, node.line, node.column, message, way_out, "warning" if severity == "warning" else "error"
        )

    def journey_problems(self) -> Iterator[Problem]:
        """The purpose that the journey gives its actions."""
        yield from self._known_purpose(self.root.get("purpose"))

    def _known_purpose(self, node: Node | None) -> Iterator[Problem]:
        if self.words is None or node is None or not isinstance(node.value, str) or node.spoilt:
            return
        known = self.words.part("purposes")
        if node.value not in known and "purposes" in self.words.root.fields:
            yield self._at(
                node, f"unknown purpose '{node.value}'", choose(node.value, known, "declare it in policy.yaml")
            )

    def problems(self, kind: str, params: Node, place: tuple[int, int]) -> Iterator[Problem]:
        """Everything wrong with one action."""
        yield from self._parameters(params)
        yield from self._known_purpose(params.get("purpose"))
        offered = PlaceChecks(self.file, params, place, self.offers)
        yield from offered.problems()
        template = params.text("template")
        if template is not None:
            self.used.add(template)
        if self.words is None:
            return
        kinds = self.words.part("actions")
        if kind not in kinds:
            way_out = choose(kind, kinds, "declare it under 'actions:' in policy.yaml")
            yield Problem(self.file, *place, f"unknown kind of action '{kind}'", way_out)
            return
        channels = [str(node.value) for node in self.words.kind_channels(kind)]
        wanted = params.get("channel")
        if wanted is not None and isinstance(wanted.value, str):
            if wanted.value not in channels:
                way_out = choose(wanted.value, channels)
                yield self._at(wanted, f"'{kind}' cannot take the channel '{wanted.value}'", way_out)
                return
            channels = [wanted.value]
        if "place" in params.fields:
            addressing = [channel for channel in channels if self.words.address(channel)]
            yield from offered.texts(channels, addressing, self.templates)
        else:
            yield from self._templates(params, channels, place, self.words)
            self._uses(params, channels, place)
        if "place" not in params.fields or offered.without_purpose():
            yield from self._purpose(kind, params, channels, place, self.words)
        yield from self._address(kind, params, channels, self.words)

    def _parameters(self, params: Node) -> Iterator[Problem]:
        for name, node in params.fields.items():
            if node.value in self.variables and (name in _OFTEN_VARIABLES or name == node.value):
                message = f"this is the text '{node.value}', and there is a variable of this name"
                way_out = f"did you mean 'vars.{node.value}'?"
                yield self._at(node, message, way_out, "warning")
            if name not in PARAMETERS:
                like = difflib.get_close_matches(name, PARAMETERS, 1, _LIKE)
                if like:
                    message = f"'{name}' would be handed to the channel as it is"
                    way_out = f"did you mean '{like[0]}'? a parameter of your own needs a name less like it"
                    yield Problem(self.file, *params.key_place(name), message, way_out)
                continue
            if node.spoilt:
                continue
            if node.kind == "scalar" and node.value is None:
                yield self._at(node, f"'{name}' has no value", "write its value, or leave it out")
            elif name in ("purpose", "template", "channel") and not (
                isinstance(node.value, str) and _NAME.fullmatch(node.value.replace("_", "-"))
            ):
                message = f"'{name}' must be a name that stands here, not computed"
                yield self._at(node, message, "write the name itself; use handlers with 'if' to choose")
            elif name == "expires" and not (isinstance(node.value, str) and _DURATION.fullmatch(node.value)):
                message = f"'{node.value if node.kind == 'scalar' else node.kind}' is no time for 'expires'"
                yield self._at(node, message, "write a whole number and one of s, m, h, d, w, such as '2d'")
            elif name == "priority" and (not isinstance(node.value, int) or isinstance(node.value, bool)):
                yield self._at(node, "'priority' must be a whole number", "write one; a greater number goes first")
            elif name in SCORE:
                yield from self._score(name, node)
            elif name in ("to", "link", "reason") and not isinstance(node.value, str):
                yield self._at(node, f"'{name}' must be text", "write text, or an expression that gives text")
            elif name == "link" and not is_expression(str(node.value)) and not is_path(str(node.value)):
                yield self._at(node, "'link' must be a path of the site", "begin it with one slash, such as '/cards'")
            elif name == "traits" and not (
                node.kind == "list"
                and all(isinstance(item.value, str) and not is_expression(item.value) for item in node.items)
            ):
                yield self._at(node, "'traits' must be a list of names", "write them, such as [first_name, language]")

    def _score(self, name: str, node: Node) -> Iterator[Problem]:
        most = 1 if name == "propensity" else MAX_FACTOR
        number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
        if not isinstance(node.value, str) and not (number and 0 <= float(node.value or 0) <= most):
            yield self._at(node, f"'{name}' must be a number from 0 to {most}, or an expression", "write one")

    def _uses(self, params: Node, channels: list[str], place: tuple[int, int]) -> None:
        template, traits = params.text("template"), params.get("traits")
        if template is not None:
            gives = {
                *(params.fields.keys() - _KEPT),
                *(f"traits.{item.value}" for item in (traits.items if traits is not None else ())),
            }
            topic = {"topic"} if "topic" in self.root.fields else set()
            where = f"{self.file}:{place[0]}"
            self.uses.append(Use(where, template, tuple(channels), frozenset(gives | topic)))

    def _templates(
        self, params: Node, channels: list[str], place: tuple[int, int], words: PolicyWords
    ) -> Iterator[Problem]:
        node = params.get("template")
        if node is None and difflib.get_close_matches("template", params.fields, 1, _LIKE):
            return  # it stands there, misspelt
        if node is None:
            addressing = [channel for channel in channels if words.address(channel)]
            if addressing:
                message = f"this action has no template for {_listed(addressing)}"
                way_out = "name one: 'template: <name>', with its text in templates/<name>.<channel>.liquid"
                yield Problem(self.file, *place, message, way_out, "warning")
            return
        if not isinstance(node.value, str) or not _NAME.fullmatch(node.value):
            return
        missing = [channel for channel in channels if (node.value, channel) not in self.templates]
        if not missing:
            return
        names = {name for name, _ in self.templates}
        if node.value not in names:
            like = difflib.get_close_matches(node.value, names, 1, 0.6)
            hint = f"did you mean '{like[0]}'? " if like else ""
            way_out = f"{hint}write templates/{node.value}.{missing[0]}.liquid"
            yield self._at(node, f"unknown template '{node.value}'", way_out)
        else:
            files = ", ".join(f"templates/{node.value}.{channel}.liquid" for channel in missing)
            message = f"template '{node.value}' has no text for {_listed(missing)}, which this action may take"
            yield self._at(node, message, f"write {files}, or name the 'channel:'")

    def _purpose(
        self, kind: str, params: Node, channels: list[str], place: tuple[int, int], words: PolicyWords
    ) -> Iterator[Problem]:
        purpose = params.text("purpose") or words.kind_purpose(kind) or self.root.text("purpose")
        if purpose is None:
            if "purpose" not in params.fields:
                way_out = "add 'purpose:' to the action, to its kind in policy.yaml, or to the journey"
                yield Problem(self.file, *place, f"'{kind}' has no purpose here", way_out)
            return
        basis = words.basis(purpose)
        if basis == "internal" and any(words.address(channel) for channel in channels):
            message = f"purpose '{purpose}' addresses nobody (its basis is internal), and '{kind}' goes to an address"
            yield Problem(self.file, *place, message, "name a purpose by consent, contract or request")
        if basis in LISTED:
            yield from self._listed_template(purpose, basis, params, place, words)
        if basis == "request":
            yield from self._requested_address(purpose, params, place)

    def _listed_template(
        self, purpose: str, basis: str, params: Node, place: tuple[int, int], words: PolicyWords
    ) -> Iterator[Problem]:
        listed = [str(node.value) for node in words.purpose_templates(purpose)]
        node = params.get("template")
        if node is None:
            message = f"purpose '{purpose}' (by {basis}) sends only listed templates, and this action has none"
            yield Problem(self.file, *place, message, f"name one of: {', '.join(listed) or 'none is listed'}")
        elif (
            isinstance(node.value, str)
            and node.value not in listed
            and node.value in {name for name, _ in self.templates}
        ):
            message = f"purpose '{purpose}' (by {basis}) does not list the template '{node.value}'"
            yield self._at(
                node, message, f"add it to 'templates:' of the purpose in policy.yaml; listed: {', '.join(listed)}"
            )

    def _requested_address(self, purpose: str, params: Node, place: tuple[int, int]) -> Iterator[Problem]:
        node = params.get("to")
        rule = f"purpose '{purpose}' sends only to the address given in this very journey"
        given = ", ".join(f"vars.{name}" for name in sorted(self.from_events))
        known = f"set from events: {given}" if given else "set one: 'set: {email: event.email}'"
        if node is None:
            yield Problem(self.file, *place, f"{rule}, and this action has no 'to'", f"add 'to: vars.<name>'; {known}")
            return
        named = _VARIABLE.fullmatch(node.value) if isinstance(node.value, str) else None
        if named is None:
            yield self._at(node, f"{rule}, and '{node.value}' is no variable", f"write 'to: vars.<name>'; {known}")
        elif named[1] not in self.from_events and named[1] in self.variables:
            message = f"{rule}, and no event sets '{named[1]}'"
            yield self._at(node, message, f"set it from the event that gives it; {known}")

    def _address(self, kind: str, params: Node, channels: list[str], words: PolicyWords) -> Iterator[Problem]:
        node = params.get("to")
        if node is None:
            return
        addressing = [channel for channel in channels if words.address(channel)]
        if not addressing:
            yield self._at(
                node, f"'to' has no meaning: {_listed(channels)} needs no address", "leave it out", "warning"
            )
        elif len(addressing) > 1:
            message = f"one address for {_listed(addressing)}: '{kind}' may take any of them"
            yield self._at(node, message, "name the 'channel:' that the address is for")


def _listed(names: list[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)

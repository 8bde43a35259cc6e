"""Which variables a template cannot do without, and which of them the actions that use it do not give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from liquid import Environment
from liquid.builtin.expressions import FilteredExpression, Path, TernaryFilteredExpression
from liquid.context import RenderContext
from liquid.exceptions import LiquidError

from streams.problems import Problem, choose

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from liquid.ast import Node
    from liquid.expression import Expression

    from streams.definitions import Template

# What a template always sees, or what is an object with parts of its own.
ALWAYS = frozenset(("customer", "params", "traits"))


@dataclass(frozen=True, slots=True)
class Use:
    """An action that sends a template: where it stands, and the names that the template sees because of it."""

    place: str
    template: str
    channels: tuple[str, ...]
    gives: frozenset[str]


def missing_variables(templates: Mapping[tuple[str, str], Template], uses: Iterable[Use]) -> Iterator[Problem]:
    """Variables that an action does not give: such a message is not delivered."""
    told: set[tuple[str, str, str]] = set()
    for use in uses:
        for channel in use.channels:
            template = templates.get((use.template, channel))
            for text, line, indent in _texts(template) if template is not None else ():
                for name, index in needed(text):
                    if name in use.gives or template is None or (template.file, name, use.place) in told:
                        continue
                    told.add((template.file, name, use.place))
                    before = text[:index]
                    at, column = before.count("\n"), index - before.rfind("\n")
                    message = f"the action in {use.place} gives no '{name}', so its message would not be delivered"
                    known = choose(name, sorted(use.gives), "it gives none")
                    way_out = f"give it there, or write a default filter or an 'if'; {known}"
                    yield Problem(template.file, line + at, column + (0 if at else indent), message, way_out, "warning")


def _texts(template: Template) -> list[tuple[str, int, int]]:
    return [(template.subject or "", 1, len("Subject: ")), (template.body, template.body_line, 0)]


def needed(text: str) -> list[tuple[str, int]]:
    """Each variable written out without a `default` filter or an `if` about it, with its index in the text.

    A trait is `traits.<name>`, a parameter its name, also when it is written `params.<name>`.
    """
    try:
        parsed = Environment().from_string(text)
        found: list[tuple[str, int]] = []
        _gather(parsed.nodes, frozenset(), RenderContext(parsed), found)
        made = {str(name) for name in parsed.analyze(include_partials=False).locals}
    except (LiquidError, RecursionError):
        return []  # reported already
    return [(name, index) for name, index in found if name.partition(".")[0] not in made]


def _gather(
    nodes: Iterable[Node], excused: frozenset[str], context: RenderContext, found: list[tuple[str, int]]
) -> None:
    for node in nodes:
        below = list(node.children(context, include_partials=False))
        if below:
            asked = {name for each in node.expressions() for name, _ in _names(each, defaults=False)}
            inside = asked | {str(name) for name in node.block_scope()}
            _gather(below, excused | inside, context, found)
            continue
        for each in node.expressions():
            found += [pair for pair in _names(each) if pair[0] not in excused and pair[0] not in ALWAYS]


def _names(expression: Expression, *, defaults: bool = True) -> Iterator[tuple[str, int]]:
    if isinstance(expression, Path):
        steps = [str(step) for step in expression.path]
        if steps[0] == "params" and len(steps) > 1:
            steps = steps[1:]
        yield ".".join(steps[:2]) if steps[0] == "traits" else steps[0], expression.token.start_index
    if defaults and isinstance(expression, TernaryFilteredExpression):
        return
    parts = list(expression.children())
    if defaults and isinstance(expression, FilteredExpression) and expression.filters:
        parts = parts[1:] if expression.filters[0].name == "default" else parts
    for part in parts:
        yield from _names(part, defaults=defaults)

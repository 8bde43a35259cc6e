"""What is wrong with the promises of a journey: such as nobody keeps, times that do not fit, names of none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from schemas.policy import DELAY
from streams.engine.calendar import MS, Delay, delay
from streams.problems import Problem, choose
from streams.shapes import handlers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.yamltext import Node

_DELAY = re.compile(DELAY)
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
LEAST = 60_000  # ms: what breaks a promise may make it again, and that is a loop (streams.stagegraph)


def owners(handler: Node) -> Iterator[Node]:
    """The owners of the promises that a handler makes, as written."""
    for _, terms in _made(handler):
        owner = terms.get("owner")
        if owner is not None:
            yield owner


def promise_problems(root: Node, file: str) -> Iterator[Problem]:
    """Everything wrong with a journey's promises beyond their shape."""
    written = [handler for _, _, handler in handlers(root)]
    made = {name: terms for handler in written for name, terms in _made(handler)}
    may_be_at_risk = {name for handler in written for name, terms in _made(handler) if "at risk" in terms.fields}
    named = [
        (key, node) for handler in written for key in ("keep", "at risk", "broken") for node in _names(handler, key)
    ]
    kept = {node.value for key, node in named if key == "keep"}
    for key, node in named:
        if node.value not in made:
            way_out = choose(str(node.value), made, f"make it, with 'promise: {{{node.value}: {{within: 24h}}}}'")
            yield Problem(file, node.line, node.column, f"nothing promises '{node.value}'", way_out)
        elif key == "at risk" and node.value not in may_be_at_risk:
            message = f"promise '{node.value}' is never at risk: it has no 'at risk' time"
            yield Problem(file, node.line, node.column, message, "add 'at risk: <time>' to the promise")
    if any(node.value not in made for key, node in named if key == "keep"):
        kept |= made.keys()  # one that is misspelt is reported once
    told: set[str] = set()
    for handler in written:
        promise = handler.get("promise")
        for name, terms in _made(handler):
            if promise is not None and name not in kept and name not in told:
                told.add(name)
                message = f"nobody keeps promise '{name}', so it is always broken"
                way_out = f"write 'keep: {name}' where what was promised is done"
                yield Problem(file, *promise.key_place(name), message, way_out)
            yield from _times(name, terms, file)


def _times(name: str, terms: Node, file: str) -> Iterator[Problem]:
    within, risk = _delay(terms.text("within")), _delay(terms.text("at risk"))
    if within is not None and within.unit == MS and within.amount < LEAST:
        message = f"promise '{name}' leaves {within.amount // 1000} s to keep it"
        yield Problem(file, *terms.key_place("within"), message, "leave a minute at least")
    if within is not None and risk is not None and within.unit == risk.unit and within.amount <= risk.amount:
        message = f"promise '{name}' is broken before it is at risk: after {terms.text('within')}"
        yield Problem(file, *terms.key_place("at risk"), message, "write a shorter time")


def _delay(text: str | None) -> Delay | None:
    return delay(text) if text is not None and _DELAY.fullmatch(text) else None


def _made(handler: Node) -> Iterator[tuple[str, Node]]:
    promise = handler.get("promise")
    for name, terms in promise.fields.items() if promise is not None else ():
        if terms.kind == "map" and _NAME.fullmatch(name):
            yield name, terms


def _names(handler: Node, key: str) -> list[Node]:
    node = handler.get(key)
    listed = [] if node is None else node.items if node.kind == "list" else [node]
    return [each for each in listed if isinstance(each.value, str)]

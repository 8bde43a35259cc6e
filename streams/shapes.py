"""The shape of a definition: what the models refuse, said in words, at the place in the YAML where it stands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from schemas.definition import KINDS, Definition
from schemas.journey import Entry, Handler, Terms, handler_rules
from schemas.offer import Validity
from schemas.policy import (
    ActionKind,
    Calendar,
    Cap,
    CaseKind,
    Channel,
    Competition,
    Distance,
    Hold,
    Holdout,
    Purpose,
    Quiet,
)
from streams.problems import Problem, choose, did_you_mean
from streams.timewords import better_time
from streams.yamltext import MAX_PROBLEMS, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_KINDS_OF_VALUE = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a map of keys",
    "model_type": "a map of keys",
}
_PARTS: dict[str, dict[str, type[BaseModel]]] = {
    "policy": {
        "purposes": Purpose,
        "channels": Channel,
        "actions": ActionKind,
        "holds": Hold,
        "compete": Competition,
        "cases": CaseKind,
        "calendar": Calendar,
        "caps": Cap,
        "distances": Distance,
        "quiet": Quiet,
        "holdouts": Holdout,
    },
    "offer": {"valid": Validity},
}
_LOCAL_TIMES = (
    *("09:00", "monday 09:00", "working day 09:00", "traits.renewal 09:00", "7d before traits.renewal 09:00"),
    "each traits.birthday 09:00",
)
# What handlers do, and entries do not.
_DONE = ("promise", "keep", "do", "end")
_ELSEWHERE = (
    "put it under '- on arrival:' of the stage one comes into; "
    "what it needs of the event, into a variable by 'set' here"
)
# What a text that does not match is not, and how to write it, by something that only its pattern has.
_FORMS = {
    "[smhdw]|[1-9][0-9]{0,2} working (?:hour|day)s?)$": ("time", "write '24h', '8 working hours' or '3 working days'"),
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}$": ("day", "write it as year, month, day: '2026-01-31'"),
    "(day|week|month|": ("time", "write a time such as '7d', or 'day', 'week' or 'month' of the customer's calendar"),
    "24:00)$": ("span of hours", "write from and until, such as '21:00-08:00'"),
    "[0-9]{2}-[0-9]{2}$": ("day", "write '2026-12-24', or '12-25' for every year"),
    "(?:hour|day)s?": ("time", "write a time, such as '24h', '8 working hours' or '3 working days'"),
    "working day|": (
        "local time",
        f"write {', '.join(map(repr, _LOCAL_TIMES[:-1]))} or {_LOCAL_TIMES[-1]!r}",
    ),
}


def read(kind: str, root: Node, file: str) -> tuple[Definition | None, list[Problem]]:
    """The model that a document holds, or None, and everything wrong with its shape."""
    if root.kind != "map":
        message = f"a {kind} is a map of keys, and this is {_article(root)}"
        return None, [Problem(file, root.line, root.column, message, f"begin with '{kind}: <name>'")]
    model: Definition | None = None
    problems: list[Problem] = []
    try:
        model = KINDS[kind].model_validate(root.plain(), by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [
            problem
            for detail in error.errors(include_url=False, include_input=False)
            if (problem := _in_words(kind, root, file, detail)) is not None
        ]
    if kind in _BROKEN:
        broken = list(_BROKEN[kind](root, file))
        problems += broken
        model = None if broken else model
    return model, sorted(set(problems), key=lambda problem: (problem.line, problem.column))[:MAX_PROBLEMS]


def handlers(root: Node) -> Iterator[tuple[str | None, int, Node]]:
    """Every handler of a journey as written: its stage (None: any stage), its index, its map."""
    stages = root.get("stages")
    for stage, listed in stages.fields.items() if stages is not None else ():
        for index, handler in enumerate(listed.items):
            if handler.kind == "map":
                yield stage, index, handler
    anywhere = root.get("any stage") or root.get("any_stage")  # a misspelling that is reported, and meant
    for index, handler in enumerate(anywhere.items if anywhere is not None else ()):
        if handler.kind == "map":
            yield None, index, handler


def entries(root: Node) -> list[Node]:
    """The ways into a journey, as written."""
    enter = root.get("enter")
    if enter is None:
        return []
    return [node for node in (enter.items if enter.kind == "list" else [enter]) if node.kind == "map"]


def _broken_rules(root: Node, file: str) -> Iterator[Problem]:
    for _, _, handler in handlers(root):
        if any(child.spoilt for child in handler.fields.values()):
            continue
        known = set(_known_keys("journey", ("any stage", 0, "")))
        for rule in handler_rules(handler.plain()):
            if rule.key is None and not known.issuperset(handler.fields):
                continue  # what seems missing may stand there, misspelt
            place = handler.key_place(rule.key) if rule.key else (handler.line, handler.column)
            yield Problem(file, *place, rule.message, rule.way_out)
    yield from _without_value([root, *entries(root)], file)


def _without_value(nodes: list[Node], file: str) -> Iterator[Problem]:
    for node in nodes:
        for key, child in node.fields.items():
            if child.kind == "scalar" and child.value is None and not child.spoilt:
                yield Problem(
                    file, *node.key_place(key), f"'{key}' has no value", "write its value, or leave the key out"
                )


_BROKEN: dict[str, Callable[[Node, str], Iterator[Problem]]] = {
    "journey": _broken_rules,
    "offer": lambda root, file: _without_value([root, *filter(None, [root.get("valid")])], file),
}


def _in_words(kind: str, root: Node, file: str, detail: Any) -> Problem | None:
    """One pydantic error at its place; None when another error says the same."""
    found = _Found(root, detail["loc"])
    if found.wrong_branch or found.node.spoilt or detail["type"] == "rule":
        return None
    place = (found.node.line, found.node.column)
    error, context, key = detail["type"], detail.get("ctx", {}), found.key
    if error == "none_required" and key != "on arrival":
        return None  # the other branch of a value that may be left out
    if error == "missing":
        name = str(detail["loc"][-1])
        if did_you_mean(name, set(found.node.fields) - set(_known_keys(kind, detail["loc"]))):
            return None  # it stands there, misspelt
        what = f"the {kind}" if found.node is root else "this"
        return Problem(file, *place, f"{what} has no '{name}'", f"add '{name}: ...'")
    if error == "extra_forbidden":
        if key.startswith("\0"):
            return None
        place = found.parent.key_place(key) if found.parent else place
        if kind == "journey" and detail["loc"][0] == "enter" and key in _DONE:
            message, way_out = f"'{key}' has no meaning under 'enter': an entry does nothing itself", _ELSEWHERE
            return Problem(file, *place, message, way_out)
        return Problem(file, *place, f"unknown key '{key}'", choose(key, _known_keys(kind, detail["loc"])))
    if found.is_key and found.parent:
        place = found.parent.key_place(key)
        if key.startswith("\0"):
            return None
    value = key if found.is_key else found.node.value
    if value is None and found.node.kind == "scalar":
        empty = found.parent is not None and found.parent is root.get("stages")
        way_out = f"write '{key}: []' if nothing happens in it" if empty else f"write its value: {_wanted(error)}"
        return Problem(file, *place, f"'{key}' has no value", way_out)
    message, way_out = _sentence(error, context, key, value, found)
    return Problem(file, *place, message, way_out)


def _sentence(error: str, context: dict[str, Any], key: str, value: Any, found: _Found) -> tuple[str, str]:
    if error == "string_pattern_mismatch":
        return _pattern(str(context["pattern"]), key, str(value))
    if error in _KINDS_OF_VALUE:
        number = re.fullmatch(r"([0-9]+) ?%?", value) if error == "int_type" and isinstance(value, str) else None
        if number is not None:
            return f"'{key}' must be a whole number, and this is '{value}'", f"write {number[1]}"
        message = f"'{key}' must be {_wanted(error)}, and this is {_article(found.node)}"
        way_out = (
            "put it into quotes" if error == "string_type" and found.node.kind == "scalar" else _example(error, key)
        )
        return message, way_out
    if error == "none_required":
        return (
            "'on arrival' takes no value",
            "write 'on arrival:' alone, and 'do:', 'set:' or 'to:' below it, beside it",
        )
    if error == "one_kind":
        return f"an action is one kind with its parameters, and this has {context['count']} keys", (
            "write '- <kind>: {<parameter>: <value>}', one list item for each action; indent the parameters deeper"
        )
    if error == "wrong":
        return context["message"], context["way_out"]
    if error == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        message = f"unknown key '{value}'" if found.is_key else f"'{value}' is no value of '{key}'"
        return message, choose(str(value), allowed)
    if error in ("greater_than_equal", "less_than_equal"):
        bound = context.get("ge", context.get("le"))
        side = "at least" if error == "greater_than_equal" else "at most"
        return f"'{key}' is {side} {bound}, and this is {value}", f"write a number of {side} {bound}"
    if error in ("too_short", "string_too_short"):
        return f"'{key}' is empty", "fill it, or leave the key out"
    if error in ("too_long", "string_too_long"):
        return f"'{key}' is too long: at most {context.get('max_length')}", "shorten it"
    return f"'{key}' is not valid: {error.replace('_', ' ')}", "see docs/journey-language.md"


def _pattern(pattern: str, key: str, value: str) -> tuple[str, str]:
    for part, (what, way_out) in _FORMS.items():
        if part in pattern:
            return f"'{value}' is no {what} for '{key}'", _perhaps(pattern, value) + way_out
    if "of silence" in pattern or "(s|m|h|d|w)" in pattern:
        message = f"'{value}' is no time for '{key}'"
        form = "a whole number and one of s, m, h, d, w, such as '30m'"
        if "never|always" in pattern:
            form = "'never', 'always' or 'after 30d'"
        elif "of silence" in pattern:
            form += ", '30m of silence', '2d at 09:00', '8 working hours' or '3 working days'"
        if re.match(r"(after )?0+ *[a-z]", value):
            return f"'{value}' is no time: it is zero", "write 'on arrival:' for at once, or a time above zero"
        return message, _perhaps(pattern, value) + f"write {form}"
    dash = "-" if "0-9-" in pattern else "_"
    slug = re.sub(r"[^a-z0-9_.-]+" if "_.-" in pattern else r"[^a-z0-9]+", dash, value.lower()).strip(dash)[:64]
    message = f"'{value}' is no name for '{key}'" if value != key else f"'{value}' is no name"
    way_out = f"use lower-case letters, digits and '{dash}', beginning with a letter"
    return message, (f"did you mean '{slug}'? " if re.match(r"[a-z]", slug) else "") + way_out


def _perhaps(pattern: str, value: str) -> str:
    better = better_time(pattern, value)
    return f"did you mean '{better}'? " if better is not None else ""


def _wanted(error: str) -> str:
    return _KINDS_OF_VALUE.get(error, "a value")


def _example(error: str, key: str) -> str:
    return {
        "list_type": f"write each item of '{key}' in a line of its own, after '- '",
        "dict_type": f"write '{key}:' and below it, indented, 'key: value'",
        "model_type": f"write '{key}:' and below it, indented, 'key: value'",
    }.get(error, f"write {_wanted(error)}")


def _article(node: Node) -> str:
    if node.kind != "scalar":
        return {"list": "a list", "map": "a map of keys"}[node.kind]
    if node.value is None:
        return "empty"
    if isinstance(node.value, bool):
        return f"{str(node.value).lower()}"
    return "text" if isinstance(node.value, str) else f"the number {node.value}"


def _known_keys(kind: str, loc: Sequence[Any]) -> list[str]:
    model: type[BaseModel] = KINDS[kind]
    if len(loc) > 1 and kind in _PARTS:
        model = _PARTS[kind].get(str(loc[0]), model)
    elif len(loc) > 1:
        model = Entry if loc[0] == "enter" else Terms if "promise" in loc else Handler
    return [info.alias or name for name, info in model.model_fields.items()]


class _Found:
    """Where a pydantic location leads in the tree: steps that are names of union branches are no steps there."""

    def __init__(self, root: Node, loc: Sequence[Any]) -> None:
        self.node, self.key = root, ""
        self.parent: Node | None = None
        self.is_key = bool(loc) and loc[-1] == "[key]"
        self.wrong_branch = False
        for step in loc:
            child = self.node.get(step)
            if child is not None:
                self.parent, self.node = self.node, child
                self.key = step if isinstance(step, str) else self.key
            elif isinstance(step, str) and step.startswith("list["):
                self.wrong_branch |= self.node.kind != "list"
            elif step in ("constrained-str", "Entry", "str"):
                self.wrong_branch |= self.node.kind == "list"

"""Expressions: which names exist, and which types fit each other. Everything that can be known before an event comes.

The rules are the tables in cel_signatures; `dyn` (a property, a variable, a trait, an element) fits
everywhere and is looked at again at run time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from streams.engine.cel_asking import is_window, read_split, read_window
from streams.engine.cel_functions import is_path
from streams.engine.cel_signatures import (
    COUNTERS,
    FUNCTIONS,
    KEYED,
    LEFT_OUT,
    METHODS,
    OVERLOADS,
    PARTS,
    USAGE,
    WAYS_OUT,
    Type,
)
from streams.engine.cel_syntax import EVENT_FIELDS, ROOTS
from streams.engine.cel_tree import (
    MAP_SOURCES,
    Binary,
    Call,
    Choice,
    Constant,
    Field,
    Index,
    ListOf,
    Logic,
    Macro,
    MapOf,
    Member,
    Name,
    Node,
    Unary,
    Whole,
    children,
    start,
)
from streams.engine.cel_values import type_name
from streams.engine.cel_words import ExpressionError, suggest

FUNCTION_NAMES = ("has", "split", *FUNCTIONS)
CASE_FUNCTIONS = ("open", "case")
WINDOW_TYPES = {"count": Type.INT, "sum": Type.DOUBLE, "min": Type.DOUBLE, "max": Type.DOUBLE, "last": Type.DYN}


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an expression stands: what it may name.

    `event`: there is an event; `now`: it may name the moment. `vars`, `traits`, `event_types`: the names known, None if
    any may be. `links`: the value is an action's parameter `link`, so `link` and `resume` may make one. `offer`: it is
    an offer's, which stands in no journey, and does not ask for the best offer. `cases`: by kind, what a case carries.
    `splits`: those of `journey`, with the percent of each arm.
    """

    event: bool = True
    vars: frozenset[str] | None = None
    traits: frozenset[str] | None = None
    event_types: frozenset[str] | None = None
    links: bool = False
    offer: bool = False
    cases: Mapping[str, Collection[str]] | None = None
    now: bool = True
    journey: str = ""
    splits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


ANYWHERE = Scope()


def check(node: Node, scope: Scope) -> dict[Node, Type]:
    """The type of each node of the tree. Raises ExpressionError."""
    checker = _Checker(scope)
    checker.type_of(node)
    return checker.types


def check_condition(node: Node, types: dict[Node, Type]) -> None:
    """Raise ExpressionError unless the whole can be true or false."""
    if types[node] not in (Type.BOOL, Type.DYN):
        raise ExpressionError(
            f"a condition must be true or false, this is {_a(types[node])}; compare it, as in x == ...", start(node)
        )


def check_number(node: Node, types: dict[Node, Type]) -> None:
    """Raise ExpressionError unless the whole can be a number."""
    if types[node] not in (Type.INT, Type.DOUBLE, Type.DYN):
        raise ExpressionError(
            f"this must be a number, and is {_a(types[node])}; convert it, with int() or double()", start(node)
        )


def names_in(node: Node) -> set[tuple[str, str]]:
    """Each property, variable, trait and kind of case named, as ("event" | "vars" | "traits" | "case", name)."""
    found: set[tuple[str, str]] = set()
    todo = [node]
    while todo:
        node = todo.pop()
        todo.extend(children(node))
        match node:
            case Field(source="properties", name=name):
                found.add(("event", name))
            case Field(source="vars" | "traits" as source, name=name):
                found.add((source, name))
            case Call(target=None, name="open" | "case", arguments=(Constant(value=str(kind)), *_)):
                found.add(("case", kind))
    return found


def _a(kind: Type) -> str:
    return kind if kind in (Type.DYN, Type.NULL) else f"{'an' if kind == Type.INT else 'a'} {kind}"


def _fits(actual: Type, wanted: Type) -> bool:
    return actual is wanted or actual is Type.DYN


class _Checker:
    """One walk over one tree."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.types: dict[Node, Type] = {}
        self.elements: list[str] = []

    def type_of(self, node: Node) -> Type:
        kind = self.types[node] = self._type_of(node)
        return kind

    def _type_of(self, node: Node) -> Type:  # noqa: C901, PLR0911 - one line per kind of node
        match node:
            case Constant(value=value):
                return Type(type_name(value))
            case Name():
                return self.name(node)
            case Whole():
                return self.whole(node)
            case Field():
                return self.field(node)
            case Member():
                return self.member(node)
            case Index():
                return self.index(node)
            case Call():
                return self.call(node)
            case Macro():
                return self.macro(node)
            case ListOf(items=items):
                self.no_links(items)
                return Type.LIST
            case MapOf():
                return self.map(node)
            case Unary():
                return self.unary(node)
            case Binary():
                return self.binary(node)
            case Logic():
                for operand in node.operands:
                    self.truth(operand, f"each side of {node.operator!r}")
                return Type.BOOL
            case Choice():
                self.truth(node.condition, "what stands before '?'")
                yes, no = self.type_of(node.yes), self.type_of(node.no)
                return yes if yes is no else Type.DYN

    # ---- names

    def name(self, node: Name) -> Type:
        if node.name in self.elements:
            return Type.DYN
        if node.name == "now":
            if not self.scope.now:
                raise ExpressionError(
                    "there is no `now` in `as soon as`, because time alone is no event; use `after:` or `at:`",
                    node.column,
                )
            return Type.TIMESTAMP
        if node.name in ROOTS:
            raise ExpressionError(
                f"{node.name!r} alone has no value; name a part of it, such as {PARTS[node.name]}", node.column
            )
        if node.name in FUNCTION_NAMES:
            raise ExpressionError(f"{node.name!r} is a function; {USAGE[node.name]}", node.column)
        raise ExpressionError(
            f"there is no {node.name!r}; an expression knows {', '.join(ROOTS)} and now, and strings stand in quotes",
            node.column,
            suggest(node.name, (*ROOTS, "now", "true", "false", "null", *self.elements)),
        )

    def need_event(self, node: Node) -> None:
        self.not_in_offers(node, "sees no event")
        if not self.scope.event:
            raise ExpressionError(
                "there is no event here; keep what is needed in a variable, with `set:` where the event comes",
                node.column,
            )

    def not_in_offers(self, node: Node, why: str) -> None:
        if self.scope.offer:
            raise ExpressionError(f"an offer {why}; ask for traits or profile.count()", node.column)

    def whole(self, node: Whole) -> Type:
        self.need_event(node)
        return Type.MAP

    def field(self, node: Field) -> Type:
        name = node.name
        match node.source:
            case "vars":
                self.not_in_offers(node, "has no variables")
                self.known(node, "variable", self.scope.vars, "set it first, with `set:`")
            case "traits":
                self.known(node, "trait", self.scope.traits, "declare it, or use one that is")
            case "journey" | "profile" as root:
                if root == "journey":
                    self.not_in_offers(node, "stands in no journey")
                methods, part = COUNTERS[root]
                if name in methods:
                    raise ExpressionError(f'{name} is a method; write {root}.{name}("event_type")', node.column)
                if name != part:
                    raise ExpressionError(
                        f"{root} has no {name!r}; it has {root}.{part} and {root}.count()",
                        node.column,
                        suggest(name, (*methods, part)),
                    )
                return Type.STRING
            case "event":
                self.need_event(node)
                return Type.TIMESTAMP if name == "time" else Type.STRING
            case "identifiers":
                self.need_event(node)
                return Type.STRING
            case "properties":
                self.need_event(node)
        return Type.DYN

    def known(self, node: Field, noun: str, names: frozenset[str] | None, way: str) -> None:
        if names is not None and node.name not in names:
            raise ExpressionError(
                f"there is no {noun} {node.name!r} here; {way}", node.column, suggest(node.name, names)
            )

    def event_type(self, node: Node) -> None:
        """Raise ExpressionError for a literal that should be an event type and is not one."""
        known = self.scope.event_types
        if known is None or not isinstance(node, Constant) or not isinstance(node.value, str) or node.value in known:
            return
        raise ExpressionError(
            f"no event has the type {node.value!r}; use a type that is declared",
            node.column,
            suggest(node.value, known),
        )

    # ---- parts

    def member(self, node: Member) -> Type:
        kind = self.type_of(node.target)
        if not _fits(kind, Type.MAP):
            way = "a method needs its parentheses" if node.name in METHODS else "only a map has fields"
            raise ExpressionError(f"{_a(kind)} has no field {node.name!r}; {way}", node.column)
        return Type.DYN

    def index(self, node: Index) -> Type:
        if isinstance(node.target, Name) and node.target.name in KEYED:
            raise ExpressionError(
                f"what stands in [] here must be a string in quotes; write {KEYED[node.target.name]}", node.column
            )
        kind, key = self.type_of(node.target), self.type_of(node.key)
        if not (_fits(kind, Type.MAP) or _fits(kind, Type.LIST)):
            raise ExpressionError(f"{_a(kind)} has no parts; only lists and maps have", node.column)
        wanted = {Type.MAP: (Type.STRING,), Type.LIST: (Type.INT,)}.get(kind, (Type.STRING, Type.INT))
        if key is not Type.DYN and key not in wanted:
            raise ExpressionError(
                f"{_a(key)} is no key of {_a(kind) if kind is not Type.DYN else 'a list or a map'}; "
                "a list takes a number from 0, a map a string",
                start(node.key),
            )
        return Type.DYN

    def map(self, node: MapOf) -> Type:
        seen: set[object] = set()
        for key in node.keys:
            if isinstance(key, Constant) and key.value in seen:
                raise ExpressionError(f"the key {key.value!r} stands twice in this map; remove one", key.column)
            seen.add(key.value if isinstance(key, Constant) else key)
            if not _fits(self.type_of(key), Type.STRING):
                raise ExpressionError(
                    f"a key of a map is a string, this is {_a(self.types[key])}; write it in quotes", start(key)
                )
        self.no_links(node.values)
        return Type.MAP

    def no_links(self, nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            if self.type_of(node) is Type.LINK:
                raise ExpressionError("a link cannot be a part of something; make it the whole value", node.column)

    # ---- operators

    def truth(self, node: Node, where: str) -> None:
        kind = self.type_of(node)
        if not _fits(kind, Type.BOOL):
            raise ExpressionError(
                f"{where} must be true or false, this is {_a(kind)}; compare it, as in x == ...", start(node)
            )

    def unary(self, node: Unary) -> Type:
        if node.operator == "!":
            self.truth(node.operand, "what follows '!'")
            return Type.BOOL
        kind = self.type_of(node.operand)
        if kind not in (Type.INT, Type.DOUBLE, Type.DYN):
            raise ExpressionError(f"'-' turns the sign of a number, this is {_a(kind)}; remove it", node.column)
        return kind

    def binary(self, node: Binary) -> Type:
        left, right = self.type_of(node.left), self.type_of(node.right)
        if node.operator in ("==", "!="):
            return self.equality(node, left, right)
        if node.operator == "in":
            return self.membership(node, left, right)
        results = {
            result for one, other, result in OVERLOADS[node.operator] if _fits(left, one) and _fits(right, other)
        }
        if not results:
            way = WAYS_OUT.get(
                node.operator, "both sides must be of one kind; convert with int(), double() or string()"
            )
            raise ExpressionError(f"{node.operator!r} cannot take {_a(left)} and {_a(right)}; {way}", node.column)
        return results.pop() if len(results) == 1 else Type.DYN

    def equality(self, node: Binary, left: Type, right: Type) -> Type:
        numbers = (Type.INT, Type.DOUBLE)
        loose = (Type.DYN, Type.NULL)
        if Type.LINK in (left, right):
            raise ExpressionError("a link cannot be compared; compare what it is made of", node.column)
        if not (left is right or left in loose or right in loose or (left in numbers and right in numbers)):
            raise ExpressionError(
                f"{_a(left)} and {_a(right)} are never equal; convert one, with int(), double(), string(), "
                "timestamp() or duration()",
                node.column,
            )
        for one, other in ((node.left, node.right), (node.right, node.left)):
            self.expected(one, other)
        return Type.BOOL

    def expected(self, one: Node, *others: Node) -> None:
        """Raise ExpressionError for a literal that is compared with an event's type, or an arm, and is none."""
        if isinstance(one, Field) and one.source == "event" and one.name == "type":
            for other in others:
                self.event_type(other)
        if isinstance(one, Call) and one.target is None and one.name == "split":
            name = read_split(one, self.scope.splits)
            arms = self.scope.splits[name]
            for other in others:
                if isinstance(other, Constant) and other.value not in arms:
                    raise ExpressionError(
                        f"split {name!r} has no arm {other.value!r}; its arms are {', '.join(arms)}",
                        other.column,
                        suggest(str(other.value), arms),
                    )

    def membership(self, node: Binary, left: Type, right: Type) -> Type:
        if not (_fits(right, Type.LIST) or _fits(right, Type.MAP)):
            raise ExpressionError(
                f"'in' looks into a list or a map, this is {_a(right)}; for a part of a text write text.contains(...)",
                start(node.right),
            )
        if right is Type.MAP and not _fits(left, Type.STRING):
            raise ExpressionError(f"a key of a map is a string, this is {_a(left)}; convert with string()", node.column)
        if left is Type.LINK:
            raise ExpressionError("a link cannot be compared; compare what it is made of", node.column)
        self.expected(node.left, *(node.right.items if isinstance(node.right, ListOf) else ()))
        return Type.BOOL

    # ---- calls

    def macro(self, node: Macro) -> Type:
        kind = self.type_of(node.target)
        if not _fits(kind, Type.LIST):
            raise ExpressionError(f"{node.kind} looks at each element of a list, this is {_a(kind)}", node.column)
        self.elements.append(node.variable)
        self.truth(node.body, f"the condition of {node.kind}")
        self.elements.pop()
        return Type.BOOL

    def call(self, node: Call) -> Type:
        if isinstance(node.target, Name) and node.target.name in COUNTERS:
            return self.window(node) if is_window(node) else self.count(node, node.target.name)
        if node.target is None and node.name == "has":
            return self.has(node)
        if node.target is None and node.name == "best" and not self.scope.now:
            raise ExpressionError(
                "best() cannot stand in `as soon as`: any event may change which is the best; use `when` with `if`",
                node.column,
            )
        if node.target is None and node.name == "split":
            read_split(node, self.scope.splits)
            return Type.STRING
        methods = node.target is not None
        table = METHODS if methods else FUNCTIONS
        if node.name not in table:
            self.unknown_call(node, methods=methods)
        if node.name == "best":
            self.not_in_offers(node, "does not ask for the best one")
        if node.name in ("link", "resume") and not self.scope.links:
            raise ExpressionError(
                f"{node.name}() makes a link, which only an action's parameter 'link' can be", node.column
            )
        operands = (*(() if node.target is None else (node.target,)), *node.arguments)
        signatures, result = table[node.name]
        kinds = tuple(self.type_of(operand) for operand in operands)
        if len(kinds) != len(signatures[0]):
            wanted = len(signatures[0]) - methods
            raise ExpressionError(
                f"{node.name}() takes {wanted} argument{'s' if wanted != 1 else ''}, not {len(node.arguments)}; "
                f"{USAGE[node.name]}",
                node.column,
            )
        if not any(all(map(_fits, kinds, signature)) for signature in signatures):
            listed = " and ".join(_a(kind) for kind in kinds)
            raise ExpressionError(f"{node.name}() cannot take {listed}; {USAGE[node.name]}", node.column)
        if result is Type.LINK:
            self.path(node.arguments[0])
        if node.name in CASE_FUNCTIONS:
            self.case(node)
        return result

    def case(self, node: Call) -> None:
        """Raise ExpressionError unless the kind of case, and what it carries, are written out and known."""
        words = [each.value if isinstance(each, Constant) else None for each in node.arguments]
        for argument, word in zip(node.arguments, words, strict=True):
            if not isinstance(word, str):
                raise ExpressionError(
                    f"{node.name}() takes names in quotes, nothing computed; {USAGE[node.name]}", start(argument)
                )
        known = self.scope.cases
        kind, *names = map(str, words)
        if known is None:
            return
        if kind not in known:
            raise ExpressionError(
                f"there is no kind of case {kind!r}; declare it under 'cases:' in policy.yaml",
                node.arguments[0].column,
                suggest(kind, known),
            )
        for name in names:
            if name not in known[kind]:
                raise ExpressionError(
                    f"a case of kind {kind!r} does not carry {name!r}; name it in its 'keeps:' in policy.yaml",
                    node.arguments[1].column,
                    suggest(name, known[kind]),
                )

    def path(self, node: Node) -> None:
        if isinstance(node, Constant) and isinstance(node.value, str) and not is_path(node.value):
            raise ExpressionError(
                f"{node.value[:60]!r} is no path of the site; begin it with one '/', without scheme and host",
                node.column,
            )

    def unknown_call(self, node: Call, *, methods: bool) -> None:
        if node.target is not None:
            self.need_target(node.target)
        if node.name in LEFT_OUT:
            raise ExpressionError(LEFT_OUT[node.name], node.column)
        if methods and node.name in FUNCTIONS:
            raise ExpressionError(f"{node.name} is a function; {USAGE[node.name]}", node.column)
        if not methods and node.name in (*METHODS, "exists", "all"):
            raise ExpressionError(
                f"{node.name} is a method; write it after a dot, as in x.{node.name}(...)", node.column
            )
        known = (*METHODS, "exists", "all") if methods else FUNCTION_NAMES
        noun = "method" if methods else "function"
        raise ExpressionError(
            f"there is no {noun} {node.name!r}; the {noun}s are {', '.join(known)}",
            node.column,
            suggest(node.name, known),
        )

    def need_target(self, target: Node) -> None:
        """An unknown root says more than an unknown method of it."""
        if isinstance(target, Name) and target.name == "event":
            raise ExpressionError("event has no methods; name a property of it first", target.column)
        self.type_of(target)

    def window(self, node: Call) -> Type:
        window = read_window(node, self.scope.event_types)
        if window.by:
            value = node.arguments[-1]
            kind = self.type_of(value)
            if kind not in (Type.STRING, Type.INT, Type.DOUBLE, Type.BOOL, Type.DYN):
                way = "convert it, with string()" if kind in (Type.TIMESTAMP, Type.DURATION) else "name a part of it"
                raise ExpressionError(
                    f"a property is compared with a text, a number, true or false, this is {_a(kind)}; {way}",
                    start(value),
                )
        return WINDOW_TYPES[window.what]

    def count(self, node: Call, root: str) -> Type:
        if root == "journey":
            self.not_in_offers(node, "stands in no journey")
        if node.name != "count":
            raise ExpressionError(
                f"{root} has no method {node.name!r}; it has {root}.count()",
                node.column,
                suggest(node.name, ("count",)),
            )
        if len(node.arguments) > 1:
            raise ExpressionError(
                f'{root}.count() takes one event type or nothing; write {root}.count("event_type")', node.column
            )
        if not self.scope.now and not (
            all(isinstance(each, Constant) for each in node.arguments) and (node.arguments or root == "journey")
        ):
            raise ExpressionError(
                f"`as soon as` is asked after the events that can change it; name the event type, as in "
                f'{root}.count("form_left")',
                node.column,
            )
        for argument in node.arguments:
            kind = self.type_of(argument)
            if not _fits(kind, Type.STRING):
                raise ExpressionError(
                    f'{root}.count() takes an event type, this is {_a(kind)}; write {root}.count("event_type")',
                    start(argument),
                )
            self.event_type(argument)
        return Type.INT

    def has(self, node: Call) -> Type:
        match node.arguments:
            case (Field(source=source) as field,) if source in MAP_SOURCES:
                self.type_of(field)
            case (Member() as member,):
                self.type_of(member)
            case (Call(target=None, name="case") as call,):
                self.type_of(call)
            case (Field(source="event", name=name),):
                raise ExpressionError(
                    f"every event has {', '.join(EVENT_FIELDS)}; for the property write has(event.properties.{name})",
                    node.column,
                )
            case _:
                raise ExpressionError(f"has() asks for one property, variable or trait; {USAGE['has']}", node.column)
        return Type.BOOL

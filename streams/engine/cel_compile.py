"""Expressions: from a checked tree to closures. Common shapes have closures of their own, in cel_shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from streams.engine.cel_asking import is_window, literals, read_window
from streams.engine.cel_context import MATCHING, RANKING, Context, Frame, weight
from streams.engine.cel_functions import (
    contains,
    ends_with,
    item,
    local_date,
    local_hour,
    local_weekday,
    size,
    starts_with,
    to_double,
    to_duration,
    to_int,
    to_link,
    to_timestamp,
)
from streams.engine.cel_shapes import Closure, both, either, field, has_field, method_shape, operator_shape
from streams.engine.cel_signatures import Type
from streams.engine.cel_tree import (
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
)
from streams.engine.cel_types import ANYWHERE, Scope
from streams.engine.cel_values import (
    MAX_ELEMENTS,
    OPERATIONS,
    Absent,
    Timestamp,
    contained,
    different,
    equal,
    negative,
    same,
    search,
    to_string,
)
from streams.engine.cel_words import ExpressionError
from streams.engine.splits import arm

_UNARY: Final[dict[str, Callable[[Any], Any]]] = {
    "size": size,
    "timestamp": to_timestamp,
    "duration": to_duration,
    "int": to_int,
    "double": to_double,
    "string": to_string,
    "link": to_link,
}
_TEXT: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "startsWith": starts_with,
    "endsWith": ends_with,
    "contains": contains,
}
_LOCAL: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "hour": local_hour,
    "weekday": local_weekday,
    "date": local_date,
}
_LINEAR: Final = frozenset(
    {"==", "!=", "<", "<=", ">", ">=", "in", "+"}
)  # operators that may take longer for longer values
_LITERALS: Final = {
    "timestamp": 'write it as "2030-01-31T12:00:00Z"',
    "duration": 'write it as numbers with units, as in "1h30m"; units are w d h m s ms us ns',
}


def compile_tree(node: Node, types: dict[Node, Type], scope: Scope = ANYWHERE) -> Closure:
    """The closure that evaluates the tree. Raises ExpressionError for a literal date or duration that is none."""
    closure = _Compiler(types, scope).compile(node)
    depth = _macros(node)
    if not depth:
        return closure
    return lambda context: closure(Frame(context, depth))


def _macros(node: Node) -> int:
    """How many macros stand within each other."""
    return max((_macros(child) for child in children(node)), default=0) + isinstance(node, Macro)


def _nodes(node: Node) -> int:
    """How many nodes the tree has."""
    return 1 + sum(_nodes(child) for child in children(node))


class _Compiler:
    """One walk over one tree. `known` holds the value of each closure that is a constant."""

    def __init__(self, types: dict[Node, Type], scope: Scope) -> None:
        self.types, self.scope = types, scope
        self.known: dict[Closure, Any] = {}
        self.inside = 0  # how many macros enclose the node at hand
        self.slots: dict[str, int] = {}

    def constant(self, value: Any) -> Closure:
        def closure(_: Context) -> Any:
            return value

        self.known[closure] = value
        return closure

    def compile(self, node: Node) -> Closure:  # noqa: PLR0911 - one line per kind of node
        match node:
            case Constant(value=value):
                return self.constant(value)
            case Name():
                return self.name(node)
            case Whole():
                return _whole(node)
            case Field():
                return field(node.source, node.name)
            case Member():
                return self.member(node)
            case Index():
                return self.binary(item, self.compile(node.target), self.compile(node.key))
            case Call():
                return self.call(node)
            case Macro():
                return self.macro(node)
            case ListOf(items=items):
                return self.list(items)
            case MapOf():
                return self.map(node)
            case Unary():
                return self.sign(node)
            case Binary():
                return self.operator(node)
            case Logic():
                operands = tuple(self.truth(operand) for operand in node.operands)
                return both(operands) if node.operator == "&&" else either(operands)
            case Choice():
                return self.choice(node)

    def truth(self, node: Node) -> Closure:
        """The closure of a node whose value must be true or false."""
        closure = self.compile(node)
        return closure if self.types[node] is Type.BOOL else truth(closure)

    # ---- names and parts

    def name(self, node: Name) -> Closure:
        slot = self.slots.get(node.name)
        if slot is None:
            return lambda context: Timestamp(context.now)
        position = slot

        def element(frame: Any) -> Any:
            return frame.elements[position]

        return element

    def member(self, node: Member) -> Closure:
        target, name = self.compile(node.target), node.name

        def member(context: Context) -> Any:
            value = target(context)
            if type(value) is dict and name in value:
                return value[name]
            raise Absent(name)

        return member

    def list(self, nodes: tuple[Node, ...]) -> Closure:
        items = tuple(self.compile(node) for node in nodes)
        if all(each in self.known for each in items):
            return self.constant([self.known[each] for each in items])
        return lambda context: [each(context) for each in items]

    def map(self, node: MapOf) -> Closure:
        pairs = tuple(
            (self.compile(key), self.compile(value)) for key, value in zip(node.keys, node.values, strict=True)
        )

        def entries(context: Context) -> dict[str, Any]:
            made: dict[str, Any] = {}
            for key, value in pairs:
                name = key(context)
                if type(name) is not str or name in made:
                    raise Absent("a map key that is no string, or stands twice")
                made[name] = value(context)
            return made

        return entries

    # ---- operators

    def sign(self, node: Unary) -> Closure:
        if node.operator == "-":
            return self.unary(negative, self.compile(node.operand))
        operand = self.truth(node.operand)
        return lambda context: not operand(context)

    def choice(self, node: Choice) -> Closure:
        condition, yes, no = self.truth(node.condition), self.compile(node.yes), self.compile(node.no)
        return lambda context: yes(context) if condition(context) else no(context)

    def operator(self, node: Binary) -> Closure:
        left, right = self.compile(node.left), self.compile(node.right)
        if not self.inside:
            shape = operator_shape(node, left, right, self.known)
            if shape is not None:
                return shape
        return self.binary(OPERATIONS[node.operator], left, right, linear=node.operator in _LINEAR)

    def unary(self, operation: Callable[[Any], Any], operand: Closure) -> Closure:
        if operand in self.known:
            try:
                return self.constant(operation(self.known[operand]))
            except Absent:
                pass  # absent whenever it is evaluated
        return lambda context: operation(operand(context))

    def binary(
        self, operation: Callable[[Any, Any], Any], left: Closure, right: Closure, *, linear: bool = False
    ) -> Closure:
        if left in self.known and right in self.known:
            try:
                return self.constant(operation(self.known[left], self.known[right]))
            except Absent:
                pass
        if linear and self.inside:
            return _COUNTED[operation](left, right) if operation in _COUNTED else _weighed(operation, left, right)
        return lambda context: operation(left(context), right(context))

    # ---- calls

    def call(self, node: Call) -> Closure:
        if node.target is None:
            return self.function(node)
        if is_window(node):
            return self.window(node)
        if isinstance(node.target, Name) and node.name == "count":
            return self.count(node, node.target.name)
        target = self.compile(node.target)
        if node.name == "size":
            return self.unary(size, target)
        if node.name in _LOCAL:
            read = _LOCAL[node.name]
            return lambda context: read(target(context), context.zone())
        argument = self.compile(node.arguments[0])
        if not self.inside:
            shape = method_shape(node, target, argument, self.known)
            if shape is not None:
                return shape
        return self.binary(_TEXT[node.name], target, argument, linear=True)

    def window(self, node: Call) -> Closure:
        window = read_window(node)
        if not window.by:
            return lambda context: context.window(window)
        wanted = self.compile(node.arguments[-1])
        inside = self.inside

        def of_one_value(context: Any) -> Any:
            value = wanted(context)
            if inside:
                context.spend(MATCHING + weight(value))
            return context.window(window, value)

        return of_one_value

    def count(self, node: Call, root: str) -> Closure:
        kind = self.compile(node.arguments[0]) if node.arguments else self.constant(None)
        if kind in self.known:
            fixed = self.known[kind]
            if root == "journey":
                return lambda context: context.count(fixed)
            return lambda context: context.profile_count(fixed)

        def count(context: Context) -> int:
            value = kind(context)
            if type(value) is not str:
                raise Absent("count of something else than an event type")
            return context.count(value) if root == "journey" else context.profile_count(value)

        return count

    def function(self, node: Call) -> Closure:
        if node.name == "has":
            return self.has(node.arguments[0])
        if node.name == "split":
            return self.split(*literals(node, "split"))
        first = self.compile(node.arguments[0])
        if node.name == "open":
            kind = self.known[first]
            return lambda context: context.is_open(kind)
        if node.name == "case":
            kind, name = self.known[first], self.known[self.compile(node.arguments[1])]
            return lambda context: context.case(kind, name)
        if node.name == "best":
            return self.best(first)
        if node.name == "resume":
            return self.binary(to_resume, first, self.compile(node.arguments[1]))
        operation = _UNARY[node.name]
        if node.name in _LITERALS and first in self.known:
            try:
                operation(self.known[first])
            except Absent:
                raise ExpressionError(
                    f"{self.known[first]!r} is no {node.name}; {_LITERALS[node.name]}", node.arguments[0].column
                ) from None
        return self.unary(operation, first)

    def split(self, name: str) -> Closure:
        experiment, arms = f"{self.scope.journey}/{name}", self.scope.splits[name]
        return lambda context: arm(experiment, context.entrant, arms)

    def best(self, place: Closure) -> Closure:
        inside = self.inside

        def best(context: Any) -> Any:
            if inside:
                context.spend(RANKING)
            name = place(context)
            if type(name) is not str:
                raise Absent("best of something else than a place")
            return context.best(name)

        return best

    def has(self, node: Node) -> Closure:
        if isinstance(node, Field):
            return has_field(node.source, node.name)
        reach = self.compile(node)

        def has(context: Context) -> bool:
            try:
                reach(context)
            except Absent:
                return False
            return True

        return has

    def macro(self, node: Macro) -> Closure:
        target = self.compile(node.target)
        slot, wanted, price = node.slot, node.kind == "exists", 1 + (_nodes(node.body) >> 3)
        self.inside += 1
        self.slots[node.variable] = slot
        body = self.truth(node.body)
        del self.slots[node.variable]
        self.inside -= 1

        def macro(frame: Any) -> Any:
            values = target(frame)
            if type(values) is not list or len(values) > MAX_ELEMENTS:
                raise Absent(f"{node.kind} of something else than a list of at most 1000 elements")
            missing = None
            for value in values:
                frame.spend(price)
                frame.elements[slot] = value
                try:
                    if body(frame) is wanted:
                        return wanted
                except Absent as error:
                    missing = error
            if missing is not None:
                raise missing
            return not wanted

        return macro


def to_resume(path: Any, position: Any) -> Any:
    """`resume(path, position)`: a position of null is absent."""
    if position is None:
        raise Absent("resume at null")
    return to_link(path, position)


def truth(closure: Closure) -> Closure:
    """The closure, absent unless its value is true or false."""

    def checked(context: Context) -> Any:
        value = closure(context)
        if value is True or value is False:
            return value
        raise Absent("neither true nor false")

    return checked


def _weighed(operation: Callable[[Any, Any], Any], left: Closure, right: Closure) -> Closure:
    """Within macros, an operator pays for the size of what it looks at."""

    def weighed(frame: Any) -> Any:
        one, other = left(frame), right(frame)
        frame.spend(1 + weight(one) + weight(other))
        return operation(one, other)

    return weighed


def _searched(left: Closure, right: Closure) -> Closure:
    """`in` within macros."""

    def searched(frame: Any) -> bool:
        element, container = left(frame), right(frame)
        try:
            found, cost = search(element, container)
        except Absent:
            frame.spend(MAX_ELEMENTS)  # at most; what it took is not known any more
            raise
        frame.spend(1 + cost)
        return found

    return searched


def _compared(left: Closure, right: Closure) -> Closure:
    """`==` within macros."""

    def compared(frame: Any) -> bool:
        one, other = left(frame), right(frame)
        try:
            found, rest = same(one, other, MAX_ELEMENTS)
        except Absent:
            frame.spend(MAX_ELEMENTS)  # at most; what it took is not known any more
            raise
        frame.spend(MAX_ELEMENTS - rest + weight(one))
        return found

    return compared


def _distinguished(left: Closure, right: Closure) -> Closure:
    """`!=` within macros."""
    compared = _compared(left, right)
    return lambda frame: not compared(frame)


_COUNTED: Final[dict[Any, Callable[[Closure, Closure], Closure]]] = {
    contained: _searched,
    equal: _compared,
    different: _distinguished,
}


def _whole(node: Whole) -> Closure:
    identifiers = node.source == "identifiers"

    def whole(context: Context) -> Any:
        event = context.event
        if event is None:
            raise Absent("event")
        return event.identifiers if identifiers else event.properties

    return whole

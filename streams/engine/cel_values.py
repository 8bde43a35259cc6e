"""Expressions at run time: what values there are, and what each operator and function makes of them.

Values are those of JSON (None, bool, 64-bit int, float, str, list, dict with str keys) and two of our own, Timestamp
and Duration. Types are told apart exactly, because in Python True == 1. Wherever CEL has an error, Absent is raised.
Deviations from CEL, each because JSON writes 10.0 as 10: arithmetic takes int and double mixed, and a double without
fraction is written without one. A result that is no finite number is absent.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from schemas.action import Link
from streams.engine.cel_words import MAX_INT, MIN_INT

MAX_TEXT = 8192  # characters of a text that an expression makes, and of all texts in its result
MAX_ELEMENTS = 1000  # that one operator looks at, and of an expression's result, all levels together
MAX_LEVELS = 8  # of lists and maps within each other in a result; as a touchpoint's MAX_DEPTH

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MIN_TIME, MAX_TIME = -62_135_596_800_000, 253_402_300_799_999  # years 1 to 9999, as CEL
MAX_SPAN = 315_576_000_000_000  # 10,000 years of 365.25 days, as google.protobuf.Duration


class Absent(Exception):
    """What an expression touched is absent, or an operation makes no sense for the values at hand."""


class Timestamp(msgspec.Struct, frozen=True, order=True):
    """A moment, in milliseconds since 1970 UTC."""

    ms: int


class Duration(msgspec.Struct, frozen=True, order=True):
    """A length of time, in milliseconds."""

    ms: int


_NAMES: Final[dict[type, str]] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "double",
    str: "string",
    list: "list",
    dict: "map",
    Timestamp: "timestamp",
    Duration: "duration",
    Link: "link",
}


def type_name(value: Any) -> str:
    """The type of `value` in CEL's words."""
    return _NAMES.get(type(value), "unknown")


def senseless(sign: str, *values: Any) -> Absent:
    """What to raise for an operation that makes no sense for these values."""
    return Absent(f"{sign} of {' and '.join(type_name(value) for value in values)}")


# ---- equality, order, membership ------------------------------------------------------------------------------------

_NUMBERS: Final = frozenset((int, float))
_SCALARS: Final = frozenset((str, int, bool, float, type(None), Timestamp, Duration))


def equal(left: Any, right: Any) -> bool:
    """CEL's ==: values of different types differ, but int and double compare as numbers."""
    kind = type(left)
    if kind is type(right):
        if kind in _SCALARS:
            return bool(left == right)
        return same(left, right, MAX_ELEMENTS)[0]
    return kind in _NUMBERS and type(right) in _NUMBERS and bool(left == right)


def same(left: Any, right: Any, budget: int) -> tuple[bool, int]:
    """Whether two values are equal all the way down, and what is left of the budget of elements to look at."""
    pairs = [(left, right)]
    budget -= 1
    while pairs:
        one, other = pairs.pop()
        kind = type(one)
        if kind is type(other) and kind in (list, dict):
            if len(one) != len(other):
                return False, budget
            budget -= len(one)
            if budget < 0:
                raise Absent("comparing more than 1000 elements")
            if kind is list:
                pairs.extend(zip(one, other, strict=True))
            else:
                for key, value in one.items():
                    if key not in other:
                        return False, budget
                    pairs.append((value, other[key]))
        elif (kind not in _SCALARS or type(other) not in _SCALARS) or not equal(one, other):
            return False, budget
    return True, budget


def different(left: Any, right: Any) -> bool:
    """CEL's !=."""
    return not equal(left, right)


_ORDERED: Final = frozenset((str, bool, Timestamp, Duration))


def check_order(left: Any, right: Any) -> None:
    """Raise Absent unless one of two values can be less than the other."""
    kind, other = type(left), type(right)
    if not ((kind is other and kind in _ORDERED) or (kind in _NUMBERS and other in _NUMBERS)):
        raise senseless("comparison", left, right)


def _ordering(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def ordered(left: Any, right: Any) -> bool:
        check_order(left, right)
        return compare(left, right)

    return ordered


def contained(element: Any, container: Any) -> bool:
    """CEL's `in`: an element of a list, or a key of a map."""
    return search(element, container)[0]


def search(element: Any, container: Any) -> tuple[bool, int]:
    """Whether the element is in the container, and how many elements, or 16 of them that are compared fast, it took."""
    kind, sort = type(container), type(element)
    if kind is dict and sort is str:
        return element in container, 0
    if kind is not list:
        raise senseless("in", element, container)
    seen = container if len(container) <= MAX_ELEMENTS else container[:MAX_ELEMENTS]
    cost = len(seen) >> 4
    if sort is str:  # nothing but a str equals a str
        found = element in seen
    elif sort in _NUMBERS:
        found = any(each == element and type(each) in _NUMBERS for each in seen)
    elif sort is bool or element is None:
        found = any(each is element for each in seen)
    else:
        budget = MAX_ELEMENTS
        found = False
        for each in seen:
            found, budget = same(element, each, budget)
            if found:
                break
        cost = MAX_ELEMENTS - budget
    if not found and seen is not container:
        raise Absent("looking through more than 1000 elements")
    return found, cost


# ---- arithmetic -----------------------------------------------------------------------------------------------------


def whole_number(value: int) -> int:
    """The number. Raises Absent beyond 64 bits."""
    if MIN_INT <= value <= MAX_INT:
        return value
    raise Absent("a whole number beyond 64 bits")


def finite(value: float) -> float:
    """The number. Raises Absent for an infinite one and for none at all."""
    if math.isfinite(value):
        return value
    raise Absent("no finite number")


def moment(ms: int) -> Timestamp:
    """The timestamp. Raises Absent outside the years 1 to 9999."""
    if MIN_TIME <= ms <= MAX_TIME:
        return Timestamp(ms)
    raise Absent("a moment outside the years 1 to 9999")


def span(ms: int) -> Duration:
    """The duration. Raises Absent beyond 10,000 years."""
    if -MAX_SPAN <= ms <= MAX_SPAN:
        return Duration(ms)
    raise Absent("a duration beyond 10,000 years")


def _numeric(sign: str, whole: Callable[[int, int], int], broken: Callable[[float, float], float]) -> Operation:
    def calculate(left: Any, right: Any) -> Any:
        kind, other = type(left), type(right)
        if kind is int and other is int:
            return whole_number(whole(left, right))
        if kind in _NUMBERS and other in _NUMBERS:
            try:
                return finite(broken(float(left), float(right)))
            except (OverflowError, ZeroDivisionError):
                raise Absent(f"{sign} has no finite result") from None
        raise senseless(sign, left, right)

    return calculate


def _quotient(left: int, right: int) -> int:
    if right == 0:
        raise Absent("division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def remainder(left: Any, right: Any) -> int:
    """CEL's %: of whole numbers, with the sign of the left one."""
    if type(left) is not int or type(right) is not int:
        raise senseless("%", left, right)
    if right == 0:
        raise Absent("division by zero")
    rest = abs(left) % abs(right)
    return whole_number(-rest if left < 0 else rest)


_plus = _numeric("+", operator.add, operator.add)
_minus = _numeric("-", operator.sub, operator.sub)


def add(left: Any, right: Any) -> Any:
    """CEL's +: of numbers, strings, lists, durations, or a moment and a duration."""
    kind, other = type(left), type(right)
    if kind is str and other is str:
        if len(left) + len(right) > MAX_TEXT:
            raise Absent("a text of more than 8192 characters")
        return left + right
    if kind is list and other is list:
        if len(left) + len(right) > MAX_ELEMENTS:
            raise Absent("a list of more than 1000 elements")
        return left + right
    if kind is Duration and other is Duration:
        return span(left.ms + right.ms)
    if (kind is Timestamp and other is Duration) or (kind is Duration and other is Timestamp):
        return moment(left.ms + right.ms)
    return _plus(left, right)


def subtract(left: Any, right: Any) -> Any:
    """CEL's -: of numbers, durations, two moments, or a duration from a moment."""
    kind, other = type(left), type(right)
    if kind is Timestamp and other is Duration:
        return moment(left.ms - right.ms)
    if kind is other and kind in (Timestamp, Duration):
        return span(left.ms - right.ms)
    return _minus(left, right)


def negative(value: Any) -> Any:
    """The number with its sign turned."""
    if type(value) is int:
        return whole_number(-value)
    if type(value) is float:
        return -value
    raise senseless("-", value)


Operation = Callable[[Any, Any], Any]
OPERATIONS: Final[dict[str, Operation]] = {
    "==": equal,
    "!=": different,
    "<": _ordering(operator.lt),
    "<=": _ordering(operator.le),
    ">": _ordering(operator.gt),
    ">=": _ordering(operator.ge),
    "in": contained,
    "+": add,
    "-": subtract,
    "*": _numeric("*", operator.mul, operator.mul),
    "/": _numeric("/", _quotient, operator.truediv),
    "%": remainder,
}


# ---- texts and results ----------------------------------------------------------------------------------------------


_LONG: Final = 1e15  # from here on a double is written with an exponent


def to_string(value: Any) -> str:
    """CEL's string()."""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(whole_number(value))
    if kind is float:
        finite(value)
        return str(int(value)) if value.is_integer() and abs(value) < _LONG else repr(value)
    if kind is Timestamp:
        return _moment_text(value.ms)
    if kind is Duration:
        return _span_text(value.ms)
    raise senseless("string", value)


def _moment_text(ms: int) -> str:
    if not MIN_TIME <= ms <= MAX_TIME:
        raise Absent("a moment outside the years 1 to 9999")
    text = (EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds" if ms % 1000 else "seconds")
    return text.removesuffix("+00:00") + "Z"


def _span_text(ms: int) -> str:
    seconds, rest = divmod(abs(ms), 1000)
    fraction = f".{rest:03}".rstrip("0") if rest else ""
    return f"{'-' if ms < 0 else ''}{seconds}{fraction}s"


def plain(value: Any) -> Any:
    """The value as handed out: of JSON's types only, a copy, bounded; moments and durations become CEL's texts.

    Raises Absent for what would not fit a state: over MAX_TEXT characters or MAX_ELEMENTS elements, a number beyond
    64 bits or not finite, lists and maps over MAX_LEVELS deep. A link passes as it is.
    """
    kind = type(value)
    if kind is str and len(value) <= MAX_TEXT:
        return value
    if kind is bool or value is None or kind is Link:
        return value
    if kind is int:
        return whole_number(value)
    return _Copy().of(value, 0)


class _Copy:
    """One copy in the making: what it may still hold."""

    __slots__ = ("characters", "elements")

    def __init__(self) -> None:
        self.characters = MAX_TEXT
        self.elements = MAX_ELEMENTS

    def of(self, value: Any, level: int) -> Any:
        self.elements -= 1
        if self.elements < 0:
            raise Absent("a result of more than 1000 elements")
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is bool or value is None:
            return value
        if kind is int:
            return whole_number(value)
        if kind is float:
            return finite(value)
        if kind is Timestamp or kind is Duration:
            return to_string(value)
        if level == MAX_LEVELS:
            raise Absent("a result of more than 8 levels")
        if kind is list:
            return [self.of(element, level + 1) for element in value]
        if kind is dict:
            return {self.key(key): self.of(element, level + 1) for key, element in value.items()}
        raise Absent("a result of an unknown type")

    def key(self, key: Any) -> str:
        if type(key) is not str:
            raise Absent("a map key that is no string")
        return self.text(key)

    def text(self, text: str) -> str:
        self.characters -= len(text)
        if self.characters < 0:
            raise Absent("a result of more than 8192 characters")
        return text

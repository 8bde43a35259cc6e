"""Expressions: the types, and as tables which operators, methods and functions take and give which."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Type(StrEnum):
    """What is known of a value before run time."""

    NULL = "null"
    BOOL = "bool"
    INT = "int"
    DOUBLE = "double"
    STRING = "string"
    LIST = "list"
    MAP = "map"
    TIMESTAMP = "timestamp"
    DURATION = "duration"
    LINK = "link"
    DYN = "dyn"


# One letter each: the tables below are read by their columns.
N, B, I, D, S, L, M, T, P, K, ANY = Type  # noqa: E741
_NUMBER_PAIRS: Final = ((I, I, I), (I, D, D), (D, I, D), (D, D, D))
_ORDER: Final = tuple((*pair, B) for pair in ((I, I), (I, D), (D, I), (D, D), (S, S), (B, B), (T, T), (P, P)))

# operator: (left, right, result)...
OVERLOADS: Final[dict[str, tuple[tuple[Type, Type, Type], ...]]] = {
    "+": (*_NUMBER_PAIRS, (S, S, S), (L, L, L), (T, P, T), (P, T, T), (P, P, P)),
    "-": (*_NUMBER_PAIRS, (T, T, P), (T, P, T), (P, P, P)),
    "*": _NUMBER_PAIRS,
    "/": _NUMBER_PAIRS,
    "%": ((I, I, I),),
    "<": _ORDER,
    "<=": _ORDER,
    ">": _ORDER,
    ">=": _ORDER,
}
# name: ((types of target and arguments)..., result)
METHODS: Final[dict[str, tuple[tuple[tuple[Type, ...], ...], Type]]] = {
    "startsWith": (((S, S),), B),
    "endsWith": (((S, S),), B),
    "contains": (((S, S),), B),
    "size": (((S,), (L,), (M,)), I),
    "hour": (((T,),), I),
    "weekday": (((T,),), S),
    "date": (((T,),), S),
}
FUNCTIONS: Final[dict[str, tuple[tuple[tuple[Type, ...], ...], Type]]] = {
    "size": (((S,), (L,), (M,)), I),
    "timestamp": (((S,), (I,), (T,)), T),
    "duration": (((S,), (P,)), P),
    "int": (((I,), (D,), (S,), (T,)), I),
    "double": (((D,), (I,), (S,)), D),
    "string": (((S,), (I,), (D,), (B,), (T,), (P,)), S),
    "open": (((S,),), B),
    "case": (((S, S),), ANY),
    "best": (((S,),), M),
    "link": (((S,),), K),
    "resume": (((S, S), (S, I), (S, D)), K),
}
WAYS_OUT: Final = {
    "+": "convert with int(), double() or string()",
    "-": "convert with int(), double(), timestamp() or duration()",
    "%": "it takes whole numbers only; convert with int()",
}
LEFT_OUT: Final = {
    "matches": "matches() is left out, because its time has no bound; use startsWith, endsWith or contains",
    "map": "map() is left out; use exists(x, ...) or all(x, ...)",
    "filter": "filter() is left out; use exists(x, ...) or all(x, ...)",
    "exists_one": "exists_one() is left out; use exists(x, ...) or all(x, ...)",
    "existsOne": "existsOne() is left out; use exists(x, ...) or all(x, ...)",
    "uint": "there are no unsigned numbers; use int()",
    "bytes": "there are no bytes; use string()",
    "bool": "bool() is left out; compare, as in x == true",
    "type": "type() is left out; convert with int(), double() or string()",
    "dyn": "dyn() is left out; leave it out, what an event brings is dynamic anyway",
    "getHours": "write x.hour(); it is the hour of the customer's day",
    "getDayOfWeek": "write x.weekday(); it is 'monday' to 'sunday' where the customer is",
    "getDate": "write x.date(); it is a text such as '2026-03-29', where the customer is",
    "lowerAscii": "lowerAscii() is left out; compare with every spelling, as in x in ['a', 'A']",
    "upperAscii": "upperAscii() is left out; compare with every spelling, as in x in ['a', 'A']",
}
USAGE: Final = {
    "startsWith": 'write text.startsWith("...")',
    "endsWith": 'write text.endsWith("...")',
    "contains": 'write text.contains("...")',
    "size": "write size(x), with a string, a list or a map",
    "has": 'write has(event.name), has(vars.name), has(traits.name) or has(case("complaint", "agent"))',
    "hour": "write now.hour(), a number from 0 to 23",
    "weekday": "write now.weekday(), such as 'monday'",
    "date": "write now.date(), such as '2026-03-29'",
    "split": 'write split("name"), with a name that stands under `splits:`',
    "timestamp": 'write timestamp("2030-01-31T12:00:00Z")',
    "duration": 'write duration("30m")',
    "int": "write int(x), with a number, a string or a timestamp",
    "double": "write double(x), with a number or a string",
    "string": "write string(x), with a string, a number, a bool, a timestamp or a duration",
    "open": 'write open("complaint")',
    "case": 'write case("complaint", "agent")',
    "best": 'write best("place")',
    "link": 'write link("/path")',
    "resume": 'write resume("/path", position)',
}
PARTS: Final = {
    "event": "event.type or event.name",
    "vars": "vars.name",
    "traits": "traits.name",
    "journey": "journey.stage",
    "profile": "profile.id",
}
KEYED: Final = {"event": 'event.properties["name"]', "vars": 'vars["name"]', "traits": 'traits["name"]'}
# The methods of each root, then its one field.
COUNTERS: Final = {"journey": (("count",), "stage"), "profile": (("count", "sum", "min", "max", "last"), "id")}

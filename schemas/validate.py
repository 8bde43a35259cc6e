"""The rules of a touchpoint, whatever encoding it came in: limits, names, times, identifiers, reserved types.

Counts and depths: every value in `properties`, nested ones included, counts once; `properties` itself is depth 1.
Of a name that comes twice in a map or a JSON object the last one stands, as in fastavro and every common JSON reader.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from schemas import touchpoint as contract
from schemas.errors import EXCERPT, InvalidRecord, Reason
from schemas.identifiers import CUSTOMER, IdentifierError, normalise
from schemas.outcome import KINDS as OUTCOME_KINDS
from schemas.outcome import Outcome
from schemas.touchpoint import MAX_DEPTH, MAX_NAME_BYTES, MAX_PROPERTIES, Touchpoint

MAX_TIME = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
MIN_LONG, MAX_LONG = -(2**63), 2**63 - 1
RESERVED = frozenset(
    (contract.CONSENT_GIVEN, contract.CONSENT_WITHDRAWN, contract.CUSTOMERS_MERGED, contract.LOGGED_OUT)
)
FIELDS = ("event_id", "type", "channel", "occurred_at", "identifiers", "properties")
WORD = r"[a-z][a-z0-9_.-]*"

_WORD = re.compile(WORD).fullmatch
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d([.,]\d{1,9})?)?(Z|[+-]\d\d:?\d\d)", re.ASCII).fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

# Certifies most good ids in a third of the time of `normalise`: no placeholder holds a digit from 1 to 9, and these
# characters are all printable and none is trimmed.
plain_id = re.compile(r"[!-~]*?[1-9][!-~]*").fullmatch


def size(text: str) -> int:
    """Bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def event_id(value: Any) -> str:
    """An event id: 1 to 200 bytes without control characters."""
    if type(value) is not str:
        raise InvalidRecord(Reason.TYPE, "must be a string", field="event_id", value=value)
    if not value or not value.isprintable() or size(value) > MAX_NAME_BYTES:
        raise InvalidRecord(
            Reason.NAME,
            f"must be 1 to {MAX_NAME_BYTES} bytes without control characters; send an id that is unique for this event",
            field="event_id",
            value=value,
        )
    return value


def word(field: str, value: Any) -> str:
    """A type or channel: 1 to 200 lower-case letters, digits, `_`, `.` and `-`, a letter first."""
    if type(value) is not str:
        raise InvalidRecord(Reason.TYPE, "must be a string", field=field, value=value)
    if not _WORD(value) or len(value) > MAX_NAME_BYTES:
        raise InvalidRecord(
            Reason.NAME,
            f"must be a word such as {'page_viewed' if field == 'type' else 'web'}: lower-case letters, digits, "
            f"'_', '.' and '-', a letter first, at most {MAX_NAME_BYTES}",
            field=field,
            value=value,
        )
    return value


def key(value: str) -> str:
    """A property's name: 1 to 200 bytes."""
    if not value or size(value) > MAX_NAME_BYTES:
        raise InvalidRecord(
            Reason.NAME, f"a property's name must be 1 to {MAX_NAME_BYTES} bytes", field="properties", value=value
        )
    return value


def milliseconds(value: Any) -> int:
    """`occurred_at` in milliseconds since 1970 UTC, from such a number or ISO 8601 with a zone; cut, not rounded."""
    if type(value) is str:
        value = _parse_time(value)
    elif type(value) is not int:
        raise InvalidRecord(
            Reason.TYPE,
            "must be whole milliseconds since 1970 UTC, or ISO 8601 text with a zone",
            field="occurred_at",
            value=value,
        )
    if not 0 <= value <= MAX_TIME:
        raise InvalidRecord(
            Reason.TIME,
            f"must lie in the years 1970 to 9999: 0 to {MAX_TIME} milliseconds; check the unit",
            field="occurred_at",
            value=value,
        )
    return int(value)


def _parse_time(text: str) -> int:
    rule = "must be a time such as 2026-01-31T12:00:00.000Z: ISO 8601 with date, time and zone"
    if not _TIME(text):
        raise InvalidRecord(Reason.TIME, rule, field="occurred_at", value=text)
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError) as error:
        raise InvalidRecord(Reason.TIME, rule, field="occurred_at", value=text) from error


def identifier(kind: str, value: Any) -> str:
    """An id of a declared kind, trimmed."""
    field = f"identifiers.{kind}"
    if type(value) is not str:
        raise InvalidRecord(Reason.TYPE, "an id must be a string", field=field, value=value)
    if size(value) <= MAX_NAME_BYTES and plain_id(value):
        return value
    try:
        return normalise(kind, value)
    except IdentifierError as error:
        raise InvalidRecord(
            Reason.IDENTIFIER, f"{error.rule}; leave an id out while it is not known", field=field, value=value
        ) from error


def unknown_kind(kind: Any, kinds: Any) -> InvalidRecord:
    """The refusal of an identifier of a kind that is not declared."""
    return InvalidRecord(
        Reason.IDENTIFIER,
        f"this kind of identifier is not declared; declared: {', '.join(kinds)}",
        field="identifiers",
        value=kind,
    )


def no_identifier(kinds: Any) -> InvalidRecord:
    """The refusal of an event that concerns nobody."""
    return InvalidRecord(
        Reason.IDENTIFIER,
        f"must name at least one identifier; declared kinds: {', '.join(kinds)}",
        field="identifiers",
    )


def too_many(limit: int = MAX_PROPERTIES, field: str = "") -> InvalidRecord:
    """The refusal of more values than a record may hold."""
    return InvalidRecord(Reason.TOO_MANY, f"must hold at most {limit} values, nested ones included", field=field)


def too_deep(limit: int = MAX_DEPTH, field: str = "") -> InvalidRecord:
    """The refusal of values nested too deep."""
    return InvalidRecord(Reason.TOO_DEEP, f"lists and objects may nest at most {limit} deep", field=field)


def not_finite(value: float, field: str = "") -> InvalidRecord:
    """The refusal of an infinity or of what is not a number."""
    return InvalidRecord(Reason.NUMBER, "numbers must be finite; leave an unknown number out", field=field, value=value)


def values(
    tree: dict[str, Any], limit: int = MAX_PROPERTIES, deepest: int = MAX_DEPTH, field: str = "properties"
) -> None:
    """Check a map of values from an untyped reader: names, types, ranges, number and depth."""
    _container(tree, 1, limit, limit, deepest, field)


def _container(tree: Any, depth: int, left: int, limit: int, deepest: int, field: str) -> int:
    left -= len(tree)
    if left < 0:
        raise too_many(limit, field)
    if depth > deepest:
        raise too_deep(deepest, field)
    if type(tree) is dict:
        for name in tree:
            if type(name) is not str or not 0 < len(name) < 50:  # 49 characters are at most 196 bytes
                key(name)
        tree = tree.values()
    for value in tree:
        kind = type(value)
        if kind is str or kind is bool or value is None:
            continue
        if kind is int:
            if not MIN_LONG <= value <= MAX_LONG:
                raise InvalidRecord(
                    Reason.NUMBER, "whole numbers must fit 64 bits; send larger ones as text", field=field, value=value
                )
        elif kind is float:
            if not isfinite(value):
                raise not_finite(value, field)
        elif kind is dict or kind is list:
            left = _container(value, depth + 1, left, limit, deepest, field)
        else:
            raise InvalidRecord(
                Reason.TYPE,
                "a value must be null, a boolean, a number, a string, a list or an object",
                field=field,
                value=value,
            )
    return left


def reserved(kind: str, identifiers: dict[str, str], properties: dict[str, Any]) -> dict[str, Any]:
    """Check what a type that the engine itself understands must carry; returns its properties, ids trimmed."""
    if kind == contract.CUSTOMERS_MERGED:
        ids = {}
        for name in ("from", "into"):
            value = properties.get(name)
            if type(value) is not str:
                raise _missing(kind, name, "a customer id", value)
            try:
                ids[name] = identifier(CUSTOMER, value)
            except InvalidRecord as error:
                raise InvalidRecord(error.reason, error.rule, field=f"properties.{name}", value=value) from error
        if ids["from"] == ids["into"]:
            raise InvalidRecord(
                Reason.RESERVED,
                f"{kind} must name two different customers in `from` and `into`",
                field="properties.into",
                value=ids["into"],
            )
        return {**properties, **ids}
    if kind == contract.LOGGED_OUT:
        if CUSTOMER not in identifiers or len(identifiers) < 2:
            raise InvalidRecord(
                Reason.RESERVED,
                f"{kind} must name the customer and another identifier, the one that was logged out of",
                field="identifiers",
                value=", ".join(identifiers),
            )
    else:
        purpose = properties.get("purpose")
        if type(purpose) is not str or not purpose or size(purpose) > MAX_NAME_BYTES:
            raise _missing(kind, "purpose", f"the purpose, 1 to {MAX_NAME_BYTES} bytes", purpose)
    return properties


def _missing(kind: str, name: str, what: str, value: Any) -> InvalidRecord:
    return InvalidRecord(
        Reason.RESERVED, f"{kind} must carry {what} as a string", field=f"properties.{name}", value=value
    )


def touchpoint(tree: Any, kinds: tuple[str, ...]) -> Touchpoint:
    """A touchpoint from an untyped reader (JSON, or fastavro for a foreign schema), every rule checked."""
    if type(tree) is not dict:
        raise InvalidRecord(Reason.TYPE, "a touchpoint must be an object", value=tree)
    if not tree.keys() <= _KNOWN:
        unknown = next(name for name in tree if name not in _KNOWN)
        raise InvalidRecord(
            Reason.UNKNOWN_FIELD,
            f"unknown field; put your own data into `properties`; known: {', '.join(FIELDS)}",
            field=str(unknown)[:EXCERPT],
        )
    for name in FIELDS[:5]:
        if name not in tree:
            raise InvalidRecord(Reason.MISSING, "this field is required", field=name)
    kind = word("type", tree["type"])
    named = tree["identifiers"]
    if type(named) is not dict:
        raise InvalidRecord(Reason.TYPE, "must be an object of kind to id", field="identifiers", value=named)
    identifiers = {}
    for name, value in named.items():
        if name not in kinds:
            raise unknown_kind(name, kinds)
        identifiers[name] = identifier(name, value)
    if not identifiers:
        raise no_identifier(kinds)
    properties = tree.get("properties", {})
    if type(properties) is not dict:
        raise InvalidRecord(Reason.TYPE, "must be an object", field="properties", value=properties)
    values(properties)
    if kind in RESERVED:
        properties = reserved(kind, identifiers, properties)
    return Touchpoint(
        event_id=event_id(tree["event_id"]),
        type=kind,
        channel=word("channel", tree["channel"]),
        occurred_at=milliseconds(tree["occurred_at"]),
        identifiers=identifiers,
        properties=properties,
    )


_KNOWN = frozenset(FIELDS)


def outcome(found: Outcome) -> Outcome:
    """Check an outcome from outside: ids that are there and not endless, a known kind, a time that can be."""
    for field in ("outcome_id", "action_id", "profile", "channel"):
        value = getattr(found, field)
        if not value or size(value) > 2 * MAX_NAME_BYTES or not value.isprintable():
            raise InvalidRecord(
                Reason.NAME,
                f"must be 1 to {2 * MAX_NAME_BYTES} bytes without control characters",
                field=field,
                value=value,
            )
    if found.kind not in OUTCOME_KINDS:
        raise InvalidRecord(Reason.VALUE, f"must be one of {', '.join(OUTCOME_KINDS)}", field="kind", value=found.kind)
    if not 0 <= found.at <= MAX_TIME:
        raise InvalidRecord(
            Reason.TIME, f"must lie in the years 1970 to 9999: 0 to {MAX_TIME} milliseconds", field="at", value=found.at
        )
    return found

"""Expressions at run time: the methods and functions. Each raises Absent for values it makes no sense for."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from schemas.action import Link
from streams.engine.cel_values import (
    EPOCH,
    MIN_TIME,
    Absent,
    Duration,
    Timestamp,
    finite,
    moment,
    senseless,
    span,
    to_string,
    whole_number,
)
from streams.engine.durations import DAY
from streams.engine.localtime import LAST, local

MAX_PATH = 2000  # characters of a link


def starts_with(text: Any, start: Any) -> bool:
    """Whether a text starts with another."""
    if type(text) is str and type(start) is str:
        return text.startswith(start)
    raise senseless("startsWith", text, start)


def ends_with(text: Any, end: Any) -> bool:
    """Whether a text ends with another."""
    if type(text) is str and type(end) is str:
        return text.endswith(end)
    raise senseless("endsWith", text, end)


def contains(text: Any, part: Any) -> bool:
    """Whether a text contains another."""
    if type(text) is str and type(part) is str:
        return part in text
    raise senseless("contains", text, part)


def size(value: Any) -> int:
    """Characters of a text, elements of a list, entries of a map."""
    if type(value) in (str, list, dict):
        return len(value)
    raise senseless("size", value)


def item(target: Any, key: Any) -> Any:
    """`target[key]`: of a list by position from 0, of a map by key."""
    kind = type(target)
    if kind is dict and type(key) is str:
        if key in target:
            return target[key]
        raise Absent("no such key in the map")
    if kind is list and type(key) is int:
        if 0 <= key < len(target):
            return target[key]
        raise Absent("no such position in the list")
    raise senseless("[]", target, key)


_WHOLE = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)


def to_int(value: Any) -> int:
    """CEL's int(): a double loses its fraction, a timestamp becomes seconds since 1970."""
    kind = type(value)
    if kind is float:
        return whole_number(int(finite(value)))
    if kind is str and _WHOLE.fullmatch(value):
        return whole_number(int(value))
    if kind is Timestamp:
        return int(value.ms // 1000)
    if kind is int:
        return whole_number(value)
    raise senseless("int", value)


def to_double(value: Any) -> float:
    """CEL's double()."""
    kind = type(value)
    if kind is float:
        return finite(value)
    if kind is int:
        return float(whole_number(value))
    if kind is str and _DECIMAL.fullmatch(value):
        return finite(float(value))
    raise senseless("double", value)


_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2})))?",
    re.ASCII,
)


def to_timestamp(value: Any) -> Timestamp:
    """CEL's timestamp(): RFC 3339 text, or seconds since 1970. A date alone is its midnight in UTC."""
    if type(value) is Timestamp:
        return value
    if type(value) is int:
        return moment(value * 1000)
    match = _MOMENT.fullmatch(value) if type(value) is str else None
    if match is None:
        raise senseless("timestamp", value)
    year, month, day, hour, minute, second, fraction, sign, ahead, past = match.groups()
    try:
        local = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        )
    except ValueError:
        raise Absent("timestamp of no such date or time") from None
    shift = 0
    if sign:
        if int(ahead) >= 24 or int(past) >= 60:
            raise Absent("timestamp of no such offset")
        shift = (int(ahead) * 60 + int(past)) * (-60_000 if sign == "-" else 60_000)
    ms = (local - EPOCH) // timedelta(milliseconds=1) + int((fraction or "0").ljust(3, "0")[:3])
    return moment(ms - shift)


DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _local(name: str, value: Any, where: ZoneInfo) -> datetime:
    if type(value) is not Timestamp:
        raise senseless(name, value)
    if not MIN_TIME + DAY <= value.ms <= LAST:
        raise Absent("a local time outside the years 1 to 9997")
    return local(value.ms, where)


def local_hour(value: Any, where: ZoneInfo) -> int:
    """The hour that the clock of a zone shows, 0 to 23."""
    return _local("hour", value, where).hour


def local_weekday(value: Any, where: ZoneInfo) -> str:
    """The day of the week in a zone."""
    return DAYS[_local("weekday", value, where).weekday()]


def local_date(value: Any, where: ZoneInfo) -> str:
    """The date in a zone, such as 2026-03-29."""
    return _local("date", value, where).date().isoformat()


_UNITS: Final = {
    "ms": 1.0,
    "us": 0.001,
    "ns": 0.000_001,
    "s": 1000.0,
    "m": 60_000.0,
    "h": 3_600_000.0,
    "d": 86_400_000.0,
    "w": 604_800_000.0,
}
_MAX_SPAN_TEXT = 200
_SPAN = re.compile(r"[+-]?(?:[0-9]{1,15}(?:\.[0-9]{1,9})?(?:ms|us|ns|[smhdw]))+", re.ASCII)
_SPAN_PART = re.compile(r"([0-9]+)(\.[0-9]+)?([a-z]+)")


def to_duration(value: Any) -> Duration:
    """CEL's duration(): numbers with units, such as 1h30m. Beside CEL's h m s ms us ns also d and w, as in journeys."""
    if type(value) is Duration:
        return value
    if type(value) is not str or len(value) > _MAX_SPAN_TEXT or not _SPAN.fullmatch(value):
        raise senseless("duration", value)
    ms = 0
    for number, fraction, unit in _SPAN_PART.findall(value):
        scale = _UNITS[unit]
        ms += int(number) * int(scale) if scale >= 1 else int(int(number) * scale)
        ms += round(float(fraction or 0) * scale)
    return span(-ms if value[0] == "-" else ms)


def to_link(path: Any, position: Any = None) -> Link:
    """`link(path)` and `resume(path, position)`. A path of the site only, so that no event can lead elsewhere."""
    if type(path) is not str or not is_path(path):
        raise Absent("a link to something else than a path of the site")
    if position is not None and type(position) not in (str, int, float):
        raise senseless("resume", path, position)
    text = None if position is None else to_string(position)
    if text is not None and len(text) > MAX_PATH:
        raise Absent("a position of more than 2000 characters")
    return Link(path, text)


def is_path(path: str) -> bool:
    """Whether `path` is one of the site: no scheme, nothing unprintable, no host (what two slashes begin)."""
    return path.startswith("/") and path[1:2] not in ("/", "\\") and len(path) <= MAX_PATH and path.isprintable()

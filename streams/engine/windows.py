"""Series: what a profile keeps of its events so that conditions can count them, and add up a property, over windows.

A series is of one type of events, or of one of its properties where that is a number, and may be by another property,
so that the events of one value can be told from the rest: then each record ends in the digest of that value, and events
without one are not in it. It is kept only while a definition in force asks for it, only as long as the longest window
that one asks for. An event counts in it once, known by the digest of its id; its time is the journal's `now`, as for
caps and timers: that never goes back, so what was true at a moment stays true of it, however late an event comes.

A series is one string of records (time, digest, for a property its value, the digest of that by which it is kept), in
order: MessagePack writes and reads one of 12 kB in 0.3 us each, where 500 small lists take 16 and 48 us, each time the
profile is stored and loaded. CPU time per event of which two series and a last value are kept: 6 us, 16 us when they
are full; per count in a condition 0.8 us, per calendar window 5 us, per sum of 500 numbers 45 us, per count or sum of
one value among 500 40 to 60 us; of any other event 0.05 us.
"""

from __future__ import annotations

from math import fsum, isfinite
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from streams.engine.bounds import MAX_TRAIT_BYTES, size
from streams.engine.cel_asking import BETWEEN
from streams.engine.cel_values import Absent
from streams.engine.ids import digest
from streams.engine.localtime import window_start, zone_of
from streams.engine.profile import Latest, Profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from schemas.journal import Event
    from streams.engine.cel_asking import Window

TIME, MARK, VALUE = 8, 16, 24  # bytes of a time in ms, big-endian; with the digest; and for a property with a double
MATCH = 8  # and after them, of the digest of the value by which a series is kept
# Events in one series: five page views a day for three months, and 12 kB, by a property 16; beyond it the oldest go.
MAX_EVENTS = 500
# And in all series of a profile: 96 to 128 kB of the 512 kB that can be handed over. Eight full; of more, the newest.
MAX_RECORDS = 4000
MAX_LATEST = 100
EVENTS = ""  # the name of the series of the events themselves, among the properties of a type

_double = Struct(">d")
_values = Struct(">16xd")
_matches, _values_by = Struct(">16x8s"), Struct(">16xd8s")
_encode = msgspec.msgpack.Encoder().encode


class Wanted(NamedTuple):
    """A series to keep: its key in the state, its property (EVENTS: the events), that by which, how long (ms)."""

    key: str
    name: str
    by: str
    length: int


class Plan(NamedTuple):
    """What is to be kept of each type of events."""

    series: dict[str, tuple[Wanted, ...]]
    latest: dict[str, tuple[str, ...]]
    crowded: bool  # whether full series could hold more than MAX_RECORDS

    @property
    def types(self) -> frozenset[str]:
        """The types of events of which anything is kept."""
        return frozenset(self.series) | frozenset(self.latest)


def plan(windows: Iterable[Window]) -> Plan:
    """What is to be kept so that these windows can be asked for."""
    series: dict[str, dict[tuple[str, str], int]] = {}
    latest: dict[str, set[str]] = {}
    for window in windows:
        if window.what == "last":
            latest.setdefault(window.kind, set()).add(window.name)
        else:
            kept = series.setdefault(window.kind, {})
            each = window.name, window.by
            kept[each] = max(window.length, kept.get(each, 0))
    return Plan(
        {
            kind: tuple(Wanted(_key(name, by), name, by, length) for (name, by), length in sorted(kept.items()))
            for kind, kept in sorted(series.items())
        },
        {kind: tuple(sorted(names)) for kind, names in sorted(latest.items())},
        sum(map(len, series.values())) * MAX_EVENTS > MAX_RECORDS,
    )


def record(profile: Profile, event: Event, mark: bytes, now: int, wanted: Plan) -> None:
    """Keep of an event, whose digest is `mark`, what is wanted; and what is not wanted any more, no longer."""
    kind, properties = event.type, event.properties
    asked, last = wanted.series.get(kind, ()), wanted.latest.get(kind, ())
    if not asked and not last:
        return
    if not profile.series.keys() <= wanted.series.keys() or not profile.latest.keys() <= wanted.latest.keys():
        profile.series = {each: kept for each, kept in profile.series.items() if each in wanted.series}
        profile.latest = {each: kept for each, kept in profile.latest.items() if each in wanted.latest}
    if asked:
        former = profile.series.get(kind, {})
        moment = now.to_bytes(TIME, "big") + mark
        kept: dict[str, bytes] = {}
        for key, name, by, length in asked:
            known = former.get(key, b"")
            number = 0.0 if name == EVENTS else _number(properties.get(name))
            match = sameness(properties.get(by)) if by else b""
            if number is not None and match is not None:
                made = (moment if name == EVENTS else moment + _double.pack(number)) + match
                known = _with(known, made, len(made), now - length + 1)
            if known:
                kept[key] = known
        if kept:
            profile.series[kind] = kept
        if wanted.crowded:
            bound_series(profile)
    if last:
        found = profile.latest.get(kind, {})
        for name in last:
            value = properties.get(name)
            known_last = found.get(name)
            if _keepable(value) and (known_last is None or (known_last.digest != mark and known_last.at <= now)):
                found[name] = Latest(now, mark, value)
        if len(found) > len(last):
            found = {name: each for name, each in found.items() if name in last}
        if found:
            profile.latest[kind] = found


def _number(value: Any) -> float | None:
    """The value as a double; None for what is no finite number."""
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            return None
    return value if type(value) is float and isfinite(value) else None


def sameness(value: Any) -> bytes | None:
    """The digest that equal texts, equal numbers or equal truths have in common; None for anything else.

    As `==` says: 1 and 1.0 are the same, 1, "1" and true are three.
    """
    kind = type(value)
    if kind is str:
        return digest(f"text {value}")
    if kind is bool:
        return digest(f"bool {value}")
    if kind is float and isfinite(value):
        # In base 16, because the decimal digits of an int are limited in number.
        return digest(f"number {int(value):x}" if value.is_integer() else f"number {value.hex()}")
    return digest(f"number {value:x}") if kind is int else None


def _key(name: str, by: str) -> str:
    """What a series is kept under, among those of a type."""
    return f"{name}{BETWEEN}{by}" if by else name


def _width(key: str) -> int:
    """Bytes of a record of the series under a key."""
    name, by, _ = key.partition(BETWEEN)
    return (MARK if name == EVENTS else VALUE) + (MATCH if by else 0)


def _keepable(value: Any) -> bool:
    """Whether `last` may give it: a text, a number, true or false."""
    kind = type(value)
    if kind is str:
        return size(value) <= MAX_TRAIT_BYTES
    return kind is bool or _number(value) is not None


def _with(series: bytes, made: bytes, width: int, since: int) -> bytes:
    """The series with one more record of `width` bytes, unless it has that event; without records before `since`."""
    mark = made[TIME:MARK]
    at = series.find(mark)
    while at >= 0:
        if at % width == TIME:
            return series
        at = series.find(mark, at + 1)
    if series and made < series[-width:]:
        # A merge has brought events of a time that this partition has not reached, or two have one millisecond.
        series = b"".join(sorted([*_records(series, width), made]))
    else:
        series += made
    begin = _position(series, width, since) * width
    return (
        series[max(begin, len(series) - MAX_EVENTS * width) :] if begin or len(series) > MAX_EVENTS * width else series
    )


def _records(series: bytes, width: int) -> list[bytes]:
    return [series[at : at + width] for at in range(0, len(series), width)]


def _position(series: bytes, width: int, since: int) -> int:
    """How many records are from before `since`."""
    if since <= 0 or not series:
        return 0
    first = since.to_bytes(TIME, "big")
    if series[:TIME] >= first:
        return 0
    low, high = 1, len(series) // width
    while low < high:
        middle = (low + high) // 2
        if series[middle * width : middle * width + TIME] < first:
            low = middle + 1
        else:
            high = middle
    return low


def value(profile: Profile, window: Window, now: int, default_zone: str, wanted: Any = None) -> Any:
    """What a window gives at `now`; where it is by a property, of the events in which that equals `wanted`.

    Raises Absent for the least, greatest or last of nothing, and for what no property equals: a list, a time, null.
    Rolling windows leave out what is as old as they are long, as caps do; calendar ones begin with their first moment.
    """
    what, kind, name, length, unit, by = window
    since = window_start(now, unit, zone_of(profile, default_zone)) if unit else now - length + 1
    if what == "last":
        known = profile.latest.get(kind, {}).get(name)
        if known is None or known.at < since:
            raise Absent(f"no {kind} with {name} in the window")
        return known.value
    series = profile.series.get(kind, {}).get(_key(name, by), b"")
    if by:
        if (match := sameness(wanted)) is None:
            raise Absent("neither a text nor a number, true or false")
        width = (MARK if what == "count" else VALUE) + MATCH
        series = series[_position(series, width, since) * width :]
        if what == "count":
            return [each for (each,) in _matches.iter_unpack(series)].count(match)
        numbers = [number for number, each in _values_by.iter_unpack(series) if each == match]
    elif what == "count":
        return len(series) // MARK - _position(series, MARK, since)
    else:
        begin = _position(series, VALUE, since) * VALUE
        numbers = [number for (number,) in _values.iter_unpack(series[begin:] if begin else series)]
    if what == "sum":
        try:
            return fsum(numbers)
        except OverflowError:
            raise Absent("a sum beyond all doubles") from None
    if not numbers:
        raise Absent(f"no {kind} with {name} in the window")
    return min(numbers) if what == "min" else max(numbers)


# ---- merging --------------------------------------------------------------------------------------------------------


def _latest_rank(latest: Latest) -> tuple[int, bytes, bytes]:
    return latest.at, latest.digest, _encode(latest.value)


def unite_series(profile: Profile, other: Profile) -> None:
    """Unite by event: each counts once. What two profiles know of one event differently is what the later says."""
    for kind, theirs in other.series.items():
        mine = profile.series.get(kind, {})
        profile.series[kind] = {
            key: _united(mine.get(key, b""), theirs.get(key, b""), _width(key))
            for key in sorted(mine.keys() | theirs.keys())
        }
    profile.series = dict(sorted(profile.series.items()))
    for kind, last in other.latest.items():
        known = profile.latest.get(kind, {})
        for name, each in last.items():
            if name not in known or _latest_rank(each) > _latest_rank(known[name]):
                known[name] = each
        profile.latest[kind] = dict(sorted(known.items()))
    profile.latest = dict(sorted(profile.latest.items()))
    bound_series(profile)


def _united(mine: bytes, theirs: bytes, width: int) -> bytes:
    newest: dict[bytes, bytes] = {}
    for each in sorted({*_records(mine, width), *_records(theirs, width)}):
        newest[each[TIME:MARK]] = each
    return b"".join(sorted(newest.values())[-MAX_EVENTS:])


def bound_series(profile: Profile) -> None:
    """Over the limits, the newest records of all series stay, and the newest of the last values."""
    total = sum(len(series) // _width(key) for kept in profile.series.values() for key, series in kept.items())
    if total > MAX_RECORDS:
        marks = sorted(
            (each[:MARK], kind, key)
            for kind, kept in profile.series.items()
            for key, series in kept.items()
            for each in _records(series, _width(key))
        )
        first = marks[-MAX_RECORDS]
        profile.series = {kind: _from(kind, kept, first) for kind, kept in profile.series.items()}
        profile.series = {kind: kept for kind, kept in profile.series.items() if kept}
    if sum(map(len, profile.latest.values())) > MAX_LATEST:
        ranked = sorted(
            (_latest_rank(each), kind, name) for kind, last in profile.latest.items() for name, each in last.items()
        )
        stay = {(kind, name) for _, kind, name in ranked[-MAX_LATEST:]}
        profile.latest = {
            kind: found
            for kind, last in profile.latest.items()
            if (found := {name: each for name, each in last.items() if (kind, name) in stay})
        }


def _from(kind: str, kept: Mapping[str, bytes], first: tuple[bytes, str, str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for key, series in kept.items():
        stays = b"".join(each for each in _records(series, _width(key)) if (each[:MARK], kind, key) >= first)
        if stays:
            found[key] = stays
    return found

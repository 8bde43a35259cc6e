"""Durations as definitions write them, in milliseconds."""

from __future__ import annotations

from functools import cache

SECOND, MINUTE, HOUR, DAY, WEEK = 1_000, 60_000, 3_600_000, 86_400_000, 604_800_000
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}


@cache  # only definitions write them
def duration(text: str) -> int:
    """Milliseconds of `30m`, `24h`, `7d`."""
    return int(text[:-1]) * _UNITS[text[-1]]

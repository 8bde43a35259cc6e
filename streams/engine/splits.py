"""Splits: which arm of an experiment a profile is in, for ever, by a hash of both names and nothing else.

Neither another journey nor another version moves anybody, nor does a merge: a journey asks with the profile that
entered it. Changed percents move as few as can be: arms stand side by side, in the order of their names.
"""

from __future__ import annotations

from collections.abc import Mapping

from streams.engine.ids import percent


def arm(experiment: str, profile: str, arms: Mapping[str, int]) -> str:
    """The profile's arm; `arms` are percents, 100 in all. In the order of names: a mapping's own order says nothing."""
    place = percent(experiment, profile)
    for name in sorted(arms):
        place -= arms[name]
        if place < 0:
            return name
    return max(arms)

"""The parameters of an action, or of an offer's creative, evaluated at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas.action import Link
from schemas.journey import SCORE
from streams.engine.cel_functions import is_path
from streams.engine.cel_values import Absent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.engine.moment import Moment

# What a parameter is when it cannot be had; all others are left out. The gates refuse an action whose address or link
# is empty, and nothing is ranked by what is not known.
ABSENT: dict[str, Any] = {"to": "", "link": "", **dict.fromkeys(SCORE, 0.0)}

Parameters = tuple[tuple[str, Any, bool], ...]  # name, constant or function, whether it is a function


def filled(params: Iterable[tuple[str, Any, bool]], moment: Moment) -> dict[str, Any]:
    """The parameters by name, of which an address that is no text, or a link that leads away, is empty."""
    found: dict[str, Any] = {}
    for name, value, dynamic in params:
        if not dynamic:
            found[name] = value
            continue
        try:
            found[name] = value(moment)
        except Absent:
            moment.step.stats.absent += 1
            if name in ABSENT:
                found[name] = ABSENT[name]
    if not isinstance(found.get("to", ""), str):
        found["to"] = ""
    link = found.get("link", "")
    if not (isinstance(link, Link) or (isinstance(link, str) and is_path(link))) and "link" in found:
        found["link"] = ""
    return found

"""Time zones by their IANA names, from the pinned `tzdata` package and never from the machine.

So the same journal gives the same local times on every machine, until the package is raised.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import tzdata

# A path below the package, without a way out of it.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z][A-Za-z0-9_+-]*){0,2}")
UTC = "UTC"


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo | None:
    """The zone called `name` (`Europe/Helsinki`); None when there is none."""
    if len(name) > 64 or _NAME.fullmatch(name) is None:  # noqa: PLR2004 - the longest name has 32 characters
        return None
    *folders, leaf = name.split("/")
    path = files(tzdata).joinpath("zoneinfo", *folders, leaf)
    try:
        with path.open("rb") as file:
            return ZoneInfo.from_file(file, key=name)
    except (OSError, ValueError):  # no such file, a folder, or a file that is no zone
        return None

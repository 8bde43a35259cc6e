"""Times as people write them, and as the language has them: what a text that is no time is likely to mean."""

from __future__ import annotations

import re

from schemas.policy import WEEKDAYS
from streams.problems import did_you_mean

_UNITS = {"second": "s", "sec": "s", "minute": "m", "min": "m", "hour": "h", "day": "d", "week": "w"}
_WORDS = (*WEEKDAYS, "working", "hour", "hours", "day", "days", "before", "after", "each", "at", "of", "silence")
_MEANT = {"every": "each", "business": "working", "work": "working", "until": "before", "since": "after"}
_SPAN = re.compile(r"\b([0-9]{1,6}) *(second|sec|minute|min|hour|day|week|[smhdw])s?\b")
_CLOCK = re.compile(r"\b([0-9]{1,2})[:.]([0-9]{2})\b")


def better_time(pattern: str, value: str) -> str | None:
    """The text of this pattern that `value` is likely to mean; None: nobody knows."""
    text = _SPAN.sub(lambda found: found[1] + _UNITS.get(found[2], found[2]), value.strip().lower())
    text = _CLOCK.sub(lambda found: f"{int(found[1]):02}:{found[2]}", text)
    words = [_word(word) for word in text.split() if word != "on"]
    tries = [words, ["after", *words], [*words[:-1], "at", *words[-1:]], [word for word in words if word != "at"]]
    return next((better for each in tries if re.search(pattern, better := " ".join(each))), None)


def _word(word: str) -> str:
    if word in _WORDS or not word.isalpha():
        return word
    alike = [each for each in _WORDS if each[0] == word[0]]
    return _MEANT.get(word) or did_you_mean(word, alike) or did_you_mean(word, _WORDS) or word

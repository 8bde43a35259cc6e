"""How wide text is, without a font: widths of DejaVu Sans, which is wider than the other usual sans-serif fonts.

So text that fits by these widths fits in Arial, Helvetica, Segoe UI, Roboto and Liberation Sans as well.
"""

from __future__ import annotations

import unicodedata
from typing import Final

# Hundredths of the font size, of the characters from space to `~`; read from DejaVuSans.ttf 2.37 and its bold.
# fmt: off
_REGULAR: Final = (
    32, 40, 46, 84, 64, 95, 78, 28, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 34, 34, 84,
    84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75, 79, 60, 79, 69, 63, 61, 73, 68, 99, 69,
    61, 69, 39, 34, 39, 84, 50, 50, 61, 63, 55, 63, 62, 35, 63, 63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52, 39, 63,
    59, 82, 59, 59, 52, 64, 34, 64, 84,
)
_BOLD: Final = (
    35, 46, 52, 84, 70, 100, 87, 31, 46, 46, 52, 84, 38, 42, 38, 37, 70, 70, 70, 70, 70, 70, 70, 70, 70, 70, 40, 40,
    84, 84, 84, 58, 100, 77, 76, 73, 83, 68, 68, 82, 84, 37, 37, 77, 64, 100, 84, 85, 73, 85, 77, 72, 68, 81, 77, 110,
    77, 72, 73, 46, 37, 46, 84, 50, 50, 67, 72, 59, 72, 68, 44, 72, 71, 34, 34, 67, 34, 104, 71, 69, 72, 72, 49, 60,
    48, 71, 65, 92, 65, 65, 58, 71, 37, 71, 84,
)
# fmt: on
_OTHER: Final = 100  # no Latin, Greek or Cyrillic letter is wider
_WIDE: Final = 140  # ideographs are 100, emoji up to 137
_AFTER: Final = "_./-,:)&|="  # where a word that is too long may be broken


def width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of text at a font size, in the same unit."""
    table = _BOLD if bold else _REGULAR
    return sum(_hundredths(char, table) for char in text) * size / 100


def _hundredths(char: str, table: tuple[int, ...]) -> int:
    at = ord(char) - 32
    if 0 <= at < len(table):
        return table[at]
    return _WIDE if unicodedata.east_asian_width(char) in "WF" else _OTHER


def wrapped(text: str, size: float, room: float, *, bold: bool = False) -> list[str]:
    """Lines that fit into `room`; words are broken only where one alone is too wide."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if width(joined, size, bold=bold) <= room:
            line = joined
            continue
        if line:
            lines.append(line)
        *broken, line = _pieces(word, size, room, bold=bold)
        lines += broken
    return [*lines, line] if line else lines


def _pieces(word: str, size: float, room: float, *, bold: bool) -> list[str]:
    pieces = []
    while width(word, size, bold=bold) > room:
        fits = 1
        while fits < len(word) and width(word[: fits + 1], size, bold=bold) <= room:
            fits += 1
        after = max(word.rfind(char, 0, fits) for char in _AFTER) + 1
        cut = after if after > fits // 2 else fits
        pieces.append(word[:cut])
        word = word[cut:]
        if not word:
            return pieces
    return [*pieces, word]

"""Bar charts as SVG, readable on light and dark pages, made of text and rectangles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, LABELS, VALUES, ROW, HEAD = 720, 250, 80, 24, 40
POLKU, OTHER = "#2f7d6d", "#8b94a3"


class Bar(NamedTuple):
    """One row: its label, its length, what is written at its end, and whether it is Polku's."""

    label: str
    value: float
    text: str
    ours: bool = True


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Return a chart of horizontal bars, all from zero, on one scale."""
    height = HEAD + ROW * len(rows) + 8
    room = WIDTH - LABELS - VALUES
    most = max((row.value for row in rows), default=1.0) or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" width="{WIDTH}"',
        f'  height="{height}" aria-label="{escape(title)}" font-family="sans-serif" font-size="13">',
        "<style>text{fill:#24292f}@media(prefers-color-scheme:dark){text{fill:#d0d7de}}</style>",
        f'<text x="8" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for number, row in enumerate(rows):
        top = HEAD + ROW * number
        length = max(1.0, row.value / most * room)
        parts += [
            f'<text x="{LABELS - 8}" y="{top + 16}" text-anchor="end">{escape(row.label)}</text>',
            f'<rect x="{LABELS}" y="{top + 4}" width="{length:.1f}" height="{ROW - 8}"',
            f'  fill="{POLKU if row.ours else OTHER}"/>',
            f'<text x="{LABELS + length + 6:.1f}" y="{top + 16}">{escape(row.text)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])

"""A drawing as SVG: readable in light and dark, and without colour; no script, no font, no picture from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from streams.drawing import ANY_STAGE, STAGE, WAY_IN, Card, Drawing, Row
from streams.layout import Box, Layout, Place, Port, Route, layout
from streams.textwidth import width, wrapped

MARGIN: Final = 28.0
PAD: Final = 14.0  # between a card's border and its text
ROOM: Final = 250.0  # the widest line of a card
LEAST: Final = 120.0
LINE: Final = 18.0
HEAD: Final = 38.0
GOAL: Final = "goal"
RADIUS: Final = 9.0
_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# Size, weight and colour of each kind of text. Contrast is 4.5 at least, in light and in dark.
_STYLE: Final = """\
text{font-family:"Helvetica Neue",Helvetica,Arial,"Liberation Sans","DejaVu Sans",sans-serif;font-size:12px}
text{fill:#1d2733}
.title{font-size:20px;font-weight:700}.about,.note{fill:#55606e}.name{font-size:15px;font-weight:700}
.trigger,.to,.tag{font-weight:700}.if{font-style:italic;fill:#3f4a57}.to{fill:#0b4f9e}.tag{font-size:11px;fill:#6b4700}
.back{fill:#fff}.card{fill:#fff;stroke:#8b97a5;stroke-width:1.4}.head{fill:#e9eef4}.way-in .head{fill:#dff2e3}
.way-in .card{stroke:#3c8a52}.goal .head{fill:#fdf0cf}.goal .card,.outer{stroke:#a87400}
.outer{fill:none;stroke-width:1.4}
.any-stage .card{stroke-dasharray:7 4}.any-stage .head{fill:#f0ecf8}.rule{stroke:#d5dbe2}
.send{fill:#e3f0fd;stroke:#77a9dd}.sign,.dot,.point{fill:#0b4f9e}.stop{fill:none;stroke:#1d2733;stroke-width:1.4}
.full{fill:#1d2733}.play{fill:#2a7440}.halo{fill:none;stroke:#fff;stroke-width:6}
.arrow{fill:none;stroke:#0b4f9e;stroke-width:1.7}
@media (prefers-color-scheme:dark){text{fill:#e7edf4}.about,.note{fill:#a9b4c1}.if{fill:#c3ccd6}.to{fill:#8fc2ff}
.tag{fill:#ffd98a}.back{fill:#12171d}.card{fill:#1c232b;stroke:#78838f}.head{fill:#2a333d}.way-in .head{fill:#1f3d29}
.way-in .card{stroke:#6abf82}.goal .head{fill:#4a3a12}.goal .card,.outer{stroke:#e0ac3a}.any-stage .head{fill:#353048}
.rule{stroke:#3a444f}.send{fill:#1b3350;stroke:#4d83bd}.sign,.dot,.point{fill:#8fc2ff}
.stop{stroke:#e7edf4}.full{fill:#e7edf4}.play{fill:#7fd196}.halo{stroke:#12171d}.arrow{stroke:#8fc2ff}}"""


@dataclass(frozen=True, slots=True)
class _Text:
    """A line of a row: `kind` is a class of the style; x and y from the card's corner, y the base line."""

    kind: str
    text: str
    x: float
    y: float


@dataclass(slots=True)
class _Set:
    """A card whose text is set: lines, the frames of what is sent (top, height), rules between rows, ports."""

    width: float
    height: float = HEAD
    texts: list[_Text] = field(default_factory=list)
    sends: list[tuple[float, float]] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)
    rules: list[float] = field(default_factory=list)
    ports: list[tuple[Port, Row]] = field(default_factory=list)


def svg(drawing: Drawing) -> str:
    """The picture, as the text of an SVG file."""
    sets = {card.key: _set(card) for card in drawing.cards}
    boxes = [
        Box(
            card.key,
            each.width,
            each.height,
            HEAD / 2,
            tuple(port for port, _ in each.ports),
            first=card.kind == WAY_IN,
            anywhere=card.kind == ANY_STAGE,
        )
        for card, each in _with(drawing, sets)
    ]
    placed = layout(boxes)
    title = wrapped(drawing.title, 20, max(placed.width, 420), bold=True)
    about = wrapped("  ·  ".join(drawing.about), 12, max(placed.width, 420))
    top = MARGIN + 24 * len(title) + LINE * len(about) + 18
    wide = max([placed.width, *(width(line, 20, bold=True) for line in title), *(width(line, 12) for line in about)])
    whole, high = _number(wide + 2 * MARGIN), _number(top + placed.height + MARGIN)
    size = f'viewBox="0 0 {whole} {high}" width="{whole}" height="{high}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title">',
        f'<title id="title">{_safe(drawing.title)}</title>',
        f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{whole}" height="{high}"/>',
    ]
    y = MARGIN + 16
    for kind, line in [*(("title", line) for line in title), *(("about", line) for line in about)]:
        parts.append(_text(_Text(kind, line, MARGIN, y)))
        y += 24 if kind == "title" else LINE
    parts.append(f'<g transform="translate({_number(MARGIN)} {_number(top)})">')
    parts += _arrows(placed, sets)
    for card, each in _with(drawing, sets):
        parts += _card(card, each, placed.places[card.key])
    parts += _ends(placed)
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"


def _with(drawing: Drawing, sets: dict[str, _Set]) -> list[tuple[Card, _Set]]:
    """Cards with their text."""
    return [(card, sets[card.key]) for card in drawing.cards]


# ---- setting text


def _set(card: Card) -> _Set:
    lines = [line for row in card.rows for line in _lines(row)]
    natural = max((width(text, 12, bold=bold) + indent for text, bold, indent in lines), default=0.0)
    tag = width(GOAL, 11, bold=True) + 30 if card.goal else 0.0
    named = width(card.title, 15, bold=True) + tag + (20 if card.kind == WAY_IN else 0)
    made = _Set(2 * PAD + max(LEAST, min(ROOM, natural), min(named, ROOM + tag)))
    for number, row in enumerate(card.rows):
        if number:
            made.rules.append(made.height)
        _set_row(row, made)
    if not card.rows:
        made.height += 4
    return made


def _lines(row: Row) -> list[tuple[str, bool, float]]:
    """Each text of a row, whether it is bold, and how far it is set in."""
    found = [(row.trigger, True, 0.0)]
    if row.condition:
        found.append((f"if {row.condition}", False, 0.0))
    found += [(note, False, 0.0) for note in row.notes]
    found += [(send, False, 38.0) for send in row.sends]
    if row.to is not None:
        found.append((f"→ {_name(row.to)}", True, 0.0))
    return found


def _set_row(row: Row, made: _Set) -> None:
    room = made.width - 2 * PAD
    made.height += 9
    _paragraph(made, "trigger", row.trigger, room, bold=True)
    if row.condition:
        _paragraph(made, "if", f"if {row.condition}", room)
    for note in row.notes:
        _paragraph(made, "note", note, room)
    for send in row.sends:
        made.height += 5
        begun = made.height
        made.height += 4
        _paragraph(made, "what", send, room - 38, indent=29)
        made.height += 5
        made.sends.append((begun, made.height - begun))
        made.height += 3
    if row.ends:
        made.height += 3
        made.stops.append(made.height + LINE / 2)
        _paragraph(made, "trigger", "ends", room - 20, bold=True, indent=20)
    if row.to is not None:
        made.height += 3
        begun = made.height
        _paragraph(made, "to", f"→ {_name(row.to)}", room, bold=True)
        made.ports.append((Port(begun + LINE / 2, f"stage {row.to}"), row))
    made.height += 9


def _paragraph(made: _Set, kind: str, text: str, room: float, *, bold: bool = False, indent: float = 0.0) -> None:
    for line in wrapped(text, 12, room, bold=bold):
        made.texts.append(_Text(kind, line, PAD + indent, made.height + 13))
        made.height += LINE


def _name(stage: str) -> str:
    return stage.replace("-", " ")


# ---- writing


def _card(card: Card, made: _Set, place: Place) -> list[str]:
    kinds = f"{card.kind} goal" if card.goal else card.kind
    x, y, wide, high = (_number(each) for each in (place.x, place.y, place.width, place.height))
    parts = [f'<g class="{kinds}" transform="translate({x} {y})" data-card={_quoted(card.title)}>']
    if card.goal:
        around = f'width="{_number(place.width + 8)}" height="{_number(place.height + 8)}"'
        parts.append(f'<rect class="outer" x="-4" y="-4" {around} rx="12"/>')
    parts.append(f'<rect class="card" width="{wide}" height="{high}" rx="9"/>')
    head, top = _number(HEAD), _number(place.width - 19.4)
    parts.append(f'<path class="head" d="M.7 {head}V9.7a9 9 0 0 1 9-9h{top}a9 9 0 0 1 9 9V{head}z"/>')
    at = PAD
    if card.kind == WAY_IN:
        parts.append(f'<path class="play" d="M{_number(PAD)} 12l13 7-13 7z"/>')
        at += 20
    tag = width(GOAL, 11, bold=True) + 14 if card.goal else 0.0
    name = _fitted(_name(card.title) if card.kind == STAGE else card.title, place.width - at - PAD - tag)
    parts.append(_text(_Text("name", name, at, HEAD / 2 + 5)))
    if card.goal:
        left = place.width - PAD - tag + 4
        parts.append(f'<rect class="outer" x="{_number(left)}" y="10" width="{_number(tag)}" height="18" rx="9"/>')
        parts.append(_text(_Text("tag", GOAL, left + 7, 23)))
    right = _number(place.width)
    parts += [f'<path class="rule" d="M0 {_number(at)}H{right}"/>' for at in made.rules]
    for begun, tall in made.sends:
        parts.append(
            f'<rect class="send" x="{_number(PAD)}" y="{_number(begun)}" width="{_number(place.width - 2 * PAD)}" '
            f'height="{_number(tall)}" rx="5"/>'
        )
        parts.append(
            f'<g transform="translate({_number(PAD + 8)} {_number(begun + 8)})"><path class="sign" '
            'd="M0 0l14 5.5-14 5.5 3-5.5z"/></g>'
        )
    for middle in made.stops:
        centre = f'cx="{_number(PAD + 6)}" cy="{_number(middle)}"'
        parts.append(f'<circle class="stop" {centre} r="6"/><circle class="full" {centre} r="3"/>')
    parts += [_text(each) for each in made.texts]
    parts.append("</g>")
    return parts


def _fitted(name: str, room: float) -> str:
    """A name on one line: cut if need be."""
    while width(name, 15, bold=True) > room and len(name) > 1:
        name = name[:-2].rstrip() + "…"
    return name


def _arrows(placed: Layout, sets: dict[str, _Set]) -> list[str]:
    parts = []
    for routes in placed.nets:
        paths = [_path(route.points) for route in routes]
        parts += [f'<path class="halo" d="{path}"/>' for path in dict.fromkeys(paths)]
        for route, path in zip(routes, paths, strict=True):
            row = sets[route.source].ports[route.port][1]
            said = row.trigger + (f", if {row.condition}" if row.condition else "")
            parts.append(
                f'<path class="arrow" d="{path}" data-from={_quoted(_plain(route.source))} '
                f"data-to={_quoted(_plain(route.target))}><title>"
                f"{_safe(f'{_plain(route.source)} → {_plain(route.target)}: {said}')}</title></path>"
            )
    return parts


def _plain(key: str) -> str:
    return key.removeprefix("stage ")


def _ends(placed: Layout) -> list[str]:
    """A dot where each line leaves its card, and one head for all lines of a net."""
    parts = []
    for routes in placed.nets:
        for route in routes:
            x, y = route.points[0]
            parts.append(f'<circle class="dot" cx="{_number(x)}" cy="{_number(y)}" r="3.2"/>')
        x, y = routes[0].points[-1]
        away = 1 if _leftward(routes[0]) else -1
        gap = 5 * away  # clear of a goal's second border
        parts.append(f'<path class="point" d="M{_number(x + gap)} {_number(y)}l{9 * away} -5v10z"/>')
    return parts


def _leftward(route: Route) -> bool:
    return route.points[-1][0] < route.points[-2][0]


def _path(points: tuple[tuple[float, float], ...]) -> str:
    """A line with round corners."""
    said = [f"M{_number(points[0][0])} {_number(points[0][1])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(RADIUS, _distance(before, corner) / 2, _distance(corner, after) / 2)
        first, last = _towards(corner, before, radius), _towards(corner, after, radius)
        said.append(
            f"L{_number(first[0])} {_number(first[1])}Q{_number(corner[0])} {_number(corner[1])} "
            f"{_number(last[0])} {_number(last[1])}"
        )
    away = 5 if points[-1][0] < points[-2][0] else -5
    said.append(f"L{_number(points[-1][0] + away)} {_number(points[-1][1])}")
    return "".join(said)


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _towards(corner: tuple[float, float], other: tuple[float, float], by: float) -> tuple[float, float]:
    far = _distance(corner, other) or 1.0
    return corner[0] + (other[0] - corner[0]) * by / far, corner[1] + (other[1] - corner[1]) * by / far


def _text(text: _Text) -> str:
    return f'<text class="{text.kind}" x="{_number(text.x)}" y="{_number(text.y)}">{_safe(text.text)}</text>'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _safe(text: str) -> str:
    return escape(_INVALID.sub("\ufffd", text))


def _quoted(text: str) -> str:
    return quoteattr(_INVALID.sub("\ufffd", text))

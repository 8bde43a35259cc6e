"""A drawing as Mermaid text, for pages that draw it themselves (GitHub, GitLab, wikis): a flowchart."""

from __future__ import annotations

import json
import re

from streams.drawing import ANY_STAGE, WAY_IN, Card, Drawing, Row

# Whatever Mermaid could take for syntax is written as an entity; of punctuation these are safe in quotes.
_UNSAFE = re.compile(r"[^\w .,:;!?/+*=≥≤→…·()%-]")


def mermaid(drawing: Drawing) -> str:
    """The text of the flowchart, without the fence around it."""
    names = {card.key: f"s{number}" for number, card in enumerate(drawing.cards)}
    lines = ["---", f"title: {json.dumps(drawing.title, ensure_ascii=False)}", "---", "flowchart LR"]
    lines += [f"  {names[card.key]}{_box(card)}" for card in drawing.cards]
    if any(row.ends for card in drawing.cards for row in card.rows):
        lines.append("  stop(((end)))")
    for card in drawing.cards:
        for row in card.rows:
            target = "stop" if row.ends else names.get(f"stage {row.to}")
            if target is not None:
                lines.append(f'  {names[card.key]} -- "{_label(row)}" --> {target}')
    goals = [names[card.key] for card in drawing.cards if card.goal]
    if goals:
        lines += ["  classDef goal stroke-width:4px", f"  class {','.join(goals)} goal"]
    anywhere = [names[card.key] for card in drawing.cards if card.kind == ANY_STAGE]
    if anywhere:
        lines += ["  classDef anywhere stroke-dasharray:6 4", f"  class {','.join(anywhere)} anywhere"]
    return "\n".join(lines) + "\n"


def _box(card: Card) -> str:
    """A box with the name and all handlers that lead nowhere else."""
    title = card.title.replace("-", " ") + (" (goal)" if card.goal else "")
    said = [f"<b>{_escaped(title)}</b>"]
    said += [_label(row) for row in card.rows if row.to is None and not row.ends]
    text = "<br/>".join(said)
    return f'(["{text}"])' if card.kind == WAY_IN else f'["{text}"]'


def _label(row: Row) -> str:
    said = [row.trigger, *([f"if {row.condition}"] if row.condition else []), *row.notes, *row.sends]
    return "<br/>".join(_escaped(each) for each in said)


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"#{ord(found[0])};", " ".join(text.split()))

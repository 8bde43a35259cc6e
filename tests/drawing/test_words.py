"""What the rows of a drawing say: a table of definitions and their words; keys to come do not hinder it."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.journey import Journey
from streams import drawing as module
from streams.definitions import load
from streams.drawing import Row, drawing, in_words
from streams.textwidth import width, wrapped
from tests.support.kafka import ROOT


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ('event.page.startsWith("/cards")', 'page begins with "/cards"'),
        ('event.a == "x && y" && !has(vars.b)', 'a is "x && y" and remembered b is not known'),
        ("has(traits.age) && traits.age >= 18", "age is known and age ≥ 18"),
        ('journey.count("page_viewed") >= 2 || event.n != 3', 'journey.count("page_viewed") ≥ 2 or n is not 3'),
        ("event.items.exists(i, i.price > 100)", "items.exists(i, i.price > 100)"),
        ("  event.a\n  ==  1 ", "a is 1"),
    ],
)
def test_conditions_in_words(expression: str, words: str) -> None:
    """As one would say them; texts in quotes stay as they are."""
    assert in_words(expression) == words


def test_long_conditions_are_shortened() -> None:
    """At a word where there is one, within the bound."""
    said = in_words(" && ".join(f"event.name_{number} == {number}" for number in range(40)))
    assert len(said) <= module.LONGEST + 2
    assert said.endswith(" …")
    assert len(in_words("x" * 500)) <= module.LONGEST + 2


ROWS: list[tuple[dict[str, Any], Row]] = [
    ({"when": ["a", "b", "c"], "to": "next"}, Row("when a, b or c", to="next")),
    ({"after": "30m of silence", "end": True}, Row("after 30m of silence", ends=True)),
    ({"on arrival": None, "if": "event.a == 1", "end": True}, Row("on arrival", "a is 1", ends=True)),
    ({"when": "a", "set": {"x": "event.x", "y": "1"}}, Row("when a", notes=("remembers x, y",))),
    (
        {"on arrival": None, "do": [{"send_message": {"template": "hello", "amount": "event.amount"}}]},
        Row("on arrival", sends=("send message: hello (by email, push or sms)",)),
    ),
    ({"when": "a", "do": [{"show_banner": {"banner": "b-1"}}]}, Row("when a", sends=("show banner: b-1 (by web)",))),
    ({"when": "a", "do": [{"unheard_of": None}]}, Row("when a", sends=("unheard of",))),
    ({"when": "a", "do": [{"send_message": {"template": "t", "channel": "sms"}}]},
     Row("when a", sends=("send message: t (by sms)",))),
    # The rest of the grammar, and what nobody has thought of yet.
    ({"at": "monday 09:00", "to": "next"}, Row("at monday 09:00", to="next")),
    ({"as soon as": 'profile.sum("card_payment", "amount", "30d") > 1000', "to": "next"},
     Row('as soon as profile.sum("card_payment", "amount", "30d") > 1000', to="next")),
    ({"at risk": "answer", "to": "next"}, Row("when promise answer is at risk", to="next")),
    ({"broken": "answer", "to": "next"}, Row("when promise answer is broken", to="next")),
    (
        {"when": "a", "promise": {"answer": {"within": "8 working hours", "owner": "event.agent"}}, "keep": "call"},
        Row("when a", notes=("promises answer within 8 working hours", "promise call is kept")),
    ),
    ({"when": "a", "do": [{"send_offer": {"place": "email", "offers": ["gold", "blue"]}}]},
     Row("when a", sends=("send offer: the best offer for email of gold, blue",))),
    ({"whenever": {"moon": ["full", 3]}, "to": "next"}, Row("whenever moon full, 3", to="next")),
]  # fmt: skip


@pytest.mark.parametrize(("handler", "row"), ROWS)
def test_rows(handler: dict[str, Any], row: Row) -> None:
    """Trigger, condition, what is kept, sent, and where it leads."""
    policy = load(ROOT / "seeds").policy
    assert policy is not None
    assert module._row(handler, policy.model) == row


def test_cards_stand_in_the_order_of_progress() -> None:
    """The ways in first, any stage last, the goal marked; what is about the whole journey above."""
    body = {
        "journey": "card",
        "version": 3,
        "purpose": "marketing",
        "goal": ["done"],
        "enter": {"when": "a"},
        "again": "after 30d",
        "stages": {"first": [{"when": "b", "to": "done"}], "done": [{"on arrival": None, "end": True}]},
        "any stage": [{"when": "c", "to": "done"}],
    }
    found = drawing(Journey.model_validate(body))
    assert [(card.title, card.goal) for card in found.cards] == [
        ("Way in", False),
        ("first", False),
        ("done", True),
        ("In any stage", False),
    ]
    assert found.about == ("card, version 3", "purpose marketing", "comes again after 30d")
    written = {"journey": "a", "version": 1, "holdout": 10, "splits": {"x": {"a": 50, "b": 50}}, "edits": "follow"}
    assert module._about(written) == [
        "a, version 1",
        "10 % get nothing (holdout)",
        "split x: a 50, b 50",
        "edits follow",
    ]


def test_lines_fit() -> None:
    """Words stay whole where they can, and none is wider than the room."""
    assert wrapped("one two three", 12, 60) == ["one two", "three"]
    assert wrapped("", 12, 60) == []
    for text in ("w" * 100, "a_long_name_of_an_event.with.parts", "漢" * 30, "x"):
        lines = wrapped(text, 12, 70)
        assert "".join(lines) == text
        assert all(width(line, 12) <= 70 for line in lines)

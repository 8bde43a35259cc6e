"""What is wrong with message templates: Liquid syntax, unknown filters, what a template must not do, unused texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from liquid import Environment
from liquid.exceptions import LiquidError

from streams.problems import Problem, choose

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from streams.definitions import Template
    from streams.policywords import PolicyWords

# What a template may contain: nothing that reads other files or runs without bound.
EMAIL = "email"  # the channel whose messages have a subject
FORBIDDEN_TAGS = ("include", "render", "extends", "block")


def template_problems(templates: Mapping[tuple[str, str], Template], words: PolicyWords | None) -> Iterator[Problem]:
    """Everything wrong with the templates of a folder."""
    environment = Environment()
    for template in templates.values():
        if words is not None and template.channel not in words.part("channels"):
            message = f"unknown channel '{template.channel}' in the name of this template"
            yield Problem(template.file, 1, 1, message, choose(template.channel, words.part("channels")))
        if template.channel == EMAIL and not template.subject:
            message = "a template for e-mail begins with its subject"
            yield Problem(template.file, 1, 1, message, "begin with 'Subject: ...' and an empty line")
        if template.subject:
            yield from _liquid(environment, template, template.subject, 1, len("Subject: "))
        yield from _liquid(environment, template, template.body, template.body_line, 0)


def unused_templates(templates: Mapping[tuple[str, str], Template], used: Collection[str]) -> Iterator[Problem]:
    """Texts that nothing sends."""
    for template in templates.values():
        if template.name not in used:
            message = f"no journey uses the template '{template.name}'"
            yield Problem(template.file, 1, 1, message, "name it in an action, or remove it", "warning")


def _liquid(environment: Environment, template: Template, text: str, line: int, indent: int) -> Iterator[Problem]:
    try:
        parsed = environment.from_string(text)
        analysis = parsed.analyze(include_partials=False)
    except LiquidError as error:
        where = error.context()
        at, column = (where[0], where[1] + 1) if where is not None else (text.count("\n") + 1, 1)
        column += indent if at == 1 else 0
        message = str(error.message if hasattr(error, "message") else error).split("\n", 1)[0]
        way_out = "close what is open ('{{ ... }}', '{% if %} ... {% endif %}') and use the tags of Liquid"
        yield Problem(template.file, line + at - 1, column, f"not valid Liquid: {message}", way_out)
        return
    except RecursionError:
        yield Problem(template.file, line, 1, "the template is nested too deep", "flatten it")
        return
    for name, spans in analysis.filters.items():
        if name not in environment.filters:
            for span in spans:
                at, column = _place(text, span.index)
                place = line + at - 1, column + (indent if at == 1 else 0)
                yield Problem(template.file, *place, f"unknown filter '{name}'", choose(name, environment.filters))
    for name, spans in analysis.tags.items():
        if name in FORBIDDEN_TAGS:
            for span in spans:
                at, column = _place(text, span.index)
                place = line + at - 1, column + (indent if at == 1 else 0)
                yield Problem(template.file, *place, f"the tag '{name}' is not allowed", "write the text itself")


def _place(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1

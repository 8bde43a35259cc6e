"""Templates: what a message says, as Liquid files `templates/<name>.<channel>.liquid`.

A file may begin with header lines (`Subject: ...`), which a blank line ends; the rest is the body. A second file
`<name>.<channel>.html.liquid`, if there is one, is the body as HTML; there values are escaped.

Variables: the action's parameters by their names and under `params`, `traits`, `link` (a URL, absent without one) and
`customer`. A variable that is absent makes the message undeliverable rather than wrong; `default` and `if` ask for it.
The headers are split off before values go in, so no value can add a header or end them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liquid import DictLoader, Environment
from liquid.exceptions import LiquidError
from liquid.template import BoundTemplate
from liquid.undefined import FalsyStrictUndefined

from connectors.sink import Refused
from schemas.action import Action

HEADERS = ("subject", "preheader")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


class TemplateError(ValueError):
    """A template cannot be used: which file, which line, what to do."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}")
        self.path, self.line, self.message = path, line, message


class _Environment(Environment):
    """Liquid with bounds on what one rendering may take. There is no way to other files."""

    loop_iteration_limit = 10_000
    local_namespace_limit = 100_000
    output_stream_limit = 1_000_000


_TEXT = _Environment(undefined=FalsyStrictUndefined, loader=DictLoader({}))
_HTML = _Environment(undefined=FalsyStrictUndefined, loader=DictLoader({}), autoescape=True)


@dataclass(frozen=True, slots=True)
class Message:
    """A rendered template."""

    headers: dict[str, str]
    text: str
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A message with places for values."""

    headers: dict[str, BoundTemplate]
    text: BoundTemplate
    html: BoundTemplate | None

    def render(self, values: dict[str, Any]) -> Message:
        """The message. Raises LiquidError."""
        headers = {name: _CONTROL.sub(" ", template.render(values)).strip() for name, template in self.headers.items()}
        html = None if self.html is None else self.html.render(values)
        return Message(headers, self.text.render(values), html)


def parse(path: Path, text: str, html: tuple[Path, str] | None = None) -> Template:
    """A template from its files' contents. Raises TemplateError."""
    lines = text.splitlines(keepends=True)
    headers: dict[str, BoundTemplate] = {}
    begin = 0
    for number, line in enumerate(lines, 1):
        name, colon, value = line.partition(":")
        if colon and name.strip().lower() in HEADERS:
            headers[name.strip().lower()] = _compile(_TEXT, path, value.strip(), number - 1)
            begin = number
        elif headers and line.strip():
            known = " or ".join(f"{header.title()}: ..." for header in HEADERS)
            raise TemplateError(path, number, f"a header line ({known}) or a blank line must stand here")
        else:
            begin = number if headers else 0
            break
    body = _compile(_TEXT, path, "".join(lines[begin:]), begin)
    return Template(headers, body, None if html is None else _compile(_HTML, html[0], html[1], 0))


def _compile(environment: Environment, path: Path, source: str, before: int) -> BoundTemplate:
    try:
        return environment.from_string(source)
    except LiquidError as error:
        line = error.token.start_index if error.token is not None else 0
        raise TemplateError(path, before + source.count("\n", 0, line) + 1, str(error.args[0])) from error


class Templates:
    """The templates of a folder for one channel, read once at the start; a change needs a restart."""

    def __init__(self, folder: Path, channel: str) -> None:
        self._folder = folder
        self._channel = channel
        self._found: dict[str, Template] = {}
        suffix, html_suffix = f".{channel}.liquid", f".{channel}.html.liquid"
        for path in sorted(folder.glob(f"*{suffix}")) if folder.is_dir() else ():
            name = path.name.removesuffix(suffix)
            if _NAME.fullmatch(name) is None:
                raise TemplateError(path, 1, f"'{name}' is no name for a template: lower-case letters, digits and '-'")
            html = path.with_name(name + html_suffix)
            found = (html, html.read_text("utf-8")) if html.is_file() else None
            self._found[name] = parse(path, path.read_text("utf-8"), found)

    def __contains__(self, name: str | None) -> bool:
        """Whether there is a template of this name for the channel."""
        return name in self._found

    def demand(self, header: str) -> None:
        """Refuse templates without a header that the channel cannot do without."""
        for name, template in self._found.items():
            if header not in template.headers:
                path = self._folder / f"{name}.{self._channel}.liquid"
                raise TemplateError(path, 1, f"the first line must be '{header.title()}: ...', and a blank line follow")

    def render(self, action: Action, link: str | None) -> Message:
        """The message for an action. Raises Refused, without any of the action's values in the reason."""
        template = self._found.get(action.template or "")
        if template is None:
            raise Refused(f"no template '{action.template}' for channel {self._channel}")
        values: dict[str, Any] = dict(action.params)
        values |= {"params": action.params, "traits": action.traits, "customer": action.customer}
        if link is not None:
            values["link"] = link
        else:
            values.pop("link", None)
        try:
            return template.render(values)
        except LiquidError as error:
            raise Refused(f"template '{action.template}': {type(error).__name__}: {error.args[0]}") from error

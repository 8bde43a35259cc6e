"""connectors.yaml: which sinks run, how, and with which secrets. Errors tell file, line, column and the way out.

    site: https://bank.example              # what links are put behind
    links:
      secrets: ["${env:POLKU_LINK_SECRET}"]  # the first signs, all verify
      expire: 7d
    templates: templates                    # folder, beside this file
    sinks:
      email:                                # the sink's name: of its ledger and its consumer group
        type: email
        ...

Any text may hold `${env:NAME}` or `${file:PATH}` (relative to this file): the secret is read when the sinks start, and
never stands in the file, in a message or in a log.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from connectors.links import MIN_SECRET, Links
from connectors.registry import SINKS, Shared
from connectors.settings import Seconds, Section, SinkSettings
from connectors.templates import TemplateError

MAX_BYTES = 256 * 1024
_SECRET = re.compile(r"\$\{(env|file):([^}]*)\}")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")

Path_ = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and the way out."""

    file: Path
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        """As compilers write it."""
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigError(ValueError):
    """The configuration cannot be used; `problems` are all that were found."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class LinkSettings(Section):
    """How links are signed and how long they resume."""

    secrets: Annotated[list[SecretStr], Field(min_length=1)]
    expire: Seconds = 604800.0


class MetricsSettings(Section):
    """Where /metrics and /healthz are served."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9464


class _Frame(Section):
    site: Annotated[str, Field(pattern=r"^https?://[^\s?#@]+$")]
    links: LinkSettings
    templates: str = "templates"
    metrics: MetricsSettings = MetricsSettings()
    sinks: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Config:
    """A connectors.yaml that was found good."""

    path: Path
    shared: Shared
    metrics: MetricsSettings
    sinks: dict[str, SinkSettings]

    def channel(self, name: str) -> str:
        """The channel a sink delivers."""
        return self.sinks[name].channel or name


class _Reader:
    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.path = path
        self.environ = environ
        self.problems: list[Problem] = []
        self.tree: Any = None

    def place(self, where: Path_) -> tuple[int, int]:
        """Line and column of a value, or of the nearest thing around it."""
        node, line, column = self.tree, 0, 0
        for step in where:
            try:
                if isinstance(node, CommentedMap):
                    line, column = node.lc.key(step)
                elif isinstance(node, CommentedSeq):
                    line, column = node.lc.item(step)
                node = node[step]
            except (KeyError, IndexError, TypeError):
                break
        return line + 1, column + 1

    def report(self, where: Path_, message: str) -> None:
        self.problems.append(Problem(self.path, *self.place(where), message))

    def load(self) -> Any:
        data = self.path.read_bytes()
        if len(data) > MAX_BYTES:
            raise ConfigError([Problem(self.path, 1, 1, f"must be at most {MAX_BYTES} bytes")])
        yaml = YAML(typ="rt")
        try:
            self.tree = yaml.load(data.decode())
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigError([Problem(self.path, line, 1, "this is not UTF-8: save the file as UTF-8")]) from error
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
            raise ConfigError([Problem(self.path, line, column, f"this is not YAML: {error.problem}")]) from error
        except YAMLError as error:
            raise ConfigError([Problem(self.path, 1, 1, "this is not YAML")]) from error
        return self.filled(self.tree, ())

    def filled(self, node: Any, where: Path_) -> Any:
        """The tree as plain values, with secrets in their places."""
        if isinstance(node, dict):
            return {str(key): self.filled(value, (*where, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [self.filled(value, (*where, index)) for index, value in enumerate(node)]
        if isinstance(node, str):
            return _SECRET.sub(lambda found: self.secret(found[1], found[2], where), str(node))
        return node

    def secret(self, source: str, name: str, where: Path_) -> str:
        if source == "env":
            if name not in self.environ:
                self.report(where, f"the environment variable {name} is not set: set it before the sinks start")
            return self.environ.get(name, "")
        try:
            return (self.path.parent / name).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            self.report(where, f"the file {name} cannot be read ({type(error).__name__})")
            return ""

    def validation(self, error: ValidationError, before: Path_) -> None:
        for found in error.errors(include_input=False, include_url=False, include_context=False):
            where = (*before, *found["loc"])
            name = ".".join(map(str, where)) or "the file"
            if found["type"] == "missing":
                self.report(where[:-1], f"{name} is missing: add it")
            elif found["type"] == "extra_forbidden":
                self.report(where, f"{name} is not known here: check its spelling")
            else:
                self.report(where, f"{name}: {found['msg'].removeprefix('Value error, ')}")


def load(path: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read and check a connectors.yaml. Raises ConfigError with all that is wrong; OSError when it cannot be read."""
    reader = _Reader(path, os.environ if environ is None else environ)
    values = reader.load()
    if not isinstance(values, dict):
        raise ConfigError([Problem(path, 1, 1, "must be a map with site, links and sinks")])
    frame = None
    try:
        frame = _Frame.model_validate(values)
    except ValidationError as error:
        reader.validation(error, ())
    sinks = dict(_sinks(reader, values.get("sinks")))
    _distinct(reader, sinks)
    if frame is not None and not reader.problems:
        secrets = [secret.get_secret_value() for secret in frame.links.secrets]
        for index, secret in enumerate(secrets):
            if len(secret) < MIN_SECRET:
                reader.report(("links", "secrets", index), f"a link secret needs at least {MIN_SECRET} characters")
    if reader.problems or frame is None:
        raise ConfigError(sorted(reader.problems, key=lambda found: (found.line, found.column)))
    links = Links(frame.site, secrets, frame.links.expire)
    return Config(path, Shared(path.parent / frame.templates, links), frame.metrics, sinks)


def _sinks(reader: _Reader, values: Any) -> Iterator[tuple[str, SinkSettings]]:
    for name, section in values.items() if isinstance(values, dict) else ():
        where: Path_ = ("sinks", name)
        if _NAME.fullmatch(name) is None:
            reader.report(where, f"'{name}' is no name for a sink: lower-case letters, digits and '-'")
        kind = SINKS.get(section.get("type", "")) if isinstance(section, dict) else None
        if kind is None:
            place = (*where, "type") if isinstance(section, dict) and "type" in section else where
            reader.report(place, f"sinks.{name}.type must be one of {', '.join(SINKS)}")
            continue
        try:
            settings = kind.settings.model_validate(section)
        except ValidationError as error:
            reader.validation(error, where)
            continue
        yield name, settings


def _distinct(reader: _Reader, sinks: dict[str, SinkSettings]) -> None:
    """Two sinks on one channel would each deliver every action."""
    taken: dict[str, str] = {}
    for name, settings in sinks.items():
        channel = settings.channel or name
        if channel in taken:
            reader.report(("sinks", name), f"channel {channel} is delivered by sink {taken[channel]} already")
        taken[channel] = name


def make(config: Config, name: str) -> Any:
    """One sink of a configuration. Raises ConfigError when its templates are at fault."""
    settings = config.sinks[name]
    try:
        return SINKS[settings.type].make(settings, config.channel(name), config.shared)
    except TemplateError as error:
        raise ConfigError([Problem(error.path, error.line, 1, error.message)]) from error

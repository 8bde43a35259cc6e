"""YAML 1.2 as a tree that knows where each value stands, within bounds on size and depth.

The tree is built from the parser's events and scalars are read by the core schema of YAML 1.2 (`on`, `no`, `12:30` and
dates stay text). Anchors, aliases and tags are refused: a definition is data, and an alias of aliases grows without
bound. Faults that leave the rest readable are collected; the values they spoil are marked, so that nothing else
complains about them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from streams.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
INT_DIGITS = 20  # with its sign, no 64-bit integer has more
MAX_PROBLEMS = 50  # per file; more tell nobody more

_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_ESCAPE_LENGTH = {"x": 4, "u": 6, "U": 10}

Step = str | int


@dataclass(slots=True)
class Node:
    """One value with its place (from 1). `keys` holds the places of a map's keys; a spoilt node is reported already."""

    kind: Literal["scalar", "list", "map"]
    line: int
    column: int
    value: str | int | float | bool | None = None
    items: list[Node] = field(default_factory=list)
    fields: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    source: str = ""
    style: str | None = None
    spoilt: bool = False

    def plain(self) -> Any:
        """The value as JSON has it."""
        if self.kind == "map":
            return {key: child.plain() for key, child in self.fields.items()}
        if self.kind == "list":
            return [child.plain() for child in self.items]
        return self.value

    def get(self, step: Step) -> Node | None:
        """The child under a key or an index."""
        if isinstance(step, str):
            return self.fields.get(step)
        return self.items[step] if self.kind == "list" and 0 <= step < len(self.items) else None

    def text(self, key: str) -> str | None:
        """The text under a key; None when there is none or it is something else."""
        child = self.fields.get(key)
        return child.value if child is not None and isinstance(child.value, str) else None

    def key_place(self, key: str) -> tuple[int, int]:
        """Line and column of a key, or of the map when it lacks the key."""
        return self.keys.get(key, (self.line, self.column))

    def place(self, offset: int = 0) -> tuple[int, int]:
        """Line and column of the character at `offset` of the text value."""
        if self.kind != "scalar" or not self.source or not isinstance(self.value, str):
            return self.line, self.column
        return _place(self, offset)


def _place(node: Node, offset: int) -> tuple[int, int]:
    raw, line, column, at = node.source, node.line, node.column, 0

    def skip(count: int) -> None:
        nonlocal at, line, column
        for char in raw[at : at + count]:
            if char == "\n":
                line, column = line + 1, 1
            else:
                column += 1
        at += count

    if node.style in ("|", ">"):
        skip(raw.find("\n") + 1 or len(raw))
        skip(_blank(raw, at))
    elif node.style in ("'", '"'):
        skip(1)
    for char in str(node.value)[:offset]:
        if at >= len(raw):
            break
        if char in " \n" and raw[at] in " \t\r\n" and "\n" in raw[at : at + _blank(raw, at)]:
            skip(_blank(raw, at))  # a folded or literal line break, with the next line's indentation
        elif node.style == '"' and raw[at] == "\\":
            skip(_ESCAPE_LENGTH.get(raw[at + 1 : at + 2], 2))
        elif node.style == "'" and raw[at] == "'":
            skip(2)
        else:
            skip(1)
    return line, column


def _blank(raw: str, at: int) -> int:
    return len(raw) - at - len(raw[at:].lstrip(" \t\r\n"))


def parse(data: bytes, file: str) -> tuple[Node | None, list[Problem]]:
    """The document in `data`, and what is wrong with it as YAML. None when nothing can be read."""
    if len(data) > MAX_BYTES:
        message = f"the file has {len(data)} bytes, and a definition at most {MAX_BYTES}"
        return None, [Problem(file, 1, 1, message, "split it into several definitions")]
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        return None, [Problem(file, line, column, "the file is not UTF-8 here", "save it as UTF-8")]
    builder = _Builder(file, text)
    try:
        builder.run()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        builder.stop(line, column, *_in_words(error.problem or error.context or "unreadable", text, line, column))
    except ReaderError as error:
        before = text[: error.position]
        column = len(before) - before.rfind("\n")
        message = f"the character U+{ord(str(error.character)[:1] or chr(0)):04X} must not stand in YAML"
        builder.stop(before.count("\n") + 1, column, message, "remove it")
    except (YAMLError, ValueError, OverflowError, IndexError, AttributeError, TypeError, AssertionError) as error:
        # The parser lets its own mistakes out on some malformed input, e.g. ValueError for "\U00110000".
        line, column = builder.last
        builder.stop(line, column, f"this is not readable as YAML ({type(error).__name__})", "write it more simply")
    return builder.root, builder.problems


def _in_words(problem: str, text: str, line: int, column: int) -> tuple[str, str]:
    lines = text.split("\n")
    written = lines[line - 1] if line <= len(lines) else ""
    if "\\t" in problem or "\t" in written[: len(written) - len(written.lstrip())]:
        return "a tab stands where YAML wants spaces", "indent with spaces"
    if "mapping values are not allowed" in problem and ":" not in written[: column - 1]:
        return "this line is indented deeper than it can be: the line above has a value already", (
            "align it with the keys it stands beside"
        )
    if "mapping values are not allowed" in problem:
        return "a second ': ' stands in this line", 'put a text that has ": " in it into quotes'
    if "expected <block end>" in problem or "did not find expected" in problem:
        return f"the indentation or the brackets do not fit here ({problem})", "align it with the lines it belongs to"
    return f"this is not YAML: {problem}", "a text that begins with a special character must stand in quotes"


class _Builder:
    """Builds the tree from parse events without recursion, so that depth is ours to bound."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.lines_text = file, text
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self.last = (1, 1)
        self._open: list[tuple[Node, tuple[str, int, int] | None]] = []  # the node; in a map, the key that waits

    def report(self, line: int, column: int, message: str, way_out: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(self.file, line, column, message, way_out))

    def stop(self, line: int, column: int, message: str, way_out: str) -> None:
        """Report what makes the rest unreadable."""
        self.report(line, column, message, way_out)
        self.root = None

    def _events(self) -> Iterator[Any]:
        return iter(YAML(typ="safe", pure=True).parse(self.lines_text))

    def run(self) -> None:
        documents = 0
        for event in self._events():
            mark = event.start_mark
            line, column = self.last = (mark.line + 1, mark.column + 1)
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self.report(line, column, "a second document begins here", "put it into a file of its own")
                    return
            elif isinstance(event, AliasEvent):
                self.report(
                    line, column, f"the alias '*{event.anchor}' is not allowed", "write the value out, or quote it"
                )
                self._add(Node("scalar", line, column, spoilt=True))
            elif isinstance(event, ScalarEvent):
                self._add(self._scalar(event, line, column))
            elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
                if len(self._open) >= MAX_DEPTH:
                    self.stop(line, column, f"nested deeper than {MAX_DEPTH} levels", "flatten it")
                    return
                node = Node("map" if isinstance(event, MappingStartEvent) else "list", line, column)
                self._properties(event, node)
                self._open.append((node, None))
            elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
                self._add(self._open.pop()[0])

    def _properties(self, event: Any, node: Node) -> None:
        if event.anchor is not None:
            self.report(
                node.line,
                node.column,
                f"the anchor '&{event.anchor}' is not allowed",
                "leave it out, or quote the text",
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.report(
                node.line,
                node.column,
                f"the tag '{str(tag)[:40]}' is not allowed",
                "put a text that begins with '!' into quotes",
            )
            node.spoilt = True

    def _scalar(self, event: Any, line: int, column: int) -> Node:
        style = event.style if event.style in ("'", '"', "|", ">") else None
        raw = self.lines_text[event.start_mark.index : event.end_mark.index]
        node = Node("scalar", line, column, event.value, source=raw, style=style)
        self._properties(event, node)
        if style is None and not node.spoilt:
            self._resolve(node, event.value)
        elif any("\ud800" <= char <= "\udfff" for char in event.value):
            self.report(line, column, "half of a surrogate pair is no character", "write the character itself")
            node.value, node.spoilt = "", True
        return node

    def _resolve(self, node: Node, text: str) -> None:
        """Read a plain scalar by YAML 1.2's core schema."""
        if _NULL.fullmatch(text):
            node.value = None
        elif text in _TRUE or text in _FALSE:
            node.value = text in _TRUE
        elif _INTEGER.fullmatch(text):
            number = int(text, 0) if text[:2] in ("0o", "0x") else int(text) if len(text) <= INT_DIGITS else 1 << 64
            if not -(1 << 63) <= number < 1 << 63:
                self.report(node.line, node.column, "this number does not fit 64 bits", "put it into quotes")
                number, node.spoilt = 0, True
            node.value = number
        elif _FLOAT.fullmatch(text):
            value = float(text.replace(".inf", "inf").replace(".nan", "nan")) if text[-1] not in "fFnN" else math.nan
            if not math.isfinite(value):
                self.report(node.line, node.column, "this number is not finite", "write a finite one, or quote it")
                value, node.spoilt = 0.0, True
            node.value = value

    def _add(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        parent, key = self._open[-1]
        if parent.kind == "list":
            parent.items.append(node)
        elif key is None:
            self._open[-1] = (parent, self._key(node))
        else:
            name, line, column = key
            self._open[-1] = (parent, None)
            if name in parent.fields:
                first = parent.keys[name][0]
                self.report(
                    line, column, f"the key '{name}' stands here twice", f"the first is in line {first}: keep one"
                )
            else:
                if node.kind == "scalar" and node.value is None and not node.source:
                    node.line, node.column = line, column  # nothing stands there: its key is the place
                parent.fields[name] = node
                parent.keys[name] = (line, column)

    def _key(self, node: Node) -> tuple[str, int, int]:
        if node.kind != "scalar":
            self.report(
                node.line, node.column, "a key must be a word", "put a text that begins with '{' or '[' into quotes"
            )
            return f"\0{node.line}:{node.column}", node.line, node.column
        text = node.value if isinstance(node.value, str) else node.source or ""
        return text, node.line, node.column

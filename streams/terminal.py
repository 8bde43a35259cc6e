"""What a command prints: data on stdout (text, or JSON Lines with --json), everything else on stderr."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class UsageError(Exception):
    """The command was given something it cannot use; the message says what and the way out. Exit code 2."""


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add a function to a program; its docstring is the help, in which each example keeps its line.

    Of a dataclass that the function takes, each field is an argument or option in its place.
    """

    def add(function: Callable[..., None]) -> Callable[..., None]:
        # A lone backspace keeps a paragraph's lines as they are.
        told = inspect.cleandoc(function.__doc__ or "").replace("\n\nExample:", "\n\n\b\nExample:")
        return app.command(name, help=told)(_spread(function))

    return add


def _spread(function: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(function, eval_str=True)
    fields = {
        name: inspect.signature(each.annotation, eval_str=True).parameters
        for name, each in signature.parameters.items()
        if isinstance(each.annotation, type) and is_dataclass(each.annotation)
    }
    if not fields:
        return function

    @functools.wraps(function)
    def called(**given: Any) -> None:
        for name, parts in fields.items():
            given[name] = signature.parameters[name].annotation(**{part: given.pop(part) for part in parts})
        function(**given)

    spread = [
        part.replace(kind=each.kind)
        for name, each in signature.parameters.items()
        for part in (fields[name].values() if name in fields else (each,))
    ]
    called.__dict__["__signature__"] = signature.replace(parameters=spread)
    called.__annotations__ = {part.name: part.annotation for part in spread}
    return called


def emit(row: Any) -> None:
    """One JSON line on stdout."""
    sys.stdout.buffer.write(msgspec.json.encode(row) + b"\n")
    sys.stdout.buffer.flush()


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, when that is a terminal; yields the function that advances it."""
    if not err.is_terminal:
        yield lambda _count: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def moment(milliseconds: int, clock: tzinfo = UTC) -> str:
    """A time as people read it by a clock, to the second; unless that is UTC, with its name."""
    then = (EPOCH + timedelta(seconds=milliseconds // 1000)).astimezone(clock)
    name = then.tzname() or ""
    return f"{then:%Y-%m-%d %H:%M:%S}{f' {name}' if name != 'UTC' else ''}"


def plural(count: int, word: str) -> str:
    """`1 action`, `2 actions`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"

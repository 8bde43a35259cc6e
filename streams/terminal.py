"""What a command prints: data on stdout (text, or JSON Lines with --json), everything else on stderr."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    """Add a function to a program; its docstring is the help, in which each example keeps its line."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        # A lone backspace keeps a paragraph's lines as they are.
        told = inspect.cleandoc(function.__doc__ or "").replace("\n\nExample:", "\n\n\b\nExample:")
        return app.command(name, help=told)(function)

    return add


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

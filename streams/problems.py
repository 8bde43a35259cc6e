"""What is wrong with a definition: the rule broken, where (file:line:column), the way out, and how it is printed."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Literal

import msgspec
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

FEW = 12  # names that a way out lists; more help nobody choose

Severity = Literal["error", "warning"]


class Problem(msgspec.Struct, frozen=True, order=True):
    """One finding. Lines and columns count from 1; the message says what is wrong, `way_out` what to do about it."""

    file: str
    line: int
    column: int
    message: str
    way_out: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        """The finding as compilers write theirs, the way out on a line of its own."""
        head = f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message}"
        return f"{head}\n  {self.way_out}" if self.way_out else head


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Those that forbid publishing."""
    return [problem for problem in problems if problem.severity == "error"]


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, if one is like it."""
    like = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return like[0] if like else None


def choose(word: str, known: Iterable[str], none: str = "none is declared") -> str:
    """A way out that names the likeliest known word and, while they are few, all."""
    names = list(dict.fromkeys(known))
    like = did_you_mean(word, names)
    listed = ", ".join(names[:FEW]) + (", ..." if len(names) > FEW else "")
    if like is None:
        return f"known: {listed}" if names else none
    return f"did you mean '{like}'? known: {listed}"


def render(problems: Iterable[Problem], console: Console) -> None:
    """Print findings, in colour where the console has any."""
    for problem in problems:
        colour = "bold red" if problem.severity == "error" else "bold yellow"
        console.print(
            Text.assemble(
                (f"{problem.file}:{problem.line}:{problem.column}: ", "bold"),
                (f"{problem.severity}: ", colour),
                problem.message,
                ("\n  " + problem.way_out if problem.way_out else "", "green"),
            ),
            soft_wrap=True,
        )


def summary(problems: Iterable[Problem]) -> str:
    """`2 errors, 1 warning` or `no problems`."""
    found = list(problems)
    counts = [(len(errors(found)), "error"), (len(found) - len(errors(found)), "warning")]
    return ", ".join(f"{n} {word}{'s' * (n != 1)}" for n, word in counts if n) or "no problems"

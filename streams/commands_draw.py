"""The command that draws journeys."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from schemas.journey import Journey
from streams import definitions as folders
from streams.commands_definitions import DefinitionsOption, load_checked
from streams.drawing import drawing
from streams.mermaid import mermaid
from streams.problems import choose
from streams.svg import svg
from streams.terminal import UsageError, command, err, plural


class Format(StrEnum):
    """How a drawing is written."""

    SVG = "svg"
    MERMAID = "mermaid"


_WRITERS = {Format.SVG: (svg, ".svg"), Format.MERMAID: (mermaid, ".mmd")}


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(draw)


def draw(
    journey: Annotated[str | None, typer.Argument(help="its name, or its file", show_default=False)] = None,
    definitions: DefinitionsOption = Path("seeds"),
    form: Annotated[Format, typer.Option("--format", help="SVG, or Mermaid's flowchart")] = Format.SVG,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="a file; with --all, a folder", show_default="stdout"),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="draw every journey of the folder, each into a file")] = False,  # noqa: FBT002 - an option, named where it is used
    check: Annotated[bool, typer.Option("--check", help="write nothing; exit code 1 if a file is not new")] = False,  # noqa: FBT002 - as above
) -> None:
    """Draw a journey.

    Stages stand from left to right by progress, each with its handlers: when, if, what is sent, where it leads. The
    same definition gives the same picture, byte for byte.

    Example: polku draw credit-card-application --out card.svg
    Example: polku draw seeds/journeys/onboarding.yaml --format mermaid
    Example: polku draw --all -d seeds --out drawings
    """
    if every == (journey is not None):
        raise UsageError("say what to draw: a journey's name or file, or --all")
    if (every or check) and out is None:
        raise UsageError("say where the drawings are: --out, a folder" if every else "say which file: --out")
    write, suffix = _WRITERS[form]
    loaded = load_checked(_folder_of(journey) or definitions)
    policy = loaded.policy.model if loaded.policy is not None else None
    if journey is not None:
        drawn = {out: write(drawing(_found(journey, loaded), policy))}
    else:
        assert out is not None
        drawn = {
            out / f"{name}{suffix}": write(drawing(each, policy)) for name, each in sorted(_newest(loaded).items())
        }
    if check:
        _compare(drawn, sorted(out.glob(f"*{suffix}")) if every and out is not None else [])
        return
    for path, text in drawn.items():
        if path is None:
            typer.echo(text, nl=False)
        else:
            _write(path, text)
    if every:
        err.print(f"{plural(len(drawn), 'drawing')} in {out}")


def _folder_of(journey: str | None) -> Path | None:
    """The folder of definitions that a journey's file stands in; None for a name."""
    if journey is None or not journey.endswith((".yaml", ".yml")):
        return None
    path = Path(journey)
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    return path.resolve().parent.parent


def _found(journey: str, loaded: folders.Definitions) -> Journey:
    if _folder_of(journey) is not None:
        wanted = Path(journey).resolve()
        for each in loaded.journeys:
            if each.document is not None and Path(each.document.file).resolve() == wanted:
                return each.model
        raise UsageError(f"{journey} is no journey of its folder; it stands in journeys/")
    known = _newest(loaded)
    if journey not in known:
        raise UsageError(f"there is no journey '{journey}' in {loaded.folder}; {choose(journey, known, 'it has none')}")
    return known[journey]


def _newest(loaded: folders.Definitions) -> dict[str, Journey]:
    newest: dict[str, Journey] = {}
    for each in sorted(loaded.journeys, key=lambda each: each.version):
        newest[each.name] = each.model
    return newest


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def _compare(drawn: dict[Path | None, str], there: list[Path]) -> None:
    stale = [path for path, text in drawn.items() if path and (not path.is_file() or path.read_text("utf-8") != text)]
    stale += [path for path in there if path not in drawn]
    for path in stale:
        err.print(f"not up to date: {path}; draw it anew, without --check")
    if stale:
        raise typer.Exit(1)

"""Broken definitions: each is reported at its line and column with a way out, all faults at once, never a traceback.

Each folder in `broken/` holds what differs from `base/`, and the findings as people read them in `expected.txt`.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from streams.checks import check_directory
from streams.problems import errors, render, summary

HERE = Path(__file__).parent
CASES = sorted(path.name for path in (HERE / "broken").iterdir())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sound definitions, as the working directory."""
    shutil.copytree(HERE / "base", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_base_has_no_problems(folder: Path) -> None:
    """What the broken ones differ from is sound."""
    assert check_directory(folder) == []
    assert summary([]) == "no problems"


@pytest.mark.parametrize("case", CASES)
def test_findings(case: str, folder: Path) -> None:
    """Exactly the expected findings, each with file, line, column and a way out."""
    shutil.copytree(HERE / "broken" / case, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("expected.txt"))
    problems = check_directory(".")
    assert "".join(f"{problem}\n" for problem in problems) == (HERE / "broken" / case / "expected.txt").read_text()
    assert problems
    for problem in problems:
        assert problem.way_out, problem
        text = Path(problem.file).read_bytes().decode(errors="replace").split("\n")
        assert 1 <= problem.line <= len(text), problem
        assert 1 <= problem.column <= len(text[problem.line - 1]) + 1, problem
    assert case == "36-endless" or errors(problems)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A wrong path is a finding as well."""
    (problem,) = check_directory(tmp_path / "nowhere")
    assert "no such folder" in problem.message


def test_a_folder_without_policy(folder: Path) -> None:
    """Without a policy the journeys are still checked for what they say themselves."""
    (folder / "policy.yaml").unlink()
    assert [(problem.file, problem.severity) for problem in check_directory(".")] == [("policy.yaml", "error")]


def test_files_too_large_are_not_read(folder: Path) -> None:
    """A file above the bound is refused without being parsed."""
    (folder / "journeys" / "card.yaml").write_text("a: b\n" * 60_000)
    assert any("at most 262144" in problem.message for problem in check_directory("."))


def test_an_unreadable_file_is_a_finding(folder: Path) -> None:
    """A folder in the place of a file is reported, not raised."""
    (folder / "journeys" / "other.yaml").mkdir()
    assert any("cannot be read" in problem.message for problem in check_directory("."))


def test_rendering_in_colour(folder: Path) -> None:
    """A terminal gets colour; anything else gets plain text."""
    path = folder / "journeys" / "card.yaml"
    path.write_text(path.read_text().replace("to: applying", "to: aplying", 1))
    problems = check_directory(".")
    plain, coloured = io.StringIO(), io.StringIO()
    render(problems, Console(file=plain))
    render(problems, Console(file=coloured, force_terminal=True, color_system="standard"))
    assert plain.getvalue().startswith(
        "journeys/card.yaml:16:11: error: unknown stage 'aplying'\n  did you mean 'applying'?"
    )
    assert "\x1b[" in coloured.getvalue()
    assert summary(problems) == "1 error"

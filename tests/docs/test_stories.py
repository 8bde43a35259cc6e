"""The pages of the stories: everything they show is there, up to date, and their commands run."""

from __future__ import annotations

import re
import shlex

import pytest

from streams.definitions import load
from tests.cli.running import polku
from tests.support.kafka import ROOT

FOLDER = ROOT / "docs" / "stories"
PAGES = sorted(FOLDER.glob("*.md"))
# These need a broker, or are the demo: tests/docs/test_readme.py and tests/cli run them.
ELSEWHERE = ("make demo", "polku explain")


def test_each_story_has_a_page() -> None:
    """Seven stories and an index that lists them."""
    assert [page.name[0] for page in PAGES] == [*"1234567", "R"]
    index = (FOLDER / "README.md").read_text()
    assert all(f"({page.name})" in index for page in PAGES[:-1])


def test_each_journey_is_shown() -> None:
    """On a page, by its drawing."""
    told = "".join(page.read_text() for page in PAGES)
    assert [each.name for each in load(ROOT / "seeds").journeys if f"drawings/{each.name}.svg" not in told] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: object) -> None:
    """To drawings and to other pages."""
    text = page.read_text()  # type: ignore[attr-defined]  # a path
    assert [target for target in re.findall(r"\]\(([^)#]+)\)", text) if not (FOLDER / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_run(page: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand, from the project's folder."""
    monkeypatch.chdir(ROOT)
    for line in re.findall(r"^    (\S.*)$", page.read_text(), re.MULTILINE):  # type: ignore[attr-defined]  # as above
        if not line.startswith(ELSEWHERE):
            program, *arguments = shlex.split(line)
            assert program == "polku"
            assert polku(*arguments).code == 0, line


def test_drawings_are_up_to_date() -> None:
    """What `make check` asks as well."""
    ran = polku("draw", "--all", "-d", ROOT / "seeds", "--out", FOLDER / "drawings", "--check")
    assert ran.code == 0, ran.err

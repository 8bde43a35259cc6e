"""Every story of the seeds, cut at every entry of its journal: what goes on from the stored states is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.definitions import library, load
from streams.storyfile import Story, load_stories
from streams.storyplay import play
from tests.properties.logs import run

SEEDS = Path(__file__).parents[2] / "seeds"
KNOWN = library(load(SEEDS).loaded())
STORIES, PROBLEMS = load_stories(SEEDS)


def test_the_stories_are_there() -> None:
    """What is not read would not be tested."""
    assert PROBLEMS == []
    assert len(STORIES) >= 10


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.test)
def test_a_story_goes_on_from_every_prefix(story: Story) -> None:
    """Cut the journal after each entry, encode and decode the states there, go on: the same bytes."""
    journals = play(KNOWN, story).simulator.journal
    for index, journal in enumerate(journals):
        whole = run(journal, index, len(journals), KNOWN, collect=lambda _: False)
        assert run(journal, index, len(journals), KNOWN, collect=lambda _: True, trim=True) == whole
        for cut in range(len(journal)):
            assert run(journal, index, len(journals), KNOWN, collect=lambda _: False, restart=cut.__eq__) == whole

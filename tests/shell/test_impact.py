"""The impact of publishing: what is new or changed, who is where, and what becomes of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from schemas.journey import Journey
from schemas.policy import Policy
from streams.definitionlog import Published, Version
from streams.definitions import loaded_of
from streams.engine.store import META_KEY
from streams.impact import Census, Group, changes
from streams.releases import Release, release_of, with_release
from streams.tally import Tally
from tests.engine.making import DAY, HOUR, POLICY, START, Shop, journey

WAIT = [{"after": "9d", "end": True}]
FIRST = journey("card", {"looking": [{"when": "go", "to": "asking"}, *WAIT], "asking": WAIT})


def definition(model: Journey | Policy) -> Any:
    """A definition as it is loaded."""
    return loaded_of("journey" if isinstance(model, Journey) else "policy", model)


def published(*models: Journey | Policy, share: dict[int, int] | None = None) -> Published:
    """What is published; `share` by version."""
    found = Published()
    for model in models:
        loaded = definition(model)
        release = Release((share or {}).get(loaded.version, 100))
        found.versions.setdefault((loaded.kind, loaded.name), {})[loaded.version] = Version(loaded, release)
    return found


def version(number: int, stages: dict[str, Any] | None = None, **more: Any) -> Journey:
    """Another version of the card journey."""
    return journey("card", stages or {"looking": WAIT}, version=number, **more)


@pytest.mark.parametrize(
    ("known", "shares", "new", "canary", "expected"),
    [
        ([], {}, [FIRST], None, [("new", 0, 100)]),
        ([], {}, [FIRST], 10, [("new", 0, 10)]),
        ([FIRST], {}, [FIRST], None, [("unchanged", 1, 100)]),
        ([FIRST], {}, [FIRST], 10, [("unchanged", 1, 100)]),
        ([FIRST], {}, [version(2)], None, [("changed", 1, 100)]),
        ([FIRST], {}, [version(2)], 10, [("changed", 1, 10)]),
        ([FIRST, version(2)], {2: 10}, [version(2)], None, [("unchanged", 1, 10)]),
        ([FIRST, version(2)], {2: 10}, [version(2)], 10, [("unchanged", 1, 10)]),
        ([FIRST, version(2)], {2: 10}, [version(2)], 50, [("share", 1, 50)]),
        ([FIRST, version(2)], {2: 10}, [version(2)], 100, [("share", 1, 100)]),
        ([FIRST, version(2)], {2: 10}, [version(3)], None, [("changed", 1, 100)]),
        ([version(2)], {}, [FIRST], None, [("older", 2, 100)]),
        ([], {}, [FIRST, version(2)], None, [("older", 0, 100), ("new", 0, 100)]),
        ([], {}, [POLICY], 10, [("new", 0, 100)]),
    ],
)
def test_what_publishing_is(
    known: list[Journey],
    shares: dict[int, int],
    new: list[Any],
    canary: int | None,
    expected: list[tuple[str, int, int]],
) -> None:
    """New, changed, unchanged, another share, or older than what is in force; which was, and for how many."""
    found = changes([definition(each) for each in new], published(*known, share=shares), canary)
    assert [(each.what, each.former, each.share) for each in found] == expected


def test_a_change_shows_the_lines_that_differ() -> None:
    """As they stand in YAML, with a little around them."""
    new = version(2, {"looking": [{"after": "3d", "end": True}]})
    (found,) = changes([definition(new)], published(version(1)), None)
    assert [line for line in found.diff if line[0] in "-+"] == [
        "-version: 1",
        "+version: 2",
        "-  - after: 9d",
        "+  - after: 3d",
    ]


def states() -> dict[bytes, bytes]:
    """Seven customers: four look, two ask, one is done."""
    shop = Shop(FIRST)
    for number in range(7):
        shop.see("hello", HOUR * number, ids=f"customer:{number}")
    for number in (4, 5):
        shop.see("go", 8 * HOUR, ids=f"customer:{number}")
    shop.see("unknown", 8 * HOUR, ids="customer:nobody")
    state = {name.encode(): each for name, each in shop.simulator.states().items()}
    shop.see("go", 8 * HOUR, ids="customer:6")
    shop.wait(30 * DAY)
    return state | {b"customer:6": shop.simulator.states()["customer:6"], META_KEY: b"meta"}


@pytest.mark.parametrize(
    ("new", "groups"),
    [
        (version(2), [Group(1, "asking", 2, "stay", "asking", 0), Group(1, "looking", 4, "stay", "looking", 0)]),
        (
            version(2, edits="follow", moved={"asking": "looking"}),
            [Group(1, "asking", 2, "move", "looking", 0), Group(1, "looking", 4, "move", "looking", 0)],
        ),
        (
            version(2, {"looking": [{"after": "22h", "end": True}]}, edits="follow"),
            [Group(1, "asking", 2, "not mapped", "", 0), Group(1, "looking", 4, "move", "looking", 3)],
        ),
    ],
    ids=["pinned", "mapped", "not mapped, and overdue"],
)
def test_who_is_where_and_what_becomes_of_them(new: Journey, groups: list[Group]) -> None:
    """Running instances only, of each profile its newest state; timers that are due by the new version are counted."""
    known, loaded = published(FIRST, POLICY), [definition(new)]
    (found,) = changes(loaded, known, None)
    census = Census([found], loaded, known, now=START + DAY)
    assert census.needed
    shop = Shop(FIRST)
    shop.see("hello", HOUR, ids="customer:6")
    census.look(b"customer:6", shop.simulator.states()["customer:6"])  # an older state, of one who has ended since
    for key, state in states().items():
        census.look(key, state)
    census.look(b"customer:gone", states()[b"customer:1"])
    census.look(b"customer:gone", None)
    census.finish()
    assert found.groups == groups


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_the_newest_record_of_a_key_counts(most: int) -> None:
    """Whatever is held in memory."""
    tally = Tally(most)
    for number in range(20):
        tally.put(b"%d" % (number % 5), ["even" if number % 2 == 0 else "odd", "any"])
    tally.put(b"0", [])
    tally.put(b"9", ["odd", "odd"])
    assert tally.total() == Counter({"odd": 4, "any": 4, "even": 2})
    tally.close()


def test_a_release_stands_beside_the_definition() -> None:
    """Records from before there were releases are for all."""
    assert release_of(b'{"kind": "journey"}') == Release()
    said = Release(10, "ann", "why", 7)
    assert release_of(with_release(b'{"kind": "journey"}', said)) == said

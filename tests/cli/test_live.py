"""Changing what is live from the command line: previews, canaries, rollbacks, stops, and the audit of all that."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from schemas.journal import Stop, decode
from streams.records import read
from streams.settings import Settings
from tests.cli.test_running import (
    Installation,
    activations,
    approve,
    edit,
    installation,  # noqa: F401 - a fixture
    wait,
)


@pytest.fixture
def bank(installation: Installation, tmp_path: Path) -> Path:  # noqa: F811 - as above
    """A copy of the definitions that the worker was started with."""
    folder = tmp_path / "bank"
    shutil.copytree(installation.definitions, folder)
    return folder


def stops(where: Installation) -> list[tuple[int, str, bool, str, str]]:
    """Every stop entry of the journal: partition, scope, whether it is on, by whom and why."""
    found = []
    for record in read(Settings(bootstrap=where.bootstrap, group="audit"), "journal"):
        entry = decode(record.value or b"")
        if isinstance(entry, Stop):
            found.append((record.partition, entry.scope, entry.on, entry.by, entry.why))
    return sorted(found)


def test_a_stop_stands_once_in_every_partition(installation: Installation) -> None:  # noqa: F811 - as above
    """Said once or twice, it is one entry each; nothing of it is proposed until it is lifted."""
    ran = installation.polku("stop", "marketing", "--why", "wrong prices", "--by", "ann", "--json")
    (row,) = ran.rows
    assert (ran.code, row["news"], row["partitions"], row["lacking"]) == (0, True, 4, []), ran.err
    expected = [(partition, "marketing", True, "ann", "wrong prices") for partition in range(4)]
    assert stops(installation) == expected
    ran = installation.polku("stop", "marketing", "--json")
    assert (ran.code, ran.rows[0]["news"], ran.rows[0]["by"]) == (0, False, "ann")
    assert "already" in ran.err
    assert stops(installation) == expected
    ran = installation.polku("resume", "marketing", "--by", "bea")
    assert ran.code == 0, ran.err
    assert len(stops(installation)) == 8
    acts = [row for row in installation.polku("audit", "--json").rows if row["subject"] == "marketing"]
    assert [(act["what"], act["by"], act.get("why", ""), act["partitions"]) for act in acts] == [
        ("stop", "ann", "wrong prices", 4),
        ("resume", "bea", "", 4),
    ]


@pytest.mark.parametrize("scope", ["everything", "journey", "journey/nothing", "offer/nothing", "policy/bank"])
def test_what_cannot_be_stopped(installation: Installation, scope: str) -> None:  # noqa: F811 - as above
    """Exit code 2, and what can be."""
    ran = installation.polku("stop", scope)
    assert ran.code == 2
    assert "marketing" in ran.err or "known: " in ran.err


def test_a_canary_and_its_completion(installation: Installation, bank: Path) -> None:  # noqa: F811 - as above
    """For a share, for more, for all; each word with who said it and why."""
    journey = bank / "journeys" / "free-delivery-coupon.yaml"
    edit(journey, ("version: 1", "version: 2"))
    edit(bank / "policy.yaml", ("version: 1", "version: 2"))
    ran = installation.polku("publish", bank, "--canary", "20", "--yes")
    assert ran.code == 2
    assert "a policy is for everybody" in ran.err
    edit(bank / "policy.yaml", ("version: 2", "version: 1"))
    ran = installation.polku("publish", bank, "--canary", "20")
    assert ran.code == 2
    assert "--yes" in ran.err
    for share, text in ((20, "for 20 % of those who enter from now on"), (60, "before 20 %"), (100, "nobody is in it")):
        ran = installation.polku("publish", bank, "--canary", str(share), "--yes", "--why", f"to {share}")
        assert (ran.code, ran.err) == (0, "1 definition published\n")
        assert text in ran.out

        def told(wanted: str = f"to {share}") -> list[Any]:
            rows = installation.polku("audit", "--json").rows
            return [row for row in rows if row.get("why") == wanted and row["partitions"] == 4]

        (act,) = wait(told)
        assert (act["what"], act.get("share", 100)) == ("canary" if share < 100 else "activate", share)
    assert installation.polku("publish", bank, "--json").rows[-1]["published"] == 0


def test_an_edit_shows_whom_it_concerns_and_strands_nobody(installation: Installation, bank: Path) -> None:  # noqa: F811
    """Stages with customers in them and no mapping refuse it; with one, they move, and can be moved back."""
    approve(installation, "c-201")
    journey = bank / "journeys" / "onboarding.yaml"
    edit(journey, ("version: 1", "version: 7\nedits: follow"), ("  invited:", "  welcomed:"))
    ran = installation.polku("publish", bank, "--yes")
    assert ran.code == 2
    assert "it would strand 1 customer in stage invited of onboarding 1; say where they go" in ran.err
    edit(journey, ("edits: follow", "edits: follow\nmoved: {invited: welcomed}"))
    ran = installation.polku("publish", bank, "--dry-run")
    assert ran.code == 0, ran.err
    assert "  1 customer in stage invited of version 1: move to welcomed\n" in ran.out
    assert "    -  invited:" in ran.out
    assert activations(installation, "onboarding", 7) == set()
    rows = installation.polku("publish", bank, "--yes", "--json").rows
    assert rows[-1]["published"] == 1
    (row,) = [row for row in rows if row["what"] == "changed"]
    group = {"version": 1, "stage": "invited", "count": 1, "then": "move", "to": "welcomed", "overdue": 0}
    assert row["groups"] == [group]
    wait(lambda: activations(installation, "onboarding", 7) == {0, 1, 2, 3})
    assert "goes from invited to welcomed (moved to version 7)" in installation.polku("explain", "c-201").out
    ran = installation.polku("rollback", "journey/onboarding", "--follow", "--moved", "welcomed=invited", "--yes")
    assert ran.code == 0, ran.err
    wait(lambda: activations(installation, "onboarding", 8) == {0, 1, 2, 3})
    assert "moved to version 8" in installation.polku("explain", "c-201").out
    acts = [row for row in installation.polku("audit", "--json").rows if row["subject"] == "journey/onboarding"]
    assert [act["version"] for act in acts][-2:] == [7, 8]
    assert "rollback to the content of version" in acts[-1]["why"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("journey/nothing",), "known: "),
        (("journey/credit-card-application",), "no earlier version"),
        (("policy/bank", "--to", "9"), "no version 9"),
        (("journey/credit-card-application", "--follow", "--moved", "a"), "write it as"),
    ],
)
def test_what_cannot_be_rolled_back(installation: Installation, arguments: tuple[str, ...], said: str) -> None:  # noqa: F811
    """Exit code 2, and what can be."""
    ran = installation.polku("rollback", *arguments)
    assert ran.code == 2
    assert said in ran.err

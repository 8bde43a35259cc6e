"""check and test: what a person who designs journeys runs all day."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.running import SEEDS, polku


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the seeds, to be broken."""
    shutil.copytree(SEEDS, tmp_path / "bank")
    return tmp_path / "bank"


def edit(path: Path, before: str, after: str) -> None:
    """Replace what stands once in a file."""
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, after))


def test_check_is_content_with_the_seeds() -> None:
    """What an installation starts from has no problems; stdout stays empty, the verdict is on stderr."""
    ran = polku("check", SEEDS)
    assert (ran.code, ran.out, ran.err) == (0, "", f"no problems in {SEEDS}\n")


def test_check_tells_all_errors_at_once(folder: Path) -> None:
    """Each with file, line, column and the way out; exit code 2."""
    edit(folder / "journeys" / "onboarding.yaml", "to: active", "to: activ")
    edit(folder / "journeys" / "free-delivery-coupon.yaml", "event.value >= 20", "event.value >== 20")
    edit(folder / "policy.yaml", "  staff: {basis: internal}", "  staff: {basis: because}")
    ran = polku("check", folder)
    assert ran.code == 2
    told = ran.out
    assert f"{folder}/journeys/onboarding.yaml:20:11: error: " in told
    assert "did you mean 'active'?" in told
    assert f"{folder}/journeys/free-delivery-coupon.yaml:8:21: error: " in told
    assert f"{folder}/policy.yaml:18:18: error: " in told
    assert ran.err == f"3 errors in {folder}\n"


def test_check_json_has_a_line_a_problem(folder: Path) -> None:
    """The same findings for programs."""
    edit(folder / "journeys" / "onboarding.yaml", "to: active", "to: activ")
    ran = polku("check", folder, "--json")
    assert ran.code == 2
    (row,) = ran.rows
    assert (row["file"], row["line"], row["severity"]) == (f"{folder}/journeys/onboarding.yaml", 20, "error")
    assert set(row) == {"file", "line", "column", "message", "way_out", "severity"}


@pytest.mark.parametrize("command", ["check", "test"])
def test_a_folder_that_is_not_there(command: str, tmp_path: Path) -> None:
    """Is wrong input, said in a line."""
    ran = polku(command, tmp_path / "none")
    assert ran.code == 2
    assert "there is no such folder" in ran.out + ran.err


def test_test_passes_for_the_seeds() -> None:
    """Every story beside the journeys passes, in text and as JSON."""
    ran = polku("test", SEEDS)
    assert ran.code == 0
    assert all(line.startswith("pass  ") for line in ran.out.splitlines())
    rows = polku("test", SEEDS, "--json").rows
    assert [row["passed"] for row in rows] == [True] * len(ran.out.splitlines())
    assert ran.err == f"{len(rows)} passed, 0 failed\n"


def test_test_plays_only_what_is_asked_for() -> None:
    """By a part of a test's name or of its file's name, small or capital; nothing to play is no success."""
    by_file, by_name = polku("test", SEEDS, "--only", "free-delivery"), polku("test", SEEDS, "--only", "basket LEFT")
    assert by_file.code == by_name.code == 0
    assert len(by_file.out.splitlines()) > len(by_name.out.splitlines()) == 1
    ran = polku("test", SEEDS, "--only", "nobody wrote this")
    assert ran.code == 2
    assert "leave out --only" in ran.err


def test_test_shows_the_difference(folder: Path) -> None:
    """A story that fails shows what was expected and what came, with the line it stands on; exit code 1."""
    edit(folder / "journeys" / "free-delivery-coupon.yaml", "after: 2h of silence", "after: 90m of silence")
    ran = polku("test", folder)
    assert ran.code == 1
    assert "FAIL  A basket left for two hours brings the coupon" in ran.out
    assert "at: expected 2026-03-02 12:00:00Z, got 2026-03-02 11:30:00Z" in ran.out
    assert "free-delivery-coupon_test.yaml:" in ran.out
    assert "failed" in ran.err
    rows = polku("test", folder, "--json").rows
    assert next(row["test"] for row in rows if not row["passed"]) == "A basket left for two hours brings the coupon"
    assert any(line["mark"] == "!" for row in rows for line in row["lines"])


def test_test_shows_what_is_missing_and_what_is_too_much(folder: Path) -> None:
    """An action that no longer comes is marked -, one that nobody expected +."""
    edit(
        folder / "journeys" / "onboarding.yaml",
        "            template: card-benefits",
        "            template: mobile-app-onboarding",
    )
    stories = folder / "journeys" / "onboarding_test.yaml"
    edit(
        stories,
        "  expect:\n    - {decision: refused, action: send_message, gate: consent, reason: never-given}",
        "  expect:\n    - {action: send_message}",
    )
    ran = polku("test", folder)
    assert ran.code == 1
    assert "- expected action send_message" in ran.out


def test_test_refuses_what_check_refuses(folder: Path) -> None:
    """Definitions with errors are not played."""
    edit(folder / "journeys" / "onboarding.yaml", "to: active", "to: activ")
    ran = polku("test", folder)
    assert ran.code == 2
    assert f"mend them first (polku check {folder})" in ran.err
    assert ran.out == ""


def test_test_refuses_arms_that_there_are_not(folder: Path) -> None:
    """With the place of the word, and the way out, before anything is played."""
    stories = folder / "journeys" / "onboarding_test.yaml"
    stories.write_text("test: t\ngiven: []\nexpect:\n  - {arm: warm, split: greeting}\n  - {held_out: true}\n")
    ran = polku("test", folder)
    assert ran.code == 2
    assert "onboarding_test.yaml:4:11: error: journey 'onboarding' has no splits\n" in ran.err
    assert "onboarding_test.yaml:5:16: error: journey 'onboarding' holds nobody out\n" in ran.err
    assert ran.out == ""


def test_a_folder_without_tests_says_where_to_write_them(folder: Path) -> None:
    """Nothing to run is no success."""
    for path in (folder / "journeys").glob("*_test.yaml"):
        path.unlink()
    ran = polku("test", folder)
    assert ran.code == 2
    assert "has no tests; write journeys/<name>_test.yaml beside a journey" in ran.err

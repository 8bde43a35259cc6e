"""draw: one journey to stdout or a file, all of a folder, and whether the files are up to date."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from tests.cli.running import SEEDS, polku, polku_process


def test_draw_writes_svg_to_stdout() -> None:
    """By name; the same whichever process draws it."""
    ran = polku("draw", "onboarding", "-d", SEEDS)
    assert (ran.code, ran.err) == (0, "")
    root = ET.fromstring(ran.out)  # noqa: S314 - our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert polku_process("draw", "onboarding", PYTHONHASHSEED="7").stdout == ran.out


def test_draw_takes_a_file_and_writes_one(tmp_path: Path) -> None:
    """The folder of the file is that of its policy; the format is Mermaid when asked for."""
    out = tmp_path / "new" / "card.mmd"
    ran = polku("draw", SEEDS / "journeys" / "onboarding.yaml", "--format", "mermaid", "--out", out)
    assert (ran.code, ran.out) == (0, "")
    assert "by email, push or sms" in out.read_text("utf-8")


def test_draw_all_and_check(tmp_path: Path) -> None:
    """A file a journey; --check tells of files that are not up to date, or that no journey has."""
    assert polku("draw", "--all", "-d", SEEDS, "--out", tmp_path).code == 0
    assert {path.stem for path in tmp_path.glob("*.svg")} >= {"onboarding", "credit-card-application"}
    assert polku("draw", "--all", "-d", SEEDS, "--out", tmp_path, "--check").code == 0
    (tmp_path / "onboarding.svg").write_text("old")
    (tmp_path / "gone.svg").write_text("old")
    ran = polku("draw", "--all", "-d", SEEDS, "--out", tmp_path, "--check")
    assert ran.code == 1
    assert [line.split("/")[-1] for line in ran.err.splitlines()] == [
        "onboarding.svg; draw it anew, without --check",
        "gone.svg; draw it anew, without --check",
    ]
    assert (tmp_path / "onboarding.svg").read_text() == "old"


def test_draw_says_what_it_cannot_use(tmp_path: Path) -> None:
    """Exit code 2, in a line, with the way out."""
    for arguments, told in (
        ((), "say what to draw"),
        (("onboarding", "--all"), "say what to draw"),
        (("--all",), "--out, a folder"),
        (("onboarding", "--check"), "say which file"),
        (("onbording",), "did you mean 'onboarding'?"),
        ((tmp_path / "none.yaml",), "there is no file"),
        ((SEEDS / "journeys" / "onboarding_test.yaml",), "is no journey of its folder"),
        (("onboarding", "--out", SEEDS), "cannot be written"),
    ):
        ran = polku("draw", *arguments)
        assert ran.code == 2, arguments
        assert told in ran.err, arguments

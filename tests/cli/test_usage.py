"""Help, wrong usage and missing brokers: what a person meets first."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import typer

from streams.cli import app
from tests.cli.running import SEEDS, polku
from tests.support.kafka import ROOT

WIDTH = 80
NOBODY = "127.0.0.1:1"  # a port on which nothing listens


def commands() -> Iterator[tuple[tuple[str, ...], typer.core.TyperCommand]]:
    """Every command with its words."""
    group: typer.core.TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]
    for name, command in group.commands.items():
        if isinstance(command, typer.core.TyperGroup):
            for inner, each in command.commands.items():
                yield (name, inner), each  # type: ignore[misc]
        else:
            yield (name,), command  # type: ignore[misc]


COMMANDS = dict(commands())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_each_command_fits_and_shows_how(words: tuple[str, ...]) -> None:
    """It fits a terminal, and has an example that names what there is: commands, options, files of the seeds."""
    ran = polku(*words, "--help")
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= WIDTH
    examples = re.findall(r"^ +(?:Example: )?(?:\w+=\S+ |.*[|] )?polku (.*)$", ran.out, re.MULTILINE)
    assert any(tuple(example.split()[: len(words)]) == words for example in examples)
    for example in examples:
        if example.startswith("[OPTIONS]"):
            continue
        parts = example.split()
        known = next(each for each in (tuple(parts[:2]), tuple(parts[:1])) if each in COMMANDS)
        options = {name for parameter in COMMANDS[known].params for name in parameter.opts}
        assert {part for part in parts if re.fullmatch(r"--?\w[\w-]*", part)} <= options
        for part in parts:
            assert not part.startswith("seeds") or (ROOT / part).exists(), part


def test_the_list_of_commands_says_what_each_is_for() -> None:
    """One line each, none cut off."""
    ran = polku("--help")
    assert ran.code == 0
    assert "..." not in ran.out.split("Commands:")[1]
    assert ran.out.startswith("Usage: polku ")
    assert {words[0] for words in COMMANDS} <= set(ran.out.split())


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("fly",),
        ("check",),
        ("check", "--fast", "seeds"),
        ("check", "seeds", "more"),
        ("publish",),
        ("explain",),
        ("topics",),
        ("topics", "eat"),
        ("topics", "dump"),
        ("dlq", "replay", "now"),
        ("sinks",),
        ("sinks", "--config", "none.yaml"),
        ("worker", "--definitions", "none"),
        ("worker", "--embedded", "--bootstrap", NOBODY),
        ("worker", "--guarantee", "sometimes", "--bootstrap", NOBODY),
        ("topics", "list", "--prefix", "a b"),
        ("explain", "c-1", "--prefix", "a/b", "--bootstrap", NOBODY),
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    """Exit code 2, a word on stderr, nothing on stdout."""
    ran = polku(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err


def test_a_setting_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the environment variable that it comes from."""
    monkeypatch.setenv("POLKU_JOURNAL_PARTITIONS", "many")
    ran = polku("topics", "list")
    assert ran.code == 2
    assert "POLKU_JOURNAL_PARTITIONS" in ran.err


def test_topics_are_listed() -> None:
    """Every topic with its shape, without a broker; as JSON with its settings."""
    rows = {row["name"]: row for row in polku("topics", "list", "--prefix", "bank.", "--json").rows}
    assert rows["bank.touchpoints"]["partitions"] == 4
    assert rows["bank.suppressions"]["cleanup.policy"] == "compact"
    text = polku("topics", "list", "--prefix", "bank.").out
    assert [line.split()[0] for line in text.splitlines()] == list(rows)


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "c-1"),
        ("publish", SEEDS / "touchpoints" / "credit-card.jsonl"),
        ("publish", SEEDS),
        ("topics", "dump", "journal"),
        ("dlq", "list"),
        ("dlq", "replay", "--at", "0/1"),
    ],
    ids=lambda arguments: " ".join(map(str, arguments[:2])),
)
@pytest.mark.parametrize("address", [NOBODY, "::::", "127.0.0.1:99999"])
def test_a_missing_broker_is_said_at_once(arguments: tuple[object, ...], address: str) -> None:
    """One line with the address and the way out, exit code 2, no waiting."""
    began = time.monotonic()
    ran = polku(*arguments, "--bootstrap", address)
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1
    assert address in ran.err
    assert "--bootstrap" in ran.err
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("json", [(), ("--json",)], ids=["text", "json"])
def test_a_reader_that_goes_away_is_no_defect(json: tuple[str, ...]) -> None:
    """`polku … | head -1`: no traceback, no complaint."""
    arguments = ["simulate", "--events", "seeds/touchpoints/credit-card.jsonl", *json]
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; sys.stdin.readline(); from streams.cli import main; main(sys.argv[1:])",
            *arguments,
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.write(b"go\n")
    process.stdin.close()
    told = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) == 1
    assert "Traceback" not in told
    assert "BrokenPipe" not in told


@pytest.mark.parametrize("flags", [("--embedded",), ("--guarantee", "at_least_once")])
def test_several_processes_need_transactions(flags: tuple[str, ...]) -> None:
    """Without them nothing keeps two processes from writing the same."""
    ran = polku("worker", "--processes", "2", *flags)
    assert ran.code == 2
    assert "at_least_once is for one process" in ran.err


def test_several_processes_say_once_that_there_is_no_broker() -> None:
    """Before any member is started."""
    ran = polku("worker", "--processes", "3", "--bootstrap", NOBODY)
    assert ran.code == 1
    (line,) = ran.err.splitlines()
    said = json.loads(line)
    assert said["level"] == "error"
    assert NOBODY in said["problem"]
    assert "POLKU_BOOTSTRAP" in said["way_out"]
    assert ran.out == ""

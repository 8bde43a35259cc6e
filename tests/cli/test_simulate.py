"""simulate: the same computation from touchpoints and from a journal; and bad lines, before anything is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.codec import decode_touchpoint, encode_json
from schemas.journal import encode
from streams import journaldump
from streams.records import Record
from streams.simulator import Simulator
from tests.cli.running import SEEDS, Ran, polku
from tests.stories.telling import at, play, read, seeds
from tests.stories.test_fifty_touchpoints import SIX_WEEKS, THE_END

CARD = SEEDS / "touchpoints" / "credit-card.jsonl"


def dump(simulator: Simulator, path: Path) -> Path:
    """The journal of a simulation, in the form that `polku topics dump journal` has."""
    with path.open("wb") as file:
        for partition, entries in enumerate(simulator.journal):
            for offset, entry in enumerate(entries):
                key = getattr(entry, "profile", None)
                value = encode(entry)
                record = Record("journal", partition, offset, 0, key.encode() if key else None, value)
                file.write(journaldump.line(record, journaldump.decoder("journal")))
    return path


def published(ran: Ran) -> dict[str, list[Any]]:
    """The rows of `simulate --json` by kind, in an order of their own."""
    assert ran.code == 0, ran.err
    found: dict[str, list[Any]] = {}
    for row in ran.rows:
        found.setdefault(row["kind"], []).append(json.dumps(row, sort_keys=True))
    return {kind: sorted(rows) for kind, rows in found.items()}


def test_events_tell_the_sample_story() -> None:
    """A line a decision, in order of time, the counts on stderr."""
    ran = polku("simulate", "--events", CARD, "-d", SEEDS)
    assert ran.code == 0
    assert [line.split("  ", 2)[2].split(":")[0] for line in ran.out.splitlines()] == [
        "show_banner sent by web (banner=credit-card-incentive)",
        "send_reminder sent by email to visitor@example.com (resume-application)",
        "suppress_ads sent by ads (topic=credit-card)",
        "show_banner by web withdrawn",
        "send_reminder by email withdrawn",
        "send_message sent by email to visitor@example.com (mobile-app-onboarding)",
    ]
    assert ran.err == "4 actions, 6 decisions, 2 withdrawals, 2 profiles\n"


def test_events_and_journal_give_the_same(tmp_path: Path) -> None:
    """Six weeks played from touchpoints, and their dumped journal played again: the same rows, byte for byte."""
    simulator = play(read(SIX_WEEKS), THE_END)
    again = published(
        polku("simulate", "--journal", dump(simulator, tmp_path / "journal.jsonl"), "-d", SEEDS, "--json")
    )
    assert [json.loads(row)["action"] for row in again["action"]] == sorted(
        (msgspec.to_builtins(action) for action in simulator.actions),
        key=lambda each: json.dumps({"action": each}, sort_keys=True),
    )
    assert len(again["decision"]) == len(simulator.decisions)
    assert len(again["withdrawal"]) == len(simulator.withdrawals)
    assert {row["profile"]: row["state"] for row in map(json.loads, again["state"])} == {
        name: state.hex() for name, state in simulator.states().items()
    }


def test_simulate_events_plays_as_the_simulator_does(tmp_path: Path) -> None:
    """`--events --until` over a file gives what its dumped journal gives, whatever the count of partitions."""
    touchpoints = [decode_touchpoint(line) for line in CARD.read_bytes().splitlines()]
    until = "2026-04-20T00:00:00Z"
    ids = set()
    for partitions in (1, 4, 5):
        simulator = Simulator(seeds(), partitions)
        for each in touchpoints:
            simulator.touchpoint(each, each.occurred_at)
        simulator.advance_to(at("04-20 00:00:00"))
        options = ("--partitions", partitions, "--json", "-d", SEEDS)
        events = published(polku("simulate", "--events", CARD, "--until", until, *options))
        journal = published(polku("simulate", "--journal", dump(simulator, tmp_path / "j.jsonl"), *options))
        assert events == journal
        ids.add(tuple(sorted(json.loads(row)["action"]["action_id"] for row in events["action"])))
    assert len(ids) == 1


def test_stdin_is_a_file_called_dash() -> None:
    """`-` reads what is piped in."""
    lines = CARD.read_bytes()
    assert polku("simulate", "--events", "-", "-d", SEEDS, stdin=lines) == polku(
        "simulate", "--events", CARD, "-d", SEEDS
    )


GOOD = {
    "event_id": "e-1",
    "type": "page_viewed",
    "channel": "web",
    "occurred_at": 1772445600000,
    "identifiers": {"device": "d-1"},
    "properties": {},
}
BAD_LINES = [
    (b"{", "the JSON text ends too early"),
    (b"\xff\xfe", "not a JSON object"),
    (b"[]", "not a JSON object"),
    (b"\xc3\x01 avro", "not a JSON object"),
    (b'{"event_id": "e-1"}', "type: this field is required"),
    (encode_json(GOOD | {"occurred_at": "yesterday"}), "occurred_at: "),
    (encode_json(GOOD | {"identifiers": {"device": "null"}}), "identifiers.device: "),
    (encode_json(GOOD | {"identifiers": {"shoe": "42"}}), "identifiers"),
    (encode_json(GOOD | {"type": "customers_merged"}), "properties.from: "),
    (encode_json(GOOD | {"type": "customers_merged", "properties": {"from": "null", "into": "c-1"}}), "from"),
    (encode_json(GOOD | {"type": "consent_given"}), "properties.purpose: "),
    (encode_json(GOOD | {"surprise": 1}), "surprise"),
]


@pytest.mark.parametrize(("line", "rule"), BAD_LINES)
def test_a_bad_line_is_named(line: bytes, rule: str, tmp_path: Path) -> None:
    """File, line and the rule it breaks, before a broker is even looked for; blank lines do not count as bad ones."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(encode_json(GOOD) + b"\n\n" + line + b"\n")
    ran = polku("publish", path, "--bootstrap", "127.0.0.1:1")
    assert ran.code == 2
    assert ran.err.startswith(f"error: {path}:3: ")
    assert rule in ran.err
    assert len(ran.err.splitlines()) == 1


def test_simulate_names_bad_lines_too() -> None:
    """From stdin as from a file."""
    ran = polku("simulate", "--events", "-", "-d", SEEDS, stdin=encode_json(GOOD) + b"\n{}\n")
    assert ran.code == 2
    assert ran.err.startswith("error: -:2: ")


WRONG = [
    ((), "say what to play"),
    (("--events", CARD, "--journal", CARD), "say what to play"),
    (("--events", "none.jsonl"), "there is no file none.jsonl"),
    (("--journal", "none.jsonl"), "there is no file none.jsonl"),
    (("--events", CARD, "--until", "soon"), "not an ISO 8601 moment"),
    (("--events", CARD, "--until", "2026-03-02T12:00:00"), "say in which zone"),
    (("--journal", CARD, "--until", "2026-03-02T12:00:00Z"), "--until goes with --events"),
    (("--journal", CARD), f"{CARD}:1: not a line of a journal dump"),
    (("--events", CARD, "--partitions", "0"), "--partitions"),
    (("--events", CARD, "--partitions", "many"), "--partitions"),
    (("--events", CARD, "-d", "none"), "there is no such folder"),
]


@pytest.mark.parametrize(("options", "rule"), WRONG)
def test_wrong_usage_is_said_with_the_way_out(options: tuple[object, ...], rule: str) -> None:
    """Exit code 2, and nothing on stdout."""
    ran = polku("simulate", *options) if "-d" in options else polku("simulate", *options, "-d", SEEDS)
    assert (ran.code, ran.out) == (2, "")
    assert rule in ran.err


def test_a_journal_of_other_definitions_says_which_is_missing(tmp_path: Path) -> None:
    """A dump is replayed with the definitions that were in force, or not at all."""
    path = dump(play(read(""), "03-01 00:00:00"), tmp_path / "journal.jsonl")
    other = tmp_path / "bank"
    (other / "journeys").mkdir(parents=True)
    (other / "policy.yaml").write_text("policy: bank\nversion: 1\npurposes: {}\nchannels: {}\nactions: {}\n")
    ran = polku("simulate", "--journal", path, "-d", other)
    assert ran.code == 2
    assert "policy bank version 1 with fingerprint" in ran.err
    assert "--definitions" in ran.err


def test_a_dump_of_more_partitions_than_said(tmp_path: Path) -> None:
    """The count is read from the dump; a smaller one is refused."""
    path = dump(play(read(""), "03-01 00:00:00", partitions=5), tmp_path / "journal.jsonl")
    assert polku("simulate", "--journal", path, "-d", SEEDS).code == 0
    ran = polku("simulate", "--journal", path, "-d", SEEDS, "--partitions", 3)
    assert ran.code == 2
    assert "has 5 partitions, not 3" in ran.err

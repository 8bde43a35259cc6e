"""Whatever is handed to `polku`, it says what is wrong in words: no traceback, no defect, exit code 0, 1 or 2."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas.journal import encode
from tests.cli.running import polku
from tests.cli.test_usage import COMMANDS, NOBODY
from tests.stories.telling import play, read
from tests.stories.test_fifty_touchpoints import SIX_WEEKS, THE_END

LIGHT = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
QUIET = [words for words in COMMANDS if words[0] not in {"worker", "sinks", "demo"}]  # the others would start something
POLICY = "policy: bank\nversion: 1\npurposes: {}\nchannels: {}\nactions: {}\n"

words = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["--json", "--prefix", "-", "--", "-d", "--events", "--until", "--at", "0/0", "c-1"]),
)


@LIGHT
@given(words=st.sampled_from(QUIET), arguments=st.lists(words, max_size=4))
def test_any_arguments(words: tuple[str, ...], arguments: list[str]) -> None:
    """Arguments that nobody would type."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLKU_BOOTSTRAP", NOBODY)
        assert polku(*words, *(each.replace("\x00", "") for each in arguments)).code in {0, 1, 2}


@LIGHT
@given(content=st.binary(max_size=200))
@example(b"\x00")
@example(b"{" * 300)
@example(b"9" * 5000)
def test_any_file(content: bytes) -> None:
    """Bytes where touchpoints, a journal, definitions, tests and a configuration of sinks are expected."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "journeys").mkdir()
        for path in ("any", "policy.yaml", "journeys/a.yaml", "journeys/a_test.yaml"):
            (folder / path).write_bytes(content)
        for arguments in (
            ("publish", folder / "any", "-b", NOBODY),
            ("publish", folder, "-b", NOBODY),
            ("simulate", "--journal", folder / "any"),
            ("simulate", "--events", folder / "any", "-d", folder),
            ("check", folder),
            ("test", folder),
            ("sinks", "--config", folder / "any", "-b", NOBODY),
        ):
            assert polku(*arguments).code == 2 or not content.strip()


JOURNAL = [
    {"partition": partition, "offset": offset, "value": base64.b64encode(encode(entry)).decode()}
    for partition, entries in enumerate(play(read(SIX_WEEKS), THE_END, partitions=2).journal)
    for offset, entry in enumerate(entries)
    if msgspec.msgpack.decode(encode(entry))[0] != 10  # activations: without definitions nothing is refused for those
]
anything = st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5).map(repr))


@LIGHT
@given(
    rows=st.lists(st.sampled_from(JOURNAL), max_size=30),
    field=st.sampled_from(["partition", "offset", "value", "more"]),
    value=anything,
    flips=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 400), st.integers(0, 255)), max_size=4),
)
def test_any_journal(rows: list[dict[str, Any]], field: str, value: object, flips: list[tuple[int, int, int]]) -> None:
    """Lines of a real journal, left out, repeated, out of order, with a wrong field or wrong bytes."""
    lines = [dict(row) for row in rows]
    if lines:
        lines[-1][field] = value
    for index, position, byte in flips:
        if index < len(lines) and isinstance(lines[index]["value"], str):
            data = bytearray(base64.b64decode(rows[index]["value"]))
            data[position % len(data)] = byte
            lines[index]["value"] = base64.b64encode(data).decode()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "journeys").mkdir()
        (folder / "policy.yaml").write_text(POLICY)
        (folder / "dump").write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
        assert polku("simulate", "--journal", folder / "dump", "-d", folder).code in {0, 2}


def test_the_last_of_many_lines(tmp_path: Path) -> None:
    """A file of touchpoints of any length is checked to its end before anything is published."""
    line = b'{"event_id":"e","type":"t","channel":"web","occurred_at":1,"identifiers":{"device":"d"}}\n'
    (tmp_path / "events").write_bytes(line * 20_000 + b"?")
    ran = polku("publish", tmp_path / "events", "-b", NOBODY)
    assert ran.code == 2
    assert ":20001: not a JSON object" in ran.err

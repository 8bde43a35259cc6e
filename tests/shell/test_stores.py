"""The local store: the same as the one in memory, a true prefix after any crash, and built anew when it is no good."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rocksdict import Options, Rdict
from structlog.testing import capture_logs

from streams import stores, topics
from streams.engine.partition import Output
from streams.engine.profile import Profile, encode
from streams.engine.step import Step
from streams.engine.store import META_KEY, MemoryStore, Timer
from streams.stores import FORMAT, Resources, RocksStore, StoreBusy, StoreDamaged, StoreError, StoreFailed
from tests.engine.effort import examples
from tests.support.kafka import ROOT

ANEW = "a local store is built anew from the changelog"
FOR_EVER = 1 << 62
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def _state(name: str, wake: int, number: int = 0) -> bytes:
    return encode(Profile(1, name, wake=wake, offset=number))


def _output(states: dict[str, int], number: int, meta: bytes | None = None, gone: tuple[Timer, ...] = ()) -> Output:
    """What a commit changes: profiles with the times of their timers, and timers that do not stand any more."""
    timers = dict.fromkeys(gone, False) | {(wake, name): True for name, wake in states.items() if wake}
    return Output(Step(), {name: _state(name, wake, number) for name, wake in states.items()}, meta, states, timers)


def _fill(store: RocksStore, profiles: int = 2000, commits: int = 10) -> None:
    for number in range(commits):
        mine = range(number, profiles, commits)
        store.write(_output({f"customer:{n}": 1000 + n for n in mine}, number, b"meta"), (number + 1) * 100)


# ---- as the one in memory


def test_profiles_are_scanned_in_order(tmp_path: Path) -> None:
    """Page by page behind a name, in the order of bytes, without what is the store's own."""
    names = ["customer:a", "customer:b", "customer:\u00e4", "customer:\U0001f600", "device:1", "email:x@example.com"]
    for store in (RocksStore(tmp_path / "store", "topic"), MemoryStore()):
        store.write(_output(dict.fromkeys(reversed(names), 7), 1, b"meta"), 100)
        found: list[tuple[str, bytes]] = []
        while page := store.scan(found[-1][0] if found else "", 4):
            found += page
        assert found == [(name, _state(name, 7, 1)) for name in names]
        store.close()


@examples(60)
@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from(["write", "ingest"]),
                st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 20), max_size=4),
            ),
            st.tuples(st.just("due"), st.integers(0, 22)),
            st.tuples(st.just("page"), st.integers(0, 22), st.integers(0, 22), st.sampled_from("abcdef")),
            st.tuples(st.just("reopen")),
        ),
        max_size=14,
    )
)
def test_it_holds_what_the_store_in_memory_holds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]]
) -> None:
    """States, alarms and timers in order, through commits, recovery and restarts."""
    path = tmp_path_factory.mktemp("stores") / "0"
    rocks, memory, resources = RocksStore(path, "t"), MemoryStore(), Resources()
    for number, (what, *arguments) in enumerate(steps):
        if what == "write":
            former = [(memory.load(name) or (b"", 0))[1] for name in arguments[0]]
            gone = tuple(zip(former, arguments[0], strict=True))
            for store in (rocks, memory):
                store.write(_output(arguments[0], number, b"m%d" % number, gone), number)
        elif what == "ingest":
            given: list[tuple[bytes, bytes | None]] = [(META_KEY, b"i%d" % number)]
            given += [
                (name.encode(), _state(name, wake) if wake != 20 else None) for name, wake in arguments[0].items()
            ]
            for store in (rocks, memory):
                store.ingest(given, number)
        elif what == "due":
            assert rocks.due(None, arguments[0], 3) == memory.due(None, arguments[0], 3)
        elif what == "page":
            after = arguments[0], arguments[2]
            assert rocks.due(after, arguments[1], 2) == memory.due(after, arguments[1], 2)
        else:
            rocks.close()
            rocks = RocksStore(path, "t", resources)
        assert {name: rocks.load(name) for name in "abcdef"} == {name: memory.load(name) for name in "abcdef"}
        assert (rocks.offset, rocks.meta) == (memory.offset, memory.meta)
    assert sorted(rocks.items()) == sorted(memory.items())
    assert rocks.due(None, FOR_EVER, 100) == memory.due(None, FOR_EVER, 100)
    rocks.close()
    shutil.rmtree(path)


def test_a_bulk_may_leave_timers_that_nobody_stands_behind(tmp_path: Path) -> None:
    """Of versions of a state in one bulk the last counts; what an earlier bulk left is dropped when it is due."""
    store = RocksStore(tmp_path / "0", "t")
    store.ingest([(b"a", _state("a", 5)), (b"a", _state("a", 7)), (b"b", _state("b", 6))], 3, bulk=True)
    assert store.due(None, FOR_EVER, 10) == [(6, "b"), (7, "a")]
    store.ingest([(b"a", _state("a", 9))], 4, bulk=True)
    assert store.due(None, FOR_EVER, 10) == [(6, "b"), (7, "a"), (9, "a")]
    store.ingest([(b"a", _state("a", 0)), (b"b", None)], 5)
    assert store.due(None, FOR_EVER, 10) == [(7, "a")]
    assert (store.load("a"), store.load("b"), store.offset) == ((_state("a", 0), 0), None, 5)
    store.close()


def test_timers_that_are_gone_are_not_looked_through_again(tmp_path: Path) -> None:
    """Where the first timer stands is known, also when an earlier one comes."""
    store = RocksStore(tmp_path / "0", "t")
    store.write(_output({f"c{n}": 100 + n for n in range(50)}, 1), 1)
    assert store.due(None, 99, 10) == []
    assert store._floor == 100
    store.write(_output({}, 2, gone=tuple((100 + n, f"c{n}") for n in range(40))), 2)
    assert store.due(None, 145, 2) == [(140, "c40"), (141, "c41")]
    assert store._floor == 140
    store.write(_output({"early": 7}, 3), 3)
    assert store.due(None, 140, 5) == [(7, "early"), (140, "c40")]
    store.write(_output({}, 4, gone=((7, "early"), *((100 + n, f"c{n}") for n in range(40, 50)))), 4)
    assert (store.due(None, FOR_EVER, 5), store._floor) == ([], stores._NEVER)
    store.close()


# ---- crashes


WRITER = """
    import sys
    from pathlib import Path
    from streams.stores import Resources, RocksStore
    from tests.shell.test_stores import _output

    store = RocksStore(Path(sys.argv[1]), "t", Resources(1 << 20, 1 << 18))
    number = 0
    while True:
        number += 1
        names = [f"customer:{(number * 31 + n * 7) % 997}" for n in range(20)]
        store.write(_output({name: 10 * number + 1 for name in names}, number), number)
        if number == 300:
            print("going", flush=True)
"""


def _expected(offset: int) -> dict[str, tuple[bytes, int]]:
    found = {}
    for number in range(1, offset + 1):
        for n in range(20):
            name = f"customer:{(number * 31 + n * 7) % 997}"
            found[name] = _state(name, 10 * number + 1, number), 10 * number + 1
    return found


def test_killed_amid_its_writes_it_is_a_prefix(tmp_path: Path) -> None:
    """States, timers and offset of the same moment, although there is no log of writes."""
    path = tmp_path / "0"
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env=ENVIRONMENT) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == b"going\n"
        time.sleep(random.Random().uniform(0, 0.3))
        one.send_signal(signal.SIGKILL)
    store = RocksStore(path, "t")
    expected = _expected(store.offset)
    assert store.offset > 0
    assert {name: store.load(name) for name, _ in store.items()} == expected
    standing = set(store.due(None, FOR_EVER, 1_000_000))
    assert {(alarm, name) for name, (_, alarm) in expected.items()} <= standing
    assert max(due for due, _ in standing) == 10 * store.offset + 1, "no timer of a later write"
    store.close()


FULL = """
    import resource, sys
    from pathlib import Path
    from streams.stores import Resources, RocksStore, StoreFailed
    from tests.shell.test_stores import _output

    store = RocksStore(Path(sys.argv[1]), "t", Resources(1 << 20, 1 << 18))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    number = 0
    try:
        while number < 100_000:
            number += 1
            store.write(_output({f"customer:{number}-{n}": 10 * number + 1 for n in range(20)}, number), number)
    except StoreFailed as error:
        assert store.failed
        store.close()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        store = RocksStore(Path(sys.argv[1]), "t")
        assert store.offset < number
        assert sum(1 for _ in store.items()) == 20 * store.offset
        store.write(_output({"customer:last": 1}, 1), number)
        store.close()
        print("failed, and went on", error)
"""


def test_a_full_disk_fails_and_is_overcome(tmp_path: Path) -> None:
    """What was written before stays; opened again with room on the disk, it goes on."""
    command = [sys.executable, "-c", textwrap.dedent(FULL), str(tmp_path / "0")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.stdout.startswith("failed, and went on"), done.stderr
    assert ANEW not in done.stdout + done.stderr
    store = RocksStore(tmp_path / "0", "t")
    assert store.load("customer:last") == (_state("customer:last", 1, 1), 1)
    store.close()


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    """Whoever comes second is told, and may come again."""
    store = RocksStore(tmp_path / "0", "t")
    _fill(store, 20, 1)
    with capture_logs() as said, pytest.raises(StoreBusy, match="POLKU_DATA_DIR"):
        RocksStore(tmp_path / "0", "t")
    store.close()
    again = RocksStore(tmp_path / "0", "t")
    assert (again.offset, said) == (100, [])
    again.close()


# ---- what is no good


def _stored(path: Path) -> dict[str, tuple[bytes, int] | None]:
    store = RocksStore(path, "t")
    _fill(store)
    store.close()
    store = RocksStore(path, "t")
    found = {name: store.load(name) for name, _ in store.items()}
    store.close()
    assert len(found) == 2000
    return found


def _flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _cut(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def _remove(path: Path, _: random.Random) -> None:
    path.unlink()


def _empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


TURNS = 5
HARMS = {"flipped": _flip, "cut": _cut, "removed": _remove, "emptied": _empty}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("pattern", ["*.sst", "MANIFEST-*", "CURRENT"])
def test_damage_is_noticed_and_the_store_is_built_anew(tmp_path: Path, pattern: str, harm: str) -> None:
    """At the opening or when it is read; what is read meanwhile is what was written; the log has one line."""
    chance = random.Random(f"{pattern}{harm}")
    template = tmp_path / "whole"
    expected = _stored(template)
    noticed = 0
    for turn in range(TURNS):
        path = tmp_path / str(turn)
        shutil.copytree(template, path)
        HARMS[harm](chance.choice(sorted(path.glob(pattern))), chance)
        with capture_logs() as said:
            store = RocksStore(path, "t")
            try:
                # An older store, as it was before a flush, is a good one as well.
                states = {f"customer:{n}": store.load(f"customer:{n}") for n in range(2000)}
                timers = store.due(None, FOR_EVER, 10_000)
                assert [name for name, state in states.items() if state not in (None, expected[name])] == []
                assert sum(state is not None for state in states.values()) == 2 * store.offset == len(timers)
            except StoreDamaged:
                assert store.failed
            store.close()
            anew = RocksStore(path, "t")
            assert (anew.offset, said) in ((1000, []), (0, [said[0]] if said else []))
            anew.close()
        assert [(line["event"], line["log_level"]) for line in said] in ([], [(ANEW, "warning")])
        noticed += len(said)
        shutil.rmtree(path)
    assert noticed >= (1 if (pattern, harm) == ("MANIFEST-*", "cut") else TURNS - 1), "most damage is to what is read"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("another topic", "it is a copy of another topic"),
        ("another format", "its format is 1, not 2"),
        ("no format", "its format is not known, not 2"),
        ("too old", "it was last written too long ago"),
    ],
)
def test_a_store_of_something_else_is_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, reason: str
) -> None:
    """And the log says why, in one line."""
    assert FORMAT == b"2"
    path = tmp_path / "0"
    if what == "no format":
        with Rdict(str(path), Options(raw_mode=True)) as old:
            old[b"\x00topic"], old[b"customer:a"] = b"t", b"state"
    else:
        if what == "another format":
            monkeypatch.setattr(stores, "FORMAT", b"1")
        if what == "too old":
            monkeypatch.setattr(stores, "_now", lambda: int(time.time() * 1000) - topics.DELETE_RETENTION // 2 - 1)
        store = RocksStore(path, "other" if what == "another topic" else "t")
        _fill(store, 20, 1)
        store.close()
        monkeypatch.undo()
    with capture_logs() as said:
        store = RocksStore(path, "t")
    assert said == [{"event": ANEW, "log_level": "warning", "part": "store", "path": str(path), "reason": reason}]
    assert (store.offset, store.meta, list(store.items()), store.due(None, FOR_EVER, 9)) == (0, None, [], [])
    store.close()


def test_a_store_nearly_too_old_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute less than half of what tombstones stay for."""
    monkeypatch.setattr(stores, "_now", lambda: int(time.time() * 1000) - topics.DELETE_RETENTION // 2 + 60_000)
    store = RocksStore(tmp_path / "0", "t")
    _fill(store, 20, 1)
    store.close()
    monkeypatch.undo()
    with capture_logs() as said:
        store = RocksStore(tmp_path / "0", "t")
    assert (store.offset, said) == (100, [])
    store.close()


def test_errors_of_the_machine_are_no_damage(tmp_path: Path) -> None:
    """Nothing is deleted because a disk is full, or a folder is called by an unlucky name."""
    store = RocksStore(tmp_path / "clock-corruption", "t")
    kinds: list[tuple[str, type[StoreError]]] = [
        ("IO error: No space left on device: While appending to file: /clock/corruption/1.sst: ", StoreFailed),
        ("IO error: While open a file for appending: /x: Too many open files", StoreFailed),
        ("IO error: While lock file: /x/LOCK: Resource temporarily unavailable", StoreBusy),
        ("Corruption: block checksum mismatch: stored = 1, computed = 2", StoreDamaged),
        ("IO error: No such file or directory: While open a file for random read: /x/1.sst", StoreDamaged),
    ]
    assert [type(store._translated(Exception(text))) for text, _ in kinds] == [kind for _, kind in kinds]
    store._damage = ""
    store.close()
    assert (tmp_path / "clock-corruption").exists()

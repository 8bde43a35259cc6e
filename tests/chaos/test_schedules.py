"""A few schedules of faults, fixed, in every run of the tests; `make chaos` plays as many as one likes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.cluster import Cluster
from tests.chaos.faults import FAULTS
from tests.chaos.programs import without_fencing
from tests.chaos.run import Results, hits
from tests.chaos.schedules import EACH, Result, faults_of, play
from tests.chaos.stage import Stage
from tests.conftest import fresh, give_up
from tests.support import oracle
from tests.support.faults import ends, written
from tests.support.installation import until
from tests.support.kafka import KafkaMissing

FIXED = [
    [
        "kill -9 of the sinks",
        "kill -9 of one worker",
        "SIGSTOP past the session, then SIGCONT",
        "poison entries",
        "network cut",
    ],
    [
        "definition activated",
        "kill -9 of all workers",
        "broker kill -9",
        "disk full under the store",
        "worker leaves",
    ],
]
# Seconds. Without a successor that ends it, what a zombie left open lasts until its time-out.
LONG = 40.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A broker that the schedules of this module may kill."""
    cluster = Cluster(fresh("chaos"))
    try:
        cluster.__enter__()
    except KafkaMissing as error:
        give_up(error)
    try:
        yield cluster
    finally:
        cluster.__exit__()


@pytest.mark.parametrize("names", FIXED, ids=["first", "second"])
def test_nothing_missing_nothing_twice(cluster: Cluster, tmp_path: Path, names: list[str]) -> None:
    """After these faults the oracle finds nothing wrong, and each struck while a transaction was open."""
    result = play(Stage(cluster, tmp_path / "schedule", FIXED.index(names)), names)
    assert result.failure is None, result.failure
    assert all(result.hits[name] > 0 for name in names)


def test_without_fencing_the_oracle_complains(cluster: Cluster, tmp_path: Path) -> None:
    """A zombie that nobody keeps out writes what its successor has written too: the schedules would notice."""
    stage = Stage(cluster, tmp_path / "schedule", 0, (without_fencing,))
    stage.options["transaction_timeout"] = LONG
    result = play(stage, ["SIGSTOP past the session, then SIGCONT"])
    assert result.hits
    assert result.failure is not None
    assert "oracle.check(found)" in result.failure, result.failure


def test_a_clock_ahead_does_not_carry_time_with_it(cluster: Cluster, tmp_path: Path) -> None:
    """Time enters the journal by the brokers' clock: a worker's may be a day ahead, it serves, and no mark lies."""
    stage = Stage(cluster, tmp_path / "schedule", 0)
    try:
        stage.seats[0].clock.step(86_400)
        stage.start(stage.seats[0])
        stage.all_serve()
        admin, (watched, *_) = stage.installation.admin, written(stage.installation)
        before = ends(admin, [watched])
        until(lambda: ends(admin, [watched])[watched] > before[watched] + 10, 20, lambda: "marks")
        with stage.flow() as traffic:
            traffic.finish(400)
        stage.installation.settle()
        assert stage.stop() == [0]
        oracle.check(oracle.dump(stage.installation.settings, stage.definitions, admin))
    finally:
        stage.clear()


def test_seeds_deal_out_every_fault_alike() -> None:
    """Whatever seeds follow each other, each fault comes as often as any other, and none twice in a schedule."""
    for first in (0, 1, 77):
        dealt = [faults_of(seed) for seed in range(first, first + 10 * len(FAULTS))]
        assert all(len(set(names)) == EACH for names in dealt)
        times = [sum(name in names for names in dealt) for name in FAULTS]
        assert min(times) >= 10 * EACH - 6
        assert max(times) <= 10 * EACH + 6
    assert faults_of(5) == faults_of(5) != faults_of(6)


def test_what_was_played_well_is_not_played_again(tmp_path: Path) -> None:
    """Results go on from those of the same code; what failed is played again, and another code begins anew."""
    path = tmp_path / "chaos.json"
    results = Results(path, "this code")
    results.add(Result(1, ["poison entries"], {"poison entries": 3}))
    results.add(Result(2, ["poison entries"], {"poison entries": 2}, failure="AssertionError"))
    again = Results(path, "this code")
    assert [again.played(seed) for seed in (1, 2, 3)] == [True, False, False]
    assert hits(list(again.rows.values()))["poison entries"] == 1, "a failed schedule shows nothing"
    assert not Results(path, "another code").played(1)

"""Timers by local times, working time and dates, over random logs: never early, once for a day, the same whatever cuts.

Dates, zones and variables come, move to earlier and later, and go; customers merge; policies change the calendar.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.journal import Activate
from schemas.policy import Policy
from streams.engine.localtime import day_of, local, zone_of
from streams.engine.profile import decode
from streams.engine.step import Transition
from streams.simulator import Simulator
from tests.engine.effort import examples
from tests.engine.making import DAY, HOUR, POLICY, START, Shop, journey, library
from tests.properties.logs import run

ZONES = ["Europe/Helsinki", "America/New_York", "Australia/Lord_Howe", "Nowhere/Land"]
DATES = ["2026-03-01", "2026-03-03", "2026-03-04", "2026-03-05T12:00:00Z", "2026-03-10", "soon", None, "2026-04-01"]


def policy(version: int, **more: Any) -> Policy:
    """The shop's policy in another zone, or with another calendar."""
    return Policy.model_validate(POLICY.model_dump(by_alias=True, exclude_defaults=True) | {"version": version} | more)


def _says(text: str, **more: Any) -> dict[str, Any]:
    return {**more, "do": [{"stop_ads": {"say": text}}]}


TIMED = journey(
    "timed",
    {
        "one": [
            _says("clock", at="09:00"),
            _says("weekday", at="wednesday 23:30"),
            _says("later", after="1d at 02:30"),
            _says("working", after="5 working hours"),
            _says("workdays", after="1 working day at 10:00"),
            _says("dated", at="1d before traits.renewal 09:00"),
            _says("sent", at="vars.sent 12:00"),
            _says("born", at="each traits.born 08:00"),
            _says("silence", after="2d of silence"),
            {"when": "said", "set": {"sent": "event.sent"}},
            {"when": "go", "to": "two"},
        ],
        "two": [{"at": "09:00", "to": "one"}, {"at": "traits.renewal 10:00", "to": "one"}, {"when": "go", "to": "one"}],
    },
    enter={"when": "hello"},
)
KNOWN = library(
    TIMED,
    policy(1),
    policy(2, time_zone="Europe/Helsinki", calendar={"holidays": ["2026-03-03"]}),
    policy(3, time_zone="Asia/Tokyo", calendar={"working": {"wednesday": "00:00-24:00", "friday": "13:00-14:00"}}),
)
SAID = st.one_of(
    st.tuples(st.just("profile_updated"), st.fixed_dictionaries({"renewal": st.sampled_from(DATES)})),
    st.tuples(st.just("profile_updated"), st.fixed_dictionaries({"born": st.sampled_from(["1980-03-04", "03-02"])})),
    st.tuples(st.just("profile_updated"), st.fixed_dictionaries({"time_zone": st.sampled_from(ZONES)})),
    st.tuples(st.just("said"), st.fixed_dictionaries({"sent": st.sampled_from(DATES)})),
    st.tuples(st.sampled_from(["hello", "hello", "go", "anything"]), st.just({})),
    st.tuples(st.just("policy"), st.fixed_dictionaries({"version": st.sampled_from([2, 3])})),
)
LOGS = st.lists(
    st.tuples(
        SAID,
        st.sampled_from([0, HOUR, 7 * HOUR, DAY, 3 * DAY]),
        st.sampled_from(["customer:ann", "customer:ann", "device:d", "customer:ann,device:d"]),
        st.sampled_from([0, 0, HOUR, 2 * DAY]),
    ),
    max_size=25,
)


def _play(log: list[Any]) -> Simulator:
    """Everybody's word at its time; then two months pass."""
    shop = Shop()
    simulator = shop.simulator = Simulator(KNOWN, 1, activate=False)
    for kind, name, version in (("policy", "shop", 1), ("journey", "timed", 1)):
        simulator.broadcast(Activate(kind, name, version, f"fingerprint-{version}"))
    at = 0
    for (kind, said), later, who, late in log:
        at += later
        if kind == "policy":
            simulator.advance_to(START + at)
            simulator.broadcast(Activate("policy", "shop", said["version"], f"fingerprint-{said['version']}"))
        else:
            shop.see(kind, at, ids=who, late=late, **said)
    shop.wait(at + 60 * DAY)
    return simulator


@examples(60)
@given(LOGS)
def test_the_same_bytes_whatever_cuts_the_journal(log: list[Any]) -> None:
    """Batches, caches that are dropped, restarts after every entry: timers move and fire the same."""
    simulator = _play(log)
    for index, entries in enumerate(simulator.journal):
        whole = run(entries, index, 1, KNOWN, collect=lambda _: False)
        assert run(entries, index, 1, KNOWN, collect=lambda _: True, trim=True) == whole
        assert run(entries, index, 1, KNOWN, collect=lambda _: False, restart=lambda _: True) == whole
        assert run(entries, index, 1, KNOWN, collect=lambda at: at % 3 == 2, trim=True) == whole


@examples(60)
@given(LOGS)
def test_each_fires_once_in_a_visit_and_a_date_once_for_its_day(log: list[Any]) -> None:
    """Of one visit each action of a local time or of working time is the first of its kind; of a date, one for each."""
    simulator = _play(log)
    visits: Counter[tuple[str, str]] = Counter()
    events: list[tuple[int, int, Any]] = sorted(
        [(each.at, 0, each) for each in simulator.published.transitions]
        + [(each.proposed_at, 1, each) for each in simulator.actions],
        key=lambda item: item[:2],
    )
    for _, _, each in events:
        if isinstance(each, Transition):
            if each.to_stage == "one":
                visits = Counter({key: count for key, count in visits.items() if key[0] != each.instance})
        else:
            visits[each.instance_id, each.params["say"]] += 1
            if each.params["say"] in ("clock", "weekday", "later", "working", "workdays"):
                assert visits[each.instance_id, each.params["say"]] == 1, each.params["say"]


@examples(60)
@given(LOGS)
def test_what_is_due_is_to_come_and_known_to_the_store(log: list[Any]) -> None:
    """At rest nobody is to be woken for what has passed, and everybody who is to be woken is found."""
    simulator = _play(log)
    (partition,), (store,) = simulator.partitions, simulator.stores
    for name, state in simulator.states().items():
        profile = decode(state)
        assert not 0 < profile.wake <= partition.watermark
        if profile.wake:
            assert any(who == name and due <= profile.wake for due, who in store.due(None, profile.wake, 1000))


@examples(60)
@given(LOGS)
def test_a_date_fires_on_its_day(log: list[Any]) -> None:
    """By the clock of a customer whose zone nothing changes, at the very minute and on the very day."""
    quiet = [each for each in log if "time_zone" not in each[0][1] and each[0][0] != "policy"]
    simulator = _play(quiet)
    hours = {"clock": (9, 0), "weekday": (23, 30), "later": (2, 30), "workdays": (10, 0), "dated": (9, 0)}
    hours |= {"sent": (12, 0), "born": (8, 0)}
    days = {day_of(value) for value in DATES}
    for action in simulator.actions:
        profile = simulator.profile(action.profile)
        assert profile is not None
        shown = local(action.proposed_at, zone_of(profile, "UTC"))
        if (say := str(action.params["say"])) in hours:
            assert (shown.hour, shown.minute) == hours[say]
        if say == "sent":
            assert shown.date() in days

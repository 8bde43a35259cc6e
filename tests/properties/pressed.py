"""One shop, some customers, and everything that presses: a state machine, and a checker that counts for itself.

The checker knows the journal's order, the definitions as people read them, and what was published. Of the engine's own
state it reads only, at the end, what still waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.engine.making import DAY, HOUR, MINUTE, START, Shop
from tests.engine.pressing import OTHER, TALK, become_one, policy

if TYPE_CHECKING:
    from schemas.action import Action
    from schemas.decision import Decision

PARTS: dict[str, Any] = {
    "time_zone": "Europe/Helsinki",
    "caps": {
        "weekly": {"at_most": 4, "within": "7d", "purpose": "marketing"},
        "daily": {"at_most": 3, "within": "day"},
        "subject": {"at_most": 1, "within": "36h", "per": "topic"},
        "mails": {"at_most": 2, "within": "24h", "channel": "email"},
    },
    "distances": {"breath": {"least": "1h", "purpose": "marketing"}},
    "quiet": {
        "night": {"hours": "21:00-08:00", "channels": ["email", "sms"]},
        "sunday": {"days": ["sunday"], "purposes": ["marketing"]},
    },
    "holds": {
        "complaint": {"begins": "complaint_opened", "ends": "complaint_closed", "holds": ["marketing"]},
        "bought": {
            "begins": "order_placed",
            "lasts": "2h",
            "case": "product",
            "matching": "topic",
            "holds": ["marketing"],
            "then": "drop",
        },
    },
}
POLICY = policy(**PARTS)
PEOPLE = ("ann", "bea", "cat")
ZONES = ("America/New_York", "Australia/Lord_Howe", "Asia/Tokyo")
GIVES_BACK = ("failed", "bounced", "expired", "missed")
GAPS = (1, MINUTE, HOUR, 3 * HOUR, 9 * HOUR, DAY, 2 * DAY)


@dataclass(slots=True)
class Sent:
    """One action as the checker follows it: `back` when its slot was given back."""

    at: int
    decision: Decision
    action: Action
    zone: str = ""
    back: bool = False
    settled: bool = False

    @property
    def topic(self) -> str:
        """What it is about."""
        return str(self.action.params.get("topic") or "")


class PressedCustomers(RuleBasedStateMachine):
    """Customers are told things, complain, buy, move, change their minds, and turn out to be one another."""

    @initialize()
    def begin(self) -> None:
        """All agree to everything; two have a telephone."""
        self.shop = Shop(TALK, OTHER, POLICY, partitions=1)
        self.now = 0
        self.read = 0
        self.lawful = True
        self.sent: dict[str, Sent] = {}
        self.one = {name: name for name in PEOPLE}
        self.words: list[tuple[int, str, bool]] = []
        self.zones: list[tuple[int, str, str]] = []
        self.cases: list[tuple[int, str, str, str]] = []
        self.count = 0
        for name in PEOPLE:
            for purpose in ("marketing", "personalisation"):
                self._see(name, "consent_given", 1, purpose=purpose)
            self.words.append((self.now, name, True))
            self._see(name, "profile_updated", 1, email=f"{name}@example.com")
            self._see(name, "hello", 1)
        self._see("ann", "profile_updated", 1, phone="+358")

    def _see(self, name: str, kind: str, gap: int, **more: Any) -> None:
        self._pass(gap)
        self.shop.see(kind, self.now, ids=f"customer:{name}", **more)
        self._check()

    def _pass(self, gap: int) -> None:
        self.now += gap
        self.shop.wait(self.now)
        self._check()

    def _who(self, name: str) -> str:
        while self.one[name] != name:
            name = self.one[name]
        return name

    def _same(self, profile: str, name: str) -> bool:
        return self._who(profile.partition(":")[2]) == self._who(name)

    # ---- what happens

    @rule(who=st.sampled_from(PEOPLE), gap=st.sampled_from(GAPS), topic=st.sampled_from(["cards", "loans", None]),
          kind=st.sampled_from(["say", "say", "say_urgent", "say_soon", "say_sms", "tell", "show"]))  # fmt: skip
    def tell(self, who: str, gap: int, topic: str | None, kind: str) -> None:
        """The shop wants to say something."""
        self.count += 1
        more = {"topic": topic} if topic else {}
        self._see(who, kind, gap, text=f"{self.count}", **more)

    @rule(who=st.sampled_from(PEOPLE), count=st.integers(3, 6))
    def tell_much(self, who: str, count: int) -> None:
        """It wants to say much at once."""
        for _ in range(count):
            self.tell(who, 1, None, "say")

    @rule(gap=st.sampled_from(GAPS))
    def wait(self, gap: int) -> None:
        """Time passes."""
        self._pass(gap)

    @rule(who=st.sampled_from(PEOPLE), case=st.sampled_from(["1", "2"]), gap=st.sampled_from(GAPS),
          kind=st.sampled_from(["complaint_opened", "complaint_closed"]))  # fmt: skip
    def complain(self, who: str, case: str, gap: int, kind: str) -> None:
        """A complaint is opened or closed."""
        self.cases.append((self.now + gap, who, kind, case))
        self._see(who, kind, gap, case_id=case)

    @rule(who=st.sampled_from(PEOPLE), product=st.sampled_from(["cards", "loans"]), gap=st.sampled_from(GAPS))
    def buy(self, who: str, product: str, gap: int) -> None:
        """What a message may be about is bought."""
        self.cases.append((self.now + gap, who, "order_placed", product))
        self._see(who, "order_placed", gap, product=product)

    @rule(who=st.sampled_from(PEOPLE), product=st.sampled_from(["cards", "loans"]))
    def buy_what_they_are_told_of(self, who: str, product: str) -> None:
        """At once: what is on its way must not arrive, what waits must not come."""
        self.tell(who, 1, product, "say")
        self.buy(who, product, MINUTE)

    @rule(who=st.sampled_from(PEOPLE), case=st.sampled_from(["1", "2"]))
    def complain_of_what_they_are_told(self, who: str, case: str) -> None:
        """At once, and before it can arrive."""
        self.tell(who, 1, None, "tell")
        self.complain(who, case, MINUTE, "complaint_opened")
        self.deliver(0, 1, None)

    @rule(who=st.sampled_from(PEOPLE), zone=st.sampled_from(ZONES), gap=st.sampled_from(GAPS))
    def move(self, who: str, zone: str, gap: int) -> None:
        """A customer is somewhere else."""
        self.zones.append((self.now + gap, who, zone))
        self._see(who, "profile_updated", gap, time_zone=zone)

    @rule(who=st.sampled_from(PEOPLE), given=st.booleans(), gap=st.sampled_from(GAPS))
    def decide(self, who: str, given: bool, gap: int) -> None:  # noqa: FBT001 - drawn
        """A customer changes their mind."""
        self.words.append((self.now + gap, who, given))
        self._see(who, "consent_given" if given else "consent_withdrawn", gap, purpose="marketing")

    @rule(who=st.sampled_from(PEOPLE), gap=st.sampled_from(GAPS))
    def leave(self, who: str, gap: int) -> None:
        """A journey ends, and may begin again."""
        self._see(who, "done", gap)
        self._see(who, "hello", 1)

    @rule(who=st.sampled_from(PEOPLE), into=st.sampled_from(PEOPLE), gap=st.sampled_from(GAPS))
    def become_one(self, who: str, into: str, gap: int) -> None:
        """Two customers turn out to be one."""
        if self._who(who) == self._who(into):
            return
        self._pass(gap)
        mine, theirs = sorted((self._who(who), self._who(into)))
        self.one[theirs] = mine
        become_one(self.shop, self.now, who, into)
        self._check()

    @rule(number=st.integers(0, 5), gap=st.sampled_from(GAPS), fails=st.sampled_from([None, None, *GIVES_BACK]))
    def deliver(self, number: int, gap: int, fails: str | None) -> None:
        """A sink takes one that is not settled: it asks what sinks ask, and then delivers, or fails."""
        waiting = [each for each in self.sent.values() if not each.settled]
        if not waiting:
            return
        self._pass(gap)
        one = waiting[-1 - number % len(waiting)]
        action = one.action
        at = START + self.now
        if action.action_id in {each.action_id for each in self.shop.simulator.withdrawals}:
            kind = "withdrawn"
        elif action.expires_at <= at:
            kind = "expired"
        elif action.quiet_from is not None and action.quiet_from <= at:
            kind = "missed"
        else:
            kind = fails or "delivered"
            self.lawful = False
            self._allowed(one, self.now)
            assert not self._quiet(one, self.now, zone=one.zone), "delivered in quiet hours"
            self.lawful = True
        one.settled, one.back = True, kind != "delivered"
        self.shop.outcome(action, kind, self.now)
        self._check()

    # ---- the laws

    def _check(self) -> None:
        """Follow what was decided since, in its order."""
        decisions = self.shop.simulator.decisions
        actions = {each.action_id: each for each in self.shop.actions[-60:]}
        for decision in decisions[self.read :]:
            assert decision.action_id is not None or decision.verdict in {"merged", "ended", "ignored"}
            if decision.verdict == "withdrawn" and not self.sent[str(decision.action_id)].settled:
                self.sent[str(decision.action_id)].back = True
            elif decision.verdict == "sent" and decision.action_id is not None:
                assert decision.action_id not in self.sent, "sent twice"
                one = Sent(decision.at - START, decision, actions[decision.action_id])
                one.zone = self._zone(one, one.at)
                self.lawful = False
                self._lawful(one)
                self.lawful = True
                self.sent[decision.action_id] = one
        self.read = len(decisions)

    def _lawful(self, one: Sent) -> None:
        assert one.action.basis == "consent"
        self._allowed(one, one.at)
        self._below_caps(one)
        self._apart(one)
        assert not self._quiet(one, one.at, zone=one.zone), "sent in quiet hours"
        self._says_when_quiet_begins(one)
        assert one.action.expires_at > START + one.at, "sent when it had expired"

    def _allowed(self, one: Sent, now: int) -> None:
        """Its consent is in force, and no hold covers it."""
        if one.decision.purpose != "marketing":
            return
        words = [(at, word) for at, who, word in self.words if at <= now and self._same(one.decision.profile, who)]
        assert max(words)[1], "no consent"
        last: dict[tuple[str, str], int] = {}
        for at, who, kind, case in self.cases:
            if at <= now and self._same(one.decision.profile, who):
                last[kind, case] = max(at, last.get((kind, case), 0))
        for (kind, case), at in last.items():
            if kind == "complaint_opened":
                assert last.get(("complaint_closed", case), -1) >= at, "held marketing leaked"
            if kind == "order_placed" and case == one.topic:
                assert at + 2 * HOUR <= now, "what was bought is still offered"
        for at, who, kind, case in self.cases:
            # What waited when it was bought does not come when that is long ago.
            mine = kind == "order_placed" and case == one.topic and one.decision.profile == f"customer:{who}"
            assert not (mine and one.action.proposed_at - START < at <= now), "what waited for the order went out"

    def _before(self, one: Sent) -> list[Sent]:
        """What the customer got, of all whom they are, and still counts."""
        name = one.decision.profile.partition(":")[2]
        return [each for each in self.sent.values() if not each.back and self._same(each.decision.profile, name)]

    def _below_caps(self, one: Sent) -> None:
        mine, where = self._before(one), ZoneInfo(one.zone)
        day = _local(one.at, where).date()
        marketing = [each for each in mine if each.decision.purpose == "marketing"]
        if one.decision.purpose == "marketing":
            assert sum(each.at > one.at - 7 * DAY for each in marketing) < 4, "above the weekly cap"
        assert sum(_local(each.at, where).date() == day for each in mine) < 3, "above the daily cap"
        if one.topic:
            same = [each for each in mine if each.topic == one.topic and each.at > one.at - 36 * HOUR]
            assert not same, "above the cap per topic"
        if one.action.channel == "email":
            mails = [each for each in mine if each.action.channel == "email" and each.at > one.at - DAY]
            assert len(mails) < 2, "above the cap of mails"

    def _apart(self, one: Sent) -> None:
        if one.decision.purpose == "marketing":
            for each in self._before(one):
                assert each.decision.purpose != "marketing" or each.at + HOUR <= one.at, "too close together"

    def _zone(self, one: Sent, now: int) -> str:
        said = [(at, zone) for at, who, zone in self.zones if at <= now and self._same(one.decision.profile, who)]
        return max(said)[1] if said else "Europe/Helsinki"

    def _quiet(self, one: Sent, now: int, *, zone: str) -> bool:
        clock = _local(now, ZoneInfo(zone))
        night = one.action.channel in {"email", "sms"} and (clock.hour >= 21 or clock.hour < 8)
        sunday = one.decision.purpose == "marketing" and clock.weekday() == 6 and one.action.channel != "web"
        return night or sunday

    def _says_when_quiet_begins(self, one: Sent) -> None:
        begins, zone = one.action.quiet_from, one.zone
        last = (begins or min(one.action.expires_at, START + one.at + 8 * DAY)) - START
        if begins is not None:
            assert self._quiet(one, last, zone=zone), "its quiet time is not quiet"
        between = [*range(one.at, last, 30 * MINUTE), last - 1]
        assert not any(self._quiet(one, at, zone=zone) for at in between), "its quiet time begins before"

    def teardown(self) -> None:
        """Nothing is lost: what was held has gone out, or was refused, or waits for what is still to come."""
        if not getattr(self, "lawful", False):
            return  # what was wrong is said already
        self._pass(10 * MINUTE)
        final: dict[str, str] = {}
        for each in self.shop.simulator.decisions:
            if each.action_id is not None and each.verdict in {"held", "sent", "refused"}:
                assert final.get(each.action_id, "held") == "held", "decided after it was decided"
                final[each.action_id] = each.verdict
        held = {each for each, verdict in final.items() if verdict == "held"}
        waiting = [
            held
            for name in {self._who(each) for each in PEOPLE}
            for instance in self.shop.profile(f"customer:{name}").instances.values()
            for held in instance.held
        ]
        assert sorted(held) == sorted(each.action_id for each in waiting), "lost"
        assert all(each.until == 0 or each.until > START + self.now for each in waiting), "overdue"


def _local(now: int, where: ZoneInfo) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=START + now)).astimezone(where)

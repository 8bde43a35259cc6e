"""The gates: each alone as a table, their order, and what is held, released and withdrawn."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.identifiers import address_hash, contact_key
from schemas.journal import Origin, Stop
from schemas.journal import Outcome as OutcomeEntry
from schemas.policy import Policy
from streams.engine import contacts, proposals
from streams.engine.profile import DELIVERED, FAILED, FORMAT, Case, Consent, Contact, Held, Instance, Profile, Trait
from streams.engine.rules import Rules
from streams.engine.step import Step
from tests.engine.making import DAY, HOUR, MINUTE, POLICY, START, Shop, journey, library, rules

YES, NO = Consent(True, START, "yes"), Consent(False, START, "no")
RULES = rules()
DEAD_MAIL = {address_hash("email", "a@example.com"): START}


def _traits(**values: Any) -> dict[str, Trait]:
    return {name: Trait(value, 1, START, "e") for name, value in values.items()}


def _customer(**fields: Any) -> Profile:
    """A customer who consented to all, with a mail address, whom everything reaches."""
    known: dict[str, Any] = {
        "consents": {"marketing": YES, "cookie/personalisation": YES},
        "traits": _traits(email="a@example.com"),
    }
    return Profile(FORMAT, "customer:ann", **(known | fields))


def _contact(**fields: Any) -> Contact:
    made = Contact(START, START + DAY, "email", "order", "contract", "j", "i", "s", 1, "customer:ann", "", False)
    return msgspec.structs.replace(made, **fields)


def _propose(
    profile: Profile, kind: str = "message", purpose: str = "marketing", rules: Rules = RULES, **params: Any
) -> Step:
    instance = Instance("instance", "journey", 1, "stage", 0, START, START, profile.id, "cause")
    profile.instances["journey"] = instance
    held = Held("action", "stage/0", "stage", 1, START, "cause", kind, {"purpose": purpose} | params)
    step = Step()
    proposals.propose(profile, instance, held, rules, START, step)
    assert len(step.wanted.decisions) == 1, "each proposed action gets one verdict"
    return step


def _verdict(step: Step) -> tuple[str, str, str]:
    (decision,) = step.wanted.decisions
    assert (decision.verdict == "sent") == bool(step.wanted.actions)
    return decision.verdict, decision.gate, decision.reason


SENT = ("sent", "all", "passed")
COMPLAINT = {"complaint/1": Case(START, 0)}
RECEIPT = {"kind": "mail", "purpose": "order", "template": "receipt"}
RESUME = {"kind": "mail", "purpose": "resume", "template": "resume", "to": "b@example.com"}
BANNER = {"kind": "banner", "purpose": "personalisation"}
ADS = {"kind": "stop_ads", "purpose": "ads"}

TABLE: list[tuple[str, dict[str, Any], dict[str, Any], tuple[str, str, str]]] = [
    ("consent given", {}, {}, SENT),
    ("duplicate", {"contacts": {"action": _contact()}}, {}, ("refused", "duplicate", "already-emitted")),
    # consent: default deny
    ("never asked", {"consents": {}}, {}, ("refused", "consent", "never-given")),
    ("withdrawn", {"consents": {"marketing": NO}}, {}, ("refused", "consent", "withdrawn")),
    ("a device's consent says nothing of the person", {"consents": {"cookie/marketing": YES}}, {},
     ("refused", "consent", "never-given")),
    ("a person's consent says nothing of cookies", {"consents": {"personalisation": YES}}, BANNER,
     ("refused", "consent", "never-given")),
    ("cookie consent", {}, BANNER, SENT),
    ("an unknown purpose", {}, {"purpose": "profit"}, ("refused", "consent", "unknown-purpose")),
    ("no purpose", {}, {"purpose": ""}, ("refused", "consent", "unknown-purpose")),
    # contract and request: no consent, but only listed templates, within a ceiling
    ("contract", {"consents": {}}, RECEIPT, SENT),
    ("contract with another template", {}, RECEIPT | {"template": "sale"},
     ("refused", "consent", "template-not-listed")),
    ("contract without a template", {}, {"kind": "mail", "purpose": "order"},
     ("refused", "consent", "template-not-listed")),
    ("the ceiling", {"contacts": {"1": _contact(), "2": _contact(status=DELIVERED)}}, RECEIPT,
     ("refused", "ceiling", "reached")),
    ("a slot given back", {"contacts": {"1": _contact(), "2": _contact(status=FAILED)}}, RECEIPT, SENT),
    ("a slot of another purpose", {"contacts": {"1": _contact(), "2": _contact(purpose="resume")}}, RECEIPT, SENT),
    ("a slot of the day before", {"contacts": {"1": _contact(), "2": _contact(at=START - DAY)}}, RECEIPT, SENT),
    ("request", {"consents": {}, "traits": {}}, RESUME, SENT),
    ("request without an address in it", {}, RESUME | {"to": None}, ("refused", "consent", "no-address-in-request")),
    ("request whose address is absent", {}, RESUME | {"to": ""}, ("refused", "consent", "no-address-in-request")),
    ("internal", {"consents": {}, "traits": {}}, ADS, SENT),
    # do-not-contact
    ("do-not-contact", {"contact": NO}, {}, ("refused", "do-not-contact", "forbidden")),
    ("do-not-contact, contract", {"contact": NO}, RECEIPT, ("refused", "do-not-contact", "forbidden")),
    ("do-not-contact, request", {"contact": NO}, RESUME, ("refused", "do-not-contact", "forbidden")),
    ("do-not-contact, banner", {"contact": NO}, BANNER, ("refused", "do-not-contact", "forbidden")),
    ("internal addresses nobody", {"contact": NO}, ADS, SENT),
    ("contact allowed again", {"contact": YES}, {}, SENT),
    # hold
    ("an open complaint", {"cases": COMPLAINT}, {}, ("held", "hold", "complaint")),
    ("a closed complaint", {"cases": {"complaint/1": Case(START, START)}}, {}, SENT),
    ("one of two is open", {"cases": {"complaint/1": Case(1, 2), "complaint/2": Case(3, 2)}}, {},
     ("held", "hold", "complaint")),
    ("a hold of another purpose", {"cases": COMPLAINT}, BANNER, SENT),
    ("another hold of it", {"cases": {"fraud/": Case(START, 0)}}, BANNER, ("held", "hold", "fraud")),
    ("contract skips hold", {"cases": COMPLAINT}, RECEIPT, SENT),
    ("request skips hold", {"cases": COMPLAINT}, RESUME, SENT),
    ("a hold that policy has no more", {"cases": {"old/1": Case(START, 0)}}, {}, SENT),
    # channel
    ("no address", {"traits": {}}, {}, ("refused", "channel", "no-address")),
    ("an empty address", {"traits": _traits(email="  ")}, {}, ("refused", "channel", "no-address")),
    ("an address that is no text", {"traits": _traits(email=5)}, {}, ("refused", "channel", "no-address")),
    ("a dead address", {"dead": DEAD_MAIL}, {}, ("refused", "channel", "address-suppressed")),
    ("a given address that is absent is not replaced", {}, {"to": ""}, ("refused", "channel", "to-absent")),
    ("a link that is absent", {}, {"link": ""}, ("refused", "channel", "link-absent")),
    ("a channel the kind does not take", {}, {"channel": "web"}, ("refused", "channel", "no-address")),
    ("a kind that policy does not know", {}, {"kind": "fax"}, ("refused", "channel", "unknown-action")),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "action", "verdict"), [pytest.param(*row[1:], id=row[0]) for row in TABLE])
def test_each_gate(fields: dict[str, Any], action: dict[str, Any], verdict: tuple[str, str, str]) -> None:
    """One proposed action, one verdict with a machine-readable reason."""
    assert _verdict(_propose(_customer(**fields), **action)) == verdict


ORDER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("duplicate", {"contacts": {"action": _contact()}}, {"contacts": {}}),
    ("consent", {"consents": {}}, {"consents": {"marketing": YES}}),
    ("do-not-contact", {"contact": NO}, {"contact": None}),
    ("hold", {"cases": COMPLAINT}, {"cases": {}}),
    ("channel", {"traits": {}}, {"traits": _traits(email="a@example.com")}),
]


def test_the_order_of_the_gates() -> None:
    """Of all that object the first speaks; lift its objection, and the next does."""
    profile = _customer(**{name: value for _, wrong, _ in ORDER for name, value in wrong.items()})
    for gate, _, right in ORDER:
        step = _propose(profile)
        assert _verdict(step)[1] == gate
        for name, value in right.items():
            setattr(profile, name, value)
    assert _verdict(_propose(profile)) == SENT


@pytest.mark.parametrize(
    ("scope", "action", "verdict"),
    [
        ("marketing", {}, ("refused", "stop", "stopped")),
        ("marketing", RECEIPT, SENT),
        ("marketing", ADS, SENT),
        ("journey:journey", {}, ("refused", "stop", "stopped")),
        ("journey:journey", RECEIPT, ("refused", "stop", "stopped")),
        ("journey:another", {}, SENT),
    ],
)
def test_stops(scope: str, action: dict[str, Any], verdict: tuple[str, str, str]) -> None:
    """A stop of all marketing, or of one journey with all it does."""
    assert _verdict(_propose(_customer(), rules=rules(stops=(scope,)), **action)) == verdict


CHANNELS: list[tuple[str, dict[str, Any], dict[str, Any], tuple[str, str | None]]] = [
    ("the first the kind takes", {"email": "a@x.fi", "phone": "+358"}, {}, ("email", "a@x.fi")),
    ("the preferred one", {"email": "a@x.fi", "phone": "+358", "preferred_channel": "sms"}, {}, ("sms", "+358")),
    ("not preferred, but reachable", {"email": "a@x.fi", "preferred_channel": "sms"}, {}, ("email", "a@x.fi")),
    ("not among those allowed", {"email": "a@x.fi", "preferred_channel": "web"}, {}, ("email", "a@x.fi")),
    ("said by the action", {"email": "a@x.fi", "phone": "+358"}, {"channel": "sms"}, ("sms", "+358")),
    ("the address given", {"email": "a@x.fi"}, {"to": " b@x.fi "}, ("email", "b@x.fi")),
    ("a dead address makes way", {"email": "a@example.com", "phone": "+358"}, {}, ("sms", "+358")),
    ("no address needed", {}, BANNER, ("web", None)),
]


@pytest.mark.parametrize(("traits", "action", "reached"), [pytest.param(*row[1:], id=row[0]) for row in CHANNELS])
def test_the_channel(traits: dict[str, Any], action: dict[str, Any], reached: tuple[str, str | None]) -> None:
    """The preferred one among those allowed and reachable."""
    (sent,) = _propose(_customer(traits=_traits(**traits), dead=DEAD_MAIL), **action).wanted.actions
    assert (sent.channel, sent.to) == reached


def test_what_an_action_carries() -> None:
    """Everything a channel needs; what Polku understands itself is not handed on as a parameter."""
    profile = _customer()
    (action,) = _propose(
        profile, template="spring", link=["/sale", "2"], expires="2h", priority=3, reason="it is spring", colour="red"
    ).wanted.actions
    assert (action.template, action.priority, action.reason, action.params) == (
        "spring",
        0,  # of the proposal, which has it from the definition
        "it is spring",
        {"colour": "red"},
    )
    assert action.link is not None
    assert (action.link.path, action.link.position) == ("/sale", "2")
    assert (action.proposed_at, action.expires_at) == (START, START + 2 * HOUR)
    assert (action.basis, action.if_uncertain, action.standing) == ("consent", "drop", False)
    assert profile.contacts["action"].address == address_hash("email", "a@example.com")


# ---- hold and release


def _letters(*says: tuple[str, int]) -> Any:
    """A journey that proposes these messages, with their priorities, one per `go`."""
    stages: dict[str, Any] = {"letters": []}
    for say, priority in says:
        stages["letters"].append(
            {"when": f"go_{say}", "do": [{"message": {"say": say, "priority": priority, "expires": "2d"}}]}
        )
    stages["letters"].append({"when": "done", "end": True})
    return journey("letters", stages)


def _ready(*says: tuple[str, int]) -> Shop:
    shop = Shop(_letters(*says))
    shop.allow("marketing")
    shop.see("profile_updated", 0, email="a@example.com")
    shop.see("hello", 0)
    return shop


def test_marketing_stops_while_a_complaint_is_open_and_resumes_after() -> None:
    """Held, with a decision, and sent when the case closes."""
    shop = _ready(("one", 0))
    shop.see("complaint_opened", HOUR, case_id="7")
    shop.see("go_one", 2 * HOUR)
    assert shop.sent == []
    shop.see("complaint_closed", 3 * HOUR, case_id="7")
    assert shop.sent == ["one"]
    assert shop.verdicts() == [("held", "hold", "complaint"), SENT]
    assert [each.value for each in shop.decisions("held")] == ["7"]


def test_what_is_held_is_released_by_priority_then_first_proposed() -> None:
    """All gates again, in order of (priority, first proposed, id)."""
    shop = _ready(("late", 0), ("early", 0), ("urgent", 5))
    shop.see("complaint_opened", HOUR)
    for number, say in enumerate(("early", "late", "urgent")):
        shop.see(f"go_{say}", 2 * HOUR + number)
    shop.see("complaint_closed", 3 * HOUR)
    assert shop.sent == ["urgent", "early", "late"]


def test_held_at_the_same_moment_the_id_decides() -> None:
    """So that the order is the same in every run."""
    shop = _ready(("one", 0), ("two", 0))
    shop.see("complaint_opened", HOUR)
    for say in ("one", "two"):
        shop.see(f"go_{say}", 2 * HOUR)
    shop.see("complaint_closed", 3 * HOUR)
    assert [action.action_id for action in shop.actions] == sorted(action.action_id for action in shop.actions)


def test_what_another_hold_covers_stays_held() -> None:
    """One case closes, another is open: nothing is sent, and nothing is said twice."""
    shop = _ready(("one", 0))
    shop.see("complaint_opened", HOUR, case_id="7")
    shop.see("fraud_suspected", HOUR)
    shop.see("go_one", 2 * HOUR)
    shop.see("complaint_closed", 3 * HOUR, case_id="7")
    assert shop.verdicts() == [("held", "hold", "complaint")]
    shop.see("fraud_cleared", 4 * HOUR)
    assert shop.sent == ["one"]


def test_what_was_held_passes_all_gates_again() -> None:
    """Who withdrew consent meanwhile gets nothing."""
    shop = _ready(("one", 0))
    shop.see("complaint_opened", HOUR)
    shop.see("go_one", 2 * HOUR)
    shop.see("consent_withdrawn", 3 * HOUR, purpose="marketing")
    shop.see("complaint_closed", 4 * HOUR)
    assert shop.sent == []
    assert shop.verdicts("refused") == [("refused", "consent", "withdrawn")]


def test_held_actions_end_with_their_instance() -> None:
    """A purchase kills the coupon for it, also one that waits."""
    shop = _ready(("one", 0))
    shop.see("complaint_opened", HOUR)
    shop.see("go_one", 2 * HOUR)
    shop.see("done", 3 * HOUR)
    shop.see("complaint_closed", 4 * HOUR)
    assert shop.sent == []
    assert shop.verdicts("refused") == [("refused", "journey", "instance-ended")]


def test_a_hold_that_a_merge_ended_releases_with_the_next_event() -> None:
    """The merge itself sends nothing."""
    shop = _ready(("one", 0))
    shop.see("complaint_opened", HOUR, case_id="7")
    shop.see("go_one", 2 * HOUR)
    shop.see("complaint_opened", 3 * HOUR, case_id="7", ids="device:d")
    shop.see("complaint_closed", 3 * HOUR + 1, case_id="7", ids="device:d")
    shop.see("login", 4 * HOUR, ids="customer:ann,device:d")
    assert shop.sent == ["one"]
    assert shop.profile().cases["complaint/7"].closed == START + 3 * HOUR + 1


# ---- withdrawal


def _sent(*says: tuple[str, int]) -> Shop:
    shop = _ready(*says)
    for say, _ in says:
        shop.see(f"go_{say}", MINUTE)
    assert shop.sent == [say for say, _ in says]
    return shop


def test_a_hold_that_starts_takes_back_what_is_on_its_way() -> None:
    """Emitted, not delivered, and of a purpose the hold covers."""
    shop = _sent(("one", 0))
    shop.see("complaint_opened", HOUR)
    assert shop.withdrawn() == ["one"]
    (decision,) = shop.decisions("withdrawn")
    assert (decision.gate, decision.reason, decision.value, decision.bound) == ("withdrawal", "hold", "", "complaint")
    assert [each.reason for each in shop.simulator.withdrawals] == ["hold complaint"]


@pytest.mark.parametrize(
    ("kind", "properties", "reason", "told"),
    [
        ("consent_withdrawn", {"purpose": "marketing"}, "consent-withdrawn", "consent to marketing withdrawn"),
        ("contact_forbidden", {}, "do-not-contact", "do-not-contact"),
        ("complaint_opened", {"case_id": "k-1"}, "hold", "hold complaint, case k-1"),
    ],
)
def test_what_goes_takes_back_what_is_on_its_way(kind: str, properties: dict[str, Any], reason: str, told: str) -> None:
    """And it is said what it was."""
    shop = _sent(("one", 0))
    shop.see(kind, HOUR, **properties)
    assert shop.withdrawn() == ["one"]
    assert [each.reason for each in shop.decisions("withdrawn")] == [reason]
    assert [each.reason for each in shop.simulator.withdrawals] == [told]


def test_an_unsubscription_is_a_withdrawn_consent() -> None:
    """By the outcome of one message, all others of its purpose stop."""
    shop = _sent(("one", 0), ("two", 0))
    shop.outcome(shop.actions[0], "unsubscribed", HOUR)
    assert shop.withdrawn() == ["one", "two"]
    assert not shop.profile().consents["marketing"].granted


def test_what_is_delivered_or_expired_is_not_withdrawn() -> None:
    """There is nothing to take back."""
    shop = _sent(("one", 0), ("two", 0))
    shop.outcome(shop.actions[0], "delivered", HOUR)
    shop.see("complaint_opened", 3 * DAY)
    assert shop.withdrawn() == []


def test_the_end_of_an_instance_takes_back_what_it_sent_and_not_what_ends_it_sends() -> None:
    """A coupon is taken back by the order it was for; the words of farewell go out."""
    farewell = journey(
        "coupon",
        {
            "offered": [
                {"on arrival": None, "do": [{"message": {"say": "coupon"}}, {"stop_ads": {"say": "ads"}}]},
                {"when": "order_placed", "do": [{"message": {"say": "thanks"}}], "end": True},
            ]
        },
    )
    shop = Shop(farewell)
    shop.allow("marketing")
    shop.see("profile_updated", 0, email="a@example.com")
    shop.see("hello", 0)
    shop.see("order_placed", MINUTE)
    assert shop.sent == ["coupon", "ads", "thanks"]
    assert shop.withdrawn() == ["coupon"]


def test_a_standing_action_is_withdrawn_though_it_was_delivered() -> None:
    """A banner lasts until it is withdrawn or expires."""
    banner = journey(
        "banner",
        {"shown": [{"on arrival": None, "do": [{"banner": {"say": "banner"}}]}, {"when": "bye", "end": True}]},
        again="always",
    )
    shop = Shop(banner)
    shop.allow("personalisation")
    shop.see("hello", 0)
    shop.outcome(shop.actions[0], "delivered", MINUTE)
    assert shop.actions[0].standing
    shop.see("bye", HOUR)
    assert shop.withdrawn() == ["banner"]
    shop.see("hello", 2 * HOUR)
    shop.see("bye", 40 * DAY)
    assert shop.withdrawn() == ["banner"], "the second had expired"


def test_nothing_is_withdrawn_twice() -> None:
    """Consent goes, then contact is forbidden: one withdrawal."""
    shop = _sent(("one", 0))
    shop.see("consent_withdrawn", HOUR, purpose="marketing")
    shop.see("contact_forbidden", 2 * HOUR)
    assert shop.withdrawn() == ["one"]


# ---- outcomes and suppressions


OUTCOMES = [
    ("bounced", True, "bounced"),
    ("bounced", False, None),
    ("complained", False, "complained"),
    ("delivered", False, None),
    ("failed", False, None),
]


@pytest.mark.parametrize(("kind", "permanent", "reason"), OUTCOMES)
def test_addresses_that_must_not_be_used_again(kind: str, permanent: bool, reason: str | None) -> None:  # noqa: FBT001
    """Hard bounces and complaints stand per address, hashed, in the suppressions."""
    profile, step = _customer(contacts={"action": _contact(address="hash")}), Step()
    entry = OutcomeEntry(profile.id, Origin(1, 0, 0, START), "o", "action", kind, "email", START, permanent)
    contacts.outcome(profile, entry, START, step)
    assert [(key, word.reason if word else None) for key, word in step.wanted.suppressions] == (
        [("hash", reason)] if reason else []
    )
    assert ("hash" in profile.dead) is (reason is not None)


def test_do_not_contact_stands_per_address_and_is_lifted() -> None:
    """Each known address is suppressed, and one that becomes known later; a dead address stays dead."""
    shop = _sent(("one", 0))
    shop.outcome(shop.actions[0], "bounced", MINUTE, permanent=True)
    shop.see("contact_forbidden", HOUR)
    shop.see("profile_updated", 2 * HOUR, phone="+358")
    shop.see("contact_allowed", 3 * HOUR)
    mail, phone = address_hash("email", "a@example.com"), address_hash("sms", "+358")
    said = [(key, word.reason if word else None) for key, word in shop.simulator.published.suppressions]
    assert said == [
        (mail, "bounced"),
        (contact_key(mail), "do-not-contact"),
        (contact_key(mail), "do-not-contact"),
        (contact_key(phone), "do-not-contact"),
        (contact_key(mail), None),
        (contact_key(phone), None),
    ]


def test_whoever_allows_contact_a_dead_address_stays_dead() -> None:
    """Also by somebody else who has the same address, and never heard of the bounce."""
    shop = _sent(("one", 0))
    shop.outcome(shop.actions[0], "bounced", MINUTE, permanent=True)
    shop.see("profile_updated", HOUR, ids="customer:bob", email="A@example.com ")
    shop.see("contact_allowed", 2 * HOUR, ids="customer:bob")
    standing: dict[str, str] = {}
    for key, word in shop.simulator.published.suppressions:
        standing.pop(key, None)
        standing |= {key: word.reason} if word else {}
    assert standing == {address_hash("email", "a@example.com"): "bounced"}


def test_an_older_word_on_contact_changes_nothing() -> None:
    """Words count by when they were given, not by when they arrive."""
    shop = _sent(("one", 0))
    shop.see("contact_allowed", HOUR)
    shop.see("contact_forbidden", 2 * HOUR, late=2 * HOUR)
    assert shop.withdrawn() == []
    assert shop.simulator.published.suppressions == [(contact_key(address_hash("email", "a@example.com")), None)]


def test_contacts_that_no_rule_asks_for_are_forgotten() -> None:
    """Older than the window and expired; the others stay."""
    known = {
        "old": _contact(at=START - 40 * DAY, expires=START - 39 * DAY),
        "standing": _contact(at=START - 40 * DAY, expires=START + DAY, standing=True),
        "new": _contact(at=START - 30 * DAY, expires=START - 29 * DAY),
    }
    profile = _customer(contacts=known)
    contacts.prune(profile, START, 31 * DAY)
    assert sorted(profile.contacts) == ["new", "standing"]


def test_a_policy_without_the_kind_refuses_and_does_not_stop_the_partition() -> None:
    """A journey may be activated before its policy, or outlive a kind there: each action is refused with a reason."""
    bare = Policy.model_validate(POLICY.model_dump() | {"version": 2, "actions": {}})
    simulator = Shop(_letters(("one", 0)), POLICY, bare)
    simulator.allow("marketing")
    simulator.see("hello", 0)
    simulator.see("go_one", 1)
    assert simulator.verdicts() == [("refused", "channel", "unknown-action")]
    known = library(_letters(("one", 0)))
    assert Rules(known, {"journey/letters": (1, "fingerprint-1")}, []).active == {"letters": 1}


def test_a_stop_in_the_journal_takes_effect_where_it_stands_and_ends() -> None:
    """What is proposed while it lasts is refused."""
    shop = _ready(("one", 0), ("two", 0), ("three", 0))
    shop.see("go_one", MINUTE)
    shop.simulator.broadcast(Stop("marketing"))
    shop.see("go_two", 2 * MINUTE)
    shop.simulator.broadcast(Stop("marketing", on=False))
    shop.see("go_three", 3 * MINUTE)
    assert shop.sent == ["one", "three"]
    assert shop.verdicts("refused") == [("refused", "stop", "stopped")]

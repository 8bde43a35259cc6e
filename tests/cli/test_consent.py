"""consent: what a customer agreed to, who said what, and whether each address can be used."""

from __future__ import annotations

import json
from typing import Any

from streams.consentview import agreed
from streams.explain import explain
from tests.cli.running import SEEDS, polku
from tests.engine.making import HOUR, MINUTE, Shop, library
from tests.engine.test_consents import LETTER


def _line(number: int, at: str, kind: str, customer: str = "c-7", channel: str = "web", **properties: Any) -> str:
    return json.dumps(
        {
            "event_id": f"e-{number}",
            "type": kind,
            "channel": channel,
            "occurred_at": f"2026-03-{at}Z",
            "identifiers": {"customer": customer},
            "properties": properties,
        }
    )


LOG = "\n".join(
    [
        _line(1, "02T10:00:00", "profile_updated", email="visitor@example.com", phone="+12025550143"),
        _line(2, "02T11:00:00", "consent_given", purpose="marketing", source="newsletter form"),
        _line(3, "03T10:00:00", "consent_withdrawn", purpose="marketing", channel="phone"),
        _line(4, "04T10:00:00", "consent_given", purpose="marketing", source="branch"),
        _line(5, "05T10:00:00", "contact_forbidden", channel="phone"),
    ]
).encode()
ASKED = ("consent", "c-7", "--events", "-", "-d", SEEDS)


def test_who_said_what() -> None:
    """Each purpose with its basis; the newest word first, with its source; contact and addresses."""
    told = polku(*ASKED, stdin=LOG).out
    assert told.startswith(
        """\
customer:c-7

Purposes
marketing: allowed
  given 2026-03-04 12:00:00 EET (branch)
  withdrawn 2026-03-03 12:00:00 EET (phone)
  given 2026-03-02 13:00:00 EET (newsletter form)
personalisation (cookie): not allowed, consent was never given
requested-service: needs no consent: only resume-application, where the customer asks for it
"""
    )
    assert told.endswith(
        """\

Contact
forbidden 2026-03-05 12:00:00 EET (phone)

Addresses
email  visitor@example.com  do-not-contact since 2026-03-05 12:00:00 EET
sms  +12025550143  do-not-contact since 2026-03-05 12:00:00 EET
"""
    )


def test_as_it_was() -> None:
    """At a moment: withdrawn then, and contact not forbidden yet."""
    (found,) = polku(*ASKED, "--at", "2026-03-03T12:00:00Z", "--json", stdin=LOG).rows
    marketing = next(each for each in found["purposes"] if each["purpose"] == "marketing")
    assert marketing["allowed"] is False
    assert [word["source"] for word in marketing["history"]] == ["phone", "newsletter form"]
    assert found["may_contact"] is True
    assert {each["state"] for each in found["addresses"]} == {"reachable"}


def test_an_address_that_bounced_for_somebody_else() -> None:
    """Is dead for everybody who has it."""
    shop = Shop(LETTER)
    for name in ("ann", "bob"):
        shop.see("profile_updated", 0, ids=f"customer:{name}", email="a@example.com")
    shop.allow("marketing")
    shop.see("hello", MINUTE)
    shop.outcome(shop.actions[-1], "bounced", HOUR, permanent=True)
    journal = {index: list(enumerate(entries)) for index, entries in enumerate(shop.simulator.journal)}
    story = explain(journal, shop.simulator.count, library(LETTER), "customer:bob")
    assert story.profile is not None
    (address,) = agreed(story, story.profile).addresses
    assert (address.channel, address.state) == ("email", "bounced")


def test_nobody() -> None:
    """Whom nothing is known of: one line, exit code 2."""
    ran = polku("consent", "c-8", *ASKED[2:], stdin=LOG)
    assert (ran.code, ran.out) == (2, "")
    assert "nothing is known of customer:c-8" in ran.err

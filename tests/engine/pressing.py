"""A shop whose customers are pressed: one journey that sends what it is told to, and a policy with what limits that."""

from __future__ import annotations

from typing import Any

from schemas.journey import Journey
from schemas.policy import Policy
from tests.engine.making import POLICY, Shop, journey

# `say` sends a message, `show` a banner, `bill` what the customer has a contract for.
STAGES: dict[str, Any] = {
    "listening": [
        {
            "when": "say",
            "do": [{"message": {"say": "event.text", "topic": "event.topic"}}],
        },
        {"when": "say_urgent", "do": [{"message": {"say": "event.text", "priority": 5}}]},
        {"when": "say_soon", "do": [{"message": {"say": "event.text", "expires": "6h"}}]},
        {"when": "say_sms", "do": [{"message": {"say": "event.text", "channel": "sms"}}]},
        {"when": "show", "do": [{"banner": {"say": "event.text"}}]},
        {"when": "bill", "do": [{"mail": {"template": "receipt", "purpose": "order"}}]},
        {"when": "done", "end": True},
    ]
}
TALK = journey("talk", STAGES, again="always")
OTHER = journey("other", {"listening": [{"when": "tell", "do": [{"message": {"say": "event.text"}}]}]})


def policy(version: int = 2, **parts: Any) -> Policy:
    """The shop's policy with these parts."""
    return Policy.model_validate(POLICY.model_dump(exclude_unset=True) | {"version": version} | parts)


def shop(*definitions: Journey, ids: str = "customer:ann", partitions: int = 1, **parts: Any) -> Shop:
    """A shop with these parts in its policy, and one customer who may be told anything by e-mail."""
    made = Shop(*(definitions or (TALK, OTHER)), policy(**parts), partitions=partitions)
    welcome(made, ids)
    return made


def welcome(made: Shop, ids: str = "customer:ann", at: int = 0, **traits: Any) -> None:
    """A customer comes who agrees to everything."""
    made.allow("marketing", "personalisation", ids=ids, at=at)
    made.see("profile_updated", at, ids=ids, email=f"{ids.replace(':', '-')}@example.com", **traits)
    made.see("hello", at, ids=ids)


def say(made: Shop, text: str, at: int, kind: str = "say", ids: str = "customer:ann", **more: Any) -> None:
    """The shop is told to send something."""
    made.see(kind, at, ids=ids, text=text, **more)


def become_one(made: Shop, at: int, source: str = "bea", into: str = "ann") -> None:
    """Two customers turn out to be one."""
    names: dict[str, Any] = {"from": source, "into": into}
    made.see("customers_merged", at, ids=f"customer:{source}", **names)

"""The kinds of definitions: policies, offers and journeys, in the order in which they are put in force."""

from __future__ import annotations

from typing import Final, TypeAlias

from schemas.journey import Journey
from schemas.offer import Offer
from schemas.policy import Policy

Definition: TypeAlias = Policy | Offer | Journey

# Policies first: an action's and an offer's purposes are the policy's; then offers, which actions choose among.
KINDS: Final[dict[str, type[Policy | Offer | Journey]]] = {
    "policy": Policy,
    "offer": Offer,
    "journey": Journey,
}


def kind_of(definition: Definition) -> str:
    """Its kind, which is also the key under which its name stands."""
    return next(kind for kind, model in KINDS.items() if isinstance(definition, model))


def name_of(definition: Definition) -> str:
    """Its name."""
    name: str = getattr(definition, kind_of(definition))
    return name

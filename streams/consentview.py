"""What a customer agreed to: each purpose with its basis and the words on it, contact, and each address's state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from rich.text import Text

from schemas.identifiers import address_hash, contact_key
from streams.engine.consents import CONTACT
from streams.engine.gates import COOKIE
from streams.terminal import moment

if TYPE_CHECKING:
    from datetime import tzinfo

    from rich.console import Console

    from streams.engine.profile import Consent, Profile
    from streams.explain import Story

# Of these bases the customer need not say anything; what they allow stands in the policy.
BASES = {
    "contract": "needs no consent: by contract, only {templates}",
    "request": "needs no consent: only {templates}, where the customer asks for it",
    "internal": "addresses nobody",
}


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One word: given or withdrawn (of contact: allowed or forbidden), when (ms), where it was said, by which event."""

    granted: bool
    at: int
    source: str
    event_id: str


class Purpose(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A purpose: whether it may be used now, and all words on it that are kept, the newest first."""

    purpose: str
    basis: str
    allowed: bool
    of: str = "person"
    history: list[Word] = []
    note: str = ""


class Address(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An address by its trait and channel; `state` is reachable, bounced, complained or do-not-contact, since when."""

    channel: str
    address: str
    state: str
    since: int = 0


class Agreed(msgspec.Struct, frozen=True, kw_only=True):
    """All that a customer agreed to. `contact`: the words on contact as a whole, the newest first."""

    profile: str
    purposes: list[Purpose]
    may_contact: bool
    contact: list[Word]
    addresses: list[Address]


def agreed(story: Story, profile: Profile) -> Agreed:
    """What stands at the end of a story."""
    return Agreed(
        profile=profile.id,
        purposes=_purposes(story, profile),
        may_contact=profile.contact is None or profile.contact.granted,
        contact=_words(profile, CONTACT, profile.contact),
        addresses=_addresses(story, profile),
    )


def _purposes(story: Story, profile: Profile) -> list[Purpose]:
    found = []
    for name, purpose in story.policy.purposes.items():
        if purpose.basis != "consent":
            note = BASES[purpose.basis].format(templates=" or ".join(purpose.templates) or "nothing")
            found.append(Purpose(purpose=name, basis=purpose.basis, allowed=True, note=note))
            continue
        # What was said for a device counts for a purpose that is about the device, and is shown for any.
        for key, of in ((COOKIE + name, "cookie"), (name, "person")):
            word = profile.consents.get(key)
            if word is not None or of == purpose.consent:
                allowed = word is not None and word.granted and of == purpose.consent
                words = _words(profile, key, word)
                found.append(Purpose(purpose=name, basis="consent", allowed=allowed, of=of, history=words))
    known = {COOKIE + name for name in story.policy.purposes} | set(story.policy.purposes)
    found += [
        Purpose(purpose=key, basis="unknown", allowed=False, history=_words(profile, key, word))
        for key, word in profile.consents.items()
        if key not in known
    ]
    return found


def _words(profile: Profile, key: str, newest: Consent | None) -> list[Word]:
    words = ([newest] if newest is not None else []) + profile.words.get(key, [])
    return [Word(granted=word.granted, at=word.at, source=word.source, event_id=word.event_id) for word in words]


def _addresses(story: Story, profile: Profile) -> list[Address]:
    found = []
    for name, channel in story.policy.channels.items():
        trait = profile.traits.get(channel.address) if channel.address is not None else None
        if trait is None or not isinstance(trait.value, str) or not trait.value.strip():
            continue
        hashed = address_hash(name, trait.value)
        word = story.suppressions.get(hashed) or story.suppressions.get(contact_key(hashed))
        state, since = ("reachable", trait.at) if word is None else (word.reason, word.at)
        found.append(Address(channel=name, address=trait.value.strip(), state=state, since=since))
    return found


# ---- on a terminal


def tell(story: Story, found: Agreed, console: Console) -> None:
    """Print it as staff read it out."""
    console.print(Text(found.profile, "bold").append(_at(story), "not bold"))
    console.print(Text("\nPurposes", "underline"))
    for purpose in found.purposes:
        _tell_purpose(purpose, story.clock, console)
    console.print(Text("\nContact", "underline"))
    if not found.contact:
        console.print("allowed: nobody forbade it")
    _tell_words(found.contact, ("allowed", "forbidden"), "", story.clock, console)
    console.print(Text("\nAddresses", "underline"))
    for address in found.addresses:
        told = f"{address.channel}  {address.address}  {address.state} since {moment(address.since, story.clock)}"
        console.print(Text(told, "" if address.state == "reachable" else "red"))
    if not found.addresses:
        console.print("none is known")


def _at(story: Story) -> str:
    return "" if story.at is None else f"  (at {moment(story.at, story.clock)})"


def _tell_purpose(purpose: Purpose, clock: tzinfo, console: Console) -> None:
    of = " (cookie)" if purpose.of == "cookie" else ""
    if purpose.note:
        console.print(Text(f"{purpose.purpose}: {purpose.note}", "dim"))
    elif not purpose.history:
        console.print(f"{purpose.purpose}{of}: not allowed, consent was never given", markup=False)
    else:
        console.print(f"{purpose.purpose}{of}: {'allowed' if purpose.allowed else 'not allowed'}", markup=False)
        _tell_words(purpose.history, ("given", "withdrawn"), "  ", clock, console)


def _tell_words(words: list[Word], verbs: tuple[str, str], indent: str, clock: tzinfo, console: Console) -> None:
    for number, word in enumerate(words):
        verb = verbs[0] if word.granted else verbs[1]
        where = f" ({word.source})" if word.source else ""
        console.print(Text(f"{indent}{verb} {moment(word.at, clock)}{where}", "dim" if number else ""))

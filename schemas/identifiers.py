"""Identifiers: how a customer, a device or an address names a profile, and which names are refused."""

from __future__ import annotations

import hashlib
import re

CUSTOMER = "customer"
DEFAULT_KINDS = ("customer", "device", "email", "phone", "social")
MAX_ID_BYTES = 200

# Placeholders that producers send instead of "unknown"; linking by one of them would merge strangers.
_REFUSED = re.compile(
    r"(?:|null|nil|none|undefined|unknown|anonymous|anon|guest|nan|n/a|na|true|false|test|[-_.]+|[0-]+"
    r"|\[object object\])",
    re.IGNORECASE,
)


class IdentifierError(ValueError):
    """An identifier breaks a rule; `rule` says which."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


def normalise(kind: str, value: str) -> str:
    """The id, trimmed. Raises IdentifierError for placeholders, control characters and ids over 200 bytes."""
    trimmed = value.strip()
    if _REFUSED.fullmatch(trimmed):
        raise IdentifierError(f"{kind} id {trimmed[:40]!r} stands for nobody (a placeholder)")
    if len(trimmed.encode(errors="surrogatepass")) > MAX_ID_BYTES:
        raise IdentifierError(f"{kind} id is longer than {MAX_ID_BYTES} bytes")
    if not trimmed.isprintable():
        raise IdentifierError(f"{kind} id has control characters")
    return trimmed


def profile_of(identifiers: dict[str, str], kinds: tuple[str, ...] = DEFAULT_KINDS) -> str:
    """kind:id of the profile an event belongs to: its customer, else the first other kind in declared order."""
    for kind in kinds:
        if kind in identifiers:
            return f"{kind}:{identifiers[kind]}"
    raise IdentifierError(f"no identifier of a declared kind ({', '.join(kinds)})")


def address_hash(channel: str, address: str) -> str:
    """The key of a dead address in `suppressions`: SHA-256 of channel and the trimmed, lower-cased address, in hex."""
    return hashlib.sha256(f"{channel}\n{address.strip().lower()}".encode()).hexdigest()


def contact_key(address: str) -> str:
    """The key of do-not-contact at an address, by its hash. Its own: lifting it leaves a dead address dead."""
    return f"{address}/do-not-contact"

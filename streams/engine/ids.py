"""Deterministic ids (RFC 9562, UUIDv5): the same journal names the same instances, actions and decisions."""

from __future__ import annotations

from hashlib import blake2b, sha1

# Polku's own namespace: any sixteen bytes would do, but they may never change.
_NAMESPACE = bytes.fromhex("0e2c6a6c5d0c5f539d0e6b4b1f2c9a37")

_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


def uuid5(*parts: str | int) -> str:
    """The UUIDv5 of the parts, joined so that no two lists of parts give the same name."""
    name = "\x1f".join(map(str, parts))
    h = sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    # What uuid.UUID(bytes=..., version=5) writes, in a third of its time: version and variant set, hyphens between.
    return f"{h[:8]}-{h[8:12]}-5{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:32]}"


def instance_id(profile: str, journey: str, event_id: str) -> str:
    """Of (profile at entry, journey, event it entered with)."""
    return uuid5("instance", profile, journey, event_id)


def action_id(instance: str, stage: str, visit: int, path: str, nth: int, attempt: int) -> str:
    """Of (instance, nth visit of the stage, path in the pinned definition, nth time in this visit, attempt)."""
    return uuid5("action", instance, stage, visit, path, nth, attempt)


def percent(experiment: str, profile: str) -> int:
    """Which hundredth, 0 to 99, of all profiles one belongs to: by each experiment another one, and always the same."""
    return int.from_bytes(blake2b(f"{experiment}\x1f{profile}".encode(), digest_size=8).digest()) % 100


def digest(event_id: str) -> bytes:
    """The 8 bytes by which a profile remembers an event id."""
    return blake2b(event_id.encode(), digest_size=8).digest()

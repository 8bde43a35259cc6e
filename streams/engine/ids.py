"""Deterministic ids (RFC 9562, UUIDv5): the same journal names the same instances, actions and decisions."""

from __future__ import annotations

from hashlib import blake2b, sha1

# Polku's own namespace: any sixteen bytes would do, but they may never change.
_NAMESPACE = bytes.fromhex("0e2c6a6c5d0c5f539d0e6b4b1f2c9a37")

# Hashes that have taken in what every name begins with: a copy costs half of what a new one does.
_SHA1 = sha1(_NAMESPACE, usedforsecurity=False)
_BLAKE2B = blake2b(digest_size=8)
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


def uuid5(*parts: str | int) -> str:
    """The UUIDv5 of the parts, joined so that no two lists of parts give the same name."""
    return _uuid5("\x1f".join([str(part) for part in parts]))


def _uuid5(name: str) -> str:
    hashed = _SHA1.copy()
    hashed.update(name.encode())
    h = hashed.hexdigest()
    # What uuid.UUID(bytes=..., version=5) writes, in a third of its time: version and variant set, hyphens between.
    return f"{h[:8]}-{h[8:12]}-5{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:32]}"


def instance_id(profile: str, journey: str, event_id: str) -> str:
    """Of (profile at entry, journey, event it entered with)."""
    return uuid5("instance", profile, journey, event_id)


def action_id(instance: str, stage: str, visit: int, path: str, nth: int, attempt: int) -> str:
    """Of (instance, nth visit of the stage, path in the pinned definition, nth time in this visit, attempt)."""
    # What `uuid5` makes of these parts, in two thirds of its time.
    return _uuid5(f"action\x1f{instance}\x1f{stage}\x1f{visit}\x1f{path}\x1f{nth}\x1f{attempt}")


def decision_id(action: str, verdict: str, gate: str, now: int) -> str:
    """Of a verdict on an action: (action, verdict, gate, when in ms)."""
    return _uuid5(f"decision\x1f{action}\x1f{verdict}\x1f{gate}\x1f{now}")  # as above


def percent(experiment: str, profile: str) -> int:
    """Which hundredth, 0 to 99, of all profiles one belongs to: by each experiment another one, and always the same."""
    return int.from_bytes(digest(f"{experiment}\x1f{profile}")) % 100


def digest(event_id: str) -> bytes:
    """The 8 bytes by which a profile remembers an event id."""
    hashed = _BLAKE2B.copy()
    hashed.update(event_id.encode())
    return hashed.digest()

"""Releases: for whom a published version is, and who said so. They stand in its record in the definitions topic.

A version is for all, or (a canary) for a share of those who enter; a later record of the same version changes that.
"""

from __future__ import annotations

import msgspec

from schemas.journal import EVERYBODY
from streams.definitions import DefinitionError


class Release(msgspec.Struct, frozen=True, omit_defaults=True):
    """`share` in percent; `by` and `why` for the audit; `at` (ms): of two words on one version the later counts."""

    share: int = EVERYBODY
    by: str = ""
    why: str = ""
    at: int = 0


_decode = msgspec.json.Decoder(Release).decode


def with_release(published: bytes, release: Release) -> bytes:
    """A published definition's record with its release."""
    return msgspec.json.encode({**msgspec.json.decode(published), **msgspec.to_builtins(release)})


def release_of(published: bytes) -> Release:
    """The release in a definition's record; records from before there were any are for all."""
    try:
        return _decode(published)
    except msgspec.MsgspecError as error:
        raise DefinitionError(f"not a published release: {error}") from None

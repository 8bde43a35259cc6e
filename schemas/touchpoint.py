"""The touchpoint: one thing a customer did or that happened to one, as producers publish it.

Published contract: `avro/touchpoint.avsc`; the JSON form has the same field names.
"""

from __future__ import annotations

from typing import Any

import msgspec

MAX_BYTES = 256 * 1024
MAX_PROPERTIES = 200
MAX_DEPTH = 8
MAX_NAME_BYTES = 200

# Types the engine itself understands; every other type is the business's own.
PROFILE_UPDATED = "profile_updated"  # properties are traits
CONSENT_GIVEN = "consent_given"  # property `purpose`
CONSENT_WITHDRAWN = "consent_withdrawn"  # property `purpose`
CONTACT_FORBIDDEN = "contact_forbidden"  # do-not-contact begins
CONTACT_ALLOWED = "contact_allowed"  # do-not-contact ends
CUSTOMERS_MERGED = "customers_merged"  # properties `from`, `into`
LOGGED_OUT = "logged_out"  # the identifiers it names are claimed for nobody


class Touchpoint(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event of one customer.

    `event_id` names the event for ever: a repeat among its profile's recent events changes nothing. `occurred_at` is in
    milliseconds since 1970 UTC. `identifiers` maps kind (customer, device, email, ...) to id. `properties` is the
    business content: null, booleans, 64-bit integers, finite doubles, strings, lists and objects of these.
    """

    event_id: str
    type: str
    channel: str
    occurred_at: int
    identifiers: dict[str, str]
    properties: dict[str, Any] = {}

"""The board: the standing actions there are, and which of them a visitor is to see now.

Seen are the actions of the visitor's own identifier and of the customer who holds it, those of customers merged into
that one included. An action decided for a named customer is never shown to a visitor who is, by now, somebody else.
Of those for one slot the one of highest priority is shown, of equals the newest.
"""

from __future__ import annotations

from collections.abc import Callable

from schemas.action import Action
from schemas.identifiers import CUSTOMER

DEFAULT_SLOT = "main"


def slot_of(action: Action) -> str:
    """The place on the page that an action wants: its parameter `slot`."""
    slot = action.params.get("slot")
    return slot if isinstance(slot, str) and slot else DEFAULT_SLOT


def rank(action: Action) -> tuple[int, int, str]:
    """The order of actions that compete for one slot; the greatest is shown."""
    return action.priority, action.proposed_at, action.action_id


class Board:
    """Standing actions by the profiles they are for."""

    def __init__(self) -> None:
        self._actions: dict[str, Action] = {}
        self._of: dict[str, set[str]] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._actions)

    def put(self, action: Action) -> None:
        """Put up an action."""
        self.remove(action.action_id)
        self._actions[action.action_id] = action
        for profile in _profiles(action):
            self._of.setdefault(profile, set()).add(action.action_id)

    def remove(self, action_id: str) -> None:
        """Take down an action, if it is up."""
        action = self._actions.pop(action_id, None)
        if action is None:
            return
        for profile in _profiles(action):
            ids = self._of[profile]
            ids.discard(action_id)
            if not ids:
                del self._of[profile]

    def expire(self, now: int) -> None:
        """Take down what has expired."""
        for action_id in [a.action_id for a in self._actions.values() if a.expires_at <= now]:
            self.remove(action_id)

    def seen(
        self, identifier: str, now: int, resolve: Callable[[str], str], aliases: Callable[[str], list[str]]
    ) -> list[Action]:
        """What a visitor is to see, one action per slot, best first."""
        holder = resolve(identifier)
        best: dict[str, Action] = {}
        for profile in dict.fromkeys((identifier, holder, *aliases(holder))):
            for action_id in self._of.get(profile, ()):
                action = self._actions[action_id]
                if action.expires_at <= now:
                    continue
                if action.customer is not None and resolve(f"{CUSTOMER}:{action.customer}") != holder:
                    continue
                slot = slot_of(action)
                if slot not in best or rank(action) > rank(best[slot]):
                    best[slot] = action
        return sorted(best.values(), key=rank, reverse=True)


def _profiles(action: Action) -> set[str]:
    return {action.profile} if action.customer is None else {action.profile, f"{CUSTOMER}:{action.customer}"}

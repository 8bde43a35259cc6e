"""The names of the topics and groups that sinks use; all carry the installation's prefix."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """The names as one channel's sink sees them."""

    prefix: str
    channel: str

    @property
    def actions(self) -> str:
        """What to deliver."""
        return f"{self.prefix}actions.{self.channel}"

    @property
    def withdrawn(self) -> str:
        """What must no longer be delivered."""
        return f"{self.prefix}actions.withdrawn"

    @property
    def suppressions(self) -> str:
        """Addresses that must not be contacted."""
        return f"{self.prefix}suppressions"

    @property
    def control(self) -> str:
        """What is stopped now."""
        return f"{self.prefix}control"

    @property
    def identities(self) -> str:
        """Who holds an identifier."""
        return f"{self.prefix}identities"

    @property
    def outcomes(self) -> str:
        """What became of actions."""
        return f"{self.prefix}outcomes"

    @property
    def dead_actions(self) -> str:
        """What could not be delivered, for people."""
        return f"{self.prefix}actions.dlq"

    def deliveries(self, sink: str) -> str:
        """A sink's ledger."""
        return f"{self.prefix}deliveries.{sink}"

    def group(self, sink: str) -> str:
        """A sink's consumer group."""
        return f"{self.prefix}sink.{sink}"

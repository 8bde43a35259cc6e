"""Every topic: name, key, value, partitions, retention and cleanup policy. Names are spelt nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from schemas.journal import ORIGIN_TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.settings import Settings

DAY = 86_400_000
LONG = 90 * DAY
LONGEST = 400 * DAY
FOR_EVER = -1
CHANNELS = ("email", "sms", "push", "web", "ads", "advisor")
# Kept so long that a worker's local store, rebuilt when older than half of it, never misses a tombstone.
DELETE_RETENTION = 7 * DAY


class Cleanup(StrEnum):
    """What Kafka does with old records."""

    DELETE = "delete"
    COMPACT = "compact"


class Clock(StrEnum):
    """Whose time a record carries: the broker's on arrival, or the producer's.

    The origins and the journal need the broker's. So do all others: a broker refuses records whose producer's clock is
    an hour ahead of its own, so a worker with such a clock could write nothing.
    """

    APPEND = "LogAppendTime"
    CREATE = "CreateTime"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as Polku needs it; `retention` is in milliseconds, -1 for ever."""

    name: str
    key: str
    value: str
    partitions: int
    cleanup: Cleanup = Cleanup.DELETE
    clock: Clock = Clock.APPEND
    retention: int = LONG

    def config(self) -> dict[str, str]:
        """Return the topic's settings for its creation."""
        config = {
            "cleanup.policy": self.cleanup.value,
            "message.timestamp.type": self.clock.value,
            "unclean.leader.election.enable": "false",
        }
        if self.cleanup is Cleanup.DELETE:
            config["retention.ms"] = str(self.retention)
            config["retention.bytes"] = "-1"
        else:
            config["delete.retention.ms"] = str(DELETE_RETENTION)
            # 10 minutes: compaction keeps a recovering worker's reading short without rewriting all the time.
            config["segment.ms"] = str(600_000)
            config["min.cleanable.dirty.ratio"] = "0.2"
        return config


@dataclass(frozen=True, slots=True)
class Topics:
    """All names and shapes of one installation."""

    prefix: str
    touchpoints_partitions: int
    outcomes_partitions: int
    journal_partitions: int
    clock: Clock = Clock.APPEND

    @classmethod
    def of(cls, settings: Settings) -> Topics:
        """Return the topics that `settings` describe."""
        return cls(
            settings.prefix,
            settings.touchpoints_partitions,
            settings.outcomes_partitions,
            settings.journal_partitions,
            Clock.APPEND if settings.clock == "log" else Clock.CREATE,
        )

    def name(self, short: str) -> str:
        """Return the full name of the topic called `short` in the documentation."""
        return self.prefix + short

    @property
    def touchpoints(self) -> str:
        """What producers publish."""
        return self.name(ORIGIN_TOPICS[0])

    @property
    def outcomes(self) -> str:
        """What became of actions."""
        return self.name(ORIGIN_TOPICS[1])

    @property
    def origins(self) -> tuple[str, ...]:
        """The topics the router reads, by their index in the journal's origins."""
        return self.touchpoints, self.outcomes

    @property
    def journal(self) -> str:
        """Everything that happens to a profile, in one order."""
        return self.name("journal")

    @property
    def changelog(self) -> str:
        """The states of the profiles."""
        return self.name("profiles-changelog")

    @property
    def definitions(self) -> str:
        """Journeys, offers and policies, by kind/name/version."""
        return self.name("definitions")

    @property
    def control(self) -> str:
        """What is stopped now."""
        return self.name("control")

    @property
    def decisions(self) -> str:
        """Why something was sent or not."""
        return self.name("decisions")

    @property
    def withdrawn(self) -> str:
        """Actions that must no longer be delivered."""
        return self.name("actions.withdrawn")

    @property
    def suppressions(self) -> str:
        """Addresses that must not be contacted."""
        return self.name("suppressions")

    @property
    def identities(self) -> str:
        """Who holds an identifier."""
        return self.name("identities")

    @property
    def dead_touchpoints(self) -> str:
        """Records of the origins that their own bytes condemn."""
        return self.name("touchpoints.dlq")

    @property
    def dead_actions(self) -> str:
        """Actions that a channel refused."""
        return self.name("actions.dlq")

    def actions(self, channel: str) -> str:
        """Return the topic of one channel's actions."""
        return self.name(f"actions.{channel}")

    def action_spec(self, channel: str) -> TopicSpec:
        """Return the shape of one channel's topic."""
        return self._spec(self.actions(channel), "customer", "Action", self.journal_partitions)

    def specs(self, channels: Iterable[str] = CHANNELS) -> list[TopicSpec]:
        """Return every topic, the origins first."""
        count, compact = self.journal_partitions, Cleanup.COMPACT
        return [
            self._spec(self.touchpoints, "the producer's", "Touchpoint", self.touchpoints_partitions),
            self._spec(self.outcomes, "profile", "Outcome", self.outcomes_partitions),
            self._spec(self.journal, "profile", "journal entry", count, retention=LONGEST),
            *(self.action_spec(channel) for channel in channels),
            self._spec(self.withdrawn, "action id", "Withdrawal", count, compact),
            self._spec(self.suppressions, "address hash", "Suppression", count, compact),
            self._spec(self.identities, "identifier", "Identity", count, compact),
            self._spec(self.decisions, "customer", "Decision", count),
            self._spec(self.changelog, "profile", "state", count, compact),
            self._spec(self.definitions, "kind/name/version", "definition", 1, compact),
            self._spec(self.control, "scope", "Control", 1, compact),
            self._spec(self.dead_touchpoints, "original key", "original bytes", self.touchpoints_partitions),
            self._spec(self.dead_actions, "original key", "original bytes", count),
        ]

    def _spec(
        self,
        name: str,
        key: str,
        value: str,
        partitions: int,
        cleanup: Cleanup = Cleanup.DELETE,
        *,
        retention: int = LONG,
    ) -> TopicSpec:
        return TopicSpec(name, key, value, partitions, cleanup, self.clock, retention)

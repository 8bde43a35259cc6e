"""Every Prometheus collector of a worker: base units, bounded labels, never anything of a customer."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

LATENCY = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 15.0, 60.0, 300.0, 3600.0)
SECONDS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24)
RECORDS = (1, 5, 20, 100, 500, 1000, 2000, 5000, 10_000)
LATENESS = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 10.0, 60.0, 600.0, 3600.0)


class Metrics:
    """The collectors of one worker, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = reg = registry or CollectorRegistry()
        ProcessCollector(registry=reg)
        self.routed = Counter(
            "polku_records_routed_total", "Records of an origin routed to the journal", ["topic"], registry=reg
        )
        self.dead_letters = Counter(
            "polku_dead_letters_total",
            "Records condemned by their own bytes, by rule",
            ["topic", "reason"],
            registry=reg,
        )
        self.schema_waits = Gauge(
            "polku_partitions_waiting_for_schema", "Origin partitions that wait for a schema registry", registry=reg
        )
        self.definition_waits = Gauge(
            "polku_partitions_waiting_for_definition",
            "Journal partitions that wait for a definition named in the journal",
            registry=reg,
        )
        self.entries = Counter("polku_journal_entries_total", "Journal entries applied", registry=reg)
        self.actions = Counter("polku_actions_total", "Actions emitted", ["channel"], registry=reg)
        self.withdrawals = Counter("polku_withdrawals_total", "Actions withdrawn", ["channel"], registry=reg)
        self.decisions = Counter(
            "polku_decisions_total", "Decisions, by the gate that decided", ["verdict", "gate", "reason"], registry=reg
        )
        self.transitions = Counter(
            "polku_journey_transitions_total",
            "Journeys' instances that moved; from is empty on entry, to is empty on the end",
            ["journey", "from_stage", "to_stage"],
            registry=reg,
        )
        self.forwards = Counter("polku_forwarded_entries_total", "Entries written for other profiles", registry=reg)
        self.latency = Histogram(
            "polku_touchpoint_to_action_seconds",
            "From the record time of the cause to the action's commit",
            buckets=LATENCY,
            registry=reg,
        )
        self.lag = Gauge(
            "polku_consumer_lag_records", "Records behind the end of the log", ["topic", "partition"], registry=reg
        )
        self.watermark_delay = Gauge(
            "polku_watermark_delay_seconds", "Clock minus a journal partition's watermark", ["partition"], registry=reg
        )
        self.mark_delay = Gauge(
            "polku_mark_delay_seconds",
            "Clock minus the last mark of an origin partition",
            ["topic", "partition"],
            registry=reg,
        )
        self.batch = Histogram(
            "polku_transaction_records", "Records read by one transaction", ["agent"], buckets=RECORDS, registry=reg
        )
        self.commit = Histogram(
            "polku_transaction_seconds", "Duration of one transaction", ["agent"], buckets=SECONDS, registry=reg
        )
        self.transactions = Counter(
            "polku_transactions_total", "Transactions, by result", ["agent", "result"], registry=reg
        )
        self.timers = Counter("polku_timers_fired_total", "Timers fired", registry=reg)
        self.timer_lateness = Histogram(
            "polku_timer_lateness_seconds",
            "From a timer's due time to its firing",
            buckets=LATENESS,
            registry=reg,
        )
        self.absent = Counter(
            "polku_absent_conditions_total", "Conditions that were false because something was absent", registry=reg
        )
        self.state_bytes = Gauge(
            "polku_state_bytes", "Encoded profile states in the local store", ["partition"], registry=reg
        )
        self.profiles = Gauge("polku_profiles", "Profiles in the local store", ["partition"], registry=reg)
        self.recoveries = Counter(
            "polku_recovered_records_total", "Changelog records read to rebuild the local store", registry=reg
        )
        self.tasks = Gauge("polku_tasks", "Tasks by state", ["agent", "state"], registry=reg)
        self.restarts = Counter(
            "polku_task_restarts_total", "Tasks begun again after a doubt", ["agent", "cause"], registry=reg
        )

        self.standbys = Gauge("polku_standby_partitions", "Partitions of others kept warm here", registry=reg)
        self.standby_records = Counter(
            "polku_standby_records_total", "Changelog records read to keep partitions warm", registry=reg
        )
        self.rebalances = Counter(
            "polku_rebalances_total", "Times the group gave this member its partitions anew", registry=reg
        )

    def render(self) -> bytes:
        """Return all collectors in Prometheus's text format."""
        return generate_latest(self.registry)


class SupervisorMetrics:
    """What a supervisor knows of its members, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = reg = CollectorRegistry()
        self.running = Gauge("polku_members_running", "Member processes that run", registry=reg)
        self.restarts = Counter(
            "polku_member_restarts_total", "Members started again after they ended", ["member"], registry=reg
        )

    def render(self) -> bytes:
        """Return all collectors in Prometheus's text format."""
        return generate_latest(self.registry)

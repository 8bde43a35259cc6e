"""Every Prometheus collector of the sinks. Labels are sink names and fixed words, never a customer or an action."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SETTLED = Counter("polku_sink_actions_settled", "Actions a sink has finished with, by outcome", ["sink", "outcome"])
CALLS = Counter("polku_sink_calls", "Calls to the channel system, by how they ended", ["sink", "result"])
CALL_SECONDS = Histogram(
    "polku_sink_call_seconds",
    "Duration of calls to the channel system",
    ["sink"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
DELAY_SECONDS = Histogram(
    "polku_sink_delay_seconds",
    "From the decision to the delivery, retries and pauses included",
    ["sink"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400),
)
DEAD_LETTERS = Counter("polku_sink_dead_letters", "Records put into actions.dlq, by stage", ["sink", "stage"])
PAUSED = Gauge("polku_sink_paused", "1 while the channel is down and the sink waits for it", ["sink"])
UNDER_WAY = Gauge("polku_sink_actions_under_way", "Actions read and not settled", ["sink"])
LEDGER_ENTRIES = Gauge("polku_sink_ledger_entries", "Actions the ledger knows", ["sink"])
RESTARTS = Counter("polku_sink_restarts", "Times a sink started over after a doubt, by reason", ["sink", "reason"])
STANDING = Gauge("polku_sink_standing_actions", "Standing actions that may be shown now", ["sink"])
SERVING = Gauge("polku_sink_serving", "1 while the sink has read its ledger and delivers", ["sink"])

"""When a single writer on a silent node has certainly stopped: its promise to the last time it may serve has run out.

A node serves alone for `valid_offline_s` of the assignment that it holds, which need not be the last that was written,
and counts from when it noticed that the link was gone, by a clock of its own.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.model.ids import ReplicaId

# A node takes its link for alive for so long at most after the front last heard it: a beat (20 s at most), then 10 s
# until what is written and not acknowledged ends the connection, or behind a proxy 40 s until a ping was not answered.
NOTICE_S = 60.0
DRIFT = 0.01  # of a node's clock against ours; crystals are a hundred times better
STOP_S = 30.0  # calls under way end


def stopped_after_s(promised_s: float) -> float:
    """How long a node must have been silent, by our clock, until it has stopped by its own."""
    return NOTICE_S + promised_s * (1 + DRIFT) + STOP_S


@dataclass(frozen=True, slots=True)
class Promise:
    """One replica of an assignment as it was stored: how long it may serve alone."""

    replica: ReplicaId
    valid_offline_s: float


def promised(
    stored: Sequence[Promise], longer: Mapping[ReplicaId, float], acknowledged: bool
) -> dict[ReplicaId, float]:
    """The longest that the node may have been told of each replica. `acknowledged`: it holds what is stored.

    `longer`: what was promised before and may still be all that it knows.
    """
    found = {one.replica: one.valid_offline_s for one in stored}
    if acknowledged:
        return found
    return found | {replica: max(one, found.get(replica, 0.0)) for replica, one in longer.items()}


def still_promised(before: Mapping[ReplicaId, float], now: Collection[Promise]) -> dict[ReplicaId, float]:
    """Of `before` what goes beyond what is written now: to be kept until the node has acknowledged that."""
    valid = {one.replica: one.valid_offline_s for one in now}
    return {replica: one for replica, one in before.items() if one > valid.get(replica, 0.0)}

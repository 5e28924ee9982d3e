"""What operators ask of nodes."""

from collections.abc import Set
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.model.ids import NodeName


class Schedule(StrEnum):
    CORDON = "cordon"  # no new replicas; what runs stays
    UNCORDON = "uncordon"
    DRAIN = "drain"  # cordoned, and what runs is handed over


@dataclass(frozen=True, slots=True)
class NodeOrders:
    """Nodes that take no new replicas, and those of them that hand over what they have."""

    cordoned: Set[NodeName] = frozenset()
    draining: Set[NodeName] = frozenset()

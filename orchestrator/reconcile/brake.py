"""The brake on mass replacement: when much of a failure domain falls silent at once, that is our outage, not theirs.

A node serves its own LAN on while nobody hears it. To replace a domain's replicas elsewhere because a switch, a front
or a certificate of ours failed would load the rest of the fleet, and be undone an hour later.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.model.ids import NodeName

# With fewer, more than half of a domain is one node: that one may well have died, and is replaced.
LEAST_NODES = 3
# Nodes whose silence began so near to each other fell silent together: leases of ten seconds run out at different
# beats, and an emergency supply lasts a little longer on one machine than on the next.
TOGETHER_S = 120.0
# For so long after its return a node counts as one of its outage: the slowest to dial again waits minutes, no more.
RETURN_S = 180.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One registered node. `silent_s` is 0 while it is attached.

    `away_s`: of one that has just come back, since when it had been silent. It counts with those it fell silent with:
    they dial one after the other, and the last of them are not dead because most are back.
    """

    node: NodeName
    domain: str
    silent_s: float
    away_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Outage:
    """Nodes of one failure domain that fell silent together, out of those that were there then."""

    domain: str
    silent: int
    nodes: int

    @property
    def share(self) -> float:
        return self.silent / self.nodes


def outages(heard: Iterable[Heard]) -> dict[NodeName, Outage]:
    """For each silent node the outage that it is a part of. A node that was gone long before does not count for it."""
    domains: dict[str, list[Heard]] = {}
    for one in sorted(heard, key=lambda one: one.node):
        domains.setdefault(one.domain, []).append(one)
    found: dict[NodeName, Outage] = {}
    for domain, nodes in domains.items():
        silences_s = sorted(
            each.silent_s or each.away_s for each in nodes
        )  # a domain may be a whole fleet, silent at once
        for one in nodes:
            if one.silent_s > 0:
                there = bisect_right(silences_s, one.silent_s + TOGETHER_S)
                before = bisect_left(silences_s, max(one.silent_s - TOGETHER_S, 1e-12))
                found[one.node] = Outage(domain, there - before, there)
    return found


def braked(found: dict[NodeName, Outage], share: float) -> dict[NodeName, Outage]:
    """Silent nodes that are waited for, however long, by a policy whose `disconnect.brake_share` is this."""
    return {node: outage for node, outage in found.items() if outage.nodes >= LEAST_NODES and outage.share > share}

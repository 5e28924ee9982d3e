"""Which nodes of a site give each other the artifacts that they hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias
from zlib import crc32

from orchestrator.model.ids import NodeName, SiteName
from orchestrator.reconcile.assignments import AssignedReplica
from orchestrator.reconcile.observed import SeenNode

PEERS_MOST = 8  # asked one after the other: a site with more gains nothing from the ninth

Held: TypeAlias = tuple[AssignedReplica, ...]


@dataclass(frozen=True, slots=True)
class Peer:
    node: NodeName
    address: str  # host:port on the site's LAN


def peers(assigned: Mapping[NodeName, Held], nodes: Mapping[NodeName, SeenNode]) -> dict[NodeName, tuple[Peer, ...]]:
    """For each node that shares services with others of its site: these and itself, in one order for all of them.

    The order says who fetches first when several lack the same artifact. It is another one for another site, and the
    same for as long as the same nodes are assigned: a node that is silent for a while keeps its place.
    """
    sharing: dict[tuple[SiteName, str, str], list[NodeName]] = {}
    for node, replicas in assigned.items():
        seen = nodes.get(node)
        if seen is not None and seen.peer_address:
            for service in {(replica.namespace, replica.service) for replica in replicas}:
                sharing.setdefault((seen.site, *service), []).append(node)
    found: dict[NodeName, set[NodeName]] = {}
    for key, names in sharing.items():
        chosen = sorted(names, key=lambda node: _rank(key[0], node))[:PEERS_MOST]
        for node in names if len(names) > 1 else ():
            found.setdefault(node, set()).update(chosen)
    return {node: _in_order(nodes[node].site, chosen, nodes) for node, chosen in found.items()}


def _in_order(site: SiteName, chosen: set[NodeName], nodes: Mapping[NodeName, SeenNode]) -> tuple[Peer, ...]:
    ranked = sorted(chosen, key=lambda node: _rank(site, node))
    return tuple(Peer(node, nodes[node].peer_address) for node in ranked[:PEERS_MOST])


def _rank(site: SiteName, node: NodeName) -> tuple[int, str]:
    return crc32(f"{site}/{node}".encode()), node

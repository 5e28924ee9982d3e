"""The running parts, as `skerry status` lists them."""

from collections.abc import Mapping

from orchestrator.api.seams import NodeReplica, NodeView, Part
from orchestrator.control.observations import Observations
from orchestrator.control.rollouts import RolloutStatus
from orchestrator.model.ids import NodeName, ServiceRef
from orchestrator.model.legs import Leg
from orchestrator.model.phases import NodePhase
from orchestrator.model.stored import Key
from orchestrator.reconcile.observed import SeenNode, SeenReplica
from orchestrator.reconcile.rollouts import RolloutPhase


def unreadable_parts(unreadable: Mapping[Key, str]) -> tuple[Part, ...]:
    """Objects that the control plane does without, since it cannot read them."""
    return tuple(
        Part(key.kind.lower(), f"{key.namespace}/{key.name}".lstrip("/"), "unreadable", reason, 0.0)
        for key, reason in sorted(unreadable.items())
    )


def rollout_parts(rollouts: Mapping[ServiceRef, RolloutStatus]) -> tuple[Part, ...]:
    """Versions that are on their way out, or were taken back."""
    return tuple(
        Part("rollout", str(service), one.rollout.phase.value.lower(), one.sentence, 0.0)
        for service, one in sorted(rollouts.items())
        if one.rollout.phase is not RolloutPhase.DONE
    )


def running_parts(
    observations: Observations, cloud_problem: str, now_s: float, scheduling: Mapping[NodeName, str]
) -> tuple[Part, ...]:
    """Fronts, nodes, replicas and legs, in that order. `scheduling`: of nodes that operators took out of use."""
    observed = observations.observed(now_s)
    parts = [
        Part(
            "front",
            front.name,
            "attached" if front.attached else "gone",
            f"gateway {front.gateway_address}",
            front.age_s,
        )
        for front in observations.fronts(now_s)
    ]
    if cloud_problem:
        parts.append(Part("region", "serve", "failing", cloud_problem, 0.0))
    for node in sorted(observed.nodes.values(), key=lambda n: n.node):
        lan = f", LAN {node.lan_address}" if node.lan_address else ""
        said = f", {scheduling[node.node]}" if node.node in scheduling else ""
        parts.append(Part("node", node.node, node.phase.value, f"site {node.site}{lan}{said}", node.silent_s))
        parts += [
            Part(
                "replica",
                seen.replica,
                _phase(node, seen),
                seen.reason or f"node {node.node}",
                node.silent_s,
            )
            for seen in sorted(node.replicas.values(), key=lambda r: r.replica)
        ]
    parts += [
        Part("replica", cloud.seen.replica, cloud.seen.phase.value, cloud.seen.reason or cloud.seen.address, 0.0)
        for cloud in sorted(observed.cloud.values(), key=lambda c: c.seen.replica)
    ]
    parts += [
        Part(
            "leg",
            f"{leg.source} -> {leg.target}",
            "measured",
            f"rtt p50 {leg.rtt_p50_ms:.1f} p99 {leg.rtt_p99_ms:.1f}{_interval(leg)} ms,"
            f" up {_mbps(leg.up_bps)} down {_mbps(leg.down_bps)}",
            leg.age_s,
        )
        for leg in sorted(observations.legs(now_s), key=lambda leg: (leg.source, leg.target))
    ]
    parts += [
        Part(refused.kind, refused.name, "refused", f"{refused.count} times: {refused.reason}", now_s - refused.at_s)
        for refused in observations.refused()
    ]
    return tuple(parts)


def _interval(leg: Leg) -> str:
    if leg.rtt_p99_low_ms is None or leg.rtt_p99_high_ms is None:
        return ""
    return f" ({leg.rtt_p99_low_ms:.1f} to {leg.rtt_p99_high_ms:.1f})"


def node_views(observations: Observations, now_s: float) -> tuple[NodeView, ...]:
    """Every node that was seen, attached or silent, by name."""
    return tuple(
        NodeView(
            name=node.node,
            site=node.site,
            front=observations.last_front(node.node),
            phase=node.phase.value,
            silent_s=node.silent_s,
            memory_bytes=node.capacity.memory_bytes,
            compute_millis=node.capacity.compute_millis,
            lan_address=node.lan_address,
            replicas=tuple(
                NodeReplica(seen.replica, _phase(node, seen), seen.reason)
                for seen in sorted(node.replicas.values(), key=lambda r: r.replica)
            ),
            machine=observations.resources.machine(node.node),
            usage=observations.resources.usage(node.node, now_s),
        )
        for node in sorted(observations.observed(now_s).nodes.values(), key=lambda n: n.node)
    )


def _phase(node: SeenNode, seen: SeenReplica) -> str:
    """Of a silent node's replicas nobody knows."""
    return seen.phase.value if node.phase is NodePhase.ATTACHED else node.phase.value


def _mbps(bps: float | None) -> str:
    return "not measured" if bps is None else f"{bps / 1e6:.1f} Mbit/s"

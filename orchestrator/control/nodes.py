"""Nodes as objects: what operators ask of them is stored, what is seen of them is told beside it.

An enrolment writes a node's object. One that attached in plain text over loopback has none until a verb first names it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from orchestrator.api.seams import NodeMachine, NodeUsage, NodeView
from orchestrator.control.observations import Observations
from orchestrator.control.seams import Store
from orchestrator.control.statuses import condition
from orchestrator.control.world import World
from orchestrator.errors import NodeUnknown, NotFound
from orchestrator.model.claims import Claim
from orchestrator.model.ids import NodeName, ServiceRef
from orchestrator.model.nodes import NodeOrders, Schedule
from orchestrator.model.stored import Batch, Json, Key, Owner, Put, StoredObject
from orchestrator.reconcile.draining import DrainProgress, progress
from orchestrator.reconcile.observed import Observed

NODE = "Node"
DRAINED = "Drained"


def node_key(node: NodeName) -> Key:
    return Key(NODE, "", node)


def orders_in(world: World) -> NodeOrders:
    nodes = [(NodeName(one.key.name), one.spec) for one in world.of(NODE)]
    draining = frozenset(name for name, spec in nodes if spec.get("draining") is True)
    cordoned = frozenset(name for name, spec in nodes if spec.get("unschedulable") is True)
    return NodeOrders(cordoned | draining, draining)


# ---- what operators ask


async def schedule(store: Store, observations: Observations, node: NodeName, action: Schedule) -> StoredObject:
    """Raises NodeUnknown for one that is neither stored nor seen, RevisionStale when another writes just then."""

    def written() -> StoredObject:
        before = _stored(store, node)
        seen = observations.observed(0.0).nodes.get(node)
        if before is None and seen is None:
            raise NodeUnknown(
                f"node {node}: is neither enrolled nor was it ever seen: `skerry get nodes` lists those that are known"
            )
        spec: dict[str, Json] = dict(before.spec) if before else {"site": str(seen.site) if seen else ""}
        spec |= {"unschedulable": action is not Schedule.UNCORDON, "draining": action is Schedule.DRAIN}
        status = dict(before.status) if before else {}
        if action is Schedule.DRAIN and not (before and before.spec.get("draining")):
            # Whoever waits for the end of this drain must not find that of an earlier one.
            status = _with_condition(
                status, condition(DRAINED, False, "Begun", "its replicas are about to be handed over")
            )
        revision = before.revision if before else 0
        put = Put(node_key(node), before.owner if before else Owner.CONTROL, revision, spec=spec, status=status)
        return store.commit(Batch(writes=(put,)))[0]

    return await asyncio.to_thread(written)


def _stored(store: Store, node: NodeName) -> StoredObject | None:
    try:
        return store.get(node_key(node))
    except NotFound:
        return None


# ---- how far it is


def node_statuses(
    world: World, claims: Sequence[Claim], observed: Observed, stays: Mapping[ServiceRef, str]
) -> list[Put]:
    """The condition Drained of each node that drains, or did. An enrolment that writes meanwhile goes first."""
    puts: list[Put] = []
    for stored in world.of(NODE):
        name = NodeName(stored.key.name)
        if stored.spec.get("draining") is True:
            found = progress(name, observed.nodes.get(name), claims, stays)
            status = _with_condition(stored.status, _drained(found))
        elif "conditions" in stored.status:
            status = _with_condition(stored.status, None)
        else:
            continue
        if status != dict(stored.status):
            puts.append(Put(stored.key, stored.owner, stored.revision, status=status))
    return puts


def _drained(found: DrainProgress) -> Json:
    reason = "Empty" if found.empty else "NothingElseFits" if found.stays else "HandingOver"
    return condition(DRAINED, found.empty, reason, found.sentence)


def _with_condition(status: Mapping[str, Json], drained: Json) -> dict[str, Json]:
    before = status.get("conditions")
    others = [one for one in (before if isinstance(before, list) else []) if _type(one) != DRAINED]
    conditions = [*others, drained] if drained is not None else others
    return {key: value for key, value in status.items() if key != "conditions"} | (
        {"conditions": conditions} if conditions else {}
    )


def _type(condition: Json) -> Json:
    return condition.get("type") if isinstance(condition, dict) else None


# ---- what is told


def merged(stored: Iterable[StoredObject], views: Iterable[NodeView]) -> list[StoredObject]:
    """Every node that is stored or seen, by name, with what is seen of it in its status."""
    found = {one.key.name: one for one in stored}
    for view in views:
        base = found.get(view.name) or StoredObject(
            node_key(NodeName(view.name)), "", 0, 0, Owner.CONTROL, {}, {"site": view.site}, {}, 0.0
        )
        seen: dict[str, Json] = {
            "phase": view.phase,
            "silent_s": round(view.silent_s, 1),
            "site": view.site,
            "front": view.front,
            "lan_address": view.lan_address,
            "memory_bytes": view.memory_bytes,
            "cores": view.compute_millis / 1000,
            "replicas": [{"replica": one.name, "phase": one.phase, "reason": one.reason} for one in view.replicas],
            "machine": _machine(view.machine) if view.machine else None,
            "usage": _usage(view.usage) if view.usage else None,
        }
        found[view.name] = replace(base, status={**base.status, **seen})
    return [found[name] for name in sorted(found)]


def _machine(machine: NodeMachine) -> dict[str, Json]:
    found: list[Json] = [{"kind": a.kind, "name": a.name, "device": a.device} for a in machine.accelerators]
    return {
        "architecture": machine.architecture,
        "kernel": machine.kernel,
        "system": machine.system,
        "cpus": machine.cpus,
        "memory_bytes": machine.memory_bytes,
        "disk_bytes": machine.disk_bytes,
        "accelerators": found,
    }


def _usage(usage: NodeUsage) -> dict[str, Json]:
    return {
        "age_s": round(usage.age_s, 1),
        "cpu_share": round(usage.cpu_share, 3),
        "memory_available_bytes": usage.memory_available_bytes,
        "agent_bytes": usage.agent_bytes,
        "replicas_bytes": usage.replicas_bytes,
        "disk_free_bytes": usage.disk_free_bytes,
        "temperature_c": None if usage.temperature_c is None else round(usage.temperature_c, 1),
    }


def scheduling_told(stored: StoredObject) -> str:
    """A few words for `skerry status`; "" for a node that nobody took out of use."""
    conditions = stored.status.get("conditions")
    drained = next((one for one in conditions if _type(one) == DRAINED), None) if isinstance(conditions, list) else None
    if stored.spec.get("draining") is True:
        return f"draining: {drained.get('message')}" if isinstance(drained, dict) else "draining"
    return "cordoned" if stored.spec.get("unschedulable") is True else ""

"""What nodes say of their machines, once it was looked at: a broken or hostile agent must not fool who reads it."""

import dataclasses
from dataclasses import dataclass

from orchestrator.api.seams import NodeAccelerator, NodeMachine, NodeUsage
from orchestrator.control.refusals import MOST_NAME, Refusals
from orchestrator.model.ids import NodeName
from protos.link.v1 import link_pb2

MOST_CPUS = 65_536
MOST_BYTES = 1 << 56  # 64 PiB: of memory or of a disk
MOST_ACCELERATORS = 64
COLDEST_C, HOTTEST_C = -100.0, 200.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """`machine` None: what was said of it cannot be. The messages are copies: a part of a report keeps all of it."""

    said: link_pb2.Machine | None = None
    machine: NodeMachine | None = None
    usage: link_pb2.Usage | None = None
    usage_at_s: float = 0.0  # when this sample was first seen: a front repeats the last it has


@dataclass(slots=True)
class ReportedResources:
    """The accepted ones by node. What a node says is dropped, not corrected, where it cannot be."""

    refusals: Refusals
    _seen: dict[NodeName, _Seen] = dataclasses.field(default_factory=dict)

    def node_reported(self, node: NodeName, state: link_pb2.NodeState, now_s: float) -> None:
        if not state.hello.HasField("machine"):
            self._seen.pop(node, None)
            return
        before = self._seen.get(node, _Seen())
        if before.said != state.hello.machine:  # once for each boot, not for each of a fleet's reports
            machine = link_pb2.Machine()
            machine.CopyFrom(state.hello.machine)
            before = _Seen(machine, self._accepted(node, machine, now_s))
            self._seen[node] = before
        if before.machine is None:
            return
        usage, at_s = before.usage, before.usage_at_s
        if state.report.HasField("usage") and state.report.usage != usage:
            usage, at_s = link_pb2.Usage(), now_s
            usage.CopyFrom(state.report.usage)
            if reason := usage_objection(usage, state.hello.machine):
                self.refusals.add("resources", f"node {node}", reason, now_s)
                usage = None
            self._seen[node] = dataclasses.replace(before, usage=usage, usage_at_s=at_s)

    def _accepted(self, node: NodeName, machine: link_pb2.Machine, now_s: float) -> NodeMachine | None:
        if reason := machine_objection(machine):
            self.refusals.add("resources", f"node {node}", reason, now_s)
        return None if reason else machine_of(machine)

    def machine(self, node: NodeName) -> NodeMachine | None:
        return self._seen.get(node, _Seen()).machine

    def usage(self, node: NodeName, now_s: float) -> NodeUsage | None:
        seen = self._seen.get(node, _Seen())
        return usage_of(seen.usage, now_s - seen.usage_at_s) if seen.usage else None


def machine_objection(machine: link_pb2.Machine) -> str | None:
    """Why it is refused; None: it is not."""
    named = {"architecture": machine.architecture, "kernel": machine.kernel, "system": machine.system}
    for number, one in enumerate(machine.accelerators):
        named |= {f"accelerators.{number}.{field}": getattr(one, field) for field in ("kind", "name", "device")}
    for field, name in named.items():
        if len(name) > MOST_NAME or not name.isprintable():
            return f"{field} has {len(name)} characters or some that cannot be printed; {MOST_NAME} at most"
    if not 0 < machine.cpus <= MOST_CPUS:
        return f"cpus {machine.cpus} is not 1 to {MOST_CPUS}"
    for field, size_bytes in (("memory_bytes", machine.memory_bytes), ("disk_bytes", machine.disk_bytes)):
        if not 0 < size_bytes <= MOST_BYTES:
            return f"{field} {size_bytes} is not 1 to {MOST_BYTES}"
    if len(machine.accelerators) > MOST_ACCELERATORS:
        return f"accelerators has {len(machine.accelerators)} entries, {MOST_ACCELERATORS} at most"
    return None


def usage_objection(usage: link_pb2.Usage, machine: link_pb2.Machine) -> str | None:
    """Why it is refused, beside an accepted machine; None: it is not."""
    # Each comparison is false for NaN.
    if not 0 <= usage.cpu_share <= 1:
        return f"cpu_share {usage.cpu_share:g} is not 0 to 1"
    for field in ("memory_available_bytes", "agent_bytes", "replicas_bytes"):
        if getattr(usage, field) > machine.memory_bytes:
            return f"{field} {getattr(usage, field)} is more than the machine's memory_bytes, {machine.memory_bytes}"
    if usage.disk_free_bytes > machine.disk_bytes:
        return f"disk_free_bytes {usage.disk_free_bytes} is more than disk_bytes, {machine.disk_bytes}"
    if usage.HasField("temperature_c") and not COLDEST_C <= usage.temperature_c <= HOTTEST_C:
        return f"temperature_c {usage.temperature_c:g} is not {COLDEST_C:g} to {HOTTEST_C:g}"
    return None


def machine_of(machine: link_pb2.Machine) -> NodeMachine:
    return NodeMachine(
        architecture=machine.architecture,
        kernel=machine.kernel,
        system=machine.system,
        cpus=machine.cpus,
        memory_bytes=machine.memory_bytes,
        disk_bytes=machine.disk_bytes,
        accelerators=tuple(NodeAccelerator(one.kind, one.name, one.device) for one in machine.accelerators),
    )


def usage_of(usage: link_pb2.Usage, age_s: float) -> NodeUsage:
    return NodeUsage(
        age_s=age_s,
        cpu_share=usage.cpu_share,
        memory_available_bytes=usage.memory_available_bytes,
        agent_bytes=usage.agent_bytes,
        replicas_bytes=usage.replicas_bytes,
        disk_free_bytes=usage.disk_free_bytes,
        temperature_c=usage.temperature_c if usage.HasField("temperature_c") else None,
    )

"""Nodes for a reader: they register themselves, so that the control plane is asked what it sees, not what it stores."""

from typing import TYPE_CHECKING

from orchestrator.cli.failures import BadUsage, Missing
from orchestrator.cli.getting import Printer
from orchestrator.cli.output import API_VERSION, Output, age_text, bytes_text, columns, listed, say, structured
from orchestrator.cli.rows import Column, at, text

if TYPE_CHECKING:
    from orchestrator.cli.client import ControlClient, Document, Json
    from protos.control.v1 import control_pb2 as pb


def _document(node: "pb.StatusReply.Node") -> "Document":
    """Shaped like an object, but for a spec: nobody writes one."""
    replicas: list[Json] = [{"replica": one.name, "phase": one.phase, "reason": one.reason} for one in node.replicas]
    return {
        "apiVersion": API_VERSION,
        "kind": "Node",
        "metadata": {"name": node.name},
        "status": {
            "phase": node.phase,
            "silent_s": round(node.silent_s, 1),
            "site": node.site,
            "front": node.front,
            "lan_address": node.lan_address,
            "memory_bytes": node.memory_bytes,
            "cores": node.compute_millis / 1000,
            "replicas": replicas,
            "machine": _machine_json(node.machine) if node.HasField("machine") else None,
            "usage": _usage_json(node.usage) if node.HasField("usage") else None,
        },
    }


def _machine_json(machine: "pb.StatusReply.Machine") -> "Json":
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


def _usage_json(usage: "pb.StatusReply.Usage") -> "Json":
    return {
        "age_s": round(usage.age_s, 1),
        "cpu_share": round(usage.cpu_share, 3),
        "memory_available_bytes": usage.memory_available_bytes,
        "agent_bytes": usage.agent_bytes,
        "replicas_bytes": usage.replicas_bytes,
        "disk_free_bytes": usage.disk_free_bytes,
        "temperature_c": round(usage.temperature_c, 1) if usage.HasField("temperature_c") else None,
    }


def _silent(document: "Document") -> str:
    silent_s = at(document, "status", "silent_s")
    attached = at(document, "status", "phase") == "attached"
    return age_text(silent_s) if isinstance(silent_s, int | float) and not attached else "-"


def _memory(document: "Document") -> str:
    size_bytes = at(document, "status", "memory_bytes")
    return bytes_text(size_bytes) if isinstance(size_bytes, int) else "-"


def _cores(document: "Document") -> str:
    cores = at(document, "status", "cores")
    return f"{cores:g}" if isinstance(cores, int | float) else "-"


def _bytes_at(document: "Document", *path: str) -> str:
    size_bytes = at(document, "status", *path)
    return bytes_text(size_bytes) if isinstance(size_bytes, int) else "-"


def _cpu(document: "Document") -> str:
    share = at(document, "status", "usage", "cpu_share")
    return f"{100 * share:.0f}%" if isinstance(share, int | float) else "-"


def _temperature(document: "Document") -> str:
    temperature_c = at(document, "status", "usage", "temperature_c")
    return f"{temperature_c:.0f}C" if isinstance(temperature_c, int | float) else "-"


def _accelerators(document: "Document") -> str:
    found = at(document, "status", "machine", "accelerators")
    if not isinstance(found, list):
        return "-"
    return ",".join(text(at(one, "kind")) for one in found) or "none"


def _replicas(document: "Document") -> "list[Json]":
    found = at(document, "status", "replicas")
    return found if isinstance(found, list) else []


def _ready(document: "Document") -> str:
    replicas = _replicas(document)
    return f"{sum(at(one, 'phase') == 'ready' for one in replicas)}/{len(replicas)}"


COLUMNS = (
    Column("NAME", lambda one: text(at(one, "metadata", "name"))),
    Column("SITE", lambda one: text(at(one, "status", "site"))),
    Column("FRONT", lambda one: text(at(one, "status", "front"))),
    Column("PHASE", lambda one: text(at(one, "status", "phase"))),
    Column("SILENT", _silent),
    Column("REPLICAS", _ready),
    Column("MEMORY", _memory),
    Column("CORES", _cores),
    Column("LAN", lambda one: text(at(one, "status", "lan_address"))),
    Column("ARCH", lambda one: text(at(one, "status", "machine", "architecture")), wide=True),
    Column("CPU", _cpu, wide=True),
    Column("AVAILABLE", lambda one: _bytes_at(one, "usage", "memory_available_bytes"), wide=True),
    Column("DISK-FREE", lambda one: _bytes_at(one, "usage", "disk_free_bytes"), wide=True),
    Column("TEMP", _temperature, wide=True),
    Column("ACCELERATORS", _accelerators, wide=True),
    Column("HOLDS", lambda one: text([at(replica, "replica") for replica in _replicas(one)]), wide=True),
)
HEADS = [(column.head, column.show) for column in COLUMNS if not column.wide]


def _found(reply: "pb.StatusReply", name: str) -> "list[Document]":
    """All nodes, or the one of that name. Raises Missing."""
    found = [_document(node) for node in reply.nodes if name in ("", node.name)]
    if name and not found:
        raise Missing(f"node {name}: no front has reported it", "`skerry get nodes` lists those that are known")
    return found


def get_nodes(client: "ControlClient", name: str, output: Output | None, selector: str, watch: bool) -> None:
    """`name` "": all of them. Raises BadUsage for what only objects have."""
    if selector or watch:
        raise BadUsage(
            "nodes have neither labels nor a change log", "leave out -l and -w; `skerry status --watch` goes on"
        )
    documents = _found(client.status(), name)
    if output in (Output.JSON, Output.YAML):
        print(structured(documents[0] if name else listed(documents), output))
    elif documents:
        Printer(output, [one for one in COLUMNS if output is Output.WIDE or not one.wide]).show(documents)
    else:
        say("no nodes found")


def _resource_lines(document: "Document") -> list[str]:
    """What the node says of its machine, and what it uses. An older agent says neither."""
    machine = at(document, "status", "machine")
    if not isinstance(machine, dict):
        return ["Machine:     not told: an agent of an older release, or refused (`skerry status` says why)"]
    found = at(machine, "accelerators")
    named = [f"{text(at(a, 'name'))} at {text(at(a, 'device'))}" for a in found] if isinstance(found, list) else []
    facts = f"{text(at(machine, 'system'))}, {text(at(machine, 'architecture'))}, kernel {text(at(machine, 'kernel'))}"
    lines = [
        f"Machine:     {facts}, {text(at(machine, 'cpus'))} cpus",
        f"Devices:     {', '.join(named) or 'none'}",
    ]
    age_s = at(document, "status", "usage", "age_s")
    if isinstance(age_s, int | float):
        used = (
            f"cpu {_cpu(document)}, memory {_bytes_at(document, 'usage', 'memory_available_bytes')} of"
            f" {_bytes_at(document, 'machine', 'memory_bytes')} available,"
            f" disk {_bytes_at(document, 'usage', 'disk_free_bytes')} of"
            f" {_bytes_at(document, 'machine', 'disk_bytes')} free,"
            f" agent {_bytes_at(document, 'usage', 'agent_bytes')}, replicas apart"
            f" {_bytes_at(document, 'usage', 'replicas_bytes')}, temperature {_temperature(document)}"
        )
        lines.append(f"Uses:        {used} ({age_text(age_s)} ago)")
    return lines


def describe_node(client: "ControlClient", name: str) -> None:
    """What it offers and holds, and the measured legs of its site. Raises Missing."""
    reply = client.status()
    (document,) = _found(reply, name)
    site = text(at(document, "status", "site"))
    facts = [(head if head == "LAN" else head.capitalize(), show(document)) for head, show in HEADS]
    print("\n".join(f"{head + ':':<12} {shown}" for head, shown in facts))
    print("\n".join(_resource_lines(document)))
    if replicas := _replicas(document):
        keys = ("replica", "phase", "reason")
        rows = [[text(at(one, key)) for key in keys] for one in replicas]
        print(f"\n{columns([key.upper() for key in keys], rows)}")
    legs = [one for one in reply.parts if one.kind == "leg" and f"site/{site}" in one.name.split(" -> ")]
    if legs:
        print(f"\n{columns(('LEG', 'AGE', 'MEASURED'), [(one.name, age_text(one.age_s), one.detail) for one in legs])}")

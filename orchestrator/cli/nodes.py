"""Nodes for a reader: what operators ask of them, and what the control plane sees of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.cli.failures import BadUsage, Missing
from orchestrator.cli.getting import Printer
from orchestrator.cli.output import Output, age_text, bytes_text, columns, listed, say, structured
from orchestrator.cli.rows import Column, at, text
from orchestrator.objects.kinds import NODE

if TYPE_CHECKING:
    from orchestrator.cli.client import ControlClient, Document, Json


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


def _phase(document: "Document") -> str:
    """Attached or silent, and whether it takes replicas, as kubectl says it."""
    spec = document.get("spec")
    words = [text(at(document, "status", "phase") or "not seen")]
    if isinstance(spec, dict) and (spec.get("unschedulable") or spec.get("draining")):
        words.append("draining" if spec.get("draining") else "cordoned")
    return ",".join(words)


COLUMNS = (
    Column("NAME", lambda one: text(at(one, "metadata", "name"))),
    Column("SITE", lambda one: text(at(one, "spec", "site"))),
    Column("FRONT", lambda one: text(at(one, "status", "front"))),
    Column("PHASE", _phase),
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
    Column("LABELS", lambda one: text(at(one, "metadata", "labels")), wide=True),
    Column("HOLDS", lambda one: text([at(replica, "replica") for replica in _replicas(one)]), wide=True),
)
HEADS = [(column.head, column.show) for column in COLUMNS if not column.wide]


def _nodes(client: "ControlClient") -> "list[Document]":
    from orchestrator.cli.client import document_in

    return [document_in(one) for one in client.list_objects(NODE.name, "").objects]


def _found(documents: "list[Document]", name: str) -> "list[Document]":
    """All nodes, or the one of that name. Raises Missing."""
    found = [one for one in documents if name in ("", at(one, "metadata", "name"))]
    if name and not found:
        raise Missing(f"node {name}: no front has reported it", "`skerry get nodes` lists those that are known")
    return found


def get_nodes(
    client: "ControlClient", name: str, output: Output | None, labels: Mapping[str, str], watch: bool
) -> None:
    """`name` "": all of them. Raises BadUsage for what only other objects have."""
    if watch:
        raise BadUsage("what is seen of nodes has no change log", "leave out -w; `skerry status --watch` goes on")
    found = _found(_nodes(client), name)
    documents = [one for one in found if all(at(one, "metadata", "labels", key) == labels[key] for key in labels)]
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
    """What it offers and holds, how it stands, and the measured legs of its site. Raises Missing."""
    (document,) = _found(_nodes(client), name)
    site = text(at(document, "spec", "site"))
    facts = [(head if head == "LAN" else head.capitalize(), show(document)) for head, show in HEADS]
    facts += [("Labels", text(at(document, "metadata", "labels")))]
    print("\n".join(f"{head + ':':<12} {shown}" for head, shown in facts))
    print("\n".join(_resource_lines(document)))
    _table(_replicas(document), ("replica", "phase", "reason"))
    conditions = at(document, "status", "conditions")
    _table(conditions if isinstance(conditions, list) else [], ("type", "status", "reason", "message"))
    parts = client.status().parts
    legs = [one for one in parts if one.kind == "leg" and f"site/{site}" in one.name.split(" -> ")]
    if legs:
        print(f"\n{columns(('LEG', 'AGE', 'MEASURED'), [(one.name, age_text(one.age_s), one.detail) for one in legs])}")


def _table(items: "list[Json]", keys: Sequence[str]) -> None:
    if items:
        rows = [[text(at(one, key)) for key in keys] for one in items]
        print(f"\n{columns([key.upper() for key in keys], rows)}")

"""What an agent writes about itself, for `skerry-edge status` on its own machine."""

from collections.abc import Mapping

from workers.edge.assignment import Report
from workers.edge.resources import Machine, Usage
from workers.edge.state import Json


def status_of(report: Report, about: Mapping[str, Json], problem: str) -> dict[str, Json]:
    """`problem` is the link's; empty: attached."""
    return {
        **about,
        "link": "attached" if not problem else "not attached",
        "link_problem": problem,
        "held_revision": report.held_revision,
        "replicas": [
            {
                "replica": state.replica,
                "phase": str(state.phase),
                "reason": state.reason,
                "incarnation": state.incarnation,
                "fetched_bytes": state.fetched_bytes,
                "total_bytes": state.total_bytes,
                "restarts": state.restarts,
            }
            for state in report.replicas
        ],
        "legs": [
            {
                "source": leg.source,
                "target": leg.target,
                "rtt_p50_ms": round(leg.rtt_p50_ms, 3),
                "rtt_p95_ms": round(leg.rtt_p95_ms, 3),
                "rtt_p99_ms": round(leg.rtt_p99_ms, 3),
                "rtt_p99_low_ms": round(leg.rtt_p99_low_ms, 3),
                "rtt_p99_high_ms": round(leg.rtt_p99_high_ms, 3),
                "up_bps": leg.up_bps,
                "down_bps": leg.down_bps,
                "up_p10_bps": leg.up_p10_bps,
                "down_p10_bps": leg.down_p10_bps,
                "samples": leg.samples,
            }
            for leg in report.legs
        ],
        "usage": None if report.usage is None else _usage_facts(report.usage),
    }


def machine_facts(machine: Machine) -> dict[str, Json]:
    return {
        "architecture": machine.architecture,
        "kernel": machine.kernel,
        "system": machine.system,
        "cpus": machine.cpus,
        "memory_bytes": machine.memory_bytes,
        "disk_bytes": machine.disk_bytes,
        "accelerators": [
            {"kind": each.kind, "name": each.name, "device": each.device} for each in machine.accelerators
        ],
    }


def _usage_facts(usage: Usage) -> dict[str, Json]:
    return {
        "cpu_share": round(usage.cpu_share, 3),
        "memory_available_bytes": usage.memory_available_bytes,
        "agent_bytes": usage.agent_bytes,
        "replicas_bytes": usage.replicas_bytes,
        "disk_free_bytes": usage.disk_free_bytes,
        "temperature_c": usage.temperature_c,
    }


def as_text(status: Mapping[str, Json], age_s: float) -> str:
    """For people: one line about the node, one per replica and leg."""
    lines = [
        f"node {status.get('node')} of site {status.get('site')}: {status.get('agent')}, {status.get('link')}"
        f"{_of(status.get('link_problem'))}, revision {status.get('held_revision')}, {age_s:.0f} s ago"
    ]
    lines += _machine_lines(status.get("machine"), status.get("usage"))
    if holder := status.get("limits_held_by"):
        lines.append(f"  limits of replicas apart are held by {holder}")
    lines += [_leg_line(leg) for leg in _rows(status.get("legs"))]
    lines += [_replica_line(replica) for replica in _rows(status.get("replicas"))]
    return "\n".join(lines)


def _machine_lines(machine: Json, usage: Json) -> list[str]:
    """None of an agent of an older release; what it uses only once it was measured."""
    if not isinstance(machine, dict):
        return []
    found = ", ".join(f"{one.get('name')} at {one.get('device')}" for one in _rows(machine.get("accelerators")))
    facts = f"{machine.get('system')}, {machine.get('architecture')}, kernel {machine.get('kernel')}"
    lines = [f"  machine: {facts}, {machine.get('cpus')} cpus, accelerators: {found or 'none'}"]
    if isinstance(usage, dict):
        temperature = usage.get("temperature_c")
        heat = f"{temperature:.0f} C" if isinstance(temperature, int | float) else "no thermal zone"
        lines.append(
            f"  uses: cpu {_number(usage.get('cpu_share')) * 100:.0f}%,"
            f" memory {_gib(usage.get('memory_available_bytes'))} of {_gib(machine.get('memory_bytes'))} GiB available,"
            f" agent {_number(usage.get('agent_bytes')) / 2**20:.0f} MiB,"
            f" replicas apart {_number(usage.get('replicas_bytes')) / 2**20:.0f} MiB,"
            f" disk {_gib(usage.get('disk_free_bytes'))} of {_gib(machine.get('disk_bytes'))} GiB free, {heat}"
        )
    return lines


def _gib(size_bytes: Json) -> str:
    return f"{_number(size_bytes) / 2**30:.1f}"


def _number(value: Json) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _leg_line(leg: Mapping[str, Json]) -> str:
    times = f"round trip {leg.get('rtt_p50_ms')} ms p50, {leg.get('rtt_p99_ms')} ms p99"
    times += f" ({leg.get('rtt_p99_low_ms')} to {leg.get('rtt_p99_high_ms')})"
    return f"  leg {leg.get('source')} -> {leg.get('target')}: {times}"


def _replica_line(replica: Mapping[str, Json]) -> str:
    return f"  replica {replica.get('replica')}: {replica.get('phase')}{_of(replica.get('reason'))}"


def _of(reason: Json) -> str:
    return f" ({reason})" if reason else ""


def _rows(value: Json) -> list[dict[str, Json]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []

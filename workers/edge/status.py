"""What an agent writes about itself, for `skerry-edge status` on its own machine."""

from collections.abc import Mapping

from workers.edge.assignment import Report
from workers.edge.state import Json


def status_of(report: Report, about: Mapping[str, str | int], problem: str) -> dict[str, Json]:
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
    }


def as_text(status: Mapping[str, Json], age_s: float) -> str:
    """For people: one line about the node, one per replica and leg."""
    lines = [
        f"node {status.get('node')} of site {status.get('site')}: {status.get('agent')}, {status.get('link')}"
        f"{_of(status.get('link_problem'))}, revision {status.get('held_revision')}, {age_s:.0f} s ago"
    ]
    lines += [_leg_line(leg) for leg in _rows(status.get("legs"))]
    lines += [_replica_line(replica) for replica in _rows(status.get("replicas"))]
    return "\n".join(lines)


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

"""`skerry explain SERVICE --why-not SITE`: what stands against one site, and how the chosen ones compare.

Reads the JSON forms of ServiceDecision and Snapshot (orchestrator/model/snapshot.py), as `explain` carries them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.cli.failures import CommandFailed
from orchestrator.cli.output import columns
from orchestrator.cli.rows import at, figure, items, text

if TYPE_CHECKING:
    from orchestrator.cli.client import Document, Json


def why_not_document(
    site: str, decision: str, placement: "Mapping[str, Json]", snapshot: "Mapping[str, Json]"
) -> "Document":
    """The site's own part, and the chosen sites beside it. Raises CommandFailed for a site that does not exist."""
    known = sorted(text(one.get("name")) for one in items(snapshot, "sites"))
    if site not in known:
        raise CommandFailed(f"there is no site {site!r}", f"known are {', '.join(known) or 'none'}: `skerry get sites`")
    return {
        "site": site,
        "service": placement.get("service"),
        "policy": placement.get("policy"),
        "decision": decision,
        "chosen": next((one for one in items(placement, "chosen") if one.get("site") == site), None),
        "serves": [s for s in items(placement, "shares") if s.get("site") == site and s.get("share")],
        "refused": [one for one in items(placement, "refused") if one.get("site") == site],
        "instead": [one for one in items(placement, "chosen") if one.get("site") != site],
        "calls": [s for s in items(placement, "shares") if s.get("site") != site and s.get("share")],
    }


def why_not_text(found: "Document") -> str:
    service = f"{text(at(found, 'service', 'namespace'))}/{text(at(found, 'service', 'name'))}"
    site, refused = text(found["site"]), items(found, "refused")
    lines = [_verdict(site, service, found)]
    rows = [
        (
            text(one.get("zone")) if one.get("zone") else "all",
            text(one.get("reason")),
            _measured(one, "actual"),
            _measured(one, "limit"),
        )
        for one in refused
    ]
    if rows:
        lines += _indented(columns(("ZONE", "REASON", "ACTUAL", "LIMIT"), rows))
        lines += [f"  {detail}" for detail in dict.fromkeys(text(one.get("detail")) for one in refused)]
    if instead := items(found, "instead"):
        lines += ["", f"{'Beside it' if found['chosen'] else 'Chosen instead'}:"]
        lines += _indented(columns(("SITE", "REPLICAS", "EXPECTED P99", "WEIGHT", "SERVES"), _chosen(instead, found)))
        lines += [f"  {text(one.get('site'))}: {text(one.get('reason'))}" for one in instead]
    elif not found["chosen"]:
        lines += ["", "No other site was chosen either."]
    return "\n".join(lines)


def _verdict(site: str, service: str, found: "Document") -> str:
    decision = f"(decision {text(found['decision'])}, policy {text(found['policy'])})"
    chosen = found["chosen"]
    if not isinstance(chosen, dict):
        return f"{site} does not serve {service} {decision}:"
    serves = ", ".join(f"{_percent(s)} of zone {text(s.get('zone'))}" for s in items(found, "serves"))
    return f"{site} is chosen for {service} {decision}: {serves or 'it stands by'}; {text(chosen.get('reason'))}"


def _chosen(instead: "list[dict[str, Json]]", found: "Document") -> list[tuple[str, ...]]:
    return [
        (
            text(one.get("site")),
            text(one.get("replicas")),
            figure(one.get("cost_ms"), "ms"),
            figure(one.get("preference")),
            ", ".join(
                f"{_percent(s)} of {text(s.get('zone'))}"
                for s in items(found, "calls")
                if s.get("site") == one.get("site")
            )
            or "stands by",
        )
        for one in instead
    ]


def _percent(share: "Mapping[str, Json]") -> str:
    value = share.get("share")
    return f"{value:.0%}" if isinstance(value, int | float) else "-"


def _measured(one: "Mapping[str, Json]", key: str) -> str:
    return figure(one.get(key), text(one.get("unit")) if one.get("unit") else "")


def _indented(block: str) -> list[str]:
    return [f"  {line}" for line in block.splitlines()]

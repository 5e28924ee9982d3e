"""Why a placement changed, in sentences that people read."""

from collections.abc import Hashable

from orchestrator.model.ids import SiteName
from orchestrator.model.snapshot import Decision, RefusedSite, ServiceDecision


def plan_key(decision: Decision) -> Hashable:
    """What a decision asks for, without the measurements: two with the same key need no new rollout."""
    return tuple(sorted((service_key(s) for s in decision.services), key=repr))


def service_key(service: ServiceDecision) -> Hashable:
    return (
        service.service,
        service.version,
        tuple(sorted((c.site, c.replicas, c.variant) for c in service.chosen)),
        tuple(sorted((s.zone, s.site, round(s.share, 2)) for s in service.shares)),
        tuple(sorted(u.zone for u in service.unserved)),
        tuple(sorted({s.rule for s in service.shortfalls})),
    )


def told_changes(before: Decision | None, after: Decision) -> tuple[str, ...]:
    """The causes of every service that changed, each with the service's name before it."""
    old = {s.service: s for s in before.services} if before else {}
    return tuple(
        f"{service.service}: {sentence}"
        for service in after.services
        for sentence in causes(old.get(service.service), service)
    )


def causes(before: ServiceDecision | None, after: ServiceDecision) -> list[str]:
    """One sentence for each site that was left or taken; empty when the placement is the same."""
    old = {c.site: c for c in before.chosen} if before else {}
    new = {c.site: c for c in after.chosen}
    sentences = [f"left {site}: {_why_left(site, after)}" for site in sorted(old.keys() - new.keys())]
    sentences += [f"took {site}: {new[site].reason}" for site in sorted(new.keys() - old.keys())]
    sentences += [
        f"{site}: {old[site].replicas} -> {new[site].replicas} replicas"
        for site in sorted(old.keys() & new.keys())
        if old[site].replicas != new[site].replicas
    ]
    if before and before.version != after.version:
        sentences.append(f"version {before.version.name} -> {after.version.name}")
    if before and not sentences:
        sentences += _moved_shares(before, after)
    return sentences


def _moved_shares(before: ServiceDecision, after: ServiceDecision) -> list[str]:
    old = {(s.zone, s.site): s.share for s in before.shares}
    new = {(s.zone, s.site): s.share for s in after.shares}
    return [
        f"zone {zone}: {site} takes {new.get((zone, site), 0.0):.0%}, was {old.get((zone, site), 0.0):.0%}"
        for zone, site in sorted(old.keys() | new.keys())
        if abs(new.get((zone, site), 0.0) - old.get((zone, site), 0.0)) > 0.005
    ]


def _why_left(site: SiteName, after: ServiceDecision) -> str:
    refusals: list[RefusedSite] = [r for r in after.refused if r.site == site]
    if not refusals:
        return "no longer needed"
    first = refusals[0]
    return f"{first.reason}, {first.detail}"

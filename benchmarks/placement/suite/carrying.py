"""A decision carried out: what it chose as claims on nodes, as a control plane would have it after a while."""

from collections import Counter
from dataclasses import replace

from benchmarks.placement.suite.running import Floor
from orchestrator.model.claims import Claim, JobHold, ReplicaHold
from orchestrator.model.ids import ReplicaId, ServiceRef, SiteName
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.snapshot import Decision, Snapshot
from orchestrator.model.specs import Variant

Counts = Counter[tuple[ServiceRef, SiteName, Variant]]


def carried_out(snapshot: Snapshot, decision: Decision) -> Snapshot:
    """The snapshot with the decision's replicas running and nothing else but jobs. What runs stays on its node."""
    sites = {site.name: site for site in snapshot.sites}
    floor = Floor(snapshot.sites)
    jobs = tuple(claim for claim in snapshot.claims if isinstance(claim.hold, JobHold))
    for claim in jobs:
        floor.free[claim.site, claim.node] -= claim.need
    wanted, specs = placed(decision), {service.ref: service for service in snapshot.services}
    found: list[Claim] = []
    for claim in snapshot.claims:
        hold = claim.hold
        if not isinstance(hold, ReplicaHold) or claim.phase is ClaimPhase.DRAINING:
            continue
        key = (hold.service, claim.site, hold.variant)
        if hold.version == specs[hold.service].version.ref and wanted[key] > 0:
            wanted[key] -= 1
            floor.free[claim.site, claim.node] -= claim.need
            found.append(claim)
    number = 0
    # Largest first, so that what fits on some packing fits on this one, as a rule.
    for (ref, name, form), count in sorted(
        wanted.items(), key=lambda one: (-specs[one[0][0]].policy.priority, str(one[0]))
    ):
        service, site = specs[ref], sites[name]
        built = next(v for v in service.version.variants_on(site.hardware_class) if v.variant is form)
        for _ in range(count):
            _, node = floor.take(site, built.need)
            number += 1
            hold = ReplicaHold(ref, service.version.ref, form, built.digest)
            ident = ReplicaId(f"{ref.namespace}-{ref.name}-{name}-{form}-{number}-{len(snapshot.claims)}")
            at = node if node or not site.nodes else site.nodes[0].name
            found.append(Claim(ident, name, at, built.need, ClaimPhase.BOUND, hold, None, 1, 0.0))
    return replace(snapshot, claims=(*jobs, *found))


def placed(decision: Decision) -> Counts:
    return Counter(
        {
            (one.service, chosen.site, chosen.variant): chosen.replicas
            for one in decision.services
            for chosen in one.chosen
        }
    )


def running(snapshot: Snapshot) -> Counts:
    """Replicas of wanted versions that the claims stand for."""
    versions = {service.version.ref for service in snapshot.services}
    return Counter(
        (claim.hold.service, claim.site, claim.hold.variant)
        for claim in snapshot.claims
        if isinstance(claim.hold, ReplicaHold) and claim.hold.version in versions
    )

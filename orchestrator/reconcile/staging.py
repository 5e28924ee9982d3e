"""What a decision wants, site by site in the version that its rollout is at there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase, NodePhase, ReplicaPhase
from orchestrator.model.snapshot import ServiceDecision
from orchestrator.model.specs import SiteSpec, VersionSpec
from orchestrator.reconcile.observed import LIVE, Observed
from orchestrator.reconcile.replicas import replica_phases
from orchestrator.reconcile.rollouts import Rollout, SiteState, version_at
from orchestrator.reconcile.starting import Want

Rollouts: TypeAlias = Mapping[ServiceRef, Rollout]
Counted: TypeAlias = Mapping[SiteName, tuple[int, int]]  # calls, and those that failed


def site_states(
    decided: ServiceDecision,
    claims: Sequence[Claim],
    observed: Observed,
    attached: Collection[SiteName],
    counted: Counted,
) -> dict[SiteName, SiteState]:
    """Of each site where the service is wanted or held. `claims`: of this service; `attached`: sites that answer."""
    counts = {one.site: one.replicas for one in decided.chosen}
    held: dict[SiteName, list[Claim]] = {}
    for claim in claims:
        if claim.phase in LIVE:
            held.setdefault(claim.site, []).append(claim)
    shares: dict[SiteName, float] = {}
    for one in decided.shares:
        shares[one.site] = shares.get(one.site, 0.0) + one.share
    phases = replica_phases(claims, observed)
    found: dict[SiteName, SiteState] = {}
    for site in sorted(counts.keys() | held.keys()):
        new = [c for c in held.get(site, []) if _version(c) == decided.version]
        starting = [c.since_s for c in new if c.phase is ClaimPhase.RESERVED]
        ready = sum(phases.get(c.id) is ReplicaPhase.READY for c in new)
        calls, failed = counted.get(site, (0, 0))
        found[site] = SiteState(
            attached=site in attached,
            wanted=site in counts,
            runs=frozenset(_version(c) for c in held.get(site, [])),
            serves=_serves(held.get(site, []), decided.version),
            ready=0 < counts.get(site, 1) <= ready,
            starting_since_s=min(starting, default=None),
            failure=_failure(decided, new, site, observed),
            calls=calls,
            failed=failed,
            share=shares.get(site, 0.0),
        )
    return found


def _version(claim: Claim) -> VersionRef:
    assert isinstance(claim.hold, ReplicaHold)
    return claim.hold.version


def _serves(held: Sequence[Claim], wanted: VersionRef) -> VersionRef | None:
    """What served there: another version than the wanted one, if it still does."""
    bound = {_version(c) for c in held if c.phase is ClaimPhase.BOUND}
    return max(bound - {wanted}, default=wanted if wanted in bound else None)


def _failure(decided: ServiceDecision, new: Sequence[Claim], site: SiteName, observed: Observed) -> str:
    for claim in new:
        node = observed.nodes.get(claim.node) if claim.node is not None else None
        seen = node.replicas.get(claim.id) if node and node.phase is NodePhase.ATTACHED else None
        if seen is not None and seen.phase is ReplicaPhase.FAILED:
            return seen.reason or "a replica failed"
    for cloud in observed.cloud.values():
        which = (cloud.site, cloud.service, cloud.version)
        if cloud.seen.phase is ReplicaPhase.FAILED and which == (site, decided.service, decided.version):
            return cloud.seen.reason or "a replica failed"
    return ""


def targets(decided: ServiceDecision, rollout: Rollout | None, claims: Sequence[Claim]) -> dict[SiteName, VersionRef]:
    """The version that each site with replicas wanted is to run."""
    runs: dict[SiteName, set[VersionRef]] = {}
    for claim in claims:
        if claim.phase in LIVE and isinstance(claim.hold, ReplicaHold) and claim.hold.service == decided.service:
            runs.setdefault(claim.site, set()).add(claim.hold.version)
    return {
        one.site: version_at(rollout, decided.version, one.site, frozenset(runs.get(one.site, ())))
        for one in decided.chosen
    }


def staged(
    wants: Sequence[Want],
    at: Mapping[ServiceRef, Mapping[SiteName, VersionRef]],
    claims: Sequence[Claim],
    versions: Mapping[VersionRef, VersionSpec],
    sites: Mapping[SiteName, SiteSpec],
) -> list[Want]:
    """With sites that wait for their wave, or went back, at what they are to run instead (`at`).

    `versions`: those that can be read. One that is gone, and that nothing runs at the site, cannot be started there.
    """
    return [
        _at(want, version, claims, versions, sites)
        if (version := at.get(want.service, {}).get(want.site, want.version)) != want.version
        else want
        for want in wants
    ]


def _at(
    want: Want,
    version: VersionRef,
    claims: Sequence[Claim],
    versions: Mapping[VersionRef, VersionSpec],
    sites: Mapping[SiteName, SiteSpec],
) -> Want:
    """What runs there of it, else as it would be built."""
    for claim in sorted(claims, key=lambda c: c.id):
        hold = claim.hold
        if claim.site != want.site or claim.phase not in LIVE or not isinstance(hold, ReplicaHold):
            continue
        if (hold.service, hold.version) == (want.service, version):
            return replace(want, version=version, variant=hold.variant, digest=hold.digest, need=claim.need)
    spec, site = versions.get(version), sites.get(want.site)
    built = spec.variants_on(site.hardware_class) if spec and site else ()
    same = [one for one in built if one.variant == want.variant] or list(built)
    if not same:
        return want
    one = min(same, key=lambda one: (one.need.memory_bytes, one.variant))
    return replace(want, version=version, variant=one.variant, digest=one.digest, need=one.need)

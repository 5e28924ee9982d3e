"""Small worlds written out by hand: one region with a front, edge sites on measured legs, one service."""

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import Digest, FrontName, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef, ZoneName
from orchestrator.model.legs import Leg
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import (
    Costs,
    Decision,
    Interval,
    PlacementSettings,
    Refusal,
    RefusedSite,
    ServiceDecision,
    Snapshot,
)
from orchestrator.model.specs import (
    DemandSpec,
    NodeSpec,
    PolicySpec,
    ServiceSpec,
    SiteKind,
    SiteRule,
    SiteSpec,
    Variant,
    VariantSpec,
    VersionSpec,
    ZoneSpec,
)
from orchestrator.placement import place
from orchestrator.placement.paths import compose

MIB = 1 << 20
CLOUD = SiteName("cloud")
ZONE = ZoneSpec(ZoneName("callers"), CLOUD, None)
FRONTS = {FrontName("f1"): "cloud"}
SETTINGS = PlacementSettings()
POLICY = PolicySpec(
    name="policy",
    latency_p99_ms=40.0,
    wan_bps_per_zone=None,
    jurisdictions=None,
    accuracy_min=None,
    replicas_min=1,
    replicas_max=20,
    min_failure_domains=1,
    max_usd_per_hour=None,
    lost_after_s=60.0,
    replace_lost=True,
    valid_offline_s=3_600.0,
    min_gain=0.1,
    max_sample_age_s=30.0,
    priority=0,
)


def edge(name: str, memory_mib: int = 1_000, cores: float = 8, nodes: int = 1, **changed: object) -> SiteSpec:
    each = Resources(memory_mib * MIB // nodes, int(cores * 1000) // nodes)
    site = SiteSpec(
        name=SiteName(name),
        kind=SiteKind.EDGE,
        jurisdiction="EU",
        failure_domain=name,
        hardware_class="any",
        price_usd_per_hour=0.0,
        capacity=each * nodes,
        nodes=tuple(NodeSpec(NodeName(f"{name}-{index}"), each) for index in range(nodes)),
    )
    return replace(site, **changed)  # type: ignore[arg-type]


def cloud(**changed: object) -> SiteSpec:
    site = SiteSpec(CLOUD, SiteKind.REGION, "EU", "cloud", "any", 0.1, Resources(4_000 * MIB, 16_000))
    return replace(site, **changed)  # type: ignore[arg-type]


def relay_leg(site: str, p99_ms: float, front: str = "f1", **changed: object) -> Leg:
    leg = Leg(f"site/{site}", f"front/{front}", p99_ms * 0.8, p99_ms, None, None, 20, 0.5, "test")
    return replace(leg, **changed)  # type: ignore[arg-type]


def cloud_leg(p99_ms: float, **changed: object) -> Leg:
    leg = Leg("front/f1", "region/cloud", p99_ms * 0.8, p99_ms, None, None, 20, 0.5, "test")
    return replace(leg, **changed)  # type: ignore[arg-type]


def variant(name: Variant, memory_mib: int = 64, accuracy: float | None = 0.97, p50_ms: float = 1.0) -> VariantSpec:
    need = Resources(memory_mib * MIB, 1_000)
    return VariantSpec(name, Digest(f"sha256:{name}"), 1_000, need, p50_ms, 2 * p50_ms, accuracy)


FP32 = variant(Variant.LITERT_FP32)


def service(
    policy: PolicySpec = POLICY,
    variants: Sequence[VariantSpec] = (FP32,),
    name: str = "digits",
    rate_rps: float = 100.0,
    request_bytes: int = 400,
    response_bytes: int = 100,
    zones: Sequence[str] = ("callers",),
    preferred: Sequence[str] = (),
    version: str = "digits-2",
) -> ServiceSpec:
    return ServiceSpec(
        ref=ServiceRef("default", name),
        version=VersionSpec(VersionRef("default", version), "digits", tuple(variants)),
        policy=policy,
        demands=tuple(DemandSpec(ZoneName(zone), rate_rps, request_bytes, response_bytes) for zone in zones),
        rules=tuple(SiteRule(SiteName(site), None, 10.0) for site in preferred),
    )


def claim(
    site: str,
    wanted: ServiceSpec,
    phase: ClaimPhase = ClaimPhase.BOUND,
    version: str | None = None,
    number: int = 0,
) -> Claim:
    """Of a replica of the service's first variant, on the site's first node."""
    built = wanted.version.variants[0]
    ref = VersionRef("default", version) if version else wanted.version.ref
    digest = Digest(f"sha256:{version}") if version else built.digest
    return Claim(
        id=ReplicaId(f"{wanted.ref.name}-{site}-{number}"),
        site=SiteName(site),
        node=None if site == CLOUD else NodeName(f"{site}-0"),
        need=built.need,
        phase=phase,
        hold=ReplicaHold(wanted.ref, ref, built.variant, digest),
        decision=None,
        epoch=1,
        since_s=0.0,
    )


def snapshot(
    sites: Sequence[SiteSpec],
    legs: Sequence[Leg],
    services: Sequence[ServiceSpec],
    claims: Sequence[Claim] = (),
    zones: Sequence[ZoneSpec] = (ZONE,),
) -> Snapshot:
    return Snapshot(tuple(sites), tuple(services), compose(zones, sites, legs, FRONTS), tuple(claims))


def decide(
    sites: Sequence[SiteSpec],
    legs: Sequence[Leg],
    wanted: ServiceSpec,
    claims: Sequence[Claim] = (),
    zones: Sequence[ZoneSpec] = (ZONE,),
) -> ServiceDecision:
    (decided,) = place(snapshot(sites, legs, [wanted], claims, zones), SETTINGS, 0).services
    return decided


def by_service(decision: Decision) -> dict[str, ServiceDecision]:
    return {decided.service.name: decided for decided in decision.services}


def counts(decided: ServiceDecision) -> dict[str, int]:
    return {chosen.site: chosen.replicas for chosen in decided.chosen}


def shares(decided: ServiceDecision, zone: str = "callers") -> dict[str, float]:
    return {share.site: share.share for share in decided.shares if share.zone == zone}


def refusal(decided: ServiceDecision, site: str) -> RefusedSite:
    (found,) = (refused for refused in decided.refused if refused.site == site)
    return found


def reasons(decided: ServiceDecision) -> dict[str, Refusal]:
    return {refused.site: refused.reason for refused in decided.refused}


def what_is_kept(decided: ServiceDecision) -> ServiceDecision:
    """Without the figures of the moment."""
    return replace(
        decided,
        chosen=tuple(replace(one, cost_ms=0.0, costs=Costs()) for one in decided.chosen),
        shares=tuple(replace(one, response_ms=Interval(0.0, 0.0, 0.0), legs=()) for one in decided.shares if one.share),
        costs=Costs(),
        usd_per_hour=0.0,
        kept=False,
    )

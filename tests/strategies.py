"""Hypothesis builders of model values that more than one room's tests use."""

from hypothesis import strategies as st

from orchestrator.model.claims import Claim, JobHold, ReplicaHold
from orchestrator.model.ids import (
    Digest,
    JobRef,
    NodeName,
    ReplicaId,
    ServiceRef,
    SiteName,
    VersionRef,
    ZoneName,
)
from orchestrator.model.legs import Leg, Path, PathKind
from orchestrator.model.phases import ClaimPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import PlacementSettings, Snapshot
from orchestrator.model.specs import (
    AntiAffinity,
    DemandSpec,
    NodeSpec,
    Pin,
    PolicySpec,
    QuotaSpec,
    ServiceSpec,
    SiteKind,
    SiteRule,
    SiteSpec,
    Variant,
    VariantSpec,
    VersionSpec,
    Within,
)

MIB = 1 << 20
REGION = SiteName("region-x")
ZONES = (ZoneName("zone-1"), ZoneName("zone-2"), ZoneName("lan-a"))
EDGES = tuple(SiteName(f"edge-{letter}") for letter in "abcd")

settings_of_planner = st.builds(
    PlacementSettings, target_utilisation=st.sampled_from([0.3, 0.6, 0.9]), transfer_share=st.sampled_from([0.25, 1.0])
)
# Sampled, not drawn at random: what makes rules bite is which side of a limit a value is on, and it is quick.
_capacities = st.sampled_from(
    [Resources(2_048 * MIB, 8_000), Resources(600 * MIB, 3_000), Resources(300 * MIB, 1_100), Resources(20 * MIB, 800)]
)
_rates = st.sampled_from([0.0, 1.0, 20.0, 300.0, 5_000.0])
_bps = st.none() | st.sampled_from([1e4, 1e6, 1e8])
_few_sites = st.sampled_from([(), (), (), EDGES[:1], EDGES[1:3], (REGION,), (SiteName("nowhere"),)])
# Cycles, a service itself, and one that nobody declared.
_rivals = st.lists(
    st.builds(
        AntiAffinity,
        st.sampled_from(["service-0", "service-0", "service-1", "service-2", "gone"]).map(
            lambda name: ServiceRef("default", name)
        ),
        st.sampled_from(list(Within)),
    ),
    max_size=2,
).map(tuple)
_quotas = st.sampled_from(
    [
        (),
        (),
        (QuotaSpec("default", "tight", Resources(300 * MIB, 2_000)),),
        (QuotaSpec("default", "none", Resources()), QuotaSpec("other", "none", Resources())),
    ]
)
_jurisdictions = st.sampled_from(["EU", "EU", "EU", "US"])


@st.composite
def legs(draw: st.DrawFn, source: str, target: str) -> Leg:
    p50 = draw(st.integers(0, 160)) / 4
    return Leg(
        source=source,
        target=target,
        rtt_p50_ms=p50,
        rtt_p99_ms=p50 * 1.25,
        up_bps=draw(_bps),
        down_bps=draw(_bps),
        samples=9,
        age_s=draw(st.sampled_from([0.0, 3.0, 3.0, 59.0, 200.0])),
        method="made-up",
        **draw(_intervals(p50)),
    )


def _intervals(p50_ms: float) -> st.SearchStrategy[dict[str, float | None]]:
    """Of an older prober none."""
    said = {
        "rtt_p05_ms": p50_ms * 0.8,
        "rtt_p95_ms": p50_ms * 1.1,
        "rtt_p99_low_ms": p50_ms * 1.05,
        "rtt_p99_high_ms": p50_ms * 2,
        "up_p10_bps": 5e3,
    }
    return st.sampled_from([{}, said])


@st.composite
def paths(draw: st.DrawFn, zone: ZoneName, site: SiteSpec) -> Path:
    """A LAN path for lan-a to edge-a, else over the region's front."""
    if zone == "lan-a":
        return Path(zone, site.name, PathKind.LAN, ())
    if site.kind is SiteKind.EDGE:
        leg = draw(legs(f"site/{site.name}", "front/f"))
        return Path(zone, site.name, PathKind.RELAY, (leg,), transit=REGION)
    return Path(zone, site.name, PathKind.DIRECT, (draw(legs("front/f", f"region/{site.name}")),), transit=REGION)


@st.composite
def edge_sites(draw: st.DrawFn, name: SiteName) -> SiteSpec:
    nodes = tuple(
        NodeSpec(NodeName(f"{name}-{index}"), capacity)
        for index, capacity in enumerate(
            draw(
                st.sampled_from([1, 1, 1, 2, 2, 1, 0]).flatmap(lambda n: st.lists(_capacities, min_size=n, max_size=n))
            )
        )
    )
    return SiteSpec(
        name=name,
        kind=SiteKind.EDGE,
        jurisdiction=draw(_jurisdictions),
        failure_domain=draw(st.sampled_from(["hall-1", "hall-2", str(name)])),
        hardware_class="any",
        price_usd_per_hour=draw(st.sampled_from([0.0, 0.01, 0.2])),
        capacity=sum((node.capacity for node in nodes), Resources()),
        nodes=nodes,
        reachable=bool(nodes),
        egress_usd_per_gb=draw(st.sampled_from([0.0, 0.0, 0.1])),
        link_in_bps=draw(_bps),
        link_out_bps=draw(_bps),
    )


@st.composite
def regions(draw: st.DrawFn) -> SiteSpec:
    return SiteSpec(
        name=REGION,
        kind=SiteKind.REGION,
        jurisdiction=draw(_jurisdictions),
        failure_domain="region-x",
        hardware_class="any",
        price_usd_per_hour=draw(st.sampled_from([0.05, 0.5])),
        capacity=draw(st.sampled_from([Resources(), Resources(500 * MIB, 3_000), Resources(2_048 * MIB, 16_000)])),
        reachable=draw(st.sampled_from([True, True, False])),
        egress_usd_per_gb=draw(st.sampled_from([0.0, 0.1])),
        front_bps=draw(_bps),
    )


@st.composite
def versions(draw: st.DrawFn, name: str) -> VersionSpec:
    built = draw(
        st.sampled_from(
            [
                (Variant.LITERT_FP32, Variant.LITERT_INT8),
                (Variant.LITERT_FP32, Variant.LITERT_FP16, Variant.LITERT_INT8, Variant.SAVEDMODEL),
                (Variant.LITERT_FP32, Variant.LITERT_FP16),
                (Variant.LITERT_INT8, Variant.SAVEDMODEL),
                (Variant.LITERT_INT8,),
                (Variant.SAVEDMODEL,),
            ]
        )
    )
    return VersionSpec(VersionRef("default", name), "model", tuple(draw(variants(v, f"{name}-{v}")) for v in built))


@st.composite
def variants(draw: st.DrawFn, variant: Variant, digest: str) -> VariantSpec:
    p50 = draw(st.sampled_from([0.05, 2.0, 2.0, 12.0]))
    return VariantSpec(
        variant=variant,
        digest=Digest(f"sha256:{digest}"),
        size_bytes=1_000,
        need=Resources(draw(st.sampled_from([8, 64, 64, 200])) * MIB, draw(st.sampled_from([100, 100, 1_000]))),
        service_p50_ms=p50,
        service_p99_ms=p50 * draw(st.sampled_from([1.0, 2.0, 10.0])),
        accuracy=draw(st.sampled_from([0.97, 0.97, 0.9, None])),
    )


@st.composite
def policies(draw: st.DrawFn) -> PolicySpec:
    least = draw(st.integers(1, 4))
    most = draw(st.integers(least, 8))
    return PolicySpec(
        name="policy",
        latency_p99_ms=draw(st.sampled_from([None, 40.0, 80.0, 300.0])),
        wan_bps_per_zone=draw(st.sampled_from([None, None, 1e5, 1e7])),
        jurisdictions=draw(st.sampled_from([None, frozenset({"EU"}), frozenset({"EU", "US"})])),
        accuracy_min=draw(st.sampled_from([None, None, 0.9, 0.95])),
        replicas_min=least,
        replicas_max=most,
        min_failure_domains=draw(st.integers(1, min(most, 3))),
        max_usd_per_hour=draw(st.sampled_from([None, None, 0.01, 0.3, 5.0])),
        lost_after_s=60.0,
        replace_lost=True,
        valid_offline_s=3_600.0,
        min_gain=draw(st.sampled_from([0.0, 0.05, 0.5])),
        max_sample_age_s=60.0,
        priority=draw(st.integers(0, 2)),
        burst_to_cloud=draw(st.sampled_from([True, True, True, False])),
        survive_site_losses=draw(st.sampled_from([0, 0, 1])),
        max_share_per_domain=draw(st.sampled_from([1.0, 1.0, 0.6])),
        pins=tuple(Pin(site, draw(st.integers(1, 2))) for site in draw(_few_sites)),
        bans=frozenset(draw(_few_sites)),
        anti_affinity=draw(_rivals),
        usd_per_hour_waited=draw(st.sampled_from([0.0, 0.1, 10.0])),
        usd_per_unserved_call=draw(st.sampled_from([1.0, 1.0, 1e-7])),
        usd_per_start=draw(st.sampled_from([0.0, 0.0, 0.5])),
        usd_per_stop=draw(st.sampled_from([0.0, 0.5])),
    )


@st.composite
def services(draw: st.DrawFn, name: str, sites: tuple[SiteSpec, ...]) -> ServiceSpec:
    zones = draw(st.sampled_from([ZONES[:1], ZONES[:2], ZONES, ZONES[2:]]))
    return ServiceSpec(
        ref=ServiceRef("default", name),
        version=draw(versions(f"{name}-v2")),
        policy=draw(policies()),
        demands=tuple(DemandSpec(zone, draw(_rates), draw(st.sampled_from([0, 400, 60_000])), 100) for zone in zones),
        rules=tuple(
            SiteRule(
                site.name,
                draw(st.sampled_from([None] * 23 + ["site.kind == 'region'"])),
                draw(st.sampled_from([0.0, 10.0])),
            )
            for site in sites
        ),
        freeze=draw(st.sampled_from([None, None, None, "Fri 16:00-Mon 06:00 UTC"])),
    )


@st.composite
def claims(draw: st.DrawFn, number: int, sites: tuple[SiteSpec, ...], wanted: tuple[ServiceSpec, ...]) -> Claim:
    """Of a wanted version, of a predecessor, of a service that is gone, or of a job."""
    site = draw(st.sampled_from(sites))
    hold: ReplicaHold | JobHold = JobHold(JobRef("default", "job"))
    need = Resources(16 * MIB, 200)
    owner = draw(st.sampled_from(["wanted", "predecessor", "gone", "job"]))
    if owner != "job" and wanted:
        service = draw(st.sampled_from(wanted))
        variant = draw(st.sampled_from(service.version.variants))
        ref, version = service.ref, service.version.ref
        if owner == "predecessor":
            version = VersionRef("default", f"{service.ref.name}-v1")
        if owner == "gone":
            ref = ServiceRef("default", "gone")
        hold, need = ReplicaHold(ref, version, variant.variant, variant.digest), variant.need
    return Claim(
        id=ReplicaId(f"claim-{number}"),
        site=site.name,
        node=draw(st.sampled_from([node.name for node in site.nodes])) if site.nodes else None,
        need=need,
        phase=draw(st.sampled_from(list(ClaimPhase))),
        hold=hold,
        decision=None,
        epoch=1,
        since_s=0.0,
    )


@st.composite
def snapshots(draw: st.DrawFn, most_services: int = 3) -> Snapshot:
    """Small worlds in which every rule bites now and then."""
    names = EDGES[: draw(st.sampled_from([4, 3, 2, 1, 0]))]
    sites = (*(draw(edge_sites(name)) for name in names), draw(regions()))
    count = draw(st.integers(1, most_services))
    wanted = tuple(draw(services(f"service-{index}", sites)) for index in range(count))
    asked = sorted({demand.zone for service in wanted for demand in service.demands})
    ends = [(zone, site) for zone in asked for site in sites if zone != "lan-a" or site.name == "edge-a"]
    found = [draw(paths(*end)) for end in ends if draw(st.integers(0, 9)) < 9]
    held = tuple(draw(claims(number, sites, wanted)) for number in range(draw(st.integers(0, 4))))
    return Snapshot(sites, wanted, tuple(found), held, draw(_quotas))

"""Services with policies that use every field, and quotas of the tenants who own them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from benchmarks.placement.suite.places import Places
from orchestrator.model.ids import Digest, ServiceRef, SiteName, VersionRef
from orchestrator.model.resources import Resources
from orchestrator.model.specs import (
    AntiAffinity,
    DemandSpec,
    HardwareProfile,
    Pin,
    PolicySpec,
    QuotaSpec,
    ServiceSpec,
    SiteRule,
    SiteSpec,
    Variant,
    VariantSpec,
    VersionSpec,
    Within,
    ZoneSpec,
)

TENANTS = ("acme", "beta", "city")
MIB = 1 << 20
MOST_ZONES = 10  # of either kind that one service is called from
# Size and time of a variant as parts of fp32's, and the accuracy that it costs.
FORMS = {
    Variant.LITERT_FP32: (1.0, 1.0, 0.0),
    Variant.LITERT_FP16: (0.6, 0.9, 0.004),
    Variant.LITERT_INT8: (0.35, 0.6, 0.02),
    Variant.SAVEDMODEL: (2.5, 1.6, 0.0),
}


def services(count: int, at: Places, random: Generator) -> tuple[ServiceSpec, ...]:
    made: list[ServiceSpec] = []
    for number in range(count):
        ref = ServiceRef(TENANTS[number % len(TENANTS)], f"service-{number:02}")
        version = _version(ref, random)
        before = made[number - len(TENANTS)].ref if number >= len(TENANTS) else None
        made.append(
            ServiceSpec(
                ref=ref,
                version=version,
                policy=_policy(number, at, version, before, random),
                demands=_demands(at, random),
                rules=_rules(number, at.sites),
            )
        )
    return tuple(made)


def quotas(wanted: Sequence[ServiceSpec], utilisation: float) -> tuple[QuotaSpec, ...]:
    """Twice what a tenant's calls need on the machine that measured its versions, and a floor for each."""
    found: list[QuotaSpec] = []
    for tenant in TENANTS:
        memory_bytes, compute_millis = 0.0, 0.0
        for service in wanted:
            if service.ref.namespace == tenant:
                variant = service.version.variants[0]
                rps = sum(demand.rate_rps for demand in service.demands)
                replicas = rps * variant.service_p50_ms / 1000 / utilisation + service.policy.replicas_min + 2
                memory_bytes += 2.0 * replicas * variant.need.memory_bytes
                compute_millis += 2.0 * replicas * variant.need.compute_millis
        found.append(QuotaSpec(tenant, "all", Resources(int(memory_bytes), int(compute_millis))))
    return tuple(found)


def _version(ref: ServiceRef, random: Generator) -> VersionSpec:
    p50_ms = float(random.choice([2.0, 4.0, 8.0, 15.0]))
    memory_mib = int(random.choice([64, 128, 256, 512, 1_024]))
    millis = int(random.choice([250, 500, 1_000, 2_000], p=[0.2, 0.4, 0.3, 0.1]))
    accuracy = float(random.uniform(0.95, 0.99))
    forms = [Variant.LITERT_FP32, Variant.LITERT_FP16, Variant.LITERT_INT8]
    if random.random() < 0.3:
        forms.append(Variant.SAVEDMODEL)
    variants = []
    for form in forms:
        part, time, loss = FORMS[form]
        slow, fast = time * p50_ms * 1.8, time * p50_ms * 0.8
        variants.append(
            VariantSpec(
                variant=form,
                digest=Digest(f"sha256:{ref}-2-{form}"),
                size_bytes=int(part * memory_mib * MIB // 2),
                need=Resources(int(part * memory_mib) * MIB, millis),
                service_p50_ms=time * p50_ms,
                service_p99_ms=time * p50_ms * 1.5,
                accuracy=accuracy - loss,
                profiles=(
                    HardwareProfile("arm", slow, slow * 1.7, None),
                    HardwareProfile("cloud", fast, fast * 1.4, None),
                ),
            )
        )
    return VersionSpec(VersionRef(ref.namespace, f"{ref.name}-2"), ref.name, tuple(variants))


def _demands(at: Places, random: Generator) -> tuple[DemandSpec, ...]:
    """From a third of the regions' zones and a quarter of the LANs, ten at most; few zones make most of the calls."""
    asked: list[ZoneSpec] = []
    for zones, part in ((at.zones, 0.34), (at.lan_zones, 0.25)):
        count = min(max(round(part * len(zones)), 1), MOST_ZONES)
        asked += [zones[index] for index in np.sort(random.choice(len(zones), count, replace=False))]
    request, response = int(random.choice([400, 4_000, 40_000])), int(random.choice([100, 1_000]))
    rates = [
        float(random.lognormal(3.2, 0.9)) if zone.site is None else float(random.lognormal(1.0, 0.7)) for zone in asked
    ]
    return tuple(DemandSpec(zone.name, rate, request, response) for zone, rate in zip(asked, rates, strict=True))


def _rules(number: int, sites: Sequence[SiteSpec]) -> tuple[SiteRule, ...]:
    """One service in five stays off metered links."""
    shy = number % 5 == 4
    wanted = "site.labels.metered != 'true'"
    return tuple(
        SiteRule(site.name, wanted if shy and ("metered", "true") in site.labels else None, 0.0) for site in sites
    )


def _policy(number: int, at: Places, version: VersionSpec, before: ServiceRef | None, random: Generator) -> PolicySpec:
    """Fields come in turns, so that each instance has each of them and no service has all."""
    edges = at.edges
    some = [edges[int(index)].name for index in random.choice(len(edges), 3, replace=False)]
    survive = number % 4 == 1
    policy = PolicySpec(
        name=f"policy-{number:02}",
        latency_p99_ms=float(random.choice([25.0, 50.0, 100.0])) + 5 * version.variants[0].service_p50_ms,
        wan_bps_per_zone=2e8 if number % 6 == 2 else None,
        jurisdictions=frozenset({"EU"}) if number % 5 == 3 else None,
        accuracy_min=0.94 if number % 3 == 0 else None,
        replicas_min=2 if survive else 1,
        replicas_max=400,
        min_failure_domains=2 if survive else 3 if number % 6 == 4 else 1,
        max_usd_per_hour=3.0 if number % 7 == 5 else None,
        lost_after_s=60.0,
        replace_lost=True,
        valid_offline_s=604_800.0,
        min_gain=0.05,
        max_sample_age_s=60.0,
        priority=(0, 50, 100)[number % 3],
        burst_to_cloud=number % 8 != 6,
        survive_site_losses=1 if survive else 0,
        max_share_per_domain=0.6 if number % 6 == 0 else 1.0,
        pins=(Pin(SiteName(some[0]), 1),) if number % 4 == 2 else (),
        bans=frozenset(some[1:]) if number % 4 == 3 else frozenset(),
        usd_per_hour_waited=float(random.choice([0.01, 0.05, 0.2])),
        usd_per_unserved_call=float(random.choice([2e-5, 1e-4])),
        usd_per_start=float(random.choice([0.0, 0.005, 0.02])),
        usd_per_stop=0.001,
        rollout_bps_per_site=1e7 if number % 3 == 1 else None,
        max_concurrent_changes=4 if number % 3 == 2 else None,
    )
    if before is not None and number % 7 == 3:
        policy = replace(policy, anti_affinity=(AntiAffinity(before, Within.SITE),))
    if policy.min_failure_domains > 1:
        policy = replace(policy, replicas_min=max(policy.replicas_min, policy.min_failure_domains))
    return policy

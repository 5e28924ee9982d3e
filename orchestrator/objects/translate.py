"""Stored objects -> what the planner sees. Pure; raises InvalidRequest for an object that this release cannot read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from orchestrator.errors import InvalidRequest
from orchestrator.model.ids import Digest, ServiceRef, SiteName, VersionRef, ZoneName
from orchestrator.model.resources import Resources
from orchestrator.model.specs import (
    PROCESS_BYTES,
    AntiAffinity,
    DemandSpec,
    HardwareProfile,
    Isolation,
    NodeSpec,
    Pin,
    PolicySpec,
    QuotaSpec,
    ServiceSpec,
    SiteKind,
    SiteSpec,
    Variant,
    VariantSpec,
    VersionSpec,
    ZoneSpec,
)
from orchestrator.model.stored import StoredObject
from orchestrator.objects.expressions import Expressions, site_rules
from orchestrator.objects.forms import Form, form_of
from orchestrator.objects.freezing import freeze_at
from orchestrator.objects.model_forms import Demand, ModelService, ModelVersion, VariantFields
from orchestrator.objects.model_forms import HardwareProfile as HardwareProfileForm
from orchestrator.objects.place_forms import Quota, Site, TenantQuota, Zone
from orchestrator.objects.policy_form import PlacementPolicy, PlacementPolicyFields

MIB = 1 << 20
UNLIMITED = 1 << 62  # beyond any machine, within what every number format bears
F = TypeVar("F", bound=Form)


def site_spec(stored: StoredObject, nodes: Sequence[NodeSpec], reachable: bool) -> SiteSpec:
    """`nodes` are the attached ones of this site; none for a region, whose capacity is its quota."""
    site = _form(stored, Site)
    spec = site.spec
    return SiteSpec(
        name=SiteName(stored.key.name),
        kind=spec.kind,
        jurisdiction=spec.jurisdiction,
        failure_domain=spec.failure_domain or stored.key.name,
        hardware_class=spec.hardware_class,
        price_usd_per_hour=spec.price_usd_per_hour,
        capacity=_capacity(spec.kind, spec.quota, nodes),
        nodes=tuple(sorted(nodes, key=lambda node: node.name)) if spec.kind is SiteKind.EDGE else (),
        reachable=reachable,
        labels=tuple(sorted(stored.labels.items())),
        egress_usd_per_gb=spec.egress_usd_per_gb,
        link_in_bps=_bps(spec.link_in_mbps),
        link_out_bps=_bps(spec.link_out_mbps),
        front_bps=_bps(spec.front_mbps),
    )


def _bps(mbps: float | None) -> float | None:
    return None if mbps is None else mbps * 1e6


def quota_spec(stored: StoredObject) -> QuotaSpec:
    spec = _form(stored, TenantQuota).spec
    return QuotaSpec(
        namespace=stored.key.namespace,
        name=stored.key.name,
        limit=Resources(
            UNLIMITED if spec.memory_mib is None else spec.memory_mib * MIB,
            UNLIMITED if spec.cores is None else round(spec.cores * 1000),
        ),
    )


def _capacity(kind: SiteKind, quota: Quota | None, nodes: Sequence[NodeSpec]) -> Resources:
    limit = Resources(quota.memory_mib * MIB, round(quota.cores * 1000)) if quota else None
    if kind is SiteKind.REGION:
        return limit or Resources()
    offered = sum((node.capacity for node in nodes), Resources())
    if limit is None:
        return offered
    return Resources(min(offered.memory_bytes, limit.memory_bytes), min(offered.compute_millis, limit.compute_millis))


def zone_spec(stored: StoredObject) -> ZoneSpec:
    spec = _form(stored, Zone).spec
    return ZoneSpec(
        name=ZoneName(stored.key.name),
        region=SiteName(spec.region) if spec.region else None,
        site=SiteName(spec.site) if spec.site else None,
    )


def policy_spec(stored: StoredObject) -> PolicySpec:
    spec = _form(stored, PlacementPolicy).spec
    return PolicySpec(
        name=stored.key.name,
        latency_p99_ms=spec.latency.p99_ms,
        wan_bps_per_zone=_bps(spec.bandwidth.wan_mbps_per_zone),
        jurisdictions=frozenset(spec.residency.jurisdictions) if spec.residency else None,
        accuracy_min=spec.accuracy.min if spec.accuracy else None,
        replicas_min=spec.replicas.min,
        replicas_max=spec.replicas.max,
        min_failure_domains=spec.replicas.min_failure_domains,
        max_usd_per_hour=spec.cost.max_usd_per_hour,
        lost_after_s=spec.disconnect.lost_after_s,
        replace_lost=spec.disconnect.replace,
        valid_offline_s=spec.disconnect.valid_offline_s,
        min_gain=spec.stability.min_gain,
        max_sample_age_s=spec.stability.max_sample_age_s,
        priority=spec.priority,
        burst_to_cloud=spec.cost.burst_to_cloud,
        survive_site_losses=spec.replicas.survive_site_losses,
        max_share_per_domain=spec.replicas.max_share_per_domain,
        pins=tuple(Pin(SiteName(pin.site), pin.replicas) for pin in spec.affinity.pins),
        bans=frozenset(SiteName(site) for site in spec.affinity.bans),
        anti_affinity=tuple(
            AntiAffinity(ServiceRef(stored.key.namespace, apart.service), apart.within)
            for apart in spec.affinity.anti_affinity
        ),
        usd_per_hour_waited=spec.latency.usd_per_hour_waited,
        usd_per_unserved_call=spec.cost.usd_per_unserved_call,
        horizon_s=spec.stability.horizon_s,
        usd_per_start=spec.stability.usd_per_start,
        usd_per_stop=spec.stability.usd_per_stop,
        rollout_bps_per_site=_bps(spec.bandwidth.rollout_mbps_per_site),
        rollout_window_s=spec.rollout.window_s,
        max_concurrent_changes=spec.rollout.max_concurrent_changes,
        isolation=spec.isolation,
        brake_share=spec.disconnect.brake_share,
        max_surge=spec.rollout.max_surge,
        in_place=spec.rollout.in_place,
        single_writer=spec.replicas.single_writer,
        wave_sites=spec.rollout.wave_sites,
        wave_pause_s=spec.rollout.pause_s,
        max_failures=spec.rollout.max_failures,
        ready_within_s=spec.rollout.ready_within_s,
        max_error_share=spec.rollout.max_error_share,
        on_return=spec.disconnect.on_return,
    )


def freeze_of(policy: StoredObject, wall_s: float) -> str | None:
    """The window of the policy that holds at that moment."""
    return freeze_at(_form(policy, PlacementPolicy).spec.stability.freeze, wall_s)


def version_spec(stored: StoredObject, pin: Variant | None = None) -> VersionSpec:
    """`pin`: only this variant. A version without it has no variants then, and the planner says so."""
    spec = _form(stored, ModelVersion).spec
    return VersionSpec(
        ref=VersionRef(stored.key.namespace, stored.key.name),
        model=spec.model,
        variants=tuple(_variant_spec(form) for form in spec.variants if pin in (None, form.variant)),
    )


def _variant_spec(form: VariantFields) -> VariantSpec:
    return VariantSpec(
        variant=form.variant,
        digest=Digest(form.artifact.digest),
        size_bytes=form.artifact.size_bytes,
        need=Resources(form.memory_mib * MIB, round(form.cores * 1000)),
        service_p50_ms=form.latency.p50_ms,
        service_p99_ms=form.latency.p99_ms,
        accuracy=form.accuracy,
        profiles=tuple(_profile(profile) for profile in form.profiles or ()),
    )


def _profile(form: HardwareProfileForm) -> HardwareProfile:
    return HardwareProfile(
        hardware_class=form.hardware_class,
        service_p50_ms=form.latency.p50_ms,
        service_p99_ms=form.latency.p99_ms,
        memory_bytes=None if form.memory_mib is None else form.memory_mib * MIB,
    )


def version_of(service: StoredObject, versions: Sequence[StoredObject]) -> StoredObject | None:
    """The version that a service names, or of its model the newest that has not failed (status.phase); None: none."""
    spec = _form(service, ModelService).spec
    own = [stored for stored in versions if stored.key.namespace == service.key.namespace]
    if spec.version is not None:
        return next((stored for stored in own if stored.key.name == spec.version), None)
    of_model = [
        stored
        for stored in own
        if stored.spec.get("model") == spec.model and str(stored.status.get("phase", "")).lower() != "failed"
    ]
    return max(of_model, key=lambda stored: (stored.created_wall_s, stored.key.name), default=None)


def policy_of(service: StoredObject, policies: Sequence[StoredObject]) -> StoredObject | None:
    """The policy that a service names; None: there is none of that name in its namespace."""
    wanted = (service.key.namespace, _form(service, ModelService).spec.policy)
    return next((stored for stored in policies if (stored.key.namespace, stored.key.name) == wanted), None)


def service_spec(
    stored: StoredObject,
    version: StoredObject,
    policy: StoredObject,
    sites: Sequence[SiteSpec],
    measured_rps: Mapping[ZoneName, float],
    freeze: str | None = None,
) -> ServiceSpec:
    """`measured_rps`: what gateways counted for this service, by zone; `sites`: all; `freeze`: the window, if any."""
    spec = _form(stored, ModelService).spec
    rules = _form(policy, PlacementPolicy).spec
    return ServiceSpec(
        ref=ServiceRef(stored.key.namespace, stored.key.name),
        version=version_spec(version, spec.variant).with_more_memory(_own_bytes(rules.isolation)),
        policy=policy_spec(policy),
        demands=_demands(spec.demand, measured_rps),
        rules=site_rules(_expressions(rules), sites),
        freeze=freeze,
    )


def under_policy(service: ServiceSpec, policy: StoredObject, sites: Sequence[SiteSpec], wall_s: float) -> ServiceSpec:
    """The service as if it had this policy at that moment; its version stays. `sites`: all of its snapshot."""
    form = _form(policy, PlacementPolicy).spec
    more_bytes = _own_bytes(form.isolation) - _own_bytes(service.policy.isolation)
    return replace(
        service,
        version=service.version.with_more_memory(more_bytes),
        policy=policy_spec(policy),
        rules=site_rules(_expressions(form), sites),
        freeze=freeze_of(policy, wall_s),
    )


def _own_bytes(isolation: Isolation) -> int:
    """In regions too, where each replica is a process anyway: a policy means one claim, wherever it leads."""
    return PROCESS_BYTES if isolation is Isolation.PROCESS else 0


def _expressions(spec: PlacementPolicyFields) -> Expressions:
    return Expressions(spec.required, tuple((wish.weight, wish.expression) for wish in spec.preferred))


def _demands(declared: Sequence[Demand], measured_rps: Mapping[ZoneName, float]) -> tuple[DemandSpec, ...]:
    """The higher of declared and measured rate. Calls from a zone nobody declared count with the largest bytes."""
    demands = {
        ZoneName(form.zone): DemandSpec(
            ZoneName(form.zone),
            max(form.rate_rps, measured_rps.get(ZoneName(form.zone), 0.0)),
            form.request_bytes,
            form.response_bytes,
        )
        for form in declared
    }
    request_bytes = max(form.request_bytes for form in declared)
    response_bytes = max(form.response_bytes for form in declared)
    for zone, rate_rps in measured_rps.items():
        if zone not in demands and rate_rps > 0:
            demands[zone] = DemandSpec(zone, rate_rps, request_bytes, response_bytes)
    return tuple(demands[zone] for zone in sorted(demands))


def _form(stored: StoredObject, form: type[F]) -> F:
    checked = form_of(stored)
    if not isinstance(checked, form):
        raise InvalidRequest("kind", stored.key.kind, f"expected a {form.__name__}")
    return checked

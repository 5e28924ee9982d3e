"""A relaxation applied to a snapshot, and every single change at its most generous: written apart from the search."""

from collections.abc import Iterator
from dataclasses import replace

from orchestrator.model.ids import ServiceRef, ZoneName
from orchestrator.model.relaxation import Relaxation
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Decision, Snapshot
from orchestrator.model.specs import SILENT, PolicySpec, ServiceSpec, SiteSpec

MIB = 1 << 20
_POLICY_FIELDS = {
    "latency.p99_ms": ("latency_p99_ms", 1.0),
    "stability.max_sample_age_s": ("max_sample_age_s", 1.0),
    "replicas.max": ("replicas_max", 1),
    "replicas.max_share_per_domain": ("max_share_per_domain", 1.0),
    "cost.max_usd_per_hour": ("max_usd_per_hour", 1.0),
    "cost.usd_per_unserved_call": ("usd_per_unserved_call", 1.0),
    "accuracy.min": ("accuracy_min", 1.0),
    "bandwidth.wan_mbps_per_zone": ("wan_bps_per_zone", 1e6),
}
_SITE_FIELDS = {"link_in_mbps": "link_in_bps", "link_out_mbps": "link_out_bps", "front_mbps": "front_bps"}


def unserved(decision: Decision) -> dict[tuple[ServiceRef, ZoneName], float]:
    return {(one.service, left.zone): left.share for one in decision.services for left in one.unserved}


def policy_of(snapshot: Snapshot, ref: ServiceRef) -> PolicySpec:
    return next(one.policy for one in snapshot.services if one.ref == ref)


def under(snapshot: Snapshot, ref: ServiceRef, **changed: object) -> Snapshot:
    """All services of the namespace under that policy, changed."""
    name = policy_of(snapshot, ref).name
    services = tuple(
        replace(one, policy=replace(one.policy, **changed))  # type: ignore[arg-type]
        if (one.ref.namespace, one.policy.name) == (ref.namespace, name)
        else one
        for one in snapshot.services
    )
    return replace(snapshot, services=services)


def with_site(snapshot: Snapshot, changed: SiteSpec) -> Snapshot:
    return replace(snapshot, sites=tuple(changed if one.name == changed.name else one for one in snapshot.sites))


def applied(snapshot: Snapshot, ref: ServiceRef, relaxation: Relaxation, figure: float | None = None) -> Snapshot:
    """As an operator would, from what the relaxation says; `figure` in place of the one that it says."""
    field, (kind, name) = relaxation.field, relaxation.object.split(" ", 1)
    after = relaxation.after if figure is None else figure
    if kind == "PlacementPolicy":
        return _policy_changed(snapshot, ref, field, str(relaxation.before), after)
    assert isinstance(after, float)
    if kind == "TenantQuota":
        return replace(
            snapshot,
            quotas=tuple(
                replace(one, limit=_amount(field, one.limit, after)) if f"{one.namespace}/{one.name}" == name else one
                for one in snapshot.quotas
            ),
        )
    site = next(one for one in snapshot.sites if one.name == name.rpartition(" ")[2])
    if kind == "Site" and field in _SITE_FIELDS:
        return with_site(snapshot, replace(site, **{_SITE_FIELDS[field]: after * 1e6}))  # type: ignore[arg-type]
    if kind == "Site":
        return with_site(snapshot, replace(site, capacity=_amount(field.removeprefix("quota."), site.capacity, after)))
    node = next(one for one in site.nodes if one.name == name.split(" ")[0])
    offered = _amount(field, node.capacity, after)
    nodes = tuple(replace(one, capacity=offered) if one == node else one for one in site.nodes)
    return with_site(snapshot, replace(site, nodes=nodes, capacity=site.capacity + offered - node.capacity))


def _amount(field: str, before: Resources, after: float) -> Resources:
    if field == "memory_mib":
        return replace(before, memory_bytes=round(after * MIB))
    assert field == "cores", field
    return replace(before, compute_millis=round(after * 1000))


def _policy_changed(snapshot: Snapshot, ref: ServiceRef, field: str, before: str, after: float | str) -> Snapshot:
    if field == "required":
        return without_requirement(snapshot, ref, before)
    if field == "affinity.bans":
        return under(snapshot, ref, bans=frozenset(str(after).split(", ")) - {"none"})
    if field == "cost.burst_to_cloud":
        return under(snapshot, ref, burst_to_cloud=after == "true")
    if field == "residency.jurisdictions":
        return under(snapshot, ref, jurisdictions=frozenset(str(after).split(", ")))
    name, unit = _POLICY_FIELDS[field]
    value = None if after == "none" else float(after) * unit
    return under(snapshot, ref, **{name: round(value) if name == "replicas_max" and value else value})


def without_requirement(snapshot: Snapshot, ref: ServiceRef, expression: str) -> Snapshot:
    policy = policy_of(snapshot, ref)

    def eased(service: ServiceSpec) -> ServiceSpec:
        rules = tuple(
            replace(rule, failed_requirement=None) if rule.failed_requirement == expression else rule
            for rule in service.rules
        )
        return replace(service, rules=rules) if service.policy.name == policy.name else service

    return replace(snapshot, services=tuple(eased(one) for one in snapshot.services))


def generous(snapshot: Snapshot, ref: ServiceRef) -> Iterator[tuple[str, Snapshot]]:
    """One limit gone, and nothing else: if none of these serves a demand, no figure of any of them does."""
    policy, much = policy_of(snapshot, ref), Resources(1 << 44, 1 << 30)
    for field, value in (
        ("latency_p99_ms", 1e9),
        ("max_sample_age_s", 1e9),
        ("replicas_max", 1000),
        ("max_share_per_domain", 1.0),
        ("max_usd_per_hour", None),
        ("usd_per_unserved_call", 1e6),
        ("accuracy_min", None),
        ("wan_bps_per_zone", None),
        ("burst_to_cloud", True),
    ):
        yield field, under(snapshot, ref, **{field: value})
    for ban in sorted(policy.bans):
        yield f"ban of {ban}", under(snapshot, ref, bans=policy.bans - {ban})
    spec = next(one for one in snapshot.services if one.ref == ref)
    for expression in {rule.failed_requirement for rule in spec.rules} - {None, SILENT}:
        assert expression is not None
        yield expression, without_requirement(snapshot, ref, expression)
    for jurisdiction in sorted({site.jurisdiction for site in snapshot.sites} if policy.jurisdictions else ()):
        jurisdictions = (policy.jurisdictions or frozenset()) | {jurisdiction}
        yield jurisdiction, under(snapshot, ref, jurisdictions=jurisdictions)
    for quota in snapshot.quotas:
        for limit in _grown(quota.limit, much):
            quotas = tuple(replace(one, limit=limit) if one == quota else one for one in snapshot.quotas)
            yield f"quota {quota.name} {limit}", replace(snapshot, quotas=quotas)
    for site in snapshot.sites:
        for link in ("link_in_bps", "link_out_bps", "front_bps"):
            yield f"{link} of {site.name}", with_site(snapshot, replace(site, **{link: None}))  # type: ignore[arg-type]
        if not site.nodes:
            for capacity in _grown(site.capacity, much):
                yield f"{site.name} {capacity}", with_site(snapshot, replace(site, capacity=capacity))
        for node in site.nodes:
            for capacity in _grown(node.capacity, much):
                nodes = tuple(replace(one, capacity=capacity) if one == node else one for one in site.nodes)
                changed = replace(site, nodes=nodes, capacity=site.capacity + capacity - node.capacity)
                yield f"{node.name} {capacity}", with_site(snapshot, changed)


def _grown(before: Resources, much: Resources) -> tuple[Resources, Resources]:
    return Resources(much.memory_bytes, before.compute_millis), Resources(before.memory_bytes, much.compute_millis)

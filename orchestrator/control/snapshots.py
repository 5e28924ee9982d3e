"""The snapshot that a decision is made on: what the store says, and what the links measured."""

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.control.losses import lost_in
from orchestrator.control.nodes import orders_in
from orchestrator.control.observations import Observations
from orchestrator.control.rollouts import given_up, rollout_in
from orchestrator.control.world import World, lost_after_s, phase_of
from orchestrator.errors import InvalidRequest
from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import NodeName, ServiceRef, SiteName, VersionRef, ZoneName
from orchestrator.model.nodes import NodeOrders
from orchestrator.model.phases import ClaimPhase, NodePhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import Decision, ServiceDecision, Snapshot
from orchestrator.model.specs import SILENT, Isolation, NodeSpec, ServiceSpec, SiteSpec, Variant, VersionSpec
from orchestrator.model.stored import Key, StoredObject
from orchestrator.objects.translate import (
    freeze_of,
    policy_of,
    policy_spec,
    quota_spec,
    service_spec,
    site_spec,
    under_policy,
    version_of,
    version_spec,
    zone_spec,
)
from orchestrator.placement.paths import compose
from orchestrator.reconcile.brake import Heard, Outage, braked, outages
from orchestrator.reconcile.draining import counted_claims, handed_over, offered
from orchestrator.reconcile.observed import LIVE, Observed
from orchestrator.reconcile.pacing import Pace, pace_of
from orchestrator.reconcile.returning import leaning
from orchestrator.reconcile.updating import UpdateRules, rules_of, succeeded


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot and what acting on its decision needs besides."""

    snapshot: Snapshot
    artifact_sizes: Mapping[str, int]  # bytes by digest
    valid_offline_s: Mapping[ServiceRef, float]
    isolation: Mapping[ServiceRef, Isolation]
    lost_after_s: Mapping[ServiceRef, float]
    paces: Mapping[ServiceRef, Pace]
    updates: Mapping[ServiceRef, UpdateRules]
    braked: Mapping[ServiceRef, Mapping[NodeName, Outage]]  # silent nodes that are waited for, however long
    declared_sites: frozenset[SiteName]
    versions: Mapping[VersionRef, VersionSpec]  # those that run somewhere, or may be gone back to
    capacities: Mapping[SiteName, Resources]  # of all that is attached or holds something, cordoned or not
    handed_over: Mapping[ServiceRef, frozenset[NodeName]]  # draining nodes that a service is to leave
    problems: Mapping[ServiceRef, str]  # services that cannot even be considered, and why

    def urgent(self, running: Decision) -> frozenset[ServiceRef]:
        """Services for which waiting would be wrong: another version is wanted, or a site with replicas is gone."""
        specs = {s.ref: s for s in self.snapshot.services}
        return frozenset(s.service for s in running.services if s.service in specs and _outdated(s, specs[s.service]))

    def asked(self) -> dict[ServiceRef, Hashable]:
        """What operators want of each service, whatever is measured: when it changes, somebody changed it."""
        return {s.ref: _asked(s) for s in self.snapshot.services}


def _asked(spec: ServiceSpec) -> Hashable:
    rules = tuple(
        (rule.site, rule.preference, rule.failed_requirement if rule.failed_requirement != SILENT else None)
        for rule in spec.rules
    )
    return spec.policy, rules, spec.freeze


def _outdated(decided: ServiceDecision, spec: ServiceSpec) -> bool:
    if (decided.version, decided.policy) != (spec.version.ref, spec.policy.name):
        return True
    variants = {v.variant for v in spec.version.variants}
    lost = {rule.site for rule in spec.rules if rule.failed_requirement == SILENT}
    return any(c.variant not in variants or c.site in lost for c in decided.chosen)


def take_snapshot(
    world: World,
    observations: Observations,
    observed: Observed,
    region: str,
    now_s: float,
    since_s: float,
    wall_s: float,
    staying: Collection[ServiceRef] = (),
) -> Taken:
    """Of everything declared and measured at `now_s`, by a control plane that has watched since `since_s`.

    `wall_s`: the same moment on the wall clock, by which policies freeze.
    A service that cannot be judged is left out, with its reason: its policy is gone, say, or a node that holds a
    replica of it was not reported to this control plane yet and its policy still waits. A site or a zone that cannot be
    read is not there; what runs at such a site is moved as soon as it runs elsewhere, as if its object were deleted.
    `staying`: services that do not leave draining nodes, since nothing else can take their replicas.
    """
    patience_s, orders = lost_after_s(world), orders_in(world)
    whole = _sites(world, observed, region, NodeOrders(), ())
    services, problems = _services(world, whole, _rates(world, observations, now_s), wall_s)
    claims = succeeded(counted_claims(world.claims, orders, staying), services, whole, orders.cordoned)
    sites = _sites(world, observed, region, orders, claims) if orders.cordoned else whole
    problems |= _waiting(world, observed, patience_s, now_s - since_s)
    held_back = _braked(services, sites, observed)
    judged = tuple(
        _within_reach(service, world, observed, patience_s, held_back[service.ref])
        for service in services
        if service.ref not in problems
    )
    zones = [zone_spec(z) for z in world.of("Zone")]
    return Taken(
        snapshot=Snapshot(
            sites=sites,
            services=judged,
            paths=compose(zones, sites, observations.legs(now_s), observations.front_regions()),
            claims=claims,
            quotas=tuple(quota_spec(quota) for quota in sorted(world.of("TenantQuota"), key=lambda q: q.key)),
        ),
        artifact_sizes=_artifact_sizes(world),
        valid_offline_s={s.ref: s.policy.valid_offline_s for s in services},
        isolation={s.ref: s.policy.isolation for s in services},
        lost_after_s=patience_s,
        paces={s.ref: pace_of(s.policy) for s in services},
        updates={s.ref: rules_of(s.policy) for s in services},
        braked=held_back,
        # Fronts keep the nodes of a site that cannot be read: they serve until what they hold runs elsewhere.
        declared_sites=frozenset(SiteName(key.name) for key in world.objects.get("Site", {})),
        versions=_running_specs(world),
        capacities={site.name: site.capacity for site in whole},
        handed_over=handed_over(world.claims, orders, staying),
        problems=problems,
    )


def _sites(
    world: World, observed: Observed, region: str, orders: NodeOrders, counted: Sequence[Claim]
) -> tuple[SiteSpec, ...]:
    holding = {claim.node for claim in world.claims}
    nodes_at: dict[SiteName, list[NodeSpec]] = {}
    for node in observed.nodes.values():
        # A silent node that holds replicas still counts: it is not dead until their services' policies say so.
        if node.phase is NodePhase.ATTACHED or node.node in holding:
            nodes_at.setdefault(node.site, []).append(NodeSpec(node.node, node.capacity, node.silent_s))
    found: list[SiteSpec] = []
    for stored in sorted(world.of("Site"), key=lambda s: s.key):
        name = SiteName(stored.key.name)
        nodes = offered(nodes_at.get(name, []), orders, counted)
        is_region = stored.spec.get("kind") == "region"
        # The embedded plane runs inside its one region; another region's Ray is not ours to reach yet.
        reachable = name == region if is_region else bool(nodes)
        found.append(site_spec(stored, nodes, reachable))
    return tuple(found)


def _braked(
    services: Sequence[ServiceSpec], sites: Sequence[SiteSpec], observed: Observed
) -> dict[ServiceRef, dict[NodeName, Outage]]:
    domains = {site.name: site.failure_domain for site in sites}
    heard = [Heard(n.node, domains.get(n.site, n.site), n.silent_s, n.away_s) for n in observed.nodes.values()]
    found = outages(heard)
    return {service.ref: braked(found, service.policy.brake_share) for service in services}


def _within_reach(
    service: ServiceSpec,
    world: World,
    observed: Observed,
    patience_s: Mapping[ServiceRef, float],
    held_back: Collection[NodeName],
) -> ServiceSpec:
    """With sites ruled out whose nodes are all silent, but for those that the service's policy still waits for."""
    attached = {node.site for node in observed.nodes.values() if node.phase is NodePhase.ATTACHED}
    silent = {node.site for node in observed.nodes.values()} - attached
    awaited = {
        claim.site
        for claim in world.claims
        if isinstance(claim.hold, ReplicaHold)
        and claim.hold.service == service.ref
        and (node := observed.nodes.get(claim.node or NodeName("")))
        and (node.silent_s <= patience_s[service.ref] or node.node in held_back)
    }
    return _ruled_out(service, silent - awaited)


def under(snapshot: Snapshot, policy: StoredObject, wall_s: float) -> Snapshot:
    """With this policy in place of the one of its name. Raises InvalidRequest when no service there has it."""
    sites = snapshot.sites
    services = tuple(
        _waiting_on_silent(under_policy(s, policy, sites, wall_s), s, snapshot) if _has(s, policy) else s
        for s in snapshot.services
    )
    if not any(_has(s, policy) for s in snapshot.services):
        known = sorted({f"{s.ref.namespace}/{s.policy.name}" for s in snapshot.services})
        name = f"{policy.key.namespace}/{policy.key.name}"
        raise InvalidRequest(
            "metadata.name", name, f"give a policy by which it was decided: {', '.join(known) or 'there was none'}"
        )
    return replace(snapshot, services=services)


def _has(service: ServiceSpec, policy: StoredObject) -> bool:
    return (service.ref.namespace, service.policy.name) == (policy.key.namespace, policy.key.name)


def _waiting_on_silent(service: ServiceSpec, before: ServiceSpec, snapshot: Snapshot) -> ServiceSpec:
    """`_within_reach` over a stored snapshot: of silent nodes it has those that hold replicas."""
    patience_s = service.policy.lost_after_s if service.policy.replace_lost else float("inf")
    silent_s = {node.name: node.silent_s for site in snapshot.sites for node in site.nodes}
    heard = [Heard(node.name, site.failure_domain, node.silent_s) for site in snapshot.sites for node in site.nodes]
    held_back = braked(outages(heard), service.policy.brake_share)
    empty = {rule.site for rule in before.rules if rule.failed_requirement == SILENT}
    silent = {s.name for s in snapshot.sites if (s.nodes or s.name in empty) and all(n.silent_s > 0 for n in s.nodes)}
    awaited = {
        claim.site
        for claim in snapshot.claims
        if isinstance(claim.hold, ReplicaHold)
        and claim.hold.service == service.ref
        and claim.node in silent_s
        and (silent_s[claim.node] <= patience_s or claim.node in held_back)
    }
    return _ruled_out(service, silent - awaited)


def _ruled_out(service: ServiceSpec, silent: Collection[SiteName]) -> ServiceSpec:
    rules = tuple(replace(r, failed_requirement=SILENT) if r.site in silent else r for r in service.rules)
    return replace(service, rules=rules)


def _waiting(
    world: World, observed: Observed, patience_s: Mapping[ServiceRef, float], watched_s: float
) -> dict[ServiceRef, str]:
    """Services with replicas on nodes that no front has reported since this control plane began to watch."""
    return {
        claim.hold.service: f"node {claim.node} has not been heard of since the control plane started; its policy waits"
        for claim in world.claims
        if isinstance(claim.hold, ReplicaHold)
        and claim.node is not None
        and claim.node not in observed.nodes
        and claim.phase in LIVE
        and watched_s <= patience_s[claim.hold.service]
    }


def _rates(world: World, observations: Observations, now_s: float) -> dict[tuple[ServiceRef, ZoneName], float]:
    """Callers on a site's LAN are its zone's, the first by name; on one without a Zone nobody declared any."""
    rates = observations.demand.by_zone_rps(now_s)
    declared = sorted((zone_spec(z) for z in world.of("Zone")), key=lambda zone: zone.name, reverse=True)
    zones = {zone.site: zone.name for zone in declared if zone.site is not None}
    for (service, site), rate_rps in observations.demand.by_site_rps(now_s).items():
        if (zone := zones.get(site)) is not None:
            rates[service, zone] = rates.get((service, zone), 0.0) + rate_rps
    return rates


def _services(
    world: World, sites: Sequence[SiteSpec], rates: Mapping[tuple[ServiceRef, ZoneName], float], wall_s: float
) -> tuple[tuple[ServiceSpec, ...], dict[ServiceRef, str]]:
    found: list[ServiceSpec] = []
    problems: dict[ServiceRef, str] = {}
    # Only once it is back: that is when what is wanted changes.
    back = {site.name for site in sites if any(node.silent_s == 0 for node in site.nodes)}
    for key, stored in sorted(world.objects.get("ModelService", {}).items()):
        ref = ServiceRef(key.namespace, key.name)
        if key in world.unreadable:
            problems[ref] = world.unreadable[key]
            continue
        version = _usable_version(world, stored, ref)
        policy = policy_of(stored, world.of("PlacementPolicy"))
        if version is None or policy is None:
            problems[ref] = _no_policy(stored, world) if policy is None else _no_version(stored, world)
            continue
        measured = {zone: rate for (service, zone), rate in rates.items() if service == ref}
        try:
            freeze = freeze_of(policy, wall_s)
            kept = _frozen_version(world, ref, version) if freeze else version
            spec = service_spec(stored, kept, policy, sites, measured, freeze)
            found.append(leaning(spec, lost_in(stored, world) & back))
        except InvalidRequest as err:
            problems[ref] = str(err)
    return tuple(found), problems


def _no_policy(service: StoredObject, world: World) -> str:
    name = str(service.spec.get("policy"))
    if reason := world.unreadable.get(Key("PlacementPolicy", service.key.namespace, name)):
        return f"policy {name}: {reason}"
    return f"policy {name} does not exist: apply it, or change the service's spec.policy"


def _no_version(service: StoredObject, world: World) -> str:
    if service.spec.get("version"):
        name = str(service.spec["version"])
        if reason := world.unreadable.get(Key("ModelVersion", service.key.namespace, name)):
            return f"version {name}: {reason}"
        return f"version {service.spec['version']} does not exist or failed to load: push or train another"
    model = service.spec.get("model")
    for key, reason in sorted(world.unreadable.items()):
        stored = world.objects[key.kind][key]
        if key.kind == "ModelVersion" and key.namespace == service.key.namespace and stored.spec.get("model") == model:
            return f"version {key.name} of model {model}: {reason}"
    for job in world.of("TrainingJob"):
        if job.spec.get("model") == model and not phase_of(job).ended:
            return f"waits for the first version of model {model}: TrainingJob {job.key.name} makes it"
    return f"there is no version of model {model} that loads: push or train one"


def _usable_version(world: World, service: StoredObject, ref: ServiceRef) -> StoredObject | None:
    """The wanted version; while that has failed to load, the one that runs."""
    aborted = given_up(service, world)
    loadable = [v for v in _loadable(world) if v.key.name != aborted] or _loadable(world)
    policy = policy_of(service, world.of("PlacementPolicy"))
    # A service that follows a model takes the newest version that its policy accepts: a worse one stops nothing.
    accepted = [v for v in loadable if service.spec.get("version") or _accurate_enough(v, service, policy)]
    wanted = version_of(service, accepted) or version_of(service, loadable)
    if wanted is not None:
        return wanted
    return next(_running_versions(world, ref), None)


def _loadable(world: World) -> list[StoredObject]:
    return [version for version in world.of("ModelVersion") if version.status.get("phase") != "Failed"]


def _running_versions(world: World, ref: ServiceRef) -> Iterator[StoredObject]:
    """Those that load, the newest name first."""
    service = world.find("ModelService", ref.namespace, ref.name)
    aborted = given_up(service, world) if service else None
    running = {
        claim.hold.version
        for claim in world.claims
        if isinstance(claim.hold, ReplicaHold) and claim.hold.service == ref and claim.phase is ClaimPhase.BOUND
    }
    for version in sorted(running, key=lambda one: (one.name != aborted, one), reverse=True):
        stored = world.find("ModelVersion", version.namespace, version.name)
        if stored is not None and stored.status.get("phase") != "Failed":
            yield stored


def _frozen_version(world: World, ref: ServiceRef, wanted: StoredObject) -> StoredObject:
    """During a freeze a running version stays; a change that had already begun to serve is carried through."""
    running = list(_running_versions(world, ref))
    return next((version for version in running if version.key == wanted.key), running[0] if running else wanted)


def _accurate_enough(version: StoredObject, service: StoredObject, policy: StoredObject | None) -> bool:
    least = policy_spec(policy).accuracy_min if policy else None
    pinned = service.spec.get("variant")
    variants = version_spec(version, Variant(str(pinned)) if pinned else None).variants
    return any(least is None or (v.accuracy is not None and v.accuracy >= least) for v in variants)


def _running_specs(world: World) -> dict[VersionRef, VersionSpec]:
    """Of those that can be read."""
    wanted = {claim.hold.version for claim in world.claims if isinstance(claim.hold, ReplicaHold)}
    for service in world.of("ModelService"):
        if rollout := rollout_in(service):
            wanted |= {rollout.version, rollout.before, *rollout.others.values()}
    found = {version: world.find("ModelVersion", version.namespace, version.name) for version in wanted}
    return {version: version_spec(stored) for version, stored in found.items() if stored is not None}


def _artifact_sizes(world: World) -> dict[str, int]:
    """Of all versions, read or not: one that no service wants any more may still run, and so may an unreadable one."""
    sizes: dict[str, int] = {}
    for stored in world.objects.get("ModelVersion", {}).values():
        variants = stored.spec.get("variants")
        for variant in variants if isinstance(variants, list) else []:
            artifact = variant.get("artifact") if isinstance(variant, dict) else None
            if isinstance(artifact, dict) and isinstance(size_bytes := artifact.get("size_bytes"), int):
                sizes[str(artifact.get("digest"))] = size_bytes
    return sizes

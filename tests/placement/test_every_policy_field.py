"""Each field of a PlacementPolicy changes a decision, or how it is carried out. A field without a case here fails."""

import copy
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, replace
from itertools import count

import pytest

from orchestrator.control.world import World, lost_after_s
from orchestrator.model.claims import Claim
from orchestrator.model.ids import DecisionId, NodeName, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase, NodePhase, ReplicaPhase
from orchestrator.model.resources import Resources
from orchestrator.model.snapshot import ServiceDecision
from orchestrator.model.specs import NodeSpec, PolicySpec, ServiceSpec, SiteSpec, Variant
from orchestrator.model.stored import Json, StoredObject
from orchestrator.objects.policy_form import PlacementPolicyFields
from orchestrator.objects.translate import freeze_of, policy_spec, service_spec, site_spec
from orchestrator.placement import place
from orchestrator.reconcile.assignments import assignments
from orchestrator.reconcile.brake import Heard, braked, outages
from orchestrator.reconcile.observed import Observed, SeenNode, SeenReplica
from orchestrator.reconcile.pacing import pace_of
from orchestrator.reconcile.replicas import diff
from orchestrator.reconcile.returning import leaning
from orchestrator.reconcile.rollouts import Rollout, SiteState, step, wave_rules
from orchestrator.reconcile.starting import Want
from orchestrator.reconcile.updating import rules_of
from tests.objects.documents_by_kind import document, leaves, stored, variant
from tests.placement.worlds import (
    POLICY,
    SETTINGS,
    by_service,
    claim,
    cloud,
    cloud_leg,
    edge,
    relay_leg,
    service,
    snapshot,
)

FRIDAY_NIGHT_S = 1_767_390_000.0  # 2026-01-02 21:40 UTC
Spec = dict[str, Json]

SITES = [edge("edge-a", failure_domain="hall"), edge("edge-b", failure_domain="hall"), edge("edge-c"), cloud()]
LEGS = [relay_leg("edge-a", 10), relay_leg("edge-b", 12), relay_leg("edge-c", 30, age_s=20.0), cloud_leg(2)]


# ---- what is looked at


def wanted(spec: Spec) -> tuple[StoredObject, ServiceSpec]:
    policy = stored(document("PlacementPolicy", spec, name="line"))
    demand: Json = [{"zone": "callers", "rate_rps": 1000, "request_bytes": 4000, "response_bytes": 1000}]
    model = {"model": "digits", "policy": "line", "demand": demand}
    built: list[Json] = [
        variant(memory_mib=64, accuracy=0.97, latency={"p50_ms": 1, "p99_ms": 2}),
        variant("litert-int8", memory_mib=16, accuracy=0.9, latency={"p50_ms": 1, "p99_ms": 2}),
    ]
    version = stored(document("ModelVersion", {"model": "digits", "variants": built}, name="digits-2"))
    written = [stored(document("Site", _site(site), name=site.name, labels={"line": site.name[-1]})) for site in SITES]
    sites = [site_spec(site, (), True) for site in written]
    freeze = freeze_of(policy, FRIDAY_NIGHT_S)
    named = stored(document("ModelService", model, name="digits"))
    return policy, service_spec(named, version, policy, sites, {}, freeze)


def _site(site: SiteSpec) -> Spec:
    spec: Spec = {"kind": site.kind.value, "jurisdiction": site.jurisdiction, "failure_domain": site.failure_domain}
    return spec | ({"quota": {"memory_mib": 4000, "cores": 16}} if site.kind == "region" else {})


def plan(decided: ServiceDecision) -> object:
    chosen = {one.site: (one.replicas, one.variant) for one in decided.chosen}
    shares = {(one.zone, one.site): round(one.share, 6) for one in decided.shares if one.share}
    return chosen, shares, [one.rule for one in decided.shortfalls]


def placed(spec: Spec) -> object:
    """Where nothing runs."""
    return plan(by_service(place(snapshot(SITES, LEGS, [wanted(spec)[1]]), SETTINGS, 0))["digits"])


def placed_beside(spec: Spec) -> object:
    """Where the small machine of edge-a is all there is, and a neighbour wants it too."""
    small = [edge("edge-a", memory_mib=100), edge("edge-b")]
    neighbour = service(name="ant")
    return plan(by_service(place(snapshot(small, LEGS, [wanted(spec)[1], neighbour]), SETTINGS, 0))["digits"])


def placed_after_a_neighbour(spec: Spec) -> object:
    """Where one of the hall's two sites is taken by a service that goes first."""
    neighbour = service(replace(POLICY, priority=1), name="ant")
    return plan(by_service(place(snapshot(SITES[:3], LEGS, [wanted(spec)[1], neighbour]), SETTINGS, 0))["digits"])


def placed_over_running(spec: Spec) -> object:
    """Where two replicas run at edge-b already."""
    one = wanted(spec)[1]
    held = [claim("edge-b", one, number=number) for number in range(2)]
    legs = [relay_leg("edge-a", 10), relay_leg("edge-b", 14)]
    return plan(by_service(place(snapshot(SITES[:2], legs, [one], held), SETTINGS, 0))["digits"])


def _held(spec: Spec) -> tuple[StoredObject, ServiceSpec, Claim]:
    policy, one = wanted(spec)
    return policy, one, claim("edge-b", one)


def given_up(spec: Spec) -> object:
    """What becomes of a replica on a node that has been silent for five minutes."""
    policy, one, held = _held(spec)
    demand: Json = [{"zone": "callers", "rate_rps": 1, "request_bytes": 1, "response_bytes": 1}]
    named = stored(document("ModelService", {"model": "digits", "policy": "line", "demand": demand}, name="digits"))
    world = World({"PlacementPolicy": {policy.key: policy}, "ModelService": {named.key: named}}, (held,), {})
    node = SeenNode(NodeName("edge-b-0"), held.site, NodePhase.UNKNOWN, 300.0, Resources(1 << 30, 4_000), "", 1, {})
    return _changes(one, [held], Observed({node.node: node}, {}), lost_after_s(world))


def waited_for(spec: Spec) -> object:
    """Which of two nodes that fell silent together are waited for, in a domain of three."""
    heard = [Heard(NodeName(f"edge-b-{number}"), "hall", silent_s) for number, silent_s in enumerate((300.0, 290.0, 0))]
    return sorted(braked(outages(heard), wanted(spec)[1].policy.brake_share))


def started(spec: Spec) -> object:
    """How many of four new replicas start at once, two of them at a site that lacks the artifact's 2 MB."""
    one = wanted(spec)[1]
    return _changes(one, [], Observed({}, {}), {})


def started_at_another(spec: Spec) -> object:
    """The same, half a minute after another artifact was sent there."""
    one = wanted(spec)[1]
    other = claim("edge-b", one, version="digits-1", phase=ClaimPhase.BOUND)
    node = NodeName("edge-b-0")
    seen = SeenReplica(other.id, "i", ReplicaPhase.READY)
    held = SeenNode(node, other.site, NodePhase.ATTACHED, 0.0, Resources(1 << 30, 8_000), "", 1, {other.id: seen})
    return _changes(one, [other], Observed({node: held}, {}), {})


def _changes(one: ServiceSpec, held: list[Claim], observed: Observed, patience_s: object) -> object:
    built = one.version.variants[0]
    want = [
        Want(one.ref, one.version.ref, Variant.LITERT_FP32, built.digest, built.need, SITES[at].name, 2)
        for at in (1, 3)
    ]
    nodes = observed.nodes or {
        NodeName("edge-b-0"): SeenNode(
            NodeName("edge-b-0"), SITES[1].name, NodePhase.ATTACHED, 0.0, Resources(1 << 30, 8_000), "", 1, {}
        )
    }
    changed = diff(
        want,
        held,
        Observed(nodes, {}),
        {site.name: site for site in SITES},
        decision=DecisionId("d"),
        epoch=1,
        now_s=30.0,
        ids=(str(number) for number in count()),
        lost_after_s=patience_s,  # type: ignore[arg-type]
        paces={one.ref: pace_of(one.policy)},
        sizes={built.digest: 2_000_000, "sha256:digits-1": 2_000_000},
    )
    return sorted((str(c.site), c.phase.value) for c in changed)


def updated(spec: Spec) -> object:
    """How the second version comes to a node that has room for one replica and a half."""
    return _updated(spec, Resources(100 << 20, 8_000))


def updated_with_room(spec: Spec) -> object:
    return _updated(spec, Resources(1 << 30, 8_000))


def _updated(spec: Spec, room: Resources) -> object:
    one = wanted(spec)[1]
    other = claim("edge-b", one, version="digits-1")
    site = replace(edge("edge-b"), nodes=(NodeSpec(NodeName("edge-b-0"), room),), capacity=room)
    seen = SeenReplica(other.id, "i", ReplicaPhase.READY)
    node = SeenNode(NodeName("edge-b-0"), site.name, NodePhase.ATTACHED, 0.0, room, "", 1, {other.id: seen})
    built = one.version.variants[0]
    return diff(
        [Want(one.ref, one.version.ref, built.variant, built.digest, built.need, site.name, 1)],
        [other],
        Observed({node.node: node}, {}),
        {site.name: site},
        decision=DecisionId("d"),
        epoch=1,
        now_s=30.0,
        ids=iter("0123"),
        lost_after_s={},
        updates={one.ref: rules_of(one.policy)},
    )


def going_out(spec: Spec) -> object:
    """What becomes of four sites: one does not load the version, one is late, one fails its callers, one does well."""
    rules = wave_rules(wanted(spec)[1].policy)
    old, new = VersionRef("default", "digits-1"), VersionRef("default", "digits-2")
    states = {
        "a": SiteState(True, True, frozenset({new}), new, failure="the file is cut short"),
        "b": SiteState(True, True, frozenset({new}), starting_since_s=0.0),
        "c": SiteState(True, True, frozenset({new}), new, ready=True, calls=100, failed=40),
        "d": SiteState(True, True, frozenset({new}), new, ready=True),
        "e": SiteState(True, True, frozenset({old}), old),
        "f": SiteState(True, True, frozenset({old}), old),
    }
    sites = {SiteName(name): state for name, state in states.items()}
    released = dict.fromkeys(list(sites)[:4], 0.0)
    found = step(
        Rollout(new, old, "1", wave=1, released=released, ready_since_s=50.0),
        new, sites, rules, asked="1", frozen=False, now_s=100.0,
    )  # fmt: skip
    assert found is not None
    return found.phase, sorted(found.failed), sorted(found.released)


def returned(spec: Spec) -> object:
    """What the planner is told of a site whose node was lost and is back."""
    leant = leaning(wanted(spec)[1], {SiteName("edge-b")})
    return {rule.site: rule.preference for rule in leant.rules}


def assigned(spec: Spec) -> object:
    """What the node is told."""
    _, one, held = _held(spec)
    (replica,) = assignments([], [held], {}, {one.ref: one.policy.valid_offline_s}, 0.0)[NodeName("edge-b-0")]
    return replica.valid_offline_s


# ---- the cases


@dataclass(frozen=True)
class Case:
    """One field's value that changes what is looked at, and the rest of the policy around it."""

    value: Json
    around: Spec = field(default_factory=dict)
    look: Callable[[Spec], object] = placed


MANY_FAILURES: Json = {"max_failures": 9, "ready_within_s": 1, "max_error_share": 0.1}
CASES = {
    "latency.p99_ms": Case(5.0),
    "latency.usd_per_hour_waited": Case(0.001),
    "bandwidth.wan_mbps_per_zone": Case(20.0),
    "bandwidth.rollout_mbps_per_site": Case(0.3, look=started_at_another),
    "required": Case(["site.kind == 'edge'"]),
    "preferred.weight": Case(
        1.0,
        {"preferred": [{"weight": 10.0, "expression": "site.kind == 'edge'"},
                       {"weight": 5.0, "expression": "site.name == 'cloud'"}]},
    ),
    "preferred.expression": Case(
        "site.labels.line == 'c'", {"preferred": [{"weight": 1.0, "expression": "site.kind == 'edge'"}]}
    ),
    "residency.jurisdictions": Case(["CH"], {"residency": {"jurisdictions": ["EU"]}}),
    "accuracy.min": Case(0.95, {"accuracy": {"min": 0.8}}),
    "replicas.min": Case(4),
    "replicas.max": Case(1),
    "replicas.min_failure_domains": Case(3),
    "replicas.max_share_per_domain": Case(0.5),
    "replicas.survive_site_losses": Case(1),
    "affinity.pins.site": Case("edge-c", {"affinity": {"pins": [{"site": "edge-a"}]}}),
    "affinity.pins.replicas": Case(3, {"affinity": {"pins": [{"site": "edge-a"}]}}),
    "affinity.bans": Case(["cloud"]),
    "affinity.anti_affinity.service": Case(
        "ant", {"affinity": {"anti_affinity": [{"service": "nobody"}]}}, placed_beside
    ),
    "affinity.anti_affinity.within": Case(
        "failure_domain", {"affinity": {"anti_affinity": [{"service": "ant"}]}}, placed_after_a_neighbour
    ),
    "priority": Case(10, look=placed_beside),
    "cost.max_usd_per_hour": Case(0.1),
    "cost.burst_to_cloud": Case(False),
    "cost.usd_per_unserved_call": Case(1e-9),
    "disconnect.lost_after_s": Case(600.0, look=given_up),
    "disconnect.replace": Case(False, look=given_up),
    "disconnect.brake_share": Case(0.9, look=waited_for),
    "disconnect.on_return": Case("prefer_original", look=returned),
    "disconnect.valid_offline_s": Case(60.0, look=assigned),
    "stability.min_gain": Case(0.9, look=placed_over_running),
    "stability.max_sample_age_s": Case(10.0, {"latency": {"p99_ms": 50}, "required": ["site.name == 'edge-c'"]}),
    "stability.horizon_s": Case(1e9, {"stability": {"usd_per_start": 100.0}}, placed_over_running),
    "stability.usd_per_start": Case(100.0, look=placed_over_running),
    "stability.usd_per_stop": Case(100.0, look=placed_over_running),
    "stability.freeze": Case(["Fri 16:00-Mon 06:00 UTC"], look=placed_over_running),
    "rollout.max_concurrent_changes": Case(1, look=started),
    "isolation": Case("process", look=placed_beside),
    "replicas.single_writer": Case(True, {"replicas": {"min": 1, "max": 1}}, updated_with_room),
    "rollout.in_place": Case(False, look=updated),
    "rollout.max_surge": Case(0, look=updated_with_room),
    "rollout.wave_sites": Case(1, {"rollout": MANY_FAILURES}, going_out),
    "rollout.pause_s": Case(60, {"rollout": MANY_FAILURES}, going_out),
    "rollout.max_failures": Case(3, look=going_out),
    "rollout.ready_within_s": Case(60, {"rollout": {"max_failures": 9}}, going_out),
    "rollout.max_error_share": Case(0.3, {"rollout": {"max_failures": 9}}, going_out),
    "rollout.window_s": Case(20.0, {"bandwidth": {"rollout_mbps_per_site": 0.3}}, started_at_another),
}  # fmt: skip


def changed(around: Spec, path: str, value: Json) -> Spec:
    spec = copy.deepcopy(around)
    at: object = spec
    *parents, last = path.split(".")
    for part in parents:
        at = at.setdefault(part, {})  # type: ignore[attr-defined]
        at = at[0] if isinstance(at, list) else at
    at[last] = value  # type: ignore[index]
    return spec


def test_every_field_has_a_case() -> None:
    assert sorted(CASES) == sorted(path for path, _ in leaves(PlacementPolicyFields))


@pytest.mark.parametrize("path", sorted(CASES))
def test_a_field_changes_what_is_decided_or_done(path: str) -> None:
    case = CASES[path]
    before, after = case.look(case.around), case.look(changed(case.around, path, case.value))
    assert before != after


def test_a_stored_policy_of_an_older_release_is_read_with_the_defaults_of_today() -> None:
    """A snapshot that lacks the newer fields gets those of the value, which are those of the form."""
    today = policy_spec(stored(document("PlacementPolicy", {}, name="line")))
    older = {one.name: getattr(today, one.name) for one in fields(PolicySpec) if one.default is MISSING}
    assert len(older) < len(fields(PolicySpec))
    assert PolicySpec(**older) == today

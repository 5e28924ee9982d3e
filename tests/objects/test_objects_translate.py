"""Stored objects to model values: every accepted field arrives somewhere."""

import pytest

from orchestrator.errors import InvalidRequest
from orchestrator.model.ids import NodeName, ZoneName
from orchestrator.model.resources import Resources
from orchestrator.model.specs import DemandSpec, NodeSpec, ServiceSpec, SiteKind, Variant, ZoneSpec
from orchestrator.model.stored import Json, StoredObject
from orchestrator.objects.translate import (
    policy_of,
    policy_spec,
    service_spec,
    site_spec,
    under_policy,
    version_of,
    version_spec,
    zone_spec,
)
from tests.objects.documents_by_kind import DIGEST, SPECS, document, stored, variant

MIB = 1 << 20
NODES = [
    NodeSpec(NodeName("n2"), Resources(300 * MIB, 2_000)),
    NodeSpec(NodeName("n1"), Resources(100 * MIB, 1_000)),
]


def _site(name: str = "edge-a", labels: dict[str, Json] | None = None, **spec: Json) -> StoredObject:
    return stored(document("Site", {"kind": "edge", "jurisdiction": "EU", **spec}, name=name, labels=labels or {}))


def _version(name: str, created_wall_s: float, phase: str = "Ready", namespace: str = "default") -> StoredObject:
    spec: dict[str, Json] = {"model": "digits", "variants": [variant(), variant("litert-int8")]}
    return stored(document("ModelVersion", spec, name=name, namespace=namespace), {"phase": phase}, created_wall_s)


def _service(**spec: Json) -> StoredObject:
    return stored(document("ModelService", {**SPECS["ModelService"], **spec}))


def test_an_edge_site_has_its_nodes_capacity_capped_by_its_quota() -> None:
    site = site_spec(_site(price_usd_per_hour=0.2, hardware_class="pi", failure_domain="hall"), NODES, True)
    assert (site.name, site.kind, site.jurisdiction, site.failure_domain) == ("edge-a", SiteKind.EDGE, "EU", "hall")
    assert (site.hardware_class, site.price_usd_per_hour, site.reachable) == ("pi", 0.2, True)
    assert site.capacity == Resources(400 * MIB, 3_000)
    assert [node.name for node in site.nodes] == ["n1", "n2"]
    capped = site_spec(_site(quota={"memory_mib": 250, "cores": 64}), NODES, True)
    assert capped.capacity == Resources(250 * MIB, 3_000)
    assert site_spec(_site(), [], False).capacity == Resources()


def test_a_region_has_its_quota() -> None:
    site = site_spec(_site(kind="region", quota={"memory_mib": 512, "cores": 1.5}), [], True)
    assert (site.capacity, site.nodes, site.failure_domain) == (Resources(512 * MIB, 1_500), (), "edge-a")


def test_zones_enter_at_a_region_or_at_a_site() -> None:
    assert zone_spec(stored(document("Zone", {"region": "cloud"}))) == ZoneSpec("thing", "cloud", None)  # type: ignore[arg-type]
    assert zone_spec(stored(document("Zone", {"site": "edge-a"}))) == ZoneSpec("thing", None, "edge-a")  # type: ignore[arg-type]


def test_every_field_of_a_policy_arrives() -> None:
    spec: dict[str, Json] = {
        "latency": {"p99_ms": 40},
        "bandwidth": {"wan_mbps_per_zone": 50},
        "residency": {"jurisdictions": ["EU", "CH"]},
        "accuracy": {"min": 0.97},
        "replicas": {"min": 2, "max": 9, "min_failure_domains": 3},
        "priority": 100,
        "cost": {"max_usd_per_hour": 30},
        "disconnect": {"lost_after_s": 600, "replace": False, "valid_offline_s": 3600},
        "stability": {"min_gain": 0.2, "max_sample_age_s": 15},
    }
    policy = policy_spec(stored(document("PlacementPolicy", spec)))
    assert (policy.name, policy.latency_p99_ms, policy.wan_bps_per_zone) == ("thing", 40, 50e6)
    assert (policy.jurisdictions, policy.accuracy_min) == (frozenset({"EU", "CH"}), 0.97)
    assert (policy.replicas_min, policy.replicas_max, policy.min_failure_domains) == (2, 9, 3)
    assert (policy.priority, policy.max_usd_per_hour) == (100, 30)
    assert (policy.lost_after_s, policy.replace_lost, policy.valid_offline_s) == (600, False, 3600)
    assert (policy.min_gain, policy.max_sample_age_s) == (0.2, 15)
    empty = policy_spec(stored(document("PlacementPolicy")))
    assert (empty.latency_p99_ms, empty.jurisdictions, empty.replicas_min) == (None, None, 1)


def test_a_version_has_its_variants_and_a_pin_leaves_one() -> None:
    spec: dict[str, Json] = {
        "model": "digits",
        "variants": [variant(accuracy=0.98, cores=0.5), variant("litert-int8")],
    }
    one = stored(document("ModelVersion", spec))
    fp32, int8 = version_spec(one).variants
    assert (fp32.need, fp32.accuracy, fp32.digest) == (Resources(16 * MIB, 500), 0.98, DIGEST)
    assert (fp32.service_p50_ms, fp32.service_p99_ms, fp32.size_bytes) == (0.02, 0.1, 43_000)
    assert (int8.need.compute_millis, int8.accuracy) == (1_000, None)
    assert version_spec(one, Variant.LITERT_INT8).variants == (int8,)
    assert version_spec(one, Variant.SAVEDMODEL).variants == ()


def test_the_newest_version_of_a_model_that_has_not_failed() -> None:
    versions = [
        _version("digits-1", 10),
        _version("digits-2", 20),
        _version("digits-3", 30, phase="Failed"),
        _version("digits-4", 40, namespace="other"),
    ]
    newest, named = version_of(_service(), versions), version_of(_service(model=None, version="digits-3"), versions)
    assert (newest and newest.key.name, named and named.key.name) == ("digits-2", "digits-3")
    assert version_of(_service(model="letters"), versions) is None


def test_a_policy_is_found_in_the_services_namespace() -> None:
    mine, other = (document("PlacementPolicy", name="line", namespace=space) for space in ("default", "other"))
    found = policy_of(_service(), [stored(other), stored(mine)])
    assert found is not None
    assert found.key.namespace == "default"
    assert policy_of(_service(), [stored(other)]) is None


def test_a_service_gets_its_rules_and_the_higher_of_declared_and_measured_demand() -> None:
    policy = stored(
        document(
            "PlacementPolicy",
            {
                "required": ["site.labels.line == 'a'"],
                "preferred": [{"weight": 3, "expression": "site.kind == 'edge'"}],
            },
            name="line",
        )
    )
    demand: list[Json] = [
        {"zone": "callers", "rate_rps": 10, "request_bytes": 400, "response_bytes": 100},
        {"zone": "quiet", "rate_rps": 5, "request_bytes": 900, "response_bytes": 50},
    ]
    sites = [site_spec(_site("edge-b"), (), True), site_spec(_site("edge-a", {"line": "a"}), (), True)]
    measured = {ZoneName("callers"): 25.0, ZoneName("quiet"): 1.0, ZoneName("new"): 2.0, ZoneName("gone"): 0.0}
    spec = service_spec(
        _service(demand=demand, variant="litert-int8"), _version("digits-2", 1), policy, sites, measured
    )
    assert (str(spec.ref), spec.policy.name, str(spec.version.ref)) == ("default/thing", "line", "default/digits-2")
    assert [v.variant for v in spec.version.variants] == [Variant.LITERT_INT8]
    assert spec.demands == (
        DemandSpec(ZoneName("callers"), 25.0, 400, 100),
        DemandSpec(ZoneName("new"), 2.0, 900, 100),
        DemandSpec(ZoneName("quiet"), 5.0, 900, 50),
    )
    assert [(r.site, r.failed_requirement, r.preference) for r in spec.rules] == [
        ("edge-a", None, 3.0),
        ("edge-b", "site.labels.line == 'a'", 3.0),
    ]


def test_an_object_of_another_kind_or_of_another_release_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="expected a Zone"):
        zone_spec(_site())
    broken = stored(document("Zone"))
    with pytest.raises(InvalidRequest, match=r"spec\.planet"):
        zone_spec(StoredObject(broken.key, "u", 1, 1, broken.owner, {}, {"planet": "mars"}, {}, 0.0))


def test_what_was_measured_on_some_hardware_arrives_and_the_rest_is_as_anywhere() -> None:
    profiles: list[Json] = [
        {"hardware_class": "pi", "latency": {"p50_ms": 9, "p99_ms": 20}},
        {"hardware_class": "jetson", "latency": {"p50_ms": 1, "p99_ms": 2}, "memory_mib": 64},
    ]
    spec: dict[str, Json] = {"model": "digits", "variants": [variant(profiles=profiles)]}
    (built,) = version_spec(stored(document("ModelVersion", spec))).variants
    for hardware_class, figures in (("any", (0.02, 0.1, 16)), ("pi", (9, 20, 16)), ("jetson", (1, 2, 64))):
        there = built.on(hardware_class)
        assert (there.service_p50_ms, there.service_p99_ms, there.need.memory_bytes // MIB) == figures
        assert (there.need.compute_millis, there.digest) == (built.need.compute_millis, built.digest)


def test_a_process_of_its_own_is_claimed_and_given_back() -> None:
    """Also on hardware with figures of its own, and when a decision is made again under another policy."""
    profile = {"hardware_class": "pi", "latency": {"p50_ms": 1, "p99_ms": 2}, "memory_mib": 32}
    version = stored(document("ModelVersion", {"model": "digits", "variants": [variant(profiles=[profile])]}, name="v"))
    demand: Json = [{"zone": "z", "rate_rps": 1, "request_bytes": 1, "response_bytes": 1}]
    named = stored(document("ModelService", {"model": "digits", "policy": "p", "demand": demand}, name="digits"))

    def policy(isolation: str) -> StoredObject:
        return stored(document("PlacementPolicy", {"isolation": isolation}, name="p"))

    def needs(service: ServiceSpec) -> list[int]:
        return [service.version.variants_on(on)[0].need.memory_bytes // MIB for on in ("any", "pi")]

    shared = service_spec(named, version, policy("shared"), [], {})
    own = service_spec(named, version, policy("process"), [], {})
    assert [more - less for more, less in zip(needs(own), needs(shared), strict=True)] == [64, 64]
    assert needs(shared)[1] == 32
    assert under_policy(own, policy("shared"), [], 0.0) == shared
    assert under_policy(shared, policy("process"), [], 0.0) == own
    assert under_policy(own, policy("process"), [], 0.0) == own

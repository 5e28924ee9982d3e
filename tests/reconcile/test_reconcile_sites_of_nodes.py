"""What nodes of one site share: the site's link, and the artifacts that they hold."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.claims import Claim, ReplicaHold
from orchestrator.model.ids import DecisionId, Digest, NodeName, ReplicaId, ServiceRef, SiteName, VersionRef
from orchestrator.model.phases import ClaimPhase, NodePhase
from orchestrator.model.resources import Resources
from orchestrator.model.specs import Variant
from orchestrator.reconcile.assignments import AssignedReplica, assignments
from orchestrator.reconcile.observed import SeenNode
from orchestrator.reconcile.pacing import Pace
from orchestrator.reconcile.peers import PEERS_MOST, peers

SERVICE = ServiceRef("default", "digits")


def seen(node: str, site: str, address: str = "10.0.0.1:1") -> SeenNode:
    name = NodeName(node)
    return SeenNode(name, SiteName(site), NodePhase.ATTACHED, 0.0, Resources(1, 1), "", 0, {}, address and f"{node}:1")


def replica(service: str = "digits", namespace: str = "default") -> AssignedReplica:
    return AssignedReplica("r", namespace, service, "v1", "sha256:a", 1, "tflite", 1, "d", 1, False)


def told(nodes: list[SeenNode], **held: AssignedReplica | None) -> dict[str, list[str]]:
    assigned = {n.node: (held.get(n.node) or replica(),) if held.get(n.node, 1) else () for n in nodes}
    return {node: [p.node for p in near] for node, near in peers(assigned, {n.node: n for n in nodes}).items()}


def test_nodes_of_one_site_that_share_a_service_know_each_other_in_one_order() -> None:
    found = told([seen("a", "s1"), seen("b", "s1"), seen("c", "s2")])
    assert found.keys() == {"a", "b"}
    assert sorted(found["a"]) == ["a", "b"]
    assert found["a"] == found["b"]


def test_who_gives_nothing_holds_nothing_or_serves_something_else_is_no_peer() -> None:
    nodes = [seen("a", "s1"), seen("b", "s1", ""), seen("c", "s1"), seen("d", "s1"), seen("e", "s1")]
    assert told(nodes, c=None, d=replica("other"), e=replica("digits", "plant-7")) == {}


@given(st.integers(2, 40))
def test_a_large_site_asks_a_few_and_all_the_same_ones(count: int) -> None:
    found = told([seen(f"n{number}", "s1") for number in range(count)])
    assert len(found) == count
    assert len({tuple(near) for near in found.values()}) == 1
    assert len(found["n0"]) == min(count, PEERS_MOST)


def claim(node: str | None, site: str = "s1", service: ServiceRef = SERVICE) -> Claim:
    hold = ReplicaHold(service, VersionRef("default", "v1"), Variant.LITERT_FP32, Digest("sha256:a"))
    name = NodeName(node) if node else None
    id = ReplicaId(f"{site}-{node}")
    return Claim(id, SiteName(site), name, Resources(1, 1), ClaimPhase.BOUND, hold, DecisionId("d"), 1, 0.0)


def test_nodes_of_a_site_share_the_budget_of_its_link() -> None:
    claims = [claim("a"), claim("b"), claim("c", "s2"), claim("d", "s2", ServiceRef("default", "free"))]
    paces = {SERVICE: Pace(None, 10e6, 60.0), ServiceRef("default", "free"): Pace(None, None, 60.0)}
    found = assignments([], claims, {}, {}, 0.0, paces=paces)
    assert {node: held[0].rollout_bps for node, held in found.items()} == {"a": 5e6, "b": 5e6, "c": 10e6, "d": 0}


def test_a_small_budget_is_not_none() -> None:
    found = assignments([], [claim("a"), claim("b")], {}, {}, 0.0, paces={SERVICE: Pace(None, 1.0, 60.0)})
    assert [held[0].rollout_bps for held in found.values()] == [1, 1]
